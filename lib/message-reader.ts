// The pull side of a connection: one consumer that asks for messages one by one, with `for await` or by receive().
import type { Message } from './message-assembler.ts'

interface Waiter {
  readonly resolve: (message: Message | null) => void
  readonly reject: (error: Error) => void
}

/** What stands between who gives messages and who asks for them. Whoever asks first gets the first. */
export class MessageReader {
  /** Asked when the peer's Close has its turn; true: it has to wait until this reader is released, which is at its end now. */
  defersClose: () => boolean = () => false
  /** After a local close() too, messages are held for it: it may be slow, and must not get some of them only. */
  keepsMessages = false
  readonly #onWait: () => void
  #waiters: Waiter[] = []
  #hasAsked = false
  #end: { readonly error: Error | null } | null = null // null: more may come

  /** @param onWait called whenever a message is asked for */
  constructor (onWait: () => void) {
    this.#onWait = onWait
  }

  get isWaiting (): boolean {
    return this.#waiters.length > 0
  }

  /** Somebody has called next(). */
  get hasAsked (): boolean {
    return this.#hasAsked
  }

  get hasEnded (): boolean {
    return this.#end !== null
  }

  /** Resolves with the next message, with null when there will be none, or rejects with the error given to end(). */
  next (): Promise<Message | null> {
    this.#hasAsked = true
    if (this.#end !== null) return this.#end.error === null ? Promise.resolve(null) : Promise.reject(this.#end.error)
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject })
      this.#onWait()
    })
  }

  /** Hands `message` to who has waited longest; isWaiting must be true. */
  give (message: Message): void {
    this.#waiters.shift()!.resolve(message)
  }

  /** No message will come any more. Later calls do nothing. */
  end (error: Error | null): void {
    if (this.#end !== null) return
    this.#end = { error }
    const waiters = this.#waiters
    this.#waiters = []
    for (const { resolve, reject } of waiters) {
      if (error === null) resolve(null)
      else reject(error)
    }
  }
}

/** `string` for text, `Buffer` for binary. */
export function messageValue ({ data, isBinary }: Message): string | Buffer {
  return isBinary ? data : data.toString()
}

export class MessageIterator implements AsyncIterableIterator<string | Buffer, undefined> {
  readonly #reader: MessageReader
  readonly #release: (early: boolean) => void
  #isDone = false

  /** @param release called once: when the messages have ended, or early, when the consumer leaves before */
  constructor (reader: MessageReader, release: (early: boolean) => void) {
    this.#reader = reader
    this.#release = release
  }

  async next (): Promise<IteratorResult<string | Buffer, undefined>> {
    if (this.#isDone) return { done: true, value: undefined }
    try {
      const message = await this.#reader.next()
      if (message !== null) return { done: false, value: messageValue(message) }
    } catch (error) {
      this.#finish(false)
      throw error
    }
    this.#finish(false)
    return { done: true, value: undefined }
  }

  /** What `break`, `return` and `throw` in a `for await` call. */
  async return (): Promise<IteratorResult<string | Buffer, undefined>> {
    this.#finish(true)
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator] (): this {
    return this
  }

  #finish (early: boolean): void {
    if (this.#isDone) return
    this.#isDone = true
    this.#reader.end(null)
    this.#release(early)
  }
}
