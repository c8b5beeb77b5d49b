// Supplies the messages of a topic to all its subscribers in this process: in order and, if numbered, without unreported gaps.
//
// state     meaning                                              messages             next state
// --------  ---------------------------------------------------  -------------------  ------------------------------------------------
// joining   the start of delivery is not known yet               wait                 live, when the broker has answered
// live      each message follows the one before                  are delivered        doubtful, at a gap, a fork or a new epoch, or when
//                                                                                     the broker was unreachable
// doubtful  messages may be missing; the broker is asked         wait                 live, with the missing messages or after a 'gap'
//
// An answer counts fully only if nothing was delivered since the question: then it starts from `last`. It covers messages that waited
// before the question.
import type { Entry, GapReason, Head, Rule } from '../../types/topics.ts'
import { Missing, type CatchUp } from './catch-up.ts'
import { isSame } from './position.ts'
import { follows, Proof } from './proof.ts'
import { Publication } from './publication.ts'
import type { Topic } from './topic.ts'

export interface SourceOwner {
  /** Asks the broker. Never throws synchronously. */
  read (topic: string, since: Head | null, rule: Rule): Promise<{ head: Head, entries: Entry[] }>
  /** Converts an entry to a message; null if it is invalid. @param isNew it was not delivered here before */
  open (topic: string, entry: Entry, isNew: boolean): Publication | null
  /** Delivers to all subscribers in this process. */
  pass (topic: Topic, publication: Publication): void
  gap (topic: Topic, reason: GapReason, from: Head | null, to: Head | null): void
  /** Messages may be missing. */
  onDoubt (topic: Topic): void
  onError (error: unknown): void
  /** @returns whether this many more bytes may wait */
  reserve (bytes: number): boolean
  release (bytes: number): void
  /** The broker can be asked about a topic. */
  isUp (topic: string): boolean
  readonly clock: () => number
  readonly schedule: (callback: () => void, delay: number) => () => void
}

type State = 'joining' | 'live' | 'doubtful'

interface Question {
  /** The position asked for. */
  readonly since: Head | null
  /** The last message delivered before the question. */
  readonly last: Head | null
  /** How many messages waited, which the answer covers. */
  readonly covered: number
  readonly isRecovering: CatchUp[]
}

const MAX_WAITING = 1024 * 1024
const RETRY_DELAY = 100
const MAX_RETRY_DELAY = 5_000

export class Source {
  readonly topic: Topic
  readonly #rule: Rule
  readonly #owner: SourceOwner
  #state: State = 'joining'
  /** The last message delivered. Replaced, never mutated: another object means that something was delivered. */
  #last: Head | null = null
  #waiting: Entry[] = []
  #waitingBytes = 0
  // the broker has acknowledged the subscription: asking before that makes no sense
  #isSubscribed = false
  #hasEnded = false
  #question: Question | null = null
  // once the current question is answered
  #mustAskAgain = false
  #wasInterrupted = false
  // subscribers that wait for the recovery from their position
  #undecided: CatchUp[] = []
  // the broker's head at the last check, if ahead of what was delivered: the messages may have been on their way
  #ahead: Head | null = null
  #retries = 0
  #cancelRetry: (() => void) | null = null
  #renewedAt = 0
  /** The newest message of this process that the broker has accepted. */
  accepted: Head | null = null

  constructor (topic: Topic, rule: Rule, owner: SourceOwner) {
    this.topic = topic
    this.#rule = rule
    this.#owner = owner
    this.#renewedAt = owner.clock()
  }

