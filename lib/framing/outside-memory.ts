// What a socket reads, and a message joined from several chunks, is memory outside of V8's heap. It mostly dies young, and V8 gives it back with the
// small object that holds it: cheaply, by a scavenge, once new space is full of small objects, or, once 64 MiB have gathered outside, by
// marking the whole heap. Code that makes little garbage of its own therefore gets the expensive one, again and again, and its memory comes back
// cold. So what nobody needs any more is freed at once, and for the rest a bit of garbage lets new space fill up first: docs/internals.md, Speed.

/** Smaller pieces are not counted: what is made for their messages anyway is enough. */
export const LARGE = 12 * 1024
// Bytes of garbage for each byte outside: new space has 16 MiB, and after a while 32.
const RATIO = 1 / 2
// Garbage is made in batches, because some of the memory may be freed first.
const BATCH = 256 * 1024
const MIN_UNCOVERED = -4 * 1024 * 1024
// More would not fit into new space.
const MAX_UNCOVERED = 32 * 1024 * 1024
const BYTES_PER_ELEMENT = 8
const MAX_ELEMENTS = 2048

// glibc returns free memory at the end of its heap to the system, and the next message has to touch new pages. It keeps twice as much as the
// largest block that was mapped by itself and freed, up to 32 MiB, and without such a block 128 KiB.
const MAPPED = 31 * 1024 * 1024

// V8 12, which Node 22 has, scavenges in any case
const needsGarbage = Number.parseInt(process.versions.v8) >= 13

// bytes for which there is no garbage yet; less than 0 if some were freed afterwards
let uncovered = 0
// so that no compiler finds that nobody needs it
let waste: unknown[] | null = null
let keepsFreed = false

/** To be called where that many bytes were allocated outside of the heap, for the garbage collector to free. */
export function countOutside (bytes: number): void {
  if (bytes < LARGE) return
  uncovered += bytes
  if (uncovered >= BATCH) cover()
}

/** Frees memory that was counted, without the garbage collector: all views of it are empty from now on. */
export function free (memory: ArrayBufferLike): void {
  if (!(memory instanceof ArrayBuffer) || memory.detached) return
  uncovered = Math.max(uncovered - memory.byteLength, MIN_UNCOVERED)
  keepFreed()
  memory.transfer(0)
}

function cover (): void {
  const bytes = Math.min(uncovered, MAX_UNCOVERED)
  uncovered = 0
  keepFreed()
  if (needsGarbage) makeGarbage(bytes * RATIO)
}

/** Fills new space with small objects that nobody needs. @internal */
export function makeGarbage (bytes: number): void {
  for (let left = Math.round(bytes / BYTES_PER_ELEMENT); left > 0; left -= MAX_ELEMENTS) {
    // oxlint-disable-next-line unicorn/no-new-array -- a length, and memory that nobody walks through
    waste = new Array(Math.min(left, MAX_ELEMENTS))
  }
}

/** Has glibc keep freed memory for what comes next, once large messages do come. */
function keepFreed (): void {
  if (keepsFreed) return
  keepsFreed = true
  if (process.platform !== 'linux') return
  try {
    // mapped, but never touched: it takes no memory
    new ArrayBuffer(MAPPED).transfer(0)
  } catch {} // no room for it, as under `ulimit -v`
}

/** Elements of the latest garbage. @internal */
export const garbage = (): number => waste?.length ?? 0
