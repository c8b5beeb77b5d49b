// HTTP and WebSocket as bytes on a socket: what is sent is written out, what comes back is shown as it came. The client's
// side knows nothing of lib, and nothing waits for time: every wait ends with an event, or with the end of the connection.
import { connect as connectTcp, type AddressInfo, type Server, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import websocket from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketPluginOptions } from '../../types/options.ts'
import { CERTIFICATE } from './certificate.ts'
import { clientFrame, closePayload, readFrames, type WireFrame } from './frames.ts'

export { CERTIFICATE }

// RFC 6455 §1.3
export const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
export const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='

/** A header field's value; its values when it is repeated; undefined when it is missing. */
export type Fields = Record<string, string | string[] | undefined>

export interface RequestLine {
  method?: string
  version?: string
}

/** The bytes of a request without a body. */
export function request (path: string, fields: Fields = {}, { method = 'GET', version = '1.1' }: RequestLine = {}): string {
  const lines = Object.entries({ Host: 'server.example.com', ...fields }).flatMap(([name, given]) => {
    return given === undefined ? [] : [given].flat().map(value => `${name}: ${value}`)
  })
  return [`${method} ${path} HTTP/${version}`, ...lines, '', ''].join('\r\n')
}

/** The bytes of the opening handshake of RFC 6455 §1.2 with these header fields changed. */
export function handshake (path = '/ws', changes: Fields = {}, line: RequestLine = {}): string {
  return request(path, {
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': KEY,
    'Sec-WebSocket-Version': '13',
    ...changes
  }, line)
}

/** A masked text frame. */
export function text (payload: string): Buffer {
  return clientFrame({ opcode: 0x1, payload })
}

/** A masked Close frame. */
export function close (code?: number): Buffer {
  return clientFrame({ opcode: 0x8, payload: closePayload(code) })
}

/** A text frame's payload, a Close frame's code. */
export function content ({ opcode, payload }: WireFrame): string | number {
  return opcode === 0x8 ? payload.readUInt16BE() : payload.toString()
}

export interface Answer {
  statusCode: number
  /** By name in lower case; of a repeated field, its values joined by ', '. */
  headers: Record<string, string>
  body: string
}

/** What the error response of Fastify says. */
export function problem (answer: Answer): { statusCode: number, code?: string, error: string, message: string } {
  return JSON.parse(answer.body)
}

export interface PeerOptions {
  port: number
  host?: string
  tls?: boolean
  /** Does not end its side when the server has ended its own. Default: false. */
  staysHalfOpen?: boolean
  /** Reads nothing. Default: false. */
  deaf?: boolean
}

/** The client's end of a connection. */
export class Peer {
  readonly socket: Socket
  /** The server has ended its side, or the connection is gone. */
  readonly ended: Promise<void>
  /** The connection is gone: with null, or with the code of the error that it ended with. */
  readonly closed: Promise<string | null>
  #chunks: Buffer[] = []
  #length = 0
  #isEnded = false
  #failure: NodeJS.ErrnoException | null = null

  static async connect ({ port, host = '127.0.0.1', tls = false, staysHalfOpen = false, deaf = false }: PeerOptions): Promise<Peer> {
    const options = { port, host, allowHalfOpen: staysHalfOpen }
    const socket = tls ? connectTls({ ...options, ca: CERTIFICATE.cert }) : connectTcp(options)
    const peer = new Peer(socket, deaf)
    await new Promise<void>((resolve, reject) => {
      socket.once(tls ? 'secureConnect' : 'connect', resolve)
      socket.once('error', reject)
    })
    return peer
  }