  get rule (): Rule { return this.#rule }
  get state (): State { return this.#state }
  /** Null while not live, as it may then be wrong. */
  get position (): Head | null { return this.#state === 'live' ? this.#last : null }

  /** Messages that this process published have come back. */
  get isUpToDate (): boolean {
    const { accepted } = this
    return accepted === null || (this.#last !== null && (this.#last.epoch !== accepted.epoch || this.#last.number >= accepted.number))
  }

  /** A topic without numbers: messages are delivered as they come. */
  get #isPlain (): boolean { return this.#rule.plain }

  /** The broker has acknowledged the subscription. */
  subscribed (): void {
    this.#isSubscribed = true
    if (this.#isPlain) this.#goLivePlain()
    else this.#ask()
  }

  /** The broker has subscribed and answered synchronously. */
  joined (answer: { head: Head, entries: Entry[] }): void {
    this.#isSubscribed = true
    this.#state = 'live'
    this.#last = answer.head
  }

  interrupted (): void {
    this.#undecided.push(...this.#question?.isRecovering ?? [])
    this.#question = null
    this.#mustAskAgain = false
    this.#cancelRetry?.()
    this.#clearWaiting(0)
    if (this.#state !== 'live') return
    this.#wasInterrupted = true
    this.#setDoubtful()
  }

  restored (): void {
    if (!this.#isSubscribed) return
    if (!this.#isPlain) {
      this.#ask()
      return
    }
    if (this.#wasInterrupted) this.#owner.gap(this.topic, 'interrupted', null, null)
    this.#goLivePlain()
  }

  /** No more subscribers. */
  end (): void {
    this.#hasEnded = true
    this.#question = null
    this.#cancelRetry?.()
    this.#clearWaiting(0)
  }

  /** @param catchUp decided once its position has been looked up */
  recover (catchUp: CatchUp): void {
    if (this.#state === 'live' && (catchUp.since === null || this.#isPlain)) {
      catchUp.decide({ recovered: false, head: this.#last, missed: [] })
      return
    }
    this.#undecided.push(catchUp)
    // one question for all of this turn
    if (this.#undecided.length === 1) queueMicrotask(() => { this.#askForUndecided() })
  }

  /** Takes a message from the broker. */
  take (entry: Entry): void {
    if (this.#state === 'live') this.#takeNext(entry)
    else this.#wait(entry)
  }

  takePlain (publication: Publication): void {
    this.#owner.pass(this.topic, publication)
  }

  /** Compares with the broker's head; called periodically. */
  check (head: Head | null): void {
    const last = this.#last
    if (this.#state !== 'live' || last === null || this.#isPlain) return
    const isAhead = head !== null && head.epoch === last.epoch && head.number > last.number
    const isLate = isAhead && this.#ahead !== null && this.#ahead.number > last.number
    this.#ahead = isAhead ? head : null
    if (isLate) this.#setDoubtful()
    const isOld = this.#owner.clock() - this.#renewedAt > this.#rule.headTtl / 3 // renewed in time, before the broker forgets the topic
    if (isOld || head === null || !isSame(head, last)) this.#ask()
  }

  #takeNext (entry: Entry): void {
    const { head } = entry
    const last = this.#last!
    if (follows(entry, last)) {
      this.#deliver(entry)
    } else if (head.epoch !== last.epoch || head.number > last.number || (head.number === last.number && head.tag !== last.tag)) {
      this.#wait(entry)
      this.#setDoubtful()
      this.#ask()
    }
    // otherwise a duplicate; if the broker was restored from an older state, the next message reveals it
  }

  #setDoubtful (): void {
    this.#state = 'doubtful'
    this.#owner.onDoubt(this.topic)
  }

  #wait (entry: Entry): void {
    const { length } = entry.body
    if (this.#waitingBytes + length > MAX_WAITING || !this.#owner.reserve(length)) {
      // too much to keep: ask the broker for it later
      this.#clearWaiting(0)
      this.#mustAskAgain = this.#question !== null
      return
    }
    this.#waiting.push(entry)
    this.#waitingBytes += length
  }

  /** @returns the entries after the first `count` */
  #clearWaiting (count: number): Entry[] {
    const rest = this.#waiting.slice(count)
    this.#owner.release(this.#waitingBytes)
    this.#waiting = []
    this.#waitingBytes = 0
    return rest
  }

  #askForUndecided (): void {
    // not with a question pending, which was asked before they came; nor while doubtful, as their question could hide what the source itself needs
    if (this.#undecided.length > 0 && this.#state === 'live' && this.#question === null) this.#ask()
  }

  /** One question at a time. */
  #ask (): void {
    if (this.#hasEnded || !this.#isSubscribed || !this.#owner.isUp(this.topic.name)) return
    if (this.#question !== null) {
      this.#mustAskAgain = true
      return
    }
    this.#cancelRetry?.()
    const isRecovering = this.#state === 'doubtful' ? [] : this.#undecided
    if (this.#state !== 'doubtful') this.#undecided = []
    const question: Question = {
      since: oldest(this.#last, isRecovering.map(({ since }) => since)),
      last: this.#last,
      covered: this.#waiting.length,
      isRecovering
    }
    this.#question = question
    this.#renewedAt = this.#owner.clock()
    this.#owner.read(this.topic.name, question.since, this.#rule).then(({ head, entries }) => {
      if (this.#question === question) this.#onAnswer(question, new Proof(head, entries))
    }, (error: unknown) => {
      if (this.#question !== question) return
      this.#question = null
      this.#undecided.push(...question.isRecovering)
      this.#owner.onError(error)
      this.#askLater()
    })
  }

  #askLater (): void {
    const delay = Math.min(RETRY_DELAY * 2 ** this.#retries++, MAX_RETRY_DELAY)
    this.#cancelRetry?.()
    this.#cancelRetry = this.#owner.schedule(() => { this.#ask() }, delay)
  }

  #onAnswer (question: Question, proof: Proof): void {
    this.#question = null
    this.#retries = 0
    const isLive = this.#state === 'live'
    if (this.#last === question.last) {
      this.#adopt(proof, isLive)
    } else {
      // messages delivered meanwhile followed each other; the answer may hold more that follow
      const missed = isLive ? proof.since(this.#last!) : null
      for (const entry of missed ?? []) this.#deliver(entry)
    }
    if (this.#mustAskAgain) {
      this.#mustAskAgain = false
      this.#undecided.push(...question.isRecovering)
      this.#ask()
      return
    }
    this.#state = 'live'
    this.#wasInterrupted = false
    const waiting = this.#clearWaiting(question.covered)
    const isAhead = this.#decide(question, proof)
    for (const entry of waiting) this.take(entry)
    // unless they have come since, the messages between are on their way
    if (isAhead && this.#last === question.last) this.#askLater()
    else this.#askForUndecided()
  }

  #adopt (proof: Proof, isLive: boolean): void {
    const last = this.#last
    const { head } = proof
    if (last === null) {
      this.#last = head
      return
    }
    const missed = proof.since(last)
    if (missed !== null) {
      for (const entry of missed) this.#deliver(entry)
      return
    }
    // the kept messages do not reach back to the last delivered one; those between are likely on their way: see check()
    if (isLive && head.epoch === last.epoch && head.number > last.number) return
    this.#ahead = null
    this.#last = head
    const reason = head.epoch !== last.epoch ? 'epoch' : this.#wasInterrupted ? 'interrupted' : 'lost'
    this.#owner.gap(this.topic, reason, last, head)
  }

  #deliver (entry: Entry): void {
    this.#last = entry.head
    this.#renewedAt = this.#owner.clock()
    const publication = this.#owner.open(this.topic.name, entry, true)
    if (publication !== null) this.#owner.pass(this.topic, publication)
  }

  /** @returns whether the answer is ahead of what was delivered, so that some have to wait */
  #decide ({ since: asked, isRecovering }: Question, proof: Proof): boolean {
    const { head } = proof
    let isAhead = false
    const undecided = [...isRecovering, ...this.#undecided]
    this.#undecided = []
    const opened = new Map<Entry, Publication | null>()
    for (const catchUp of undecided) {
      const { since } = catchUp
      if (since === null) {
        catchUp.drop(Infinity)
        catchUp.decide({ recovered: false, head: this.#last, missed: [] })
        continue
      }
      const isOutside = since.epoch !== head.epoch || since.number >= head.number
      const isCovered = isOutside || (asked !== null && asked.epoch === head.epoch && asked.number <= since.number)
      if (!isCovered || !this.#dropUpTo(head, catchUp)) {
        this.#undecided.push(catchUp)
        isAhead ||= isCovered
        continue
      }
      const entries = proof.since(since)
      const missed = (entries ?? []).map(entry => {
        if (!opened.has(entry)) opened.set(entry, this.#owner.open(this.topic.name, entry, false))
        return opened.get(entry) ?? null
      }).filter(publication => publication !== null)
      catchUp.decide({ recovered: entries !== null, head, missed })
    }
    return isAhead
  }

  /** Drops live messages of `catchUp` that the answer covers. @returns false if they do not continue the answer */
  #dropUpTo (head: Head, catchUp: CatchUp): boolean {
    if (isSame(this.#last!, head)) {
      catchUp.drop(Infinity)
      return true
    }
    let covered = 0
    for (const live of catchUp.live) {
      const entry = live instanceof Missing ? null : live.entry
      if (entry !== null && follows(entry, head)) {
        catchUp.drop(covered)
        return true
      }
      covered++
    }
    return false
  }

  #goLivePlain (): void {
    this.#state = 'live'
    this.#wasInterrupted = false
    const undecided = this.#undecided
    this.#undecided = []
    for (const catchUp of undecided) catchUp.decide({ recovered: false, head: null, missed: [] })
  }
}

/** The oldest head in the epoch of `last`, or else of the first head. */
function oldest (last: Head | null, heads: ReadonlyArray<Head | null>): Head | null {
  let oldest = last
  for (const head of heads) {
    if (head !== null && (oldest === null || (head.epoch === oldest.epoch && head.number < oldest.number))) oldest = head
  }
  return oldest
}
