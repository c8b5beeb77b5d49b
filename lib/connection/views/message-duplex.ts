// messages -> Duplex -> messages: a connection as a stream of bytes, or of messages in objectMode.
import { Duplex } from 'node:stream'
import type { ToDuplexOptions, WebSocketConnection } from '../../../types/connection.ts'
import { ConnectionClosedError, notTyped, SchemaError } from '../../errors.ts'
import type { Message } from '../../framing/message-assembler.ts'
import { isBytes } from '../../messages/message-encoder.ts'
import { isFailureCode, NORMAL_CLOSURE } from '../../protocol/close-code.ts'
import type { MessageReader } from '../incoming/message-reader.ts'
import { catchUnheardErrors } from './unheard-errors.ts'
import type { Viewed } from './viewed.ts'

// For a byte stream, whose writes may have any size: far below the usual maxPayload of a peer.
const MESSAGE_SIZE = 64 * 1024

export class MessageDuplex extends Duplex {
  readonly #viewed: Viewed
  readonly #connection: WebSocketConnection
  readonly #reader: MessageReader
  readonly #isBinary: boolean | undefined
  readonly #messageSize: number
  #isReading = false
  // number of streams piped into this one
  #sources = 0
  // the peer's Close waits until they are done
  #isCloseDue = false

  constructor (
    viewed: Viewed, reader: MessageReader,
    { objectMode = false, binary, messageSize = MESSAGE_SIZE, ...options }: ToDuplexOptions = {}
  ) {
    if (!Number.isInteger(messageSize) || messageSize < 1) throw new RangeError(`messageSize must be a number of bytes from 1 on, not ${messageSize}`)
    if (objectMode && binary !== undefined && viewed.encodes) throw notTyped('the option binary', 'send')
    // No read-ahead: the connection has its own, and a stream destroyed by an error drops what it buffered. Messages may
    // be large.
    super({ readableHighWaterMark: 1, ...(objectMode ? { writableHighWaterMark: 1 } : {}), ...options, objectMode, autoDestroy: true })
    const { connection } = viewed
    this.#viewed = viewed
    this.#connection = connection
    this.#reader = reader
    this.#messageSize = objectMode ? Infinity : messageSize
    this.#isBinary = binary ?? (objectMode ? undefined : true)
    reader.keepsMessages = true
    reader.isRead = () => this.listenerCount('data') > 0 || this.listenerCount('readable') > 0
    reader.defersClose = () => {
      this.#isCloseDue = reader.hasAsked && this.#mayAnswer() && connection.readyState === connection.OPEN
      return this.#isCloseDue
    }
    catchUnheardErrors(this, viewed)
    this.on('pipe', () => { this.#sources++ })
    this.on('unpipe', () => {
      this.#sources--
      if (this.readableEnded && !this.#mayAnswer()) this.end()
    })
    this.on('end', () => { if (!this.#mayAnswer()) this.end() })
    void connection.closed.then(({ wasClean, code }) => { this.#onClosed(wasClean && !isFailureCode(code)) })
  }

  /** Something is piped into this stream. */
  #mayAnswer (): boolean {
    return !this.writableEnded && this.#sources > 0
  }

  override _read (): void {
    if (this.#isReading) return
    this.#isReading = true
    this.#reader.next().then(message => {
      this.#isReading = false
      if (this.destroyed) return
      if (message === null) this.push(null)
      else this.#take(message)
    }, (error: Error) => { this.destroy(error) })
  }

  #take (message: Message): void {
    if (this.readableObjectMode) this.push(this.#viewed.messageValue(message))
    else if (message.data.length > 0) this.push(message.data)
    else this._read() // an empty message has no bytes to push
  }

  override _write (chunk: string | Buffer, encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    if (chunk.length > this.#messageSize) {
      this.#sendInParts(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk).then(() => { process.nextTick(callback) }, (error: Error) => { process.nextTick(callback, error) })
    } else { // also values without a length, which send() rejects
      this.#send(chunk, callback)
    }
  }

  #send (message: string | Buffer, callback: (error?: Error | null) => void): void {
    const connection = this.#connection
    try {
      if (connection.readyState !== connection.OPEN) throw this.#closedTooEarly()
      // the writer may reuse the memory once the write is done
      if (!this.#mayUseAgain(message)) {
        connection.send(message, this.#options, callback)
        return
      }
      if (connection.send(message, this.#options)) {
        if (this.#viewed.isTurnOver) setImmediate(callback)
        else callback()
        return
      }
    } catch (error) {
      callback(error as Error)
      return
    }
    void connection.drained().then(mayGoOn => { process.nextTick(callback, mayGoOn ? null : this.#closedTooEarly()) })
  }

  /** Whether send() copies or serializes the message, so that the writer may reuse its memory at once. */
  #mayUseAgain (message: string | Buffer): boolean {
    return this.#viewed.copies(message.length) || (this.#viewed.encodes && !isBytes(message))
  }

  /** In a byte stream a write may be larger than the peer's maxPayload: it is split into several messages. */
  async #sendInParts (bytes: Buffer): Promise<void> {
    for (let start = 0; start < bytes.length;) {
      const end = this.#isBinary === true ? start + this.#messageSize : endOfText(bytes, start, this.#messageSize)
      const part = bytes.subarray(start, end)
      await new Promise<void>((resolve, reject) => {
        this.#send(part, error => { if (error) reject(error); else resolve() })
      })
      start = end
    }
  }

  get #options (): { binary?: boolean } {
    return this.#isBinary === undefined ? {} : { binary: this.#isBinary }
  }

  #closedTooEarly (): ConnectionClosedError {
    return this.#viewed.closedError('the connection was closed before all was written')
  }

  override _final (callback: (error?: Error | null) => void): void {
    // releasing the reader lets the peer's Close have its turn, and ours repeats its code
    if (this.#isCloseDue) this.#reader.release()
    else this.#connection.close(NORMAL_CLOSURE)
    void this.#connection.closed.then(({ wasClean, code }) => {
      process.nextTick(callback, wasClean && !isFailureCode(code) ? null : this.#closedTooEarly())
    })
  }

  override _destroy (error: Error | null, callback: (error?: Error | null) => void): void {
    // An error that only reports the end of this connection must not cut off its Close frame. That of another connection is an
    // error like any other, so that two connections piped together end together.
    if (error instanceof SchemaError) this.#viewed.closeFailed() // with a Close, as when a handler sends such a value
    else if (!(error instanceof ConnectionClosedError && error.isOf(this.#connection))) this.#connection.terminate()
    this.#reader.end(null)
    this.#reader.release()
    callback(error)
  }

  /** Ends a stream that is not being read, which would not notice the end. */
  #onClosed (isEnd: boolean): void {
    if (this.#isReading || this.readableEnded || this.readableLength > 0 || this.destroyed) return
    const { failure } = this.#reader
    if (failure !== null) {
      this.destroy(failure)
    } else if (!isEnd || (this.#sources > 0 && !this.writableEnded)) {
      this.destroy(this.#closedTooEarly())
    } else {
      this.push(null)
      this.end()
    }
  }
}

/** The end of a part of about `length` bytes of UTF-8 from `start`: extended to the end of its last character. */
function endOfText (bytes: Buffer, start: number, length: number): number {
  let end = start + length
  while (end < start + length + 3 && (bytes[end]! & 0xc0) === 0x80) end++
  return end
}
