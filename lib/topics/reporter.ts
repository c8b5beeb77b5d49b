import { TOPIC_CHANNELS } from './channels.ts'

/** Gets errors that may otherwise go unnoticed, as promises may be left unhandled. */
export interface Log {
  error (fields: object, message: string): void
}

const QUIET = 10_000 // ms

/** Counts every error and logs one of each kind per ten seconds: with an unreachable broker each publish() fails. */
export class Reporter {
  readonly #topics: unknown
  readonly #clock: () => number
  readonly #toldAt = new Map<string, number>()
  log: Log | null = null
  errors = 0

  /** @param topics the Topics, for messages of the `error` channel */
  constructor (topics: unknown, clock: () => number) {
    this.#topics = topics
    this.#clock = clock
  }

  report (error: unknown): void {
    this.errors++
    if (TOPIC_CHANNELS.error.hasSubscribers) TOPIC_CHANNELS.error.publish({ topics: this.#topics, error })
    const kind = kindOf(error)
    const now = this.#clock()
    if (now - (this.#toldAt.get(kind) ?? -Infinity) < QUIET) return
    this.#toldAt.set(kind, now)
    try {
      this.log?.error({ err: error, errors: this.errors }, 'an error of WebSocket topics')
    } catch {} // the thrown value may be impossible to log
  }
}

function kindOf (error: unknown): string {
  const { code, name } = (error ?? {}) as { code?: unknown, name?: unknown }
  return typeof code === 'string' ? code : typeof name === 'string' ? name : typeof error
}
