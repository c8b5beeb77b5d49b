// What a socket reads, and a message joined from several chunks, is memory outside of V8's heap. It mostly dies young, and V8 gives it back with the
// small object that holds it: cheaply, by a scavenge, once new space is full of small objects, or, once 64 MiB have gathered outside, by
// marking the whole heap. Code that makes little garbage of its own therefore gets the expensive one, again and again, and its memory comes back
// cold. A bit of garbage for each large piece of such memory lets new space fill up first: docs/internals.md, Speed.

// Bytes of garbage for each byte outside: new space has 16 MiB.
const RATIO = 1 / 4
const BYTES_PER_ELEMENT = 8
const MAX_ELEMENTS = 2048
/** Below this, what is made for a message anyway is enough. */
export const LARGE = 32 * 1024

// V8 12, which Node 22 has, scavenges in any case
const isNeeded = Number.parseInt(process.versions.v8) >= 13

// so that no compiler finds that nobody needs it
let waste: unknown[] | null = null

/** To be called where so many bytes outside of the heap were taken, at least LARGE. */
export function makeYoungGarbage (bytes: number): void {
  if (!isNeeded) return
  for (let left = Math.round(bytes * RATIO / BYTES_PER_ELEMENT); left > 0; left -= MAX_ELEMENTS) {
    // oxlint-disable-next-line unicorn/no-new-array -- a length, and memory that nobody walks through
    waste = new Array(Math.min(left, MAX_ELEMENTS))
  }
}

/** What is there of it now. @internal */
export const youngGarbage = (): number => waste?.length ?? 0
