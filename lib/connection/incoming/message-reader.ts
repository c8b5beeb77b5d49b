// The pull side of a connection: one consumer that asks for messages one by one, with `for await` or by receive().
import type { Message } from '../../framing/message-assembler.ts'

interface Waiter<Item> {
  readonly resolve: (item: Item | null) => void
  readonly reject: (error: Error) => void
}

export interface MessageReaderOwner {
  /** A message is asked for. */
  onWait (): void
  onRelease (expectsNext: boolean): void
}

/** What stands between who gives messages and who asks for them. Whoever asks first gets the first. */
export class MessageReader<Item = Message> {
  /** Asked when the peer's Close has its turn; true: it has to wait until this reader is released, which is at its end now. */
  defersClose: () => boolean = () => false
  /** After a local close() too, messages are held for it: it may be slow, and must not get some of them only. */
  keepsMessages = false
  readonly #owner: MessageReaderOwner
  #waiters: Array<Waiter<Item>> = []
  #hasAsked = false
  #end: { readonly error: Error | null } | null = null // null: more may come

  constructor (owner: MessageReaderOwner) {
    this.#owner = owner
  }

  get isWaiting (): boolean {
    return this.#waiters.length > 0
  }

  /** It has something, and may ask for more when it is done with that. */
  get isBusy (): boolean {
    return !this.isWaiting && !this.hasEnded
  }

  /** Somebody has called next(). */
  get hasAsked (): boolean {
    return this.#hasAsked
  }

  get hasEnded (): boolean {
    return this.#end !== null
  }

  /** Resolves with the next message, with null when there will be none, or rejects with the error given to end(). */
  next (): Promise<Item | null> {
    this.#hasAsked = true
    if (this.#end !== null) return this.#end.error === null ? Promise.resolve(null) : Promise.reject(this.#end.error)
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject })
      this.#owner.onWait()
    })
  }

  /** Hands `item` to who has waited longest; isWaiting must be true. */
  give (item: Item): void {
    this.#waiters.shift()!.resolve(item)
  }

  /** Who has asked last waits no longer, and its promise stays pending. @returns whether somebody waited */
  withdraw (): boolean {
    return this.#waiters.pop() !== undefined
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

  /** Lets another reader have its place. @param expectsNext whether that is waited for as if it were this one */
  release (expectsNext = false): void {
    this.#owner.onRelease(expectsNext)
  }
}

/** `string` for text, `Buffer` for binary. */
export function messageValue ({ data, isBinary }: Message): string | Buffer {
  return isBinary ? data : data.toString()
}

/** The messages of a reader, as what `convert` makes of them. */
export class MessageIterator<Item, Value> implements AsyncIterableIterator<Value, undefined> {
  readonly #reader: MessageReader<Item>
  readonly #convert: (item: Item) => Value
  readonly #onLeave: () => void
  #isDone = false

  /** @param onLeave the consumer leaves before the end, by `break`, `return` or `throw` in a `for await` */
  constructor (reader: MessageReader<Item>, convert: (item: Item) => Value, onLeave: () => void) {
    this.#reader = reader
    this.#convert = convert
    this.#onLeave = onLeave
  }

  async next (): Promise<IteratorResult<Value, undefined>> {
    if (this.#isDone) return { done: true, value: undefined }
    try {
      const item = await this.#reader.next()
      if (item !== null) return { done: false, value: this.#convert(item) }
    } catch (error) {
      this.#finish()
      throw error
    }
    this.#finish()
    return { done: true, value: undefined }
  }

  async return (): Promise<IteratorResult<Value, undefined>> {
    if (!this.#isDone) this.#onLeave()
    this.#finish()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator] (): this {
    return this
  }

  #finish (): void {
    if (this.#isDone) return
    this.#isDone = true
    this.#reader.end(null)
    this.#reader.release()
  }
}
