// Random tests that fail the same way twice: every one of them starts from a seed that stands in the test.

/** Numbers from 0 up to but not including 1, as Math.random() gives them, the same for the same seed (mulberry32). */
export function random (seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 0x1_0000_0000
  }
}

/** An integer from `low` to `high`, both included. */
export function integer (random: () => number, low: number, high: number): number {
  return low + Math.floor(random() * (high - low + 1))
}

/**
 * Cuts `bytes` at random, as a network would: now byte by byte, now in long pieces, none of them empty. The pieces are
 * views into one copy, so they start at any alignment and what reads them may write over them.
 */
export function cuts (bytes: Buffer, random: () => number): Buffer[] {
  const copy = Buffer.from(bytes)
  const pieces: Buffer[] = []
  for (let start = 0; start < copy.length;) {
    const longest = random() < 0.5 ? Math.min(4, copy.length - start) : copy.length - start
    const end = start + integer(random, 1, longest)
    pieces.push(copy.subarray(start, end))
    start = end
  }
  return pieces
}
