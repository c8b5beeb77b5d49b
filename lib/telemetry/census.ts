// All connections, counted for whoever collects: one walk for all instruments and all readers, in slices that leave the event loop to others.
import { CLOCK, type Clock } from '../clock.ts'
import { noTraffic, type Traffic } from '../connection/observability.ts'
import { nextTurn } from '../connection/turn-clock.ts'

/** What is counted of one route. */
export interface RouteFigures extends Traffic {
  open: number
}

/** Of a registration, what is looked at. */
export interface Counted {
  readonly tallies: ReadonlyMap<string, { readonly open: number, readonly past: Traffic }>
  /** What is behind its connections. */
  cores (): Iterable<Client>
}

/** Of a connection, what is looked at. */
export interface Client {
  readonly route: string
  /** On the clock of performance.now(); null: it is not closed. */
  readonly closedAt: number | null
  addTo (sum: Traffic): unknown
}

export type Figures = ReadonlyMap<string, RouteFigures>

/** Milliseconds: a reader that asks again, or another, gets the same. */
const FRESH = 1000
// Milliseconds of the event loop at a time, and how many connections there are between two looks at the clock.
const SLICE = 2
const BETWEEN_LOOKS = 128

export class Census {
  #servers: readonly Counted[]
  readonly #clock: Clock
  readonly #pause: () => Promise<unknown>
  #last: { readonly at: number, readonly figures: Promise<Figures> } | null = null
  #final: Figures | null = null

  /** @param pause lets others have the event loop */
  constructor (servers: readonly Counted[], clock: Clock = CLOCK, pause: () => Promise<unknown> = nextTurn) {
    this.#servers = servers
    this.#clock = clock
    this.#pause = pause
  }

  /** By route. One that was there is there for ever: a series that is not observed any more would keep its last value. */
  async take (): Promise<Figures> {
    if (this.#final !== null) return this.#final
    const now = this.#clock.now()
    if (this.#last === null || now - this.#last.at >= FRESH) this.#last = { at: now, figures: this.#walk() }
    return await this.#last.figures
  }

  /** The app is closed: what was counted stays, and nothing of the app with it. */
  finish (): void {
    const figures = this.#past()
    for (const route of figures.values()) route.open = 0
    this.#final = figures
    this.#servers = []
    this.#last = null
  }

  /**
   * First who is there, then what has ended until then and is open at the same time. Whoever closes behind that is counted as he was, and not once
   * more among those who had; whoever was closed before it is.
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

  /** @returns to be awaited now and then: lets others have the event loop when that has been held for a slice */
  #pauses (): () => Promise<unknown> | null {
    let begin = this.#clock.now()
    return () => {
      if (this.#clock.now() - begin < SLICE) return null
      return this.#pause().then(() => { begin = this.#clock.now() })
    }
  }

  /** Of all that has ended, and how many are open. */
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
