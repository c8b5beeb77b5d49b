// Audience of a route with a schema for incoming messages: while onInvalidMessage is working on an invalid one, the next messages are held, and so is
// the peer's Close, as for listeners.
import { Audience, type Verdict } from './audience.ts'

export class AnsweringAudience extends Audience {
  /** onInvalidMessage has not settled. */
  isAnswering = false

  override get verdict (): Verdict {
    return this.isAnswering && !this.discards ? 'hold' : super.verdict
  }

  override get mayAnswer (): boolean {
    return (this.isAnswering && this.waitsForReader && !this.discards) || super.mayAnswer
  }
}
