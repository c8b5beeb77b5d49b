// The pull side of a connection: one consumer that asks for messages one by one, with `for await`, by receive() or as a stream.
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

/** Takes the pieces of a message while they come. */
export interface MessageSink {
  /** There is room for the next piece, or nobody who would miss it. */
  readonly wantsMore: boolean
  /** Somebody reads what it is given. */
  readonly isRead: boolean
  give (piece: Buffer, isLast: boolean): void
  /** What is missing will not come. */
  cut (error: Error | null): void
}

/** What stands between who gives messages and who asks for them. Whoever asks first gets the first. */
export class MessageReader<Item = Message> {
  /** Asked when the peer's Close has its turn; true: it has to wait until this reader is released, which is at its end now. */
  defersClose: () => boolean = () => false
  /** Whoever reads must get all messages or an error: they are parts of a whole, as in a stream of bytes. */
  keepsMessages = false
  /** With that: somebody reads, though slowly maybe. */
  isRead: (() => boolean) | null = null
  /** Bytes of one message, where that is not what the connection says. */
  readonly maxPayload: number | undefined = undefined
  /** Messages are wanted while they come. */
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

  /** Why next() rejects from now on, if it does. */
  get failure (): Error | null {
    return this.#end?.error ?? null
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

  /** Hands a message to who has waited longest; isWaiting must be true. */
  deliver (message: Message): void {
    this.give(message as Item)
  }

  /** Hands over a message of which the pieces follow; where wantsPieces and isWaiting are true. */
  begin (_isBinary: boolean): MessageSink | null {
    return null
  }

  protected give (item: Item): void {
    this.#waiters.shift()!.resolve(item)
  }

  /** Who has asked last waits no longer, and its promise stays pending. @returns whether somebody waited */
  withdraw (): boolean {
    if (!this.isWaiting) return false
    this.#waiters.cut(this.#waiters.length - 1)
    return true
  }

  /** No message will come any more. Later calls do nothing. */
  end (error: Error | null): void {
    if (this.#end !== null) return
    this.#end = { error }
    for (const { resolve, reject } of this.#waiters.cut()) {
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
