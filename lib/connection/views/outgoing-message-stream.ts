// A message that is sent while it is made: Writable -> fragments.
import { Writable, type WritableOptions } from 'node:stream'
import type { WebSocketConnection } from '../../../types/connection.ts'
import { INTERNAL_ERROR } from '../../protocol/close-code.ts'
import { ConnectionClosedError } from '../../errors.ts'
import { COPY_UP_TO } from '../../framing/frame-serializer.ts'
import type { MessageSlot } from '../outgoing/message-slot.ts'
import { catchUnheardErrors } from './unheard-errors.ts'

const NOTHING: Buffer = Buffer.alloc(0)

const cutOff = (): ConnectionClosedError => new ConnectionClosedError('the connection was closed before the message was sent')

export class OutgoingMessageStream extends Writable {
  readonly #connection: WebSocketConnection
  readonly #slot: MessageSlot
  #unsent = 0

  constructor (connection: WebSocketConnection, slot: MessageSlot, options: Pick<WritableOptions, 'highWaterMark'>) {
    super(options)
    this.#connection = connection
    this.#slot = slot
    catchUnheardErrors(this, connection)
    slot.whenCut(() => { this.destroy(cutOff()) })
  }

  override _construct (callback: (error?: Error | null) => void): void {
    void this.#slot.turn.then(() => { process.nextTick(callback) })
  }

  override _write (chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    if (chunk.length === 0) {
      callback()
      return
    }
    this.#unsent += chunk.length
    // whoever writes may use the memory again once the write is done
    const isDone = chunk.length <= COPY_UP_TO && this.#unsent < this.writableHighWaterMark
    this.#slot.send(chunk, false, error => {
      this.#unsent -= chunk.length
      if (!isDone) callback(error)
    })
    if (isDone) callback()
  }

  override _final (callback: (error?: Error | null) => void): void {
    this.#slot.send(NOTHING, true, callback)
  }

  override _destroy (error: Error | null, callback: (error?: Error | null) => void): void {
    if (this.#slot.isHalf) this.#connection.close(INTERNAL_ERROR) // there is no other way to take back what has begun
    else this.#slot.leave()
    callback(error)
  }
}