  constructor (socket: Socket, deaf: boolean) {
    this.socket = socket
    socket.setNoDelay(true)
    if (!deaf) {
      socket.on('data', (chunk: Buffer) => {
        this.#chunks.push(chunk)
        this.#length += chunk.length
      })
    }
    socket.on('error', error => { this.#failure = error })
    this.ended = new Promise(resolve => {
      const onEnd = (): void => {
        this.#isEnded = true
        resolve()
      }
      socket.once('end', onEnd)
      socket.once('close', onEnd)
    })
    this.closed = new Promise(resolve => { socket.once('close', () => { resolve(this.#failure?.code ?? null) }) })
  }

  /** Sends it all in one write. */
  write (...parts: ReadonlyArray<string | Uint8Array>): this {
    this.socket.write(Buffer.concat(parts.map(part => Buffer.from(part as string))))
    return this
  }

  /** Ends its side, with what came before still on its way: FIN. */
  end (): this {
    this.socket.end()
    return this
  }

  /** Drops the connection: RST. */
  reset (): this {
    this.socket.resetAndDestroy()
    return this
  }

  /** What came and was not taken by answer() or frame(). */
  get received (): Buffer {
    const [first, ...others] = this.#chunks
    if (first === undefined || others.length > 0) this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0]!
  }

  #take (length: number): void {
    this.#chunks = [this.received.subarray(length)]
    this.#length -= length
  }

  /** The next HTTP response. `head`: it answers a HEAD request. */
  async answer ({ head = false } = {}): Promise<Answer> {
    let expected = 0
    return await this.#until('an answer', () => {
      if (this.#length < expected && !this.#isEnded) return undefined
      const parsed = parseAnswer(this.received, head, this.#isEnded)
      if (parsed.answer === undefined) {
        expected = parsed.length
        return undefined
      }
      this.#take(parsed.length)
      return parsed.answer
    })
  }

  /** The next frame. */
  async frame (): Promise<WireFrame> {
    return await this.#until('a frame', () => {
      const { frames: [frame] } = readFrames(this.received)
      if (frame === undefined) return undefined
      const header = { 7: 2, 16: 4, 64: 10 }[frame.lengthBits]
      this.#take(header + (frame.mask === null ? 0 : 4) + frame.payload.length)
      return frame
    })
  }

  /** The contents of the next `count` frames, as content() shows them. */
  async contents (count: number): Promise<Array<string | number>> {
    const contents: Array<string | number> = []
    while (contents.length < count) contents.push(content(await this.frame()))
    return contents
  }

  /** All that comes until the server ends its side. */
  async rest (): Promise<string> {
    await this.ended
    return this.received.toString('latin1')
  }

  async #until<Result> (what: string, take: () => Result | undefined): Promise<Result> {
    for (;;) {
      const result = take()
      if (result !== undefined) return result
      if (this.#isEnded) {
        const end = this.#failure === null ? 'ended' : `failed with ${this.#failure.code}`
        throw new Error(`the connection ${end} before ${what} came, with ${JSON.stringify(this.received.toString('latin1').slice(0, 1000))}`)
      }
      await new Promise<void>(resolve => {
        const events = ['data', 'end', 'close']
        const wake = (): void => {
          for (const event of events) this.socket.off(event, wake)
          resolve()
        }
        for (const event of events) this.socket.on(event, wake)
      })
    }
  }
}

/** The response that `bytes` start with, and its length; while it is not complete, no answer and the least that its length can be. */
function parseAnswer (bytes: Buffer, isHead: boolean, isEnded: boolean): { answer?: Answer, length: number } {
  const headLength = bytes.indexOf('\r\n\r\n')
  if (headLength === -1) return { length: 0 }
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, headLength).split('\r\n')
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value
  }
  const statusCode = Number(statusLine.split(' ')[1])
  const start = headLength + 4
  const answer = (body: string, length: number) => ({ answer: { statusCode, headers, body }, length: start + length })
  if (isHead || statusCode < 200 || statusCode === 204 || statusCode === 304) return answer('', 0)
  const rest = bytes.subarray(start)
  if (headers['transfer-encoding'] === 'chunked') {
    const body = parseChunks(rest)
    return typeof body === 'number' ? { length: start + body } : answer(body.text, body.length)
  }
  if (headers['content-length'] === undefined) return isEnded ? answer(rest.toString(), rest.length) : { length: 0 }
  const length = Number(headers['content-length'])
  return rest.length < length ? { length: start + length } : answer(rest.toString('utf8', 0, length), length)
}

