// A message sent while it is being produced: Writable -> fragments.
import { Writable, type WritableOptions } from 'node:stream'
import { ByteCollector } from '../../framing/byte-collector.ts'
import { INTERNAL_ERROR } from '../../protocol/close-code.ts'
import type { MessageSlot } from '../outgoing/message-slot.ts'
import { catchUnheardErrors } from './unheard-errors.ts'
import type { Viewed } from './viewed.ts'

// Small writes of one turn become one fragment of up to about this many bytes: some peers limit the number of fragments.
const FRAGMENT = 16 * 1024

type Callback = (error?: Error | null) => void

export class OutgoingMessageStream extends Writable {
  readonly #viewed: Viewed
  readonly #slot: MessageSlot
  // bytes passed to the connection that are not out yet
  #unsent = 0
  // small writes not sent yet: copies, as the writer may reuse the memory once the write is done
  readonly #gathered = new ByteCollector()
  #isSendScheduled = false
  // the callback of a write that completes when everything gathered with it is out
  #waiting: Callback | null = null

  constructor (viewed: Viewed, slot: MessageSlot, options: Pick<WritableOptions, 'highWaterMark'>) {
    super(options)
    this.#viewed = viewed
    this.#slot = slot
    catchUnheardErrors(this, viewed)
    slot.whenCut(() => { this.destroy(viewed.closedError('the connection was closed before the message was sent')) })
  }

  override _construct (callback: Callback): void {
    void this.#slot.turn.then(() => { process.nextTick(callback) })
  }

  override _write (chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    if (!this.#viewed.copies(chunk.length)) {
      this.#sendGathered()
      this.#send(chunk, callback)
      return
    }
    this.#gathered.append(Buffer.from(chunk))
    // an empty write has nothing to wait for
    const isFull = this.#gathered.length > 0 && this.#unsent + this.#gathered.length >= this.writableHighWaterMark
    if (isFull) this.#waiting = callback
    if (isFull || this.#gathered.length >= FRAGMENT) this.#sendGathered()
    else this.#scheduleSend()
    if (isFull) return
    if (this.#viewed.isTurnOver) setImmediate(callback)
    else callback()
  }

  override _final (callback: Callback): void {
    this.#slot.send(this.#gathered.take(), true, callback)
  }

  override _destroy (error: Error | null, callback: Callback): void {
    if (this.#slot.isHalf) this.#viewed.connection.close(INTERNAL_ERROR) // the only way to abandon a message that has begun
    else this.#slot.leave()
    callback(error)
  }

  #scheduleSend (): void {
    if (this.#isSendScheduled) return
    this.#isSendScheduled = true
    setImmediate(() => {
      this.#isSendScheduled = false
      if (!this.destroyed && !this.writableEnded) this.#sendGathered() // if ended, they go with the last fragment
    })
  }

  #sendGathered (): void {
    if (this.#gathered.length === 0) return
    const waiting = this.#waiting
    this.#waiting = null
    this.#send(this.#gathered.take(), waiting ?? (() => {}))
  }

  #send (payload: Buffer, callback: Callback): void {
    this.#unsent += payload.length
    this.#slot.send(payload, false, error => {
      this.#unsent -= payload.length
      callback(error)
    })
  }
}
