// How a connection ends (RFC 6455 §7), as values: which Close frames were said, who began it, and what is still waited for.
//
// phase       readyState   what it is                                  waits, closeTimeout each, for     too long, and
// ----------  -----------  ------------------------------------------  --------------------------------  ------------------------
// connecting  CONNECTING   the opening handshake is not over
// open        OPEN
// leaving     OPEN         the peer's last word has come (a Close, a   whoever takes the messages        they are discarded
//                          failure, its end of the stream) and has     before it; answers still go out
//                          its turn behind the messages before it
// closing     CLOSING      our Close is on its way                     the peer's Close                  the transport is dropped
// answered    CLOSING      both have said Close                        the end of the transport          the transport is dropped
// broken      CLOSING      there will be no Close from the peer:       the end of the transport          the transport is dropped
//                          it failed, it ended without, we gave up
// dropped     CLOSING      the transport was told to go at once        its 'close'                       done without it
// gone        CLOSING      the transport is closed                     whoever takes what is held        it is discarded
// closed      CLOSED       all was delivered
import type { CloseCause, CloseInfo, ReadyState } from '../../types/connection.ts'
import { ABNORMAL_CLOSURE } from '../protocol/close-code.ts'
import type { Close } from '../protocol/close.ts'

export type Phase = 'connecting' | 'open' | 'leaving' | 'closing' | 'answered' | 'broken' | 'dropped' | 'gone' | 'closed'

/**
 * `farewell`: the peer's last word came. `close`: ours is on its way. `answer`: the peer's Close had its turn, and ours is on its way. `break`: no
 * Close of the peer is waited for. `drop`: the transport is dropped. `lose`: it is closed. `finish`: nothing is left to deliver.
 */
export type EndingEvent = 'open' | 'farewell' | 'close' | 'answer' | 'break' | 'drop' | 'lose' | 'finish'

/** Phase and event -> phase; what is not here changes nothing. */
const NEXT: Readonly<Record<Phase, Readonly<Partial<Record<EndingEvent, Phase>>>>> = {
  connecting: { open: 'open', drop: 'gone', lose: 'gone' },
  open: { farewell: 'leaving', close: 'closing', answer: 'answered', break: 'broken', drop: 'dropped', lose: 'gone' },
  leaving: { close: 'closing', answer: 'answered', break: 'broken', drop: 'dropped', lose: 'gone' },
  closing: { answer: 'answered', break: 'broken', drop: 'dropped', lose: 'gone' },
  answered: { break: 'broken', drop: 'dropped', lose: 'gone' },
  broken: { drop: 'dropped', lose: 'gone' },
  dropped: { lose: 'gone' },
  gone: { finish: 'closed' },
  closed: {}
}

const READY_STATES: Readonly<Record<Phase, ReadyState>> = {
  connecting: 0, open: 1, leaving: 1, closing: 2, answered: 2, broken: 2, dropped: 2, gone: 2, closed: 3
}

const NO_REASON: Buffer = Buffer.alloc(0)

export class Ending {
  #phase: Phase = 'connecting'
  #sent: Close | null = null
  #received: Close | null = null
  #cause: CloseCause | null = null
  #closeCode: number | undefined = undefined
  #isCutOff = false
  /** Why we failed the connection. RFC 6455 §7.1.7. */
  failure: Error | null = null

  get phase (): Phase { return this.#phase }
  get readyState (): ReadyState { return READY_STATES[this.#phase] }
  /** Null until our Close frame is on its way. */
  get sent (): Close | null { return this.#sent }
  /** The end has been begun, by whichever side. */
  get hasBegun (): boolean { return this.#cause !== null }
  /** Of the peer's Close, or else of what began it, 1006 where that was no Close; undefined while it has not begun. */
  get closeCode (): number | undefined { return this.#received?.code ?? this.#closeCode }
  /** Nothing more comes from the peer; what came before may still be held. */
  get isPeerDone (): boolean { return READY_STATES[this.#phase] >= 2 && this.#phase !== 'closing' }
  /** Both sides have said Close, and ours is out. §7.1.4. */
  get wasClean (): boolean { return this.#sent !== null && this.#received !== null && !this.#isCutOff }
  /** §7.1.5: of the peer's Close; 1006 when there was none. */
  get code (): number { return this.#received?.code ?? ABNORMAL_CLOSURE }
  /** §7.1.6. */
  get reason (): Buffer { return this.#received?.reason ?? NO_REASON }

  get info (): CloseInfo {
    const { code, reason, wasClean } = this
    const sent = this.#sent === null ? null : { code: this.#sent.code, reason: this.#sent.reason.toString() }
    return { code, reason: reason.toString(), wasClean, sent, cause: this.#cause ?? 'transport' }
  }

  /** @returns whether that made it another phase */
  move (event: EndingEvent): boolean {
    const next = NEXT[this.#phase][event]
    if (next === undefined) return false
    this.#phase = next
    return true
  }

  /** Who begins the end, and with which close code; the first counts. */
  blame (cause: CloseCause, closeCode: number): void {
    this.#cause ??= cause
    this.#closeCode ??= closeCode
  }

  /** Our Close frame; the first counts. */
  send (close: Close): void { this.#sent ??= close }

  /** The transport is closed, and what was on its way, our Close the last of it, did not all get into it. */
  cutOff (): void { this.#isCutOff = true }

  /** The peer's Close frame has its turn. */
  receive (close: Close): void { this.#received ??= close }
}
