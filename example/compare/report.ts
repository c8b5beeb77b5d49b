// The comparison in the terminal.
import {
  type Comparison, type DeliveryRun, formatGrowth, formatLatency, growthOf, LOAD, type MemoryRun, MIB, nameOf, peakGrowthOf
} from './comparison.ts'

const BARS = '▁▂▃▄▅▆▇█'
const CURVE_WIDTH = 24

/** Returns the lines that tell how things stand. */
export function report ({ neverReading, listeningLate, pushing }: Comparison): string[] {
  const names = [...neverReading, ...pushing].map(run => nameOf(run).length)
  const width = Math.max(...names)
  return [
    `A client sends to an echo and never reads (offers ${LOAD.offered / MIB} MiB)`,
    ...neverReading.map(run => memoryLine(run, 'echoed', width)),
    '',
    `A handler awaits ${LOAD.lateBy} ms before it listens`,
    ...listeningLate.map(run => deliveryLine(run, width)),
    '',
    `A handler pushes rows to a slow reader (reads ${LOAD.readRate / MIB} MiB/s)`,
    ...pushing.map(run => memoryLine(run, 'sent', width))
  ]
}

/** Returns the line of the run that is being measured, or null. */
export function currentLine ({ neverReading, listeningLate, pushing }: Comparison): string | null {
  const isRunning = ({ state }: { state: string }): boolean => state === 'running'
  const reading = neverReading.find(isRunning)
  if (reading) return `never reading: ${memoryLine(reading, 'echoed')}`
  const listening = listeningLate.find(isRunning)
  if (listening) return `listening late: ${deliveryLine(listening)}`
  const pushed = pushing.find(isRunning)
  return pushed ? `pushing: ${memoryLine(pushed, 'sent')}` : null
}

function memoryLine (run: MemoryRun, verb: string, width = 0): string {
  const name = `  ${nameOf(run).padEnd(width)}`
  if (run.samples.length === 0) return name
  const grown = formatGrowth(run.state === 'done' ? peakGrowthOf(run) : growthOf(run))
  const through = `${Math.round(run.bytes / MIB)} MiB ${verb}`
  return `${name}  ${grown.padStart(4)} MiB  ${sparkline(run).padEnd(CURVE_WIDTH)}  ${through.padEnd(14)}  ` +
    `bystander ${formatLatency(run.latency)} ms (p50 / p99)${run.isStopped ? '  stopped' : ''}`
}

function deliveryLine ({ library, state, sent, delivered }: DeliveryRun, width = 0): string {
  const name = `  ${library.padEnd(width)}`
  if (state === 'waiting') return name
  return `${name}  ${delivered} of ${sent} messages delivered${state === 'done' ? `, ${sent - delivered} lost` : ''}`
}

/** Draws the growth of memory over time in one line; the highest bar is `LOAD.growthLimit`. */
export function sparkline ({ samples }: Pick<MemoryRun, 'samples'>): string {
  const slots: Array<number | undefined> = Array.from({ length: CURVE_WIDTH }, () => undefined)
  for (const { at, rss } of samples) {
    const grown = rss - samples[0]!.rss
    const slot = Math.min(CURVE_WIDTH - 1, Math.floor(at * 1000 / LOAD.duration * CURVE_WIDTH))
    slots[slot] = Math.max(slots[slot] ?? 0, grown) // no bar is lower than the lowest
  }
  return slots.map(grown => {
    if (grown === undefined) return ' '
    return BARS[Math.min(BARS.length - 1, Math.floor(grown / LOAD.growthLimit * BARS.length))]
  }).join('').trimEnd()
}
