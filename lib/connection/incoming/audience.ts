// Who takes a message that has come, if anybody does:
//
// what was said     reader                     listeners     expected   verdict
// ----------------  -------------------------  ------------  ---------  -------------------------------------------------------
// all is discarded  any                        any           any        discard
// pause()           any                        any           any        hold
//                   waits                      any           any        deliver
//                   busy, and waited for       any           any        hold
//                   none; wants no pieces,     one or more   any        deliver; hold while messageConcurrency are at work
//                   and is not waited for
//                   as before                  none          yes        hold, for a consumer that may still come
//                                              none          no         discard
//                   wants pieces, and is not   any           yes        hold
//                   waited for                 any           no         discard
import type { MessageReader } from './message-reader.ts'

export type Verdict = 'deliver' | 'hold' | 'discard'

export class Audience {
  /** Who pulls messages, if somebody does; listeners only observe then. */
  reader: MessageReader<any> | null = null
  isPaused = false
  /** There are 'message' listeners. */
  hasListeners = false
  /** Messages that are with listeners whose promises are not settled. */
  unsettled = 0
  /** The handler may still attach a consumer. */
  expectsConsumer = true
  /** A receive() has been answered, and the next may follow. */
  expectsReceive = false
  /** A reader that is busy is waited for. After a local close() only one that somebody reads from. */
  waitsForReader = true
  /** Messages count no more. */
  discards = false
  readonly #concurrency: number

  /** @param concurrency how many messages may be with listeners whose promises are not settled */
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

  /** What came before the peer's Close may still be answered, so that this waits. */
  get mayAnswer (): boolean {
    if (this.discards) return false
    if (this.reader === null && this.unsettled > 0 && this.waitsForReader) return true
    return this.#isReaderBusy && !this.#isReaderOnlyWritten
  }

  /** Messages wait, and nobody has shown that he wants them. */
  get isMissing (): boolean {
    return this.reader === null && !this.hasListeners && this.expectsConsumer && !this.expectsReceive && !this.isPaused && !this.discards
  }

  /** The reader has not asked for more yet, and is waited for. */
  get #isReaderBusy (): boolean {
    return this.waitsForReader && (this.reader === null ? this.expectsReceive : this.reader.isBusy)
  }

  /** A stream is there of which nobody has ever read. */
  get #isReaderOnlyWritten (): boolean {
    return this.reader?.keepsMessages === true && !this.reader.hasAsked
  }

  // Beside a reader nobody waits for listeners.
  get #areListenersBusy (): boolean {
    return this.reader === null && this.unsettled >= this.#concurrency
  }
}
