import type { CloseInfo } from '../../types/connection.ts'
import { noTraffic, type Traffic } from '../connection/observability.ts'

/** What is counted of one route while it happens; what connections count themselves is added when they have ended. */
export class Tally {
  opened = 0
  refused = 0
  closed = 0
  /** By close code, how many ended with it. */
  readonly closes = new Map<number, number>()
  /** Of the connections that have ended. */
  readonly past: Traffic = noTraffic()

  get open (): number { return this.opened - this.closed }

  onClose (connection: { addTo (sum: Traffic): unknown }, { code }: Pick<CloseInfo, 'code'>): void {
    this.closed++
    this.closes.set(code, (this.closes.get(code) ?? 0) + 1)
    connection.addTo(this.past)
    this.past.held = this.past.unsent = 0 // what waited is gone
  }
}
