/** How many connections there are where their number is limited; those count too whose handshake is not over. */
export class Seats {
  taken = 0
}
