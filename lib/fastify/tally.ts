import type { CloseInfo } from '../../types/connection.ts'
import { noTraffic, type Traffic } from '../connection/observability.ts'

/** Counters of one route. The traffic of a connection, which counts it itself, is added when it has closed. */
export class Tally {
  opened = 0
  refused = 0
  closed = 0
  /** Number of closed connections by close code. */
  readonly closes = new Map<number, number>()
  /** Traffic of closed connections. */
  readonly past: Traffic = noTraffic()

  get open (): number { return this.opened - this.closed }

  onClose (connection: { addTo (sum: Traffic): unknown }, { code }: Pick<CloseInfo, 'code'>): void {
    this.closed++
    this.closes.set(code, (this.closes.get(code) ?? 0) + 1)
    connection.addTo(this.past)
    this.past.held = this.past.unsent = 0 // discarded with the connection
  }
}
