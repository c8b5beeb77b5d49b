// RFC 6455 §7.1: the closing handshake as two values. All that is asked of it is derived from them.
import { ABNORMAL_CLOSURE } from './close-code.ts'
import type { Close } from './close-payload.ts'

/** How a connection ended. RFC 6455 §7.1.4 to §7.1.6. */
export interface CloseOutcome {
  /** Of the peer's Close frame; 1005 when that had none, 1006 when there was no Close frame. */
  readonly code: number
  readonly reason: Buffer
  /** Both sides sent a Close frame. */
  readonly wasClean: boolean
}

const NO_REASON: Buffer = Buffer.alloc(0)

export class ClosingHandshake {
  #sent: Close | null = null
  #received: Close | null = null

  /** Null until our Close frame is on its way. */
  get sent (): Close | null { return this.#sent }
  /** Null until the peer's Close frame has had its turn. */
  get received (): Close | null { return this.#received }
  get started (): boolean { return this.#sent !== null || this.#received !== null }
  get complete (): boolean { return this.#sent !== null && this.#received !== null }

  send (close: Close): void { this.#sent ??= close }
  receive (close: Close): void { this.#received ??= close }

  get outcome (): CloseOutcome {
    return {
      code: this.#received?.code ?? ABNORMAL_CLOSURE,
      reason: this.#received?.reason ?? NO_REASON,
      wasClean: this.complete
    }
  }
}
