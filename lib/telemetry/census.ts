// Sums over all connections when metrics are collected: one pass for all instruments and readers, in slices that do not block the event loop.
import { CLOCK, type Clock } from '../clock.ts'
import { noTraffic, type Traffic } from '../connection/observability.ts'
import { nextTurn } from '../connection/turn-clock.ts'

/** The figures of one route. */
export interface RouteFigures extends Traffic {
  open: number
}

/** What the census reads of a registration. */
export interface Counted {
  readonly tallies: ReadonlyMap<string, { readonly open: number, readonly past: Traffic }>
  /** The cores of its connections. */
  cores (): Iterable<Client>
}

/** What the census reads of a connection. */
export interface Client {
  readonly route: string
  /** On the clock of performance.now(); null: not closed. */
  readonly closedAt: number | null
  addTo (sum: Traffic): unknown
}

export type Figures = ReadonlyMap<string, RouteFigures>

/** Milliseconds during which all readers get the same figures. */
const FRESH = 1000
// Milliseconds per slice, and connections between two reads of the clock.
const SLICE = 2
const BETWEEN_LOOKS = 128

export class Census {
  #servers: readonly Counted[]
  readonly #clock: Clock
  readonly #pause: () => Promise<unknown>
  #last: { readonly at: number, readonly figures: Promise<Figures> } | null = null
  #final: Figures | null = null

  /** @param pause yields the event loop */
  constructor (servers: readonly Counted[], clock: Clock = CLOCK, pause: () => Promise<unknown> = nextTurn) {
    this.#servers = servers
    this.#clock = clock
    this.#pause = pause
  }

  /** Figures by route. A route never disappears: a series that is no longer observed would keep its last value. */
  async take (): Promise<Figures> {
    if (this.#final !== null) return this.#final
    const now = this.#clock.now()
    if (this.#last === null || now - this.#last.at >= FRESH) this.#last = { at: now, figures: this.#walk() }
    return await this.#last.figures
  }

  /** The app is closed: keeps the totals, but nothing else of the app. */
  finish (): void {
    const figures = this.#past()
    for (const route of figures.values()) route.open = 0
    this.#final = figures
    this.#servers = []
    this.#last = null
  }

  /**
   * First lists the connections, then takes the totals of closed ones and the number of open ones at one point in time. Connections that close after
   * that point are counted by their own figures, those that closed before it are in the totals.
   */
  async #walk (): Promise<Figures> {
    const pause = this.#pauses()
    const clients: Client[] = []
    for (const server of this.#servers) {
      for (const client of server.cores()) {
        clients.push(client)
        if (clients.length % BETWEEN_LOOKS === 0) await pause()
      }
    }
    const now = this.#clock.now()
    const figures = this.#past()
    for (const [i, client] of clients.entries()) {
      if (client.closedAt === null || client.closedAt > now) client.addTo(figures.get(client.route)!)
      if (i % BETWEEN_LOOKS === 0) await pause()
    }
    return figures
  }

  /** @returns a function to await now and then, which yields the event loop once a slice is used up */
  #pauses (): () => Promise<unknown> | null {
    let begin = this.#clock.now()
    return () => {
      if (this.#clock.now() - begin < SLICE) return null
      return this.#pause().then(() => { begin = this.#clock.now() })
    }
  }

  /** The totals of closed connections, and the number of open ones. */
  #past (): Map<string, RouteFigures> {
    const figures = new Map<string, RouteFigures>()
    for (const { tallies } of this.#servers) {
      for (const [route, { open, past }] of tallies) {
        let sum = figures.get(route)
        if (sum === undefined) figures.set(route, sum = { open: 0, ...noTraffic() })
        sum.open += open
        for (const name of Object.keys(past) as Array<keyof Traffic>) sum[name] += past[name]
      }
    }
    return figures
  }
}
