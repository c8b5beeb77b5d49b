// Whose topics the connections of a registration have.
import type { FastifyBaseLogger } from 'fastify'
import type { TopicsOptions, TopicsTable } from '../../types/topics.ts'
import { Topics } from '../topics/topics.ts'

// who was given a Topics first ends it, when all have left
const owners = new WeakMap<Topics, ScopeTopics>()

/** The Topics of one registration of the plugin: its own, one that it was given, or that of the registration around it. */
export class ScopeTopics {
  readonly #outer: ScopeTopics | null
  readonly #log: FastifyBaseLogger
  #topics: Topics | null

  /**
   * @param option of the plugin @param outer those of the registration around it
   * @throws TypeError for wrong options, Error for a broker that is in use
   */
  constructor (option: TopicsOptions | TopicsTable | undefined, outer: ScopeTopics | null, log: FastifyBaseLogger) {
    this.#outer = outer
    this.#log = log
    this.#topics = option === undefined ? null : option instanceof Topics ? option : new Topics(option as TopicsOptions)
    if (this.#topics !== null) this.#own(this.#topics)
  }

  /** Made when somebody asks for it, where nothing was said of it. */
  get topics (): Topics {
    if (this.#topics !== null) return this.#topics
    if (this.#outer !== null) return this.#outer.topics
    return this.#own(this.#topics = new Topics())
  }

  /** Its own, where it has been made. */
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
