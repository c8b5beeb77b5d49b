import { EventEmitter } from 'node:events'
import { Socket } from 'node:net'
import { Duplex, Readable } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { WriteLoans } from '../framing/write-loans.ts'
import { WriteSlab } from '../framing/write-slab.ts'
import type { Transport } from './transport.ts'

// Node's own, which sockets inherit: what somebody has put in its place may keep what it is given
const write: unknown = Reflect.get(Duplex.prototype, 'write')
const push: unknown = Reflect.get(Readable.prototype, 'push')
const emit: unknown = Reflect.get(EventEmitter.prototype, 'emit')

const slab = new WriteSlab()
const loans = new WriteLoans()

/** A TCP or TLS socket, or any other Duplex, as Node's HTTP accepts those too. */
export class SocketTransport implements Transport {
  readonly stream: Duplex & Partial<Pick<Socket, 'setTimeout' | 'setNoDelay' | 'setKeepAlive'>>
  readonly ownsChunks: boolean
  readonly #isPlain: boolean

  constructor (socket: SocketTransport['stream']) {
    this.stream = socket
    this.ownsChunks = socket instanceof Socket
    this.#isPlain = Object.getPrototypeOf(socket) === Socket.prototype
  }

  /** Only if write() is Node's own: a subclass or replacement may keep the buffer. */
  get takesAtOnce (): boolean {
    return this.#isPlain && this.stream.write === write
  }

  get slab (): WriteSlab | undefined {
    return this.takesAtOnce ? slab : undefined
  }

  /** By what is public: TLS and other streams may keep what they have given. */
  get isReadByOthers (): boolean {
    const { stream } = this
    return !this.#isPlain || stream.listenerCount('data') > 1 || stream.listenerCount('readable') > 0 ||
      stream.push !== push || stream.emit !== emit
  }

  /** TLS completes a write only in the next turn. */
  get loans (): WriteLoans | undefined {
    if (this.#isPlain || Object.getPrototypeOf(this.stream) !== TLSSocket.prototype) return undefined
    return this.stream.write === write ? loans : undefined
  }

  tune (): void {
    this.stream.setTimeout?.(0)
    this.stream.setNoDelay?.(true)
  }

  keepAlive (): void {
    this.stream.setKeepAlive?.(true)
  }

  finish (): void {
    this.stream.end()
  }

  abort (): void {
    const { stream } = this
    // TLS completes an earlier write, such as that of the 101, only in the next turn, and only then starts the next write
    if (stream.writableLength === 0 || stream.writableNeedDrain) stream.destroy()
    else setImmediate(() => { setImmediate(() => { stream.destroy() }) })
  }
}
