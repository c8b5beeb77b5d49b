import { clientFrame, readFrames } from '../helpers/frames.ts'
import type { BenchClient, ClientConnection } from './client-connection.ts'
import { FrameCounter } from './frame-counter.ts'

const TEXT = 1
// Packets of engine.io 4, with those of socket.io 5 inside: https://socket.io/docs/v4/engine-io-protocol/
const OPEN = '0{'
const CONNECT = '40'
const PING_LENGTH = 1
const PONG = packet('3')

/** The client's side of one socket of socket.io: what it connects with, and the Pings that it answers. Messages are counted as WebSocket messages. */
export class EngineIoClient implements BenchClient {
  readonly head: string
  readonly #connection: ClientConnection
  readonly #counter = new FrameCounter(PING_LENGTH)

  /** @returns the path that the WebSocket is opened with. @param room what the socket joins */
  static path (room: string): string {
    return `/socket.io/?EIO=4&transport=websocket&room=${encodeURIComponent(room)}`
  }

  /** Resolves when the socket is connected. */
  static async connect (connection: ClientConnection): Promise<EngineIoClient> {
    let received: Buffer = connection.rest
    await new Promise<void>((resolve, reject) => {
      let isConnecting = false
      const look = (): void => {
        for (const { payload } of readFrames(received).frames) {
          const text = String(payload)
          if (text.startsWith(OPEN)) {
            if (!isConnecting) connection.write(packet(CONNECT))
            isConnecting = true
          } else if (text.startsWith(CONNECT)) {
            resolve()
          } else {
            reject(new Error(`a packet that nobody waits for: ${text}`))
          }
        }
      }
      connection.takeBytes(bytes => {
        received = Buffer.concat([received, bytes])
        look()
      })
      look()
    })
    return new EngineIoClient(connection)
  }

  private constructor (connection: ClientConnection) {
    this.#connection = connection
    this.head = connection.head
    this.countMessages(() => { throw new Error('a message that nobody waits for') }) // Pings come from now on
  }

  countMessages (listener: (count: number) => void): void {
    this.#connection.takeBytes(bytes => {
      const messages = this.#counter.push(bytes)
      for (; this.#counter.pings > 0; this.#counter.pings--) this.#connection.write(PONG)
      if (messages > 0) listener(messages)
    })
  }

  takeBytes (listener: (bytes: Buffer) => void): void {
    this.#connection.takeBytes(listener)
  }

  write (bytes: Buffer): void {
    this.#connection.write(bytes)
  }

  stopReading (): void {
    this.#connection.stopReading()
  }

  destroy (): void {
    this.#connection.destroy()
  }
}

function packet (text: string): Buffer {
  return clientFrame({ opcode: TEXT, payload: text })
}
