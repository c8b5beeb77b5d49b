// Decides what happens to a received message. `expected`: a consumer may still come.
//
// state             reader                     listeners     expected   verdict
// ----------------  -------------------------  ------------  ---------  -------------------------------------------------------
// discarding        any                        any           any        discard
// paused            any                        any           any        hold
//                   waiting                    any           any        deliver
//                   busy, and waited for       any           any        hold
//                   none; or wants no pieces,  one or more   any        deliver; hold while messageConcurrency are unsettled
//                   and is not waited for
//                   as above                   none          yes        hold
//                                              none          no         discard
//                   wants pieces, and is not   any           yes        hold
//                   waited for                 any           no         discard
import type { MessageReader } from './message-reader.ts'

export type Verdict = 'deliver' | 'hold' | 'discard'

export class Audience {
  /** Pulls messages, if there is one; listeners then only observe. */
  reader: MessageReader<any> | null = null
  isPaused = false
  /** There are 'message' listeners. */
  hasListeners = false
  /** Messages whose listeners have not settled their promises. */
  unsettled = 0
  /** The handler may still attach a consumer. */
  expectsConsumer = true
  /** A receive() has resolved, and another may follow. */
  expectsReceive = false
  /** Whether to wait for a busy reader. After a local close() only for one that somebody reads from. */
  waitsForReader = true
  /** Messages are discarded from now on. */
  discards = false
  readonly #concurrency: number

  /** @param concurrency the maximum of `unsettled` */
  constructor (concurrency: number) {
    this.#concurrency = concurrency
  }

  get verdict (): Verdict {
    if (this.discards) return 'discard'
    if (this.isPaused) return 'hold'
    if (this.reader?.isWaiting === true) return 'deliver'
    if (this.#isReaderBusy) return 'hold'
    if (this.hasListeners && this.reader?.wantsPieces !== true) return this.#areListenersBusy ? 'hold' : 'deliver'
    return this.expectsConsumer ? 'hold' : 'discard'
  }

  /** Messages before the peer's Close may still be answered, so that the Close waits. */
  get mayAnswer (): boolean {
    if (this.discards) return false
    if (this.reader === null && this.unsettled > 0 && this.waitsForReader) return true
    return this.#isReaderBusy && !this.#isReaderOnlyWritten
  }

  /** A consumer is expected, but none has shown up. */
  get isMissing (): boolean {
    return this.reader === null && !this.hasListeners && this.expectsConsumer && !this.expectsReceive && !this.isPaused && !this.discards
  }

  /** The reader has not asked for the next message yet, and we wait for it. */
  get #isReaderBusy (): boolean {
    return this.waitsForReader && (this.reader === null ? this.expectsReceive : this.reader.isBusy)
  }

  /** There is a stream that nobody has ever read from. */
  get #isReaderOnlyWritten (): boolean {
    return this.reader?.keepsMessages === true && !this.reader.hasAsked
  }

  // with a reader, listeners are not waited for
  get #areListenersBusy (): boolean {
    return this.reader === null && this.unsettled >= this.#concurrency
  }
}
