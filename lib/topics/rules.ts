// How a topic is kept, by its name.
import type { Rule, TopicRule } from '../../types/topics.ts'

/** For topics without a rule: with a broker messages are numbered, otherwise only delivered. */
const UNRULED = { size: 0, ttl: 300_000 }

export class Rules {
  readonly #rules: ReadonlyArray<{ readonly matches: (topic: string) => boolean, readonly rule: Rule }>
  readonly #other: Rule

  /** @param isPlain whether topics without a rule are not numbered */
  constructor (rules: readonly TopicRule[], headTtl: number, isPlain: boolean) {
    this.#rules = rules.map(({ topic, size = UNRULED.size, ttl = UNRULED.ttl, plain = false }) => ({
      matches: matcher(topic),
      rule: { size: plain ? 0 : size, ttl, headTtl, plain }
    }))
    this.#other = { ...UNRULED, headTtl, plain: isPlain }
  }

  /** Each there is, that of topics without a rule included. */
  get all (): Rule[] { return [...this.#rules.map(({ rule }) => rule), this.#other] }

  of (topic: string): Rule {
    for (const { matches, rule } of this.#rules) if (matches(topic)) return rule
    return this.#other
  }
}

/** Takes time linear in the length of the name; a regular expression with several stars could be made to backtrack. */
function matcher (pattern: string): (topic: string) => boolean {
  const [start, ...rest] = pattern.split('*') as [string, ...string[]]
  const end = rest.pop()
  if (end === undefined) return topic => topic === start
  return topic => {
    if (!topic.startsWith(start)) return false
    let from = start.length
    for (const part of rest) {
      const at = topic.indexOf(part, from)
      if (at < 0) return false
      from = at + part.length
    }
    return topic.length - end.length >= from && topic.endsWith(end)
  }
}
