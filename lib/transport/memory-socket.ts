import { Duplex } from 'node:stream'

export interface MemorySocketOptions {
  /** Stands for a TLSSocket, whose bytes have been decrypted. Default: false. */
  encrypted?: boolean
  /** Default: 127.0.0.1. */
  remoteAddress?: string | undefined
  /**
   * A write does not wait for the other end to read. For HTTP/2, which has limits of its own: Node stops reading a
   * session while it has something to write, and two such would wait for each other. Default: false.
   */
  isUnlimited?: boolean
}

/** What Node's HTTP, and this library, use of a socket beyond what a stream has. */
interface SocketSurface {
  setTimeout (milliseconds: number): this
  setNoDelay (): this
  setKeepAlive (): this
  ref (): this
  unref (): this
}

/**
 * One of the two ends of a connection in memory, which Node's HTTP parser takes for a socket. Bytes are copied on their way. A write
 * is done when the other end has read it, and when one end is gone the other is told as over TCP.
 */
export class MemorySocket extends Duplex implements SocketSurface {
  readonly remoteAddress: string
  readonly remoteFamily = 'IPv4'
  readonly remotePort = 0
  /** Stands for a TLSSocket, whose bytes have been decrypted. */
  readonly encrypted: boolean
  readonly #isUnlimited: boolean
  #other: MemorySocket | null = null
  // of a write by the other end that waits for this one to read
  #onRead: (() => void) | null = null

  static pair (options: MemorySocketOptions = {}): [MemorySocket, MemorySocket] {
    const pair: [MemorySocket, MemorySocket] = [new MemorySocket(options), new MemorySocket(options)]
    pair[0].#other = pair[1]
    pair[1].#other = pair[0]
    return pair
  }

  private constructor ({ encrypted = false, remoteAddress = '127.0.0.1', isUnlimited = false }: MemorySocketOptions) {
    super()
    this.#isUnlimited = isUnlimited
    this.encrypted = encrypted
    this.remoteAddress = remoteAddress
  }

  override _read (): void {
    const onRead = this.#onRead
    this.#onRead = null
    onRead?.()
  }

  override _write (chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    const other = this.#other!
    if (other.destroyed) {
      callback(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
      return
    }
    const copy = Buffer.from(chunk)
    if (!this.#isUnlimited) {
      if (other.push(copy)) process.nextTick(callback)
      else other.#onRead = callback
      return
    }
    // an HTTP/2 session that receives something while it writes ends the process (Node.js 20)
    process.nextTick(() => {
      if (!this.destroyed && !other.destroyed) other.push(copy)
      callback()
    })
  }

  override _final (callback: (error?: Error | null) => void): void {
    this.#end()
    callback()
  }

  override _destroy (error: Error | null, callback: (error?: Error | null) => void): void {
    this.#end()
    this._read() // nobody else will, and a write by the other end must not wait for that
    callback(error)
  }

  /** By the time it gets there the other end has read everything. */
  #end (): void {
    const other = this.#other!
    if (!other.readableEnded && !other.destroyed) other.push(null)
  }

  setTimeout (): this { return this }
  setNoDelay (): this { return this }
  setKeepAlive (): this { return this }
  ref (): this { return this }
  unref (): this { return this }
}
