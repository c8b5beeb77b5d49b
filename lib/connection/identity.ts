// By what a connection is told from others in logs and metrics of many processes; never on the wire.
import { randomBytes } from 'node:crypto'

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
const PROCESS = Array.from(randomBytes(6), byte => ALPHABET[byte % ALPHABET.length]).join('')
let last = 0

/** The number of the next connection of this process. A connection keeps it instead of its id, as a small integer takes no memory of its own. */
export function nextNumber (): number {
  return ++last
}

/** The id of the connection with that number: `<6 characters of the process>-<number, base 36>`. */
export function idOf (number: number): string {
  return `${PROCESS}-${number.toString(36)}`
}
