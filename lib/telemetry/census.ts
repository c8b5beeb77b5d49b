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
  readonly clients: ReadonlySet<{ readonly route: string, addTo (sum: Traffic): unknown }>
}

type Client = Counted['clients'] extends ReadonlySet<infer Element> ? Element : never
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
    const { figures, clients } = this.#begin()
    for (const client of clients) count(client, figures)
    for (const route of figures.values()) route.open = route.held = route.unsent = 0
    this.#final = figures
    this.#servers = []
    this.#last = null
  }

  async #walk (): Promise<Figures> {
    const { figures, clients } = this.#begin()
    let begin = this.#clock.now()
    for (const [i, client] of clients.entries()) {
      // whoever closes meanwhile is counted here, as it was not among those that had
      count(client, figures)
      if (i % BETWEEN_LOOKS !== BETWEEN_LOOKS - 1 || this.#clock.now() - begin < SLICE) continue
      await this.#pause()
      begin = this.#clock.now()
    }
    return figures
  }

  /** What has ended, and who is open at the same time. */
  #begin (): { figures: Map<string, RouteFigures>, clients: Client[] } {
    const figures = new Map<string, RouteFigures>()
    for (const { tallies } of this.#servers) {
      for (const [route, { open, past }] of tallies) {
        let sum = figures.get(route)
        if (sum === undefined) figures.set(route, sum = { open: 0, ...noTraffic() })
        sum.open += open
        for (const name of Object.keys(past) as Array<keyof Traffic>) sum[name] += past[name]
      }
    }
    return { figures, clients: this.#servers.flatMap(({ clients }) => [...clients]) }
  }
}

function count (client: Client, figures: ReadonlyMap<string, RouteFigures>): void {
  client.addTo(figures.get(client.route)!)
}
