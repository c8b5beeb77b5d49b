// The pull side of a connection: one consumer that asks for messages one by one, with `for await`, receive() or a stream.
import { Fifo } from '../../framing/fifo.ts'
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

/** Takes the pieces of a message as they arrive. */
export interface MessageSink {
  /** There is room for the next piece, or it will not be read anyway. */
  readonly wantsMore: boolean
  /** The pieces are being read. */
  readonly isRead: boolean
  give (piece: Buffer, isLast: boolean): void
  /** The missing pieces will not come. */
  cut (error: Error | null): void
}

/** Connects the supply of messages to calls of next(), which are answered in order. */
export class MessageReader<Item = Message> {
  /** Asked when the peer's Close has its turn; true: the reader has ended, but the Close waits until it is released. */
  defersClose: () => boolean = () => false
  /** The consumer must get all messages or an error, as in a byte stream. */
  keepsMessages = false
  /** With keepsMessages: whether it is being read, however slowly. */
  isRead: (() => boolean) | null = null
  /** Maximum size of a message in bytes, if not the connection's. */
  readonly maxPayload: number | undefined = undefined
  /** Messages are wanted in pieces as they arrive. */
  readonly wantsPieces: boolean = false
  readonly #owner: MessageReaderOwner
  readonly #waiters = new Fifo<Waiter<Item>>()
  #hasAsked = false
  #end: { readonly error: Error | null } | null = null // null: more may come

  constructor (owner: MessageReaderOwner) {
    this.#owner = owner
  }

  get isWaiting (): boolean {
    return !this.#waiters.isEmpty
  }

  /** It has a message, and may ask for the next when done with it. */
  get isBusy (): boolean {
    return !this.isWaiting && !this.hasEnded
  }

  /** next() has been called. */
  get hasAsked (): boolean {
    return this.#hasAsked
  }

  get hasEnded (): boolean {
    return this.#end !== null
  }

  /** The error next() rejects with from now on, if any. */
  get failure (): Error | null {
    return this.#end?.error ?? null
  }

  /** Resolves with the next message, or null when there are no more; rejects with the error given to end(). */
  next (): Promise<Item | null> {
    this.#hasAsked = true
    if (this.#end !== null) return this.#end.error === null ? Promise.resolve(null) : Promise.reject(this.#end.error)
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject })
      this.#owner.onWait()
    })
  }

  /** Hands a message to the oldest waiting next(); isWaiting must be true. */
  deliver (message: Message): void {
    this.give(message as Item)
  }

  /** Hands over a message whose pieces follow; wantsPieces and isWaiting must be true. */
  begin (_isBinary: boolean): MessageSink | null {
    return null
  }

  protected give (item: Item): void {
    this.#waiters.shift()!.resolve(item)
  }

  /** Withdraws the latest next(), whose promise stays pending. @returns whether one was waiting */
  withdraw (): boolean {
    if (!this.isWaiting) return false
    this.#waiters.cut(this.#waiters.length - 1)
    return true
  }

  /** No more messages will come. Later calls do nothing. */
  end (error: Error | null): void {
    if (this.#end !== null) return
    this.#end = { error }
    for (const { resolve, reject } of this.#waiters.cut()) {
      if (error === null) resolve(null)
      else reject(error)
    }
  }

  /** Makes way for another reader. @param expectsNext whether to wait for the next reader as for this one */
  release (expectsNext = false): void {
    this.#owner.onRelease(expectsNext)
  }
}

/** `string` for text, `Buffer` for binary. */
export function messageValue ({ data, isBinary }: Message): string | Buffer {
  return isBinary ? data : data.toString()
}

/** Iterates over the messages of a reader, converted by `convert`. */
export class MessageIterator<Item, Value> implements AsyncIterableIterator<Value, undefined> {
  readonly #reader: MessageReader<Item>
  readonly #convert: (item: Item) => Value
  readonly #onLeave: () => void
  #isDone = false

  /** @param onLeave called if the consumer leaves early, by `break`, `return` or `throw` in a `for await` */
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
