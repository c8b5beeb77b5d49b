// Ids that distinguish connections in logs and metrics across processes; never sent on the wire.
import { randomBytes } from 'node:crypto'

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
const PROCESS = Array.from(randomBytes(6), byte => ALPHABET[byte % ALPHABET.length]).join('')
let last = 0

/** The number of the next connection of this process. A connection stores it instead of its id, as a small integer takes no extra memory. */
export function nextNumber (): number {
  return ++last
}

/** The id of a connection: `<6 characters of the process>-<number, base 36>`. */
export function idOf (number: number): string {
  return `${PROCESS}-${number.toString(36)}`
}
