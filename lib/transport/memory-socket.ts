import { Duplex } from 'node:stream'

export interface MemorySocketOptions {
  /** Acts as a TLSSocket with decrypted bytes. Default: false. */
  encrypted?: boolean
  /** Default: 127.0.0.1. */
  remoteAddress?: string | undefined
  /**
   * Writes do not wait for the other end to read. For HTTP/2, which has flow control of its own: Node stops reading a session
   * while it has data to write, so that two sessions would wait for each other. Default: false.
   */
  isUnlimited?: boolean
}

/** The members of a socket, besides those of a stream, that Node's HTTP and this library use. */
interface SocketSurface {
  setTimeout (milliseconds: number): this
  setNoDelay (): this
  setKeepAlive (): this
  ref (): this
  unref (): this
}

/**
 * One end of an in-memory connection, which Node's HTTP accepts as a socket. Bytes are copied. A write completes when the other end
 * has read it, and the end of one side is seen by the other as over TCP.
 */
export class MemorySocket extends Duplex implements SocketSurface {
  readonly remoteAddress: string
  readonly remoteFamily = 'IPv4'
  readonly remotePort = 0
  /** Acts as a TLSSocket with decrypted bytes. */
  readonly encrypted: boolean
  readonly #isUnlimited: boolean
  #other: MemorySocket | null = null
  // callback of a write by the other end that waits for this one to read
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
    // an HTTP/2 session that receives data while it writes crashes the process (Node.js 20)
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
    this._read() // releases a pending write of the other end
    callback(error)
  }

  /** Signals the end to the other side, after everything written. */
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
