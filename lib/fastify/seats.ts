/** What a connection has from the time that its handshake is accepted, and gives back once. */
export interface Seat {
  leave (): void
}

/** How many connections there are where their number is limited; those count too whose handshake is not over. */
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
