import { EventEmitter } from 'node:events'
import type { HandshakeRequest } from './exchange.ts'
import type { CloseInfo } from '../../types/connection.ts'

const EVENTS = ['upgrade', 'response', 'error', 'close']

/** A request that can be made only once a tunnel or session is open. It re-emits the events of that request. */
export class EventualRequest extends EventEmitter implements HandshakeRequest {
  readonly #make: (signal: AbortSignal) => Promise<HandshakeRequest>
  readonly #signal: AbortSignal | undefined
  // aborted by destroy()
  readonly #controller = new AbortController()
  #request: HandshakeRequest | null = null

  /** @param signal the caller's; aborting it destroys the request */
  constructor (signal: AbortSignal | undefined, make: (signal: AbortSignal) => Promise<HandshakeRequest>) {
    super()
    this.#signal = signal
    this.#make = make
  }

  readonly #onAbort = (): void => { this.destroy(this.#signal!.reason as Error) }

  end (): void {
    this.#signal?.addEventListener('abort', this.#onAbort)
    this.#make(this.#controller.signal).then(request => { this.#follow(request) }, (error: Error) => { this.destroy(error) })
  }

  #follow (request: HandshakeRequest): void {
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#request = request
    for (const event of EVENTS) request.on(event, (...args: unknown[]) => { this.emit(event, ...args) })
    if (this.#controller.signal.aborted) request.destroy()
    else request.end()
  }

  destroy (error?: Error): void {
    if (this.#request !== null) {
      this.#request.destroy(error)
    } else if (!this.#controller.signal.aborted) {
      this.#signal?.removeEventListener('abort', this.#onAbort)
      this.#controller.abort(error)
      if (error !== undefined) this.emit('error', error)
      this.emit('close')
    }
  }

  left (info: CloseInfo): void {
    this.#request?.left?.(info)
  }
}
