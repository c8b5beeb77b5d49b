// A client that follows the topic, and comes back at once whenever its connection ends.
import { setTimeout as delay } from 'node:timers/promises'
import { connect, HandshakeError } from '../../lib/index.ts'
import type { ConnectOptions, WebSocketConnection } from '../../types/index.ts'
import type { Line } from './messages.ts'

/** What all clients have seen. */
export class Report {
  /** Times of closes by code, on the clock of performance.now(). */
  readonly closes: Array<{ readonly at: number, readonly code: number }> = []
  /** Milliseconds from a close until what was missed is there. */
  readonly gaps: number[] = []
  refused = 0
  /** Came back on the node that had let it go. */
  same = 0
  missed = 0
  doubles = 0
  notRecovered = 0
}

const BETWEEN_ATTEMPTS = 200

export class Follower {
  readonly #report: Report
  readonly #url: string
  readonly #options: ConnectOptions
  #connection: WebSocketConnection | null = null
  #isOver = false
  #position = ''
  #number: number | null = null
  #closedAt: number | null = null
  node: string | null = null

  constructor (report: Report, url: string, options: ConnectOptions) {
    this.#report = report
    this.#url = url
    this.#options = options
  }

  get isOpen (): boolean { return this.#connection !== null && this.#closedAt === null && this.node !== null }
  get number (): number | null { return this.#number }

  /** Resolves when it is over. @param onOpen called the first time that it is told where it is */
  async run (onOpen: () => void): Promise<void> {
    while (!this.#isOver) {
      const connection = await this.#connect()
      if (connection === null) continue
      this.#connection = connection
      connection.on('message', data => {
        this.#take(JSON.parse(data.toString()) as Line)
        if (this.isOpen) onOpen()
      })
      const { code } = await connection.closed
      this.#closedAt = performance.now()
      if (!this.#isOver) this.#report.closes.push({ at: this.#closedAt, code })
    }
  }

  stop (): void {
    this.#isOver = true
    this.#connection?.terminate()
  }

  async #connect (): Promise<WebSocketConnection | null> {
    try {
      return await connect(`${this.#url}?since=${encodeURIComponent(this.#position)}`, this.#options)
    } catch (error) {
      if (!(error instanceof HandshakeError)) throw error
      this.#report.refused++
      await delay(BETWEEN_ATTEMPTS)
      return null
    }
  }

  #take (line: Line): void {
    this.#position = line.position ?? ''
    if ('node' in line) {
      if (this.#closedAt !== null) {
        this.#report.gaps.push(performance.now() - this.#closedAt)
        if (line.node === this.node) this.#report.same++
        if (!line.recovered) this.#report.notRecovered++
      }
      this.#closedAt = null
      this.node = line.node
      return
    }
    if (this.#number !== null) {
      if (line.number <= this.#number) this.#report.doubles++
      else this.#report.missed += line.number - this.#number - 1
    }
    this.#number = line.number
  }
}
