// Draws a Comparison as one SVG: for the README, and on the page while it is measured. Runs in Node and in browsers.
import { element, linearScale, linePath, text, ticks } from './chart.ts'
import {
  type Comparison, type DeliveryRun, formatGrowth, formatLatency, type Library, LIBRARIES, LOAD, type MemoryRun, MIB, nameOf, peakGrowthOf
} from './comparison.ts'

const WIDTH = 800
const MARGIN = 20
const GAP = 16
const PANEL_WIDTH = (WIDTH - 2 * MARGIN - GAP) / 2
const PADDING = 16

// An SVG in an <img> knows nothing of the page around it, so it brings its own background; the colours are those of the example.
const STYLE = `
.compare{--page:#f3f5f4;--card:#fff;--line:#dde3e1;--ink:#17211f;--soft:#55635f;--ours:#0f766e;--theirs:#b45309;
font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","Noto Sans",Arial,sans-serif}
@media (prefers-color-scheme:dark){.compare{--page:#0d1312;--card:#151d1b;--line:#27322f;--ink:#e7eeec;--soft:#9aaaa5;--ours:#2dd4bf;--theirs:#fbbf24}}
.compare text{fill:var(--ink);font-variant-numeric:tabular-nums}
.compare .page{fill:var(--page)}
.compare .card{fill:var(--card);stroke:var(--line)}
.compare .h1{font-size:17px;font-weight:650}
.compare .h2{font-size:13.5px;font-weight:650}
.compare .soft{fill:var(--soft)}
.compare .small{font-size:11px}
.compare .strong{font-weight:650}
.compare .grid{stroke:var(--line)}
.compare .track{fill:var(--page);stroke:var(--line)}
.compare .ours{--tone:var(--ours)}
.compare .theirs{--tone:var(--theirs)}
.compare .curve{fill:none;stroke:var(--tone);stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}
.compare .dashed{stroke-width:1.8;stroke-dasharray:1 4.5}
.compare .fill{fill:var(--tone)}
`

/** Returns the SVG. What has not been measured yet is left out or shown as `-`. */
export function drawPicture (comparison: Comparison): string {
  const { neverReading, listeningLate, pushing, conditions } = comparison
  const right = MARGIN + PANEL_WIDTH + GAP
  const notes = [
    'rows: the handler waits where send() returns false; on @fastify/websocket it returns nothing, so the handler sends on',
    'dotted: @fastify/websocket, with a handler that awaits the callback of each send() before the next, and so stays bounded too',
    `bystander: round trips of another client on the same server, with a small message to the echo every ${LOAD.bystanderInterval} ms`,
    ...conditions
  ]
  const height = 612 + notes.length * 17
  return element('svg',
    { xmlns: 'http://www.w3.org/2000/svg', class: 'compare', viewBox: `0 0 ${WIDTH} ${height}`, width: WIDTH, height, role: 'img', 'aria-label': describe(comparison) },
    element('style', {}, STYLE),
    element('rect', { class: 'page', width: WIDTH, height, rx: 12 }),
    text(MARGIN, 35, 'The same routes, the same load, each library with its defaults', { class: 'h1' }),
    ...legend(MARGIN, 58),
    memoryPanel({
      x: MARGIN,
      y: 74,
      title: 'A client sends to an echo and never reads',
      subtitle: `it offers ${LOAD.offered / MIB} MiB, at ${LOAD.rate / MIB} MiB/s at most`,
      bytesTitle: 'echoed',
      runs: neverReading
    }),
    memoryPanel({
      x: right,
      y: 74,
      title: 'A handler pushes rows to a slow reader',
      subtitle: `it has up to ${LOAD.rate / MIB} MiB/s to send, the client reads ${LOAD.readRate / MIB} MiB/s`,
      bytesTitle: 'sent',
      runs: pushing
    }),
    deliveryPanel(listeningLate, 458),
    ...notes.map((line, index) => text(MARGIN, 602 + index * 17, line, { class: 'soft small' }))
  )
}

function describe ({ neverReading, listeningLate, pushing }: Comparison): string {
  const growth = (runs: MemoryRun[]): string => runs.map(run => `${nameOf(run)}: ${formatGrowth(peakGrowthOf(run))} MiB`).join('; ')
  return `Growth of memory where a client never reads: ${growth(neverReading)}. Where a handler pushes to a slow reader: ${growth(pushing)}. ` +
    `Messages delivered to a handler that listens late: ${listeningLate.map(run => `${run.library}: ${run.delivered} of ${run.sent}`).join('; ')}.`
}

function toneOf (library: Library): string {
  return library === LIBRARIES[0] ? 'ours' : 'theirs'
}

function legend (x: number, y: number): string[] {
  return LIBRARIES.map((library, index) => element('g', { class: toneOf(library) },
    element('rect', { class: 'fill', x: x + index * 216, y: y - 9, width: 14, height: 8, rx: 2 }),
    text(x + index * 216 + 20, y, library, { class: 'strong' })
  ))
}

