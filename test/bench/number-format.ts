const KIB = 1024

/** As many digits as can be trusted: 0.85, 4.21, 12.7, 128. */
export function threeDigits (value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString('en-US')
  return value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2)
}

/** What a workload of this kind costs, with its unit: microseconds as they are, bytes in KiB. */
export function cost (kind: string, value: number): string {
  return kind === 'memory' ? `${threeDigits(value / KIB)} KiB` : `${threeDigits(value)} µs`
}
