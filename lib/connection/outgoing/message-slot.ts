import type { SendCallback } from '../../../types/connection.ts'
import { CONTINUATION, type Opcode } from '../../protocol/opcode.ts'
import type { QueueEntry } from './send-queue.ts'

type Send = (opcode: Opcode, fin: boolean, payload: Buffer, callback?: SendCallback) => void

/** The place in the send queue of a message whose fragments are sent one by one. */
export class MessageSlot implements QueueEntry {
  readonly size = 0
  /** Resolves when it may send, or when it is cut off. */
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

  /** Creates a slot that is cut off from the start. */
  static cut (opcode: Opcode): MessageSlot {
    const slot = new MessageSlot(opcode, () => {})
    slot.onCut()
    return slot
  }

  /** Some, but not all, of its fragments were sent. */
  get isHalf (): boolean { return this.#isBegun && !this.#isDone }

  /** @param callback called when the slot is cut off, as the connection is closing or closed; in a later tick if it already is */
  whenCut (callback: () => void): void {
    // Node's pipeline() reports another error for a stream that is destroyed before it begins
    if (this.#isCut) process.nextTick(callback)
    else this.#cutListener = callback
  }

  send (payload: Buffer, fin: boolean, callback: SendCallback): void {
    this.#send(this.#isBegun ? CONTINUATION : this.#opcode, fin, payload, callback)
    this.#isBegun = true
    if (fin) this.leave()
  }

  /** Lets the entries behind it go on. */
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
