// What one client got of one topic, and whether anything is missing of which it was not told.
import type { FromNode, Gap, Message } from './messages.ts'

export interface Verdict {
  readonly delivered: number
  readonly gaps: number
  /** Messages that do not follow the one before, without a gap that says so. */
  readonly undetected: string[]
  /** Messages of which it is not known what they follow. */
  readonly unknown: number
  /** Messages that came twice between two gaps. */
  readonly doubles: number
  /** Where it is now. */
  readonly position: string | null
}

export class Ledger {
  readonly #events: Array<Message | { kind: 'from', position: string }> = []
  readonly #gaps: Gap[] = []
  // until it is known from where it goes on: subscribe() resolves after what it has missed was sent
  #early: Message[] | null = []
  #last: string | null = null
  recovered = 0
  notRecovered = 0

  get last (): string | null { return this.#last }

  /** The connection is gone. What came before it was known from where it goes on is not counted. */
  disconnected (): void { this.#early = [] }

  take (event: FromNode): void {
    if (event.kind === 'message') {
      if (this.#early !== null) this.#early.push(event)
      else this.#deliver(event)
    } else if (event.kind === 'gap') {
      this.#gaps.push(event)
      // nothing need have been delivered behind it
      if (event.from === this.#last && event.to !== null) this.#last = event.to
    } else if (event.kind === 'subscribed') {
      if (event.recovered) {
        this.recovered++
      } else {
        this.notRecovered++
        this.#last = event.position!
        this.#events.push({ kind: 'from', position: event.position! })
      }
      const early = this.#early ?? []
      this.#early = null
      for (const message of early) this.#deliver(message)
    }
  }

  #deliver (message: Message): void {
    this.#events.push(message)
    this.#last = message.position
  }

  check (): Verdict {
    const undetected: string[] = []
    let [at, delivered, unknown, doubles] = ['', 0, 0, 0]
    let seen = new Set<string>()
    const gaps = [...this.#gaps]
    const follow = (to: string): boolean => {
      const path: Gap[] = []
      for (let from = at; from !== to;) {
        const gap = gaps.find(gap => gap.from === from && !path.includes(gap))
        if (gap?.to === undefined || gap.to === null) return false
        path.push(gap)
        from = gap.to
      }
      for (const gap of path) gaps.splice(gaps.indexOf(gap), 1)
      seen = new Set()
      return true
    }
    for (const event of this.#events) {
      if (event.kind === 'from') {
        at = event.position
        seen = new Set()
        continue
      }
      const { position, parent } = event
      delivered++
      if (parent === null) unknown++
      else if (parent !== at && !follow(parent)) undetected.push(`${event.topic}: ${position} follows ${parent}, and came after ${at}`)
      if (seen.has(position)) doubles++
      seen.add(position)
      at = position
    }
    return { delivered, gaps: this.#gaps.length, undetected, unknown, doubles, position: this.#last }
  }
}
