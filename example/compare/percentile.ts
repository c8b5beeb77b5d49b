/** Returns the nearest-rank percentile: the smallest of `values` that at least `share` (0 to 1) of them do not exceed. Null when there are none. */
export function percentile (values: readonly number[], share: number): number | null {
  const ascending = values.toSorted((a, b) => a - b)
  return ascending[Math.max(0, Math.ceil(share * ascending.length) - 1)] ?? null
}
