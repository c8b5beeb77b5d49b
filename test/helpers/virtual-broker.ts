// A server like Redis, and its clients, in one process: every request, answer and message is on its way until somebody moves it on.
import type { Broker, BrokerHost, Entry, Head, Rule } from '../../types/topics.ts'

interface Stored {
  head: Head
  entries: Entry[]
}

export interface Faults {
  /** A read takes head and entries in two steps. */
  readonly apart?: boolean
  /** What got no answer is sent once more after a reconnect, as some clients do. */
  readonly resend?: boolean
}

type Push = { readonly topic: string, readonly entry: Entry | { head: null, body: Buffer } } | { readonly acknowledged: () => void }

interface Request {
  readonly isPublish: boolean
  /** At the server. @returns what its answer does, or null when another step is needed */
  readonly run: () => (() => void) | null
  readonly fail: () => void
}

interface Answer {
  readonly request: Request
  readonly arrive: () => void
}

const copy = (stored: Map<string, Stored>): Map<string, Stored> => new Map([...stored].map(([topic, { head, entries }]) => [topic, { head, entries: [...entries] }]))

export class VirtualServer {
  readonly #random: () => number
  readonly faults: Faults
  readonly clients: VirtualBroker[] = []
  #stored = new Map<string, Stored>()
  #saved = new Map<string, Stored>()
  /** By position of a message, the position before it when it was accepted: the truth, whatever the server forgets. */
  readonly parents = new Map<string, string>()
  /** What each message says. */
  readonly texts = new Map<string, string>()

  constructor (random: () => number, faults: Faults = {}) {
    this.#random = random
    this.faults = faults
  }

  tag (): string {
    return Math.floor(this.#random() * 36 ** 8).toString(36).padStart(8, '0')
  }

  headOf (topic: string): Head | null {
    return this.#stored.get(topic)?.head ?? null
  }

  #storedOf (topic: string): Stored {
    let stored = this.#stored.get(topic)
    if (stored === undefined) this.#stored.set(topic, stored = { head: { epoch: this.tag(), number: 0, tag: '-' }, entries: [] })
    return stored
  }

  publish (topic: string, body: Buffer, rule: Rule): Head | null {
    if (rule.plain) {
      this.#push(topic, { head: null, body })
      return null
    }
    const stored = this.#storedOf(topic)
    const { epoch, number, tag } = stored.head
    const entry: Entry = { head: { epoch, number: number + 1, tag: this.tag() }, previous: number, previousTag: tag, body }
    this.parents.set(positionOf(entry.head), positionOf(stored.head))
    this.texts.set(positionOf(entry.head), body.toString('utf8', body.indexOf('\n') + 1))
    stored.head = entry.head
    if (rule.size > 0) stored.entries.push(entry)
    if (stored.entries.length > rule.size * 1.1) stored.entries.splice(0, stored.entries.length - rule.size)
    this.#push(topic, entry)
    return entry.head
  }

