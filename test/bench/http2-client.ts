import { once } from 'node:events'
import { connect, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2'
import type { BenchClient } from './client-connection.ts'
import { FrameCounter } from './frame-counter.ts'

// What a peer may send before it waits. From 4 MiB on the server asks by Pings whether it is read, which nobody answers here.
const WINDOW = 2 * 1024 * 1024

let opened: Promise<ClientHttp2Session> | null = null
let clients = 0

async function openSession (port: number): Promise<ClientHttp2Session> {
  const session = connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: WINDOW } })
  await once(session, 'remoteSettings')
  session.setLocalWindowSize(WINDOW)
  session.setMaxListeners(0) // each stream that waits for its response adds one
  return session
}

/** The client's side of one WebSocket over HTTP/2 (RFC 8441). All that are open at a time share one session. */
export class Http2Client implements BenchClient {
  readonly head: string
  readonly #stream: ClientHttp2Stream
  readonly #counter = new FrameCounter()
  #receive: (bytes: Buffer) => void = () => { throw new Error('bytes that nobody waits for') }
  #isDestroyed = false

  static async open (port: number, path: string): Promise<Http2Client> {
    clients++
    const session = await (opened ??= openSession(port))
    const stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': path, 'sec-websocket-version': '13' })
    const [headers] = await once(stream, 'response') as [IncomingHttpHeaders & { ':status'?: number }]
    if (headers[':status'] !== 200) throw new Error(`the handshake was answered with ${headers[':status']}`)
    return new Http2Client(stream)
  }

  private constructor (stream: ClientHttp2Stream) {
    this.head = ''
    this.#stream = stream
    stream.on('data', (bytes: Buffer) => { this.#receive(bytes) })
    stream.on('error', error => { if (!this.#isDestroyed) throw error })
    stream.on('end', () => { if (!this.#isDestroyed) throw new Error('the server dropped a connection') })
  }

  countMessages (listener: (count: number) => void): void {
    this.#receive = bytes => {
      const messages = this.#counter.push(bytes)
      if (messages > 0) listener(messages)
    }
  }

  takeBytes (listener: (bytes: Buffer) => void): void {
    this.#receive = listener
  }

  write (bytes: Buffer): void {
    this.#stream.write(bytes)
  }

  stopReading (): void {
    this.#isDestroyed = true
    this.#stream.pause()
  }

  destroy (): void {
    this.#isDestroyed = true
    this.#stream.destroy()
    if (--clients > 0) return
    void opened!.then(session => { session.destroy() })
    opened = null
  }
}
