import { Fifo } from '../framing/fifo.ts'

/** Runs a limited number of jobs at a time, in order. */
export class Limiter {
  static readonly #shared = new Map<string, Limiter>()
  readonly #limit: number
  #running = 0
  readonly #waiting = new Fifo<() => void>()

  /** The process-wide limiter for this kind of job and this limit. */
  static of (jobs: string, limit: number): Limiter {
    const name = `${jobs} ${limit}`
    let limiter = Limiter.#shared.get(name)
    if (limiter === undefined) {
      limiter = new Limiter(limit)
      Limiter.#shared.set(name, limiter)
    }
    return limiter
  }

  constructor (limit: number) {
    this.#limit = limit
  }

  async run<Result> (job: () => Promise<Result>): Promise<Result> {
    if (this.#running >= this.#limit) await new Promise<void>(resolve => { this.#waiting.push(resolve) })
    else this.#running++
    try {
      return await job()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running--
      else next() // it takes over this one's place
    }
  }
}
