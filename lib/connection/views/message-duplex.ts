// messages -> Duplex -> messages: a connection as a stream of bytes, or of messages in objectMode.
import { Duplex } from 'node:stream'
import type { ToDuplexOptions, WebSocketConnection } from '../../../types/connection.ts'
import { NORMAL_CLOSURE } from '../../protocol/close-code.ts'
import { ConnectionClosedError } from '../../errors.ts'
import { COPY_UP_TO } from '../../framing/frame-serializer.ts'
import { catchUnheardErrors } from './unheard-errors.ts'
import { messageValue, type MessageReader } from '../incoming/message-reader.ts'
import type { Message } from '../../framing/message-assembler.ts'

const closedTooEarly = (): ConnectionClosedError => new ConnectionClosedError('the connection was closed before all was written')

export class MessageDuplex extends Duplex {
  readonly #connection: WebSocketConnection
  readonly #reader: MessageReader
  readonly #isBinary: boolean | undefined
  #isReading = false
  // streams that are piped into this one
  #sources = 0
  // The peer's Close waits until they are done.
  #isCloseDue = false

  constructor (
    connection: WebSocketConnection, reader: MessageReader,
    { objectMode = false, binary, ...options }: ToDuplexOptions = {}
  ) {
    // No read-ahead: the connection itself has that, and a stream that is destroyed by an error drops what it holds. A message may
    // be large.
    super({ readableHighWaterMark: 1, ...(objectMode ? { writableHighWaterMark: 1 } : {}), ...options, objectMode, autoDestroy: true })
    this.#connection = connection
    this.#reader = reader
    this.#isBinary = binary ?? (objectMode ? undefined : true)
    reader.keepsMessages = true
    reader.defersClose = () => {
      this.#isCloseDue = reader.hasAsked && this.#mayAnswer() && connection.readyState === connection.OPEN
      return this.#isCloseDue
    }
    catchUnheardErrors(this, connection)
    this.on('pipe', () => { this.#sources++ })
    this.on('unpipe', () => {
      this.#sources--
      if (this.readableEnded && !this.#mayAnswer()) this.end()
    })
    this.on('end', () => { if (!this.#mayAnswer()) this.end() })
    void connection.closed.then(({ wasClean }) => { this.#onClosed(wasClean) })
  }

  /** Something is piped into this. */
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
    if (this.readableObjectMode) this.push(messageValue(message))
    else if (message.data.length > 0) this.push(message.data)
    else this._read() // no bytes
  }

  override _write (chunk: string | Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    const connection = this.#connection
    const options = this.#isBinary === undefined ? {} : { binary: this.#isBinary }
    try {
      if (connection.readyState !== connection.OPEN) throw closedTooEarly()
      // whoever writes may use the memory again once the write is done
      if (chunk.length > COPY_UP_TO) {
        connection.send(chunk, options, callback)
        return
      }
      if (connection.send(chunk, options)) {
        callback()
        return
      }
    } catch (error) {
      callback(error as Error)
      return
    }
    void connection.drained().then(() => {
      process.nextTick(callback, connection.readyState === connection.OPEN ? null : closedTooEarly())
    })
  }

  override _final (callback: (error?: Error | null) => void): void {
    // after the peer's Close ours says the same
    if (this.#isCloseDue) this.#reader.release()
    else this.#connection.close(NORMAL_CLOSURE)
    void this.#connection.closed.then(({ wasClean }) => { process.nextTick(callback, wasClean ? null : closedTooEarly()) })
  }

  override _destroy (error: Error | null, callback: (error?: Error | null) => void): void {
    // An error that only says that the connection has ended must not cut off the Close frame that says why.
    if (!(error instanceof ConnectionClosedError)) this.#connection.terminate()
    this.#reader.end(null)
    this.#reader.release()
    callback(error)
  }

  /** Who does not read would not learn of it. */
  #onClosed (wasClean: boolean): void {
    if (this.#isReading || this.readableEnded || this.readableLength > 0 || this.destroyed) return
    if (!wasClean || (this.#sources > 0 && !this.writableEnded)) {
      this.destroy(closedTooEarly())
    } else {
      this.push(null)
      this.end()
    }
  }
}
