// A cluster node with slots: its server broker, and whether it is up.
import type { BrokerHost } from '../../../types/topics.ts'
import type { Address } from './connection.ts'
import type { ServerBroker } from './server-broker.ts'

export interface ClusterNodeOwner extends Pick<BrokerHost, 'deliver' | 'error'> {
  wentDown (node: ClusterNode): void
  cameUp (node: ClusterNode): void
}

export class ClusterNode {
  readonly address: Address
  readonly broker: ServerBroker
  #isUp = false
  #hasStarted = false
  #fail: ((error: Error) => void) | null = null
  // rejects when the node goes down
  #lost: Promise<never> | null = null

  constructor (address: Address, broker: ServerBroker) {
    this.address = address
    this.broker = broker
  }

  get hasStarted (): boolean { return this.#hasStarted }
  get isUp (): boolean { return this.#isUp }

  /** @returns rejects if it cannot be used */
  async start (owner: ClusterNodeOwner): Promise<void> {
    await this.broker.start({
      deliver: (topic, entry) => { owner.deliver(topic, entry) },
      error: error => { owner.error(error) },
      interrupted: () => {
        this.#setDown()
        owner.wentDown(this)
      },
      restored: () => {
        this.#setUp()
        owner.cameUp(this)
      }
    })
    this.#hasStarted = true
    this.#setUp()
  }

  async stop (): Promise<void> {
    this.#setDown()
    await this.broker.stop()
  }

  /** @returns rejects if the node goes down meanwhile, even if `promise` would settle after its return */
  async whileUp<Result> (promise: Promise<Result>): Promise<Result> {
    if (this.#lost === null) {
      promise.catch(() => {})
      throw new Error('the node is away')
    }
    return await Promise.race([promise, this.#lost])
  }

  #setUp (): void {
    this.#isUp = true
    this.#lost = new Promise((_resolve, reject) => { this.#fail = reject })
    this.#lost.catch(() => {})
  }

  #setDown (): void {
    this.#isUp = false
    this.#lost = null
    this.#fail?.(new Error('the node has gone'))
    this.#fail = null
  }
}