  #push (topic: string, entry: Entry | { head: null, body: Buffer }): void {
    for (const client of this.clients) if (client.isListening(topic)) client.pushes.push({ topic, entry })
  }

  head (topic: string): Head {
    return this.#storedOf(topic).head
  }

  entries (topic: string, head: Head, since: Head | null): Entry[] {
    const missed = since === null || since.epoch !== head.epoch ? 0 : head.number - since.number
    return missed <= 0 ? [] : this.#storedOf(topic).entries.slice(-missed)
  }

  // What may become of it

  save (): void { this.#saved = copy(this.#stored) }

  /** @param data what it comes back with */
  restart (data: 'none' | 'saved' | 'all'): void {
    if (data === 'none') this.#stored = new Map()
    else if (data === 'saved') this.#stored = copy(this.#saved)
    for (const client of this.clients) client.cut()
  }

  /** A replica that lacks the newest takes over, and nobody is cut off. */
  rollBack (topic: string, count: number): void {
    const stored = this.#stored.get(topic)
    if (stored === undefined || stored.entries.length === 0) return
    stored.entries = stored.entries.slice(0, Math.max(1, stored.entries.length - count))
    stored.head = stored.entries.at(-1)!.head
  }

  evict (topic: string): void { this.#stored.delete(topic) }
  evictEntries (topic: string): void { this.#stored.get(topic)?.entries.splice(0) }
}

/** One node's two connections to the server: for requests, and for what it is subscribed to. */
export class VirtualBroker implements Broker {
  readonly numbered = true
  readonly #server: VirtualServer
  #host: BrokerHost | null = null
  isUp = true
  readonly requests: Request[] = []
  readonly answers: Answer[] = []
  readonly pushes: Push[] = []
  // wanted, and known to the server
  readonly #wanted = new Set<string>()
  readonly #listening = new Set<string>()
  // increases with each cut: what was on its way before is lost
  #session = 0
  #unacknowledged: Array<() => void> = []
  #resent: Request[] = []

  constructor (server: VirtualServer) {
    this.#server = server
    server.clients.push(this)
  }

  isListening (topic: string): boolean { return this.isUp && this.#listening.has(topic) }
  get isIdle (): boolean { return this.isUp && this.requests.length + this.answers.length + this.pushes.length === 0 }

  async start (host: BrokerHost): Promise<void> { this.#host = host }
  async stop (): Promise<void> { this.#host = null }

  async publish (topic: string, body: Buffer, rule: Rule): Promise<Head | null> {
    return await new Promise((resolve, reject) => {
      this.#send({
        isPublish: true,
        run: () => {
          const head = this.#server.publish(topic, body, rule)
          return () => { resolve(head) }
        },
        fail: () => { reject(Object.assign(new Error('uncertain'), { code: 'FST_WS_TOPICS_UNCERTAIN' })) }
      })
    })
  }

  async read (topic: string, since: Head | null): Promise<{ head: Head, entries: Entry[] }> {
    return await new Promise((resolve, reject) => {
      let head: Head | null = null
      this.#send({
        isPublish: false,
        run: () => {
          if (head === null) {
            head = this.#server.head(topic)
            if (this.#server.faults.apart === true) return null
          }
          const answer = { head, entries: this.#server.entries(topic, head, since) }
          return () => { resolve(answer) }
        },
        fail: () => { reject(new Error('cut off')) }
      })
    })
  }

  async heads (topics: string[]): Promise<Array<Head | null>> {
    return await new Promise((resolve, reject) => {
      this.#send({
        isPublish: false,
        run: () => {
          const heads = topics.map(topic => this.#server.headOf(topic))
          return () => { resolve(heads) }
        },
        fail: () => { reject(new Error('cut off')) }
      })
    })
  }

  async subscribe (topics: string[]): Promise<void> {
    for (const topic of topics) this.#wanted.add(topic)
    await new Promise<void>(resolve => { this.#listen(topics, resolve) })
  }

  unsubscribe (topics: string[]): void {
    for (const topic of topics) {
      this.#wanted.delete(topic)
      this.#listening.delete(topic)
    }
    // what was read and is not told yet
    for (let i = this.pushes.length - 1; i >= 0; i--) {
      const push = this.pushes[i]!
      if ('topic' in push && topics.includes(push.topic)) this.pushes.splice(i, 1)
    }
  }

  #send (request: Request): void {
    if (this.isUp) this.requests.push(request)
    else request.fail()
  }

  #listen (topics: string[], acknowledged: () => void): void {
    this.#unacknowledged.push(acknowledged)
    if (!this.isUp) return
    const session = this.#session
    this.#send({
      isPublish: false,
      run: () => {
        for (const topic of topics) if (this.#wanted.has(topic)) this.#listening.add(topic)
        this.pushes.push({
          acknowledged: () => {
            if (session !== this.#session) return
            this.#unacknowledged = this.#unacknowledged.filter(other => other !== acknowledged)
            acknowledged()
          }
        })
        return () => {}
      },
      fail: () => {}
    })
  }

  // One step

  serve (): void {
    const request = this.requests[0]
    const arrive = request?.run() ?? null
    if (request === undefined || arrive === null) return
    this.requests.shift()
    this.answers.push({ request, arrive })
  }

  answer (): void {
    this.answers.shift()?.arrive()
  }

  /** An answer gets lost, and nobody is told. */
  dropAnswer (): void { this.answers.shift() }

  tell (): void {
    const push = this.pushes.shift()
    if (push === undefined) return
    if ('acknowledged' in push) push.acknowledged()
    else this.#host?.deliver(push.topic, push.entry)
  }

  /** A message gets lost, and nobody is told. */
  dropPush (): void {
    const index = this.pushes.findIndex(push => 'topic' in push)
    if (index >= 0) this.pushes.splice(index, 1)
  }

  cut (): void {
    if (!this.isUp) return
    this.isUp = false
    this.#session++
    const unanswered = [...this.answers.splice(0).map(({ request }) => request), ...this.requests.splice(0)]
    for (const request of unanswered) {
      if (this.#server.faults.resend === true && request.isPublish) this.#resent.push(request)
      else request.fail()
    }
    this.pushes.splice(0)
    this.#listening.clear()
    this.#host?.interrupted()
  }

  reconnect (): void {
    if (this.isUp) return
    this.isUp = true
    this.requests.push(...this.#resent.splice(0))
    const unacknowledged = this.#unacknowledged
    this.#unacknowledged = []
    this.#listen([...this.#wanted], () => {
      this.#host?.restored()
      for (const acknowledged of unacknowledged) acknowledged()
    })
  }
}

export function positionOf ({ epoch, number, tag }: Head): string {
  return `${epoch}.${number}.${tag}`
}
