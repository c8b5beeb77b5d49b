// A message read as it arrives: pieces of its payload -> Readable.
import { Readable } from 'node:stream'
import type { IncomingMessageReadable } from '../../../types/connection.ts'
import { ConnectionClosedError } from '../../errors.ts'
import { MessageReader, type MessageReaderOwner, type MessageSink } from '../incoming/message-reader.ts'
import type { Message } from '../../framing/message-assembler.ts'
import { catchUnheardErrors } from './unheard-errors.ts'
import type { Viewed } from './viewed.ts'

export class IncomingMessageStream extends Readable implements IncomingMessageReadable, MessageSink {
  readonly isBinary: boolean
  readonly #onWant: () => void
  #hasRoom = false
  #isComplete = false

  constructor (viewed: Viewed, isBinary: boolean, highWaterMark: number, onWant: () => void) {
    super({ highWaterMark })
    this.isBinary = isBinary
    this.#onWant = onWant
    catchUnheardErrors(this, viewed)
  }

  /** There is room for the next piece, or it will not be read anyway. */
  get wantsMore (): boolean {
    return !this.#isComplete && (this.#hasRoom || this.destroyed)
  }

  get isRead (): boolean {
    return this.listenerCount('data') > 0 || this.listenerCount('readable') > 0
  }

  give (piece: Buffer, isLast: boolean): void {
    this.#isComplete = isLast
    if (piece.length > 0) this.#hasRoom = this.push(piece)
    if (isLast) this.push(null)
  }

  /** The rest will not come. A complete message stays readable. */
  cut (error: Error | null): void {
    if (!this.#isComplete) this.destroy(error ?? new ConnectionClosedError('the connection was closed in the middle of a message'))
  }

  /** The rest will not be read. */
  skip (): void {
    if (!this.readableEnded) this.destroy()
  }

  override _read (): void {
    this.#hasRoom = true
    this.#onWant()
  }

  override _destroy (error: Error | null, callback: (error?: Error | null) => void): void {
    this.#onWant()
    callback(error)
  }
}

/** Reads messages as streams, one at a time: asking for the next abandons the rest of the one before. */
export class IncomingMessageStreamReader extends MessageReader<IncomingMessageStream> {
  /** Maximum size of a message in bytes, which may be larger than for messages in memory. */
  override readonly maxPayload: number
  override readonly wantsPieces = true
  readonly #viewed: Viewed
  readonly #highWaterMark: number
  readonly #onWant: () => void
  #current: IncomingMessageStream | null = null

  constructor (owner: MessageReaderOwner, viewed: Viewed, maxPayload: number, highWaterMark: number) {
    super(owner)
    this.maxPayload = maxPayload
    this.#viewed = viewed
    this.#highWaterMark = highWaterMark
    this.#onWant = () => { owner.onWait() }
  }

  override get isBusy (): boolean {
    return super.isBusy && this.#current?.wantsMore !== true
  }

  override next (): Promise<IncomingMessageStream | null> {
    this.#current?.skip()
    return super.next()
  }

  override deliver ({ data, isBinary }: Message): void {
    this.begin(isBinary).give(data, true)
  }

  override begin (isBinary: boolean): IncomingMessageStream {
    this.#current = new IncomingMessageStream(this.#viewed, isBinary, this.#highWaterMark, this.#onWant)
    this.give(this.#current)
    return this.#current
  }

  override end (error: Error | null): void {
    this.#current?.cut(error)
    super.end(error)
  }

  leave (): void {
    this.#current?.skip()
  }
}