/** The body that `bytes` start with; while it is not complete, the least that its length can be. */
function parseChunks (bytes: Buffer): { text: string, length: number } | number {
  const chunks: Buffer[] = []
  for (let start = 0; ;) {
    const lineEnd = bytes.indexOf('\r\n', start)
    if (lineEnd === -1) return bytes.length + 1
    const size = Number.parseInt(bytes.toString('latin1', start, lineEnd), 16)
    const next = lineEnd + 2 + size + 2
    if (bytes.length < next) return next
    if (size === 0) return { text: Buffer.concat(chunks).toString(), length: next }
    chunks.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size))
    start = next
  }
}

interface App {
  readonly server: Server
  listen (options: { port: number, host: string }): Promise<string>
  close (): unknown
}

/** An app that listens, with all that ever connected to it. */
export class Site {
  readonly port: number
  /** The server's ends of the connections that are not gone. */
  readonly sockets: Set<Socket>
  readonly #peers: Set<Peer>
  readonly #options: Partial<PeerOptions>

  constructor (port: number, sockets: Set<Socket>, peers: Set<Peer>, options: Partial<PeerOptions>) {
    this.port = port
    this.sockets = sockets
    this.#peers = peers
    this.#options = options
  }

  async connect (options: Partial<PeerOptions> = {}): Promise<Peer> {
    const peer = await Peer.connect({ port: this.port, ...this.#options, ...options })
    this.#peers.add(peer)
    return peer
  }

  /** Sends `bytes` over a new connection and gives the answer. */
  async ask (...bytes: ReadonlyArray<string | Uint8Array>): Promise<Answer> {
    const peer = await this.connect()
    return await peer.write(...bytes).answer()
  }

  /** Opens a WebSocket by `handshake()`. */
  async open (path?: string, changes?: Fields, options?: Partial<PeerOptions>): Promise<Peer> {
    const peer = await this.connect(options)
    const { statusCode, body } = await peer.write(handshake(path, changes)).answer()
    if (statusCode !== 101) throw new Error(`the handshake was answered ${statusCode}: ${body}`)
    return peer
  }

  /** Resolves when the server holds no descriptor of a connection any more. */
  async emptied (): Promise<void> {
    for (const socket of this.sockets) await new Promise(resolve => { socket.once('close', resolve) })
  }
}

/** Lets `app` listen, on a free port, until the test is over. */
export async function listen (t: Test, app: App, options: Partial<PeerOptions> = {}): Promise<Site> {
  const sockets = new Set<Socket>()
  const peers = new Set<Peer>()
  app.server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => { sockets.delete(socket) })
  })
  t.teardown(async () => {
    for (const { socket } of peers) socket.destroy()
    await app.close()
  })
  await app.listen({ port: 0, host: options.host ?? '127.0.0.1' })
  return new Site((app.server.address() as AddressInfo).port, sockets, peers, options)
}

/**
 * Lets an app with the plugin listen until the test is over; `declare` declares its routes.
 * @param plugin options of the plugin
 * @param server options of Fastify
 */
export async function serve (
  t: Test, declare: (app: FastifyInstance) => unknown,
  { plugin = {}, server = {} }: { plugin?: WebSocketPluginOptions, server?: FastifyServerOptions } = {}
): Promise<{ app: FastifyInstance, site: Site }> {
  const app = Fastify(server)
  await app.register(websocket, plugin)
  await declare(app)
  return { app, site: await listen(t, app) }
}

/** A WebSocket handler that sends back what it gets. */
export function echo (connection: WebSocketConnection): void {
  connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
}

/** Fails when `promise` takes longer than `milliseconds`. Nothing waits for that long when all is well. */
export async function within<Result> (milliseconds: number, promise: Promise<Result> | Result, what: string): Promise<Result> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => { reject(new Error(`${what}: not within ${milliseconds} ms`)) }, milliseconds)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** A promise, and what resolves it. */
export function deferred<Value = void> (): { promise: Promise<Value>, resolve: (value: Value) => void } {
  let resolve: (value: Value) => void
  const promise = new Promise<Value>(_resolve => { resolve = _resolve })
  return { promise, resolve: resolve! }
}
