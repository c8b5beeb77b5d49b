// Chooses the Topics for the connections of a registration.
import type { FastifyBaseLogger } from 'fastify'
import type { TopicsOptions, TopicsTable } from '../../types/topics.ts'
import { Topics } from '../topics/topics.ts'

// the registration that got a Topics first closes it
const owners = new WeakMap<Topics, ScopeTopics>()

/** The Topics of one registration of the plugin: its own, one passed to it, or that of the enclosing registration. */
export class ScopeTopics {
  readonly #outer: ScopeTopics | null
  readonly #log: FastifyBaseLogger
  #topics: Topics | null

  /**
   * @param option the plugin option `topics` @param outer the enclosing registration's
   * @throws TypeError for invalid options, Error for a broker that is already in use
   */
  constructor (option: TopicsOptions | TopicsTable | undefined, outer: ScopeTopics | null, log: FastifyBaseLogger) {
    this.#outer = outer
    this.#log = log
    this.#topics = option === undefined ? null : option instanceof Topics ? option : new Topics(option as TopicsOptions)
    if (this.#topics !== null) this.#own(this.#topics)
  }

  /** Created on first use if no option was given. */
  get topics (): Topics {
    if (this.#topics !== null) return this.#topics
    if (this.#outer !== null) return this.#outer.topics
    return this.#own(this.#topics = new Topics())
  }

  /** Its own Topics, if created. */
  get made (): Topics | null { return this.#topics }

  async start (): Promise<void> {
    await this.#topics?.start()
  }

  async close (): Promise<void> {
    if (this.#topics !== null && owners.get(this.#topics) === this) await this.#topics.close()
  }

  #own (topics: Topics): Topics {
    if (!owners.has(topics)) owners.set(topics, this)
    topics.logTo(this.#log)
    return topics
  }
}
