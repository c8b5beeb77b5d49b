import type { Socket } from 'node:net'
import { LOAD } from './comparison.ts'
import { clientFrame, onPayload, openSocket } from './raw-client.ts'

/** A client that has nothing to do with the load: sends a small message to the echo again and again, and takes the time. */
export class Bystander {
  /** ms of each round trip. */
  readonly latencies: number[] = []
  readonly #socket: Socket
  /** When those were sent that have not come back. An echo answers in order. */
  readonly #sentAt: number[] = []
  readonly #timer: NodeJS.Timeout

  private constructor (socket: Socket) {
    this.#socket = socket
    onPayload(socket, () => { this.latencies.push(performance.now() - this.#sentAt.shift()!) })
    const frame = clientFrame('are you there?')
    // on schedule, also while an answer is due: a server that stands still must not get fewer questions for it
    this.#timer = setInterval(() => {
      this.#sentAt.push(performance.now())
      socket.write(frame)
    }, LOAD.bystanderInterval)
  }

  static async start (port: number): Promise<Bystander> {
    const socket = await openSocket(port, '/echo')
    socket.on('error', () => {}) // its server was stopped
    return new Bystander(socket)
  }

  /** Ends the connection. What has not come back counts with the time it has taken so far. */
  stop (): void {
    clearInterval(this.#timer)
    for (const sentAt of this.#sentAt.splice(0)) this.latencies.push(performance.now() - sentAt)
    this.#socket.destroy()
  }
}
