// One of the partitions in a cluster: where it lies, and what is wanted of it.
import type { ClusterNode } from './cluster-node.ts'

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class ClusterPart {
  readonly partition: number
  readonly slot: number
  readonly topics = new Set<string>()
  /** Null: no node has its slot, as far as is known. */
  node: ClusterNode | null = null
  #isUp = false
  #waiting: Waiter[] = []
  #inFlight = 0
  #drained: Array<() => void> = []

  constructor (partition: number, slot: number) {
    this.partition = partition
    this.slot = slot
  }

  /** Its node is subscribed to what is wanted, and can be published to. */
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

  /** Something is on its way to its node, which may say that it is not there. */
  async send<Result> (ask: () => Promise<Result>): Promise<Result> {
    this.#inFlight++
    try {
      return await ask()
    } finally {
      if (--this.#inFlight === 0) for (const resolve of this.#drained.splice(0)) resolve()
    }
  }

  /** What was on its way is answered. */
  async drained (): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>(resolve => { this.#drained.push(resolve) })
  }
}