interface MemoryPanel {
  x: number
  y: number
  title: string
  subtitle: string
  /** The heading over `bytes` of a run. */
  bytesTitle: string
  runs: MemoryRun[]
}

function memoryPanel ({ x, y, title, subtitle, bytesTitle, runs }: MemoryPanel): string {
  const height = 368
  const left = x + PADDING + 30
  const right = x + PANEL_WIDTH - PADDING
  const top = y + 84
  const bottom = y + 228
  const seconds = LOAD.duration / 1000
  const marks = ticks(Math.max(...runs.flatMap(({ samples }) => samples.map(({ rss }) => rss / MIB)), 200), 4)
  const across = linearScale([0, seconds], [left, right])
  const up = linearScale([0, marks.at(-1)!], [bottom, top])

  const parts = [
    element('rect', { class: 'card', x, y, width: PANEL_WIDTH, height, rx: 10 }),
    text(x + PADDING, y + 26, title, { class: 'h2' }),
    text(x + PADDING, y + 44, subtitle, { class: 'soft small' }),
    text(x + PADDING, y + 68, 'memory of the server (RSS), MiB', { class: 'soft small' }),
    text(right, bottom + 30, 'seconds', { class: 'soft small', 'text-anchor': 'end' })
  ]
  for (const mark of marks) {
    parts.push(
      element('line', { class: 'grid', x1: left, x2: right, y1: up(mark), y2: up(mark) }),
      text(left - 6, up(mark) + 4, String(mark), { class: 'soft small', 'text-anchor': 'end' })
    )
  }
  for (let second = 0; second <= seconds; second += 2) {
    parts.push(text(across(second), bottom + 16, String(second), { class: 'soft small', 'text-anchor': 'middle' }))
  }
  for (const { library, variant, samples, isStopped } of runs) {
    const points = samples.map(({ at, rss }) => [across(Math.min(at, seconds)), up(rss / MIB)] as const)
    const curve = element('path', { class: variant === null ? 'curve' : 'curve dashed', d: linePath(points) })
    const [endX, endY] = points.at(-1) ?? [left, bottom]
    const end = isStopped ? text(endX + 4, endY + 12, 'stopped', { class: 'soft small' }) : ''
    parts.push(element('g', { class: toneOf(library) }, curve, end))
  }
  parts.push(...figures(runs, bytesTitle, x + PADDING, right, bottom + 51))
  return parts.join('')
}

/** A line for each run: what the curve comes to, what went through, and how the bystander fared. */
function figures (runs: MemoryRun[], bytesTitle: string, left: number, right: number, top: number): string[] {
  const columns = [
    { at: right - 140, heading: 'grows by', unit: 'MiB' },
    { at: right - 88, heading: bytesTitle, unit: 'MiB' },
    { at: right, heading: 'bystander', unit: 'p50 / p99, ms' }
  ]
  const atEnd = { 'text-anchor': 'end' }
  const parts = columns.flatMap(({ at, heading, unit }) => [
    text(at, top, heading, { class: 'soft small', ...atEnd }),
    text(at, top + 14, unit, { class: 'soft small', ...atEnd })
  ])
  runs.forEach((run, index) => {
    const y = top + 35 + index * 19
    const values = [formatGrowth(peakGrowthOf(run)), run.samples.length === 0 ? '-' : String(Math.round(run.bytes / MIB)), formatLatency(run.latency)]
    parts.push(element('g', { class: toneOf(run.library) },
      element('path', { class: run.variant === null ? 'curve' : 'curve dashed', d: `M${left} ${y - 4}h14` }),
      text(left + 20, y, run.variant ?? run.library, { class: 'small' }),
      ...values.map((value, column) => text(columns[column]!.at, y, value, { class: column === 0 ? 'strong small' : 'small', ...atEnd }))
    ))
  })
  return parts
}

function deliveryPanel (runs: DeliveryRun[], y: number): string {
  const x = MARGIN
  const width = WIDTH - 2 * MARGIN
  const left = x + PADDING + 176
  const right = x + width - PADDING - 84
  const parts = [
    element('rect', { class: 'card', x, y, width, height: 118, rx: 10 }),
    text(x + PADDING, y + 26, `A handler awaits ${LOAD.lateBy} ms before it listens`, { class: 'h2' }),
    text(x + PADDING, y + 44, `messages delivered of ${LOAD.earlyMessages} that a client sends as soon as it is connected`, { class: 'soft small' })
  ]
  runs.forEach(({ library, state, delivered }, index) => {
    const top = y + 60 + index * 24
    const across = linearScale([0, LOAD.earlyMessages], [0, right - left])
    parts.push(element('g', { class: toneOf(library) },
      text(x + PADDING, top + 12, library),
      element('rect', { class: 'track', x: left, y: top, width: right - left, height: 15, rx: 4 }),
      delivered > 0 ? element('rect', { class: 'fill', x: left, y: top, width: across(delivered), height: 15, rx: 4 }) : '',
      text(right + 12, top + 12, state === 'waiting' ? '-' : `${delivered} of ${LOAD.earlyMessages}`, { class: 'strong' })
    ))
  })
  return parts.join('')
}
