import type { SendCallback } from '../../../types/connection.ts'
import { CONTINUATION, type Opcode } from '../../protocol/opcode.ts'
import type { QueueEntry } from './send-queue.ts'

type Send = (opcode: Opcode, fin: boolean, payload: Buffer, callback?: SendCallback) => void

/** The place of a message whose fragments come one by one. */
export class MessageSlot implements QueueEntry {
  readonly size = 0
  /** Resolves when it may send, or never will. */
  readonly turn: Promise<void>
  #isCut = false
  #isBegun = false
  #isDone = false
  readonly #send: Send
  readonly #opcode: Opcode
  readonly #done: Promise<void>
  #setTurn!: () => void
  #setDone!: () => void
  #cutListener: (() => void) | null = null

  constructor (opcode: Opcode, send: Send) {
    this.#opcode = opcode
    this.#send = send
    this.turn = new Promise(resolve => { this.#setTurn = resolve })
    this.#done = new Promise(resolve => { this.#setDone = resolve })
  }

  /** One that will have no turn. */
  static cut (opcode: Opcode): MessageSlot {
    const slot = new MessageSlot(opcode, () => {})
    slot.onCut()
    return slot
  }

  /** A part of it is sent, and its end is not. */
  get isHalf (): boolean { return this.#isBegun && !this.#isDone }

  /** @param callback called when it is cut off: the connection is closing or closed. In a later tick, if it is so already */
  whenCut (callback: () => void): void {
    // Node's pipeline() has another error for a stream that is destroyed before it begins
    if (this.#isCut) process.nextTick(callback)
    else this.#cutListener = callback
  }

  send (payload: Buffer, fin: boolean, callback: SendCallback): void {
    this.#send(this.#isBegun ? CONTINUATION : this.#opcode, fin, payload, callback)
    this.#isBegun = true
    if (fin) this.leave()
  }

  /** Lets go what waits behind it. */
  leave (): void {
    this.#isDone = true
    this.#setDone()
  }

  run (): Promise<void> {
    this.#setTurn()
    return this.#done
  }

  onCut (): void {
    this.#isCut = true
    this.#setTurn()
    this.#setDone()
    this.#cutListener?.()
  }
}
