// As its base, of a route with a schema for what is received: while an answer to a message that the schema does not allow is made, nobody takes the next,
// and the peer's Close waits, as it does for listeners.
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
