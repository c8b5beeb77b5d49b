import { connect, type Socket } from 'node:net'
import { connect as connectTls, TLSSocket } from 'node:tls'
import { FrameCounter } from './frame-counter.ts'

const HEAD_END = Buffer.from('\r\n\r\n')

// What one read may give. One for all sockets: nobody keeps what it gets.
const buffer = Buffer.allocUnsafeSlow(256 * 1024)

/** The client's side of one WebSocket. */
export interface BenchClient {
  /** Of the 101 response, with its status line. */
  readonly head: string
  /** Calls `listener` with the number of messages that each read completes, from now on. */
  countMessages (listener: (count: number) => void): void
  /** Hands all bytes to `listener` from now on, as views that hold only during the call. */
  takeBytes (listener: (bytes: Buffer) => void): void
  write (bytes: Buffer): void
  /** Reads nothing from now on, and does not mind being dropped. */
  stopReading (): void
  destroy (): void
}

/**
 * The client's side of one WebSocket, as cheap as Node allows so that it is the server that is measured: it reads into one buffer,
 * counts frames by their headers and writes bytes that were made before.
 */
export class ClientConnection implements BenchClient {
  readonly #socket: Socket
  readonly #counter = new FrameCounter()
  #receive: (bytes: Buffer) => void
  #onMessages: (count: number) => void = () => { throw new Error('a message that nobody waits for') }
  #onEnd: (error: Error) => void
  head = ''
  /** What came with the head. */
  rest: Buffer = Buffer.alloc(0)

  /** Resolves when the 101 is there. */
  static open (port: number, request: string, isTls: boolean): Promise<ClientConnection> {
    return new Promise((resolve, reject) => {
      const connection = new ClientConnection(port, request, isTls, () => { resolve(connection) }, reject)
    })
  }

  private constructor (port: number, request: string, isTls: boolean, onOpen: () => void, onFailure: (error: Error) => void) {
    let received: Buffer = Buffer.alloc(0)
    this.#onEnd = onFailure
    this.#receive = bytes => {
      received = Buffer.concat([received, bytes])
      const end = received.indexOf(HEAD_END)
      if (end === -1) return
      this.head = received.toString('latin1', 0, end)
      if (!this.head.startsWith('HTTP/1.1 101 ')) {
        onFailure(new Error(`the handshake was answered with ${this.head.split('\r\n', 1)[0]}`))
        return
      }
      this.rest = received.subarray(end + HEAD_END.length)
      this.#receive = this.#count
      this.#onEnd = error => { throw error }
      onOpen()
    }
    const onread = { buffer, callback: (length: number) => this.#read(length) }
    const target = { port, host: '127.0.0.1', noDelay: true, onread }
    this.#socket = isTls ? connectTls({ ...target, rejectUnauthorized: false }) : connect(target)
    this.#socket.write(request)
    this.#socket.on('error', error => { this.#onEnd(error) })
    this.#socket.on('end', () => { this.#onEnd(new Error('the server dropped a connection')) })
  }

  countMessages (listener: (count: number) => void): void {
    this.#onMessages = listener
  }

  takeBytes (listener: (bytes: Buffer) => void): void {
    this.#receive = listener
  }

  write (bytes: Buffer): void {
    this.#socket.write(bytes)
  }

  stopReading (): void {
    this.#onEnd = () => {}
    this.#socket.pause()
  }

  /** Without a FIN: ports that linger in TIME_WAIT would run out. */
  destroy (): void {
    this.#onEnd = () => {}
    if (this.#socket instanceof TLSSocket) this.#socket.destroy()
    else this.#socket.resetAndDestroy()
  }

  #read (length: number): boolean {
    this.#receive(buffer.subarray(0, length))
    return true
  }

  readonly #count = (bytes: Buffer): void => {
    const messages = this.#counter.push(bytes)
    if (messages > 0) this.#onMessages(messages)
  }
}
