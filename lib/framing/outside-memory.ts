// What a socket reads, and a message joined from several chunks, is memory outside of V8's heap. It mostly dies young, and V8 gives it back with the
// small object that holds it: cheaply, by a scavenge, once new space is full of small objects, or, once 64 MiB have gathered outside, by
// marking the whole heap. Code that makes little garbage of its own therefore gets the expensive one, again and again, and its memory comes back
// cold. So what nobody needs any more is freed at once, and for the rest a bit of garbage lets new space fill up first: docs/internals.md, Speed.

// Bytes of garbage for each byte outside: new space has 16 MiB, after a while 32.
const RATIO = 1 / 2
const BYTES_PER_ELEMENT = 8
const MAX_ELEMENTS = 2048
/** Memory of fewer bytes is not counted: what is made for its messages anyway is enough. */
export const LARGE = 12 * 1024
// Garbage is made for so many bytes at a time, as some of them may be freed before.
const BATCH = 256 * 1024

// glibc gives free memory at the end of its heap back to the system, above 128 KiB: the next message touches new pages. It keeps twice as much as the largest
// piece that was mapped and freed before.
const MAPPED = 16 * 1024 * 1024

// V8 12, which Node 22 has, scavenges in any case
const needsGarbage = Number.parseInt(process.versions.v8) >= 13

// bytes for which there is no garbage yet
let uncovered = 0
// so that no compiler finds that nobody needs it
let waste: unknown[] | null = null
let isKept = false

/** Memory of so many bytes was taken, and is left to V8. */
export function leave (bytes: number): void {
  if (bytes < LARGE) return
  uncovered += bytes
  if (uncovered < BATCH) return
  if (!isKept) keepFreed()
  for (let left = needsGarbage ? Math.round(uncovered * RATIO / BYTES_PER_ELEMENT) : 0; left > 0; left -= MAX_ELEMENTS) {
    // oxlint-disable-next-line unicorn/no-new-array -- a length, and memory that nobody walks through
    waste = new Array(Math.min(left, MAX_ELEMENTS))
  }
  uncovered = 0
}

/** Frees memory that was left to V8: all views of it are empty from now on. */
export function free (memory: ArrayBuffer): void {
  if (memory.byteLength >= LARGE) uncovered -= memory.byteLength
  if (!isKept) keepFreed()
  memory.transfer(0)
}

function keepFreed (): void {
  isKept = true
  if (process.platform !== 'linux') return
  try {
    // never touched, so that it is nothing but addresses
    new ArrayBuffer(MAPPED).transfer(0)
  } catch {} // addresses are limited, as by `ulimit -v`
}

/** Elements of the latest garbage. @internal */
export const garbage = (): number => waste?.length ?? 0
