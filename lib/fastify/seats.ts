/** A place under a connection limit: taken when the handshake is accepted, given back once. */
export interface Seat {
  leave (): void
}

/** Counts connections against a limit, including those whose handshake is not over. */
export class Seats implements Seat {
  taken = 0

  take (): Seat {
    this.taken++
    return this
  }

  leave (): void {
    this.taken--
  }
}
