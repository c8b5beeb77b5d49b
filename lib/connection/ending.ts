// How a connection ends (RFC 6455 §7), as values: which Close frames were sent, who began it, and what is still pending.
// Each wait lasts up to closeTimeout. The peer's final event is its Close, a protocol error, or the end of its stream.
//
// phase       readyState   meaning                                     waits for                         on timeout
// ----------  -----------  ------------------------------------------  --------------------------------  ------------------------
// connecting  CONNECTING   the opening handshake is not over
// open        OPEN
// leaving     OPEN         the peer's final event has come and takes   a consumer of those messages;     they are discarded
//                          its turn behind the messages before it      answers still go out
// closing     CLOSING      our Close is on its way                     the peer's Close                  the transport is dropped
// answered    CLOSING      both sides have sent Close                  the end of the transport          the transport is dropped
// broken      CLOSING      there will be no Close from the peer: it    the end of the transport          the transport is dropped
//                          failed or ended without one, or we gave up
// dropped     CLOSING      the transport was told to abort             its 'close'                       goes on without it
// gone        CLOSING      the transport is closed                     a consumer of held messages       they are discarded
// closed      CLOSED       everything was delivered
import type { CloseCause, CloseInfo, ReadyState } from '../../types/connection.ts'
import { ABNORMAL_CLOSURE } from '../protocol/close-code.ts'
import type { Close } from '../protocol/close.ts'

export type Phase = 'connecting' | 'open' | 'leaving' | 'closing' | 'answered' | 'broken' | 'dropped' | 'gone' | 'closed'

/**
 * `farewell`: the peer's final event arrived. `close`: our Close is on its way. `answer`: the peer's Close had its turn and ours is on its way.
 * `break`: we no longer wait for the peer's Close. `drop`: the transport is dropped. `lose`: it is closed. `finish`: nothing is left to deliver.
 */
export type EndingEvent = 'open' | 'farewell' | 'close' | 'answer' | 'break' | 'drop' | 'lose' | 'finish'

/** Phase and event -> next phase; other events are ignored. */
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
  /** Either side has begun the ending. */
  get hasBegun (): boolean { return this.#cause !== null }
  /** The code of the peer's Close, or else of what began the ending (1006 if not a Close); undefined before that. */
  get closeCode (): number | undefined { return this.#received?.code ?? this.#closeCode }
  /** Nothing more comes from the peer; earlier messages may still be held. */
  get isPeerDone (): boolean { return READY_STATES[this.#phase] >= 2 && this.#phase !== 'closing' }
  /** Both sides have sent Close, and ours was not cut off. §7.1.4. */
  get wasClean (): boolean { return this.#sent !== null && this.#received !== null && !this.#isCutOff }
  /** §7.1.5: the code of the peer's Close; 1006 if there was none. */
  get code (): number { return this.#received?.code ?? ABNORMAL_CLOSURE }
  /** §7.1.6. */
  get reason (): Buffer { return this.#received?.reason ?? NO_REASON }

  get info (): CloseInfo {
    const { code, reason, wasClean } = this
    const sent = this.#sent === null ? null : { code: this.#sent.code, reason: this.#sent.reason.toString() }
    return { code, reason: reason.toString(), wasClean, sent, cause: this.#cause ?? 'transport' }
  }

  /** @returns whether the phase changed */
  move (event: EndingEvent): boolean {
    const next = NEXT[this.#phase][event]
    if (next === undefined) return false
    this.#phase = next
    return true
  }

  /** Records who began the ending and with which close code; only the first call counts. */
  blame (cause: CloseCause, closeCode: number): void {
    this.#cause ??= cause
    this.#closeCode ??= closeCode
  }

  /** Records our Close frame; only the first counts. */
  send (close: Close): void { this.#sent ??= close }

  /** The transport closed before it had taken everything up to our Close. */
  cutOff (): void { this.#isCutOff = true }

  /** Records the peer's Close frame when it has its turn. */
  receive (close: Close): void { this.#received ??= close }
}
