// A WebSocket client of nothing but a TCP socket: what goes out is given as bytes, what comes in is read without lib.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Test } from 'tap'
import { clientFrame, closePayload } from './frames.ts'

export interface ReceivedFrame {
  fin: boolean
  /** RSV1, RSV2 and RSV3 as one number of three bits, so 4 is RSV1. */
  rsv: number
  opcode: number
  payload: Buffer
}

export interface RawClientOptions {
  path?: string
  headers?: Record<string, string>
  /** Goes out in one write with the handshake. */
  early?: Buffer
}

export const TEXT = 0x1
export const BINARY = 0x2
export const CLOSE = 0x8
export const PING = 0x9
export const PONG = 0xa

export function text (payload: string): Buffer {
  return clientFrame({ opcode: TEXT, payload })
}

export function binary (payload: string | Uint8Array): Buffer {
  return clientFrame({ opcode: BINARY, payload })
}

export function ping (payload = ''): Buffer {
  return clientFrame({ opcode: PING, payload })
}

export function close (code?: number, reason?: string): Buffer {
  return clientFrame({ opcode: CLOSE, payload: closePayload(code, reason) })
}

/** `prefix0`, `prefix1` and so on. */
export function numbered (prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i}`)
}

/** A frame as '0x1 hello'; a Close frame as 'close 1000 reason' or 'close' alone. */
export function describe ({ opcode, payload, fin }: ReceivedFrame): string {
  if (opcode === CLOSE) {
    return payload.length === 0 ? 'close' : `close ${payload.readUInt16BE(0)} ${payload.toString('utf8', 2)}`.trimEnd()
  }
  const names: Record<number, string> = { 0: 'continuation', 1: 'text', 2: 'binary', 9: 'ping', 10: 'pong' }
  return `${names[opcode] ?? `0x${opcode.toString(16)}`}${fin ? '' : '...'} ${payload}`.trimEnd()
}

/** Opens a WebSocket on `port`, which is dropped at the end of the test. */
export async function openRawClient (t: Test, port: number, options: RawClientOptions = {}): Promise<RawClient> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  t.teardown(() => { socket.destroy() })
  const client = new RawClient(socket)
  await once(socket, 'connect')
  const headers = {
    Host: `127.0.0.1:${port}`,
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...options.headers
  }
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')
  const handshake = Buffer.from(`GET ${options.path ?? '/'} HTTP/1.1\r\n${fields}\r\n`)
  client.write(handshake, options.early ?? Buffer.alloc(0))
  const response = await client.response
  if (!response.startsWith('HTTP/1.1 101 ')) throw new Error(`not a 101: ${response}`)
  return client
}

export class RawClient {
  readonly socket: Socket
  /** All frames that have come. */
  readonly frames: ReceivedFrame[] = []
  /** The head of the answer to the handshake. */
  readonly response: Promise<string>
  /** The server's FIN is here. */
  readonly ended: Promise<void>
  /** The socket is closed; the error that it died of, if any. */
  readonly closed: Promise<NodeJS.ErrnoException | null>
  /** Chunks of data that came behind the handshake. */
  chunks = 0

  #error: NodeJS.ErrnoException | null = null
  #onResponse: ((head: string) => void) | null = null
  #head: Buffer = Buffer.alloc(0)
  // bytes that no frame was made of yet
  #pending: Buffer[] = []
  #pendingLength = 0
  // of the frames, how many next() has given away
  #given = 0
  #waiting: Array<() => void> = []

  constructor (socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    this.response = new Promise(resolve => { this.#onResponse = resolve })
    this.ended = new Promise(resolve => { socket.once('end', () => { resolve() }) })
    this.closed = new Promise(resolve => {
      socket.on('error', error => { this.#error = error })
      socket.once('close', () => {
        resolve(this.#error)
        this.#onResponse?.('')
        this.#wake()
      })
    })
    socket.on('end', () => { this.#wake() })
    socket.on('data', (chunk: Buffer) => { this.#onData(chunk) })
  }

  write (...parts: Buffer[]): void {
    this.socket.write(Buffer.concat(parts))
  }

  /** Ends our side, the other stays open. */
  end (...parts: Buffer[]): void {
    this.socket.end(Buffer.concat(parts))
  }

  /** Closes without a closing handshake. */
  destroy (): void {
    this.socket.destroy()
  }

  /** Closes with a RST. */
  reset (): void {
    this.socket.resetAndDestroy()
  }

  pause (): void {
    this.socket.pause()
  }

  resume (): void {
    this.socket.resume()
  }

  /** The server has ended the connection. */
  get isOver (): boolean {
    return this.socket.readableEnded || this.socket.destroyed
  }

  /** The next frame that was not asked for yet. Rejects when the connection ends without it. */
  async next (): Promise<ReceivedFrame> {
    while (this.#given === this.frames.length) {
      if (this.isOver) throw new Error('the connection has ended, no frame came')
      await new Promise<void>(resolve => { this.#waiting.push(resolve) })
    }
    return this.frames[this.#given++]!
  }

  /** The next `count` frames, described. */
  async take (count: number): Promise<string[]> {
    const taken: string[] = []
    while (taken.length < count) taken.push(describe(await this.next()))
    return taken
  }

  /** All frames from the next to the end of the stream, described. */
  async rest (): Promise<string[]> {
    await Promise.race([this.ended, this.closed])
    const rest = this.frames.slice(this.#given).map(describe)
    this.#given = this.frames.length
    return rest
  }

  /** Returns when the server has read all that was written before. No other frame may come meanwhile. */
  async roundTrip (): Promise<void> {
    this.write(ping('round trip'))
    const [answer] = await this.take(1)
    if (answer !== 'pong round trip') throw new Error(`a Pong was expected, ${answer} came`)
  }

  #wake (): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }

  #onData (chunk: Buffer): void {
    if (this.#onResponse !== null) {
      this.#head = Buffer.concat([this.#head, chunk])
      const end = this.#head.indexOf('\r\n\r\n')
      if (end < 0) return
      this.#onResponse(this.#head.toString('latin1', 0, end))
      this.#onResponse = null
      chunk = this.#head.subarray(end + 4)
      if (chunk.length === 0) return
    }
    this.chunks++
    this.#pending.push(chunk)
    this.#pendingLength += chunk.length
    this.#readFrames()
    this.#wake()
  }

  #readFrames (): void {
    for (;;) {
      const header = this.#peek(10)
      if (header.length < 2) return
      const length7 = header[1]!
      if (length7 > 127) throw new Error('the server has masked a frame')
      const start = length7 === 127 ? 10 : length7 === 126 ? 4 : 2
      if (header.length < start) return
      const length = length7 === 127 ? Number(header.readBigUInt64BE(2)) : length7 === 126 ? header.readUInt16BE(2) : length7
      if (this.#pendingLength < start + length) return
      const bytes = this.#peek(start + length)
      this.frames.push({ fin: header[0]! > 127, rsv: header[0]! >> 4 & 7, opcode: header[0]! & 15, payload: bytes.subarray(start) })
      this.#pending[0] = this.#pending[0]!.subarray(start + length)
      this.#pendingLength -= start + length
    }
  }

  /** Up to `length` bytes from the first, joined no more often than needed. */
  #peek (length: number): Buffer {
    const first = this.#pending[0] ?? Buffer.alloc(0)
    if (first.length >= length || this.#pending.length <= 1) return first.subarray(0, length)
    this.#pending = [Buffer.concat(this.#pending)]
    return this.#pending[0]!.subarray(0, length)
  }
}
