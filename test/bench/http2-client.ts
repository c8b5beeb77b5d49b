import { once } from 'node:events'
import { connect, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2'
import type { BenchClient } from './client-connection.ts'
import { FrameCounter } from './frame-counter.ts'

// What a peer may send before it waits. From 4 MiB on the server asks by Pings whether it is read, which nobody answers here.
const WINDOW = 2 * 1024 * 1024

interface Shared {
  readonly session: Promise<ClientHttp2Session>
  clients: number
}

// by the port of the server
const opened = new Map<number, Shared>()

async function openSession (port: number): Promise<ClientHttp2Session> {
  const session = connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: WINDOW } })
  await once(session, 'remoteSettings')
  session.setLocalWindowSize(WINDOW)
  session.setMaxListeners(0) // each stream that waits for its response adds one
  return session
}

/** The client's side of one WebSocket over HTTP/2 (RFC 8441). All that are open to a server at a time share one session. */
export class Http2Client implements BenchClient {
  readonly head: string
  readonly #port: number
  readonly #stream: ClientHttp2Stream
  readonly #counter = new FrameCounter()
  #receive: (bytes: Buffer) => void = () => { throw new Error('bytes that nobody waits for') }
  #isDestroyed = false

  static async open (port: number, path: string): Promise<Http2Client> {
    const shared = opened.get(port) ?? { session: openSession(port), clients: 0 }
    opened.set(port, shared)
    shared.clients++
    const session = await shared.session
    const stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': path, 'sec-websocket-version': '13' })
    const [headers] = await once(stream, 'response') as [IncomingHttpHeaders & { ':status'?: number }]
    if (headers[':status'] !== 200) throw new Error(`the handshake was answered with ${headers[':status']}`)
    return new Http2Client(port, stream)
  }

  private constructor (port: number, stream: ClientHttp2Stream) {
    this.head = ''
    this.#port = port
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
    const shared = opened.get(this.#port)!
    if (--shared.clients > 0) return
    opened.delete(this.#port)
    void shared.session.then(session => { session.destroy() })
  }
}
