// A partition in a cluster: its node and its topics.
import type { ClusterNode } from './cluster-node.ts'

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class ClusterPart {
  readonly partition: number
  readonly slot: number
  readonly topics = new Set<string>()
  /** Null: no known node has its slot. */
  node: ClusterNode | null = null
  #isUp = false
  #waiting: Waiter[] = []
  #inFlight = 0
  #drained: Array<() => void> = []

  constructor (partition: number, slot: number) {
    this.partition = partition
    this.slot = slot
  }

  /** Its subscriptions are acknowledged, and publishing is possible. */
  get isUp (): boolean { return this.#isUp }

  /** @returns whether it was up */
  setDown (): boolean {
    const wasUp = this.#isUp
    this.#isUp = false
    return wasUp
  }

  setUp (): void {
    this.#isUp = true
    for (const { resolve } of this.#waiting.splice(0)) resolve()
  }

  end (error: Error): void {
    this.#isUp = false
    this.node = null
    this.topics.clear()
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }

  async back (): Promise<void> {
    await new Promise<void>((resolve, reject) => { this.#waiting.push({ resolve, reject }) })
  }

  /** Sends a command to its node, and counts it as in flight until it is answered. */
  async send<Result> (ask: () => Promise<Result>): Promise<Result> {
    this.#inFlight++
    try {
      return await ask()
    } finally {
      if (--this.#inFlight === 0) for (const resolve of this.#drained.splice(0)) resolve()
    }
  }

  /** Resolves when all commands in flight are answered. */
  async drained (): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>(resolve => { this.#drained.push(resolve) })
  }
}
