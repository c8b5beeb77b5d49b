import { cost, threeDigits } from './number-format.ts'
import type { Results, WorkloadResult } from './results.ts'

const WIDTH = 800
const LABEL_END = 212
const BAR_START = 226
const BAR_END = 590
const FIGURES_END = 772
const FIRST_ROW = 122
const ROW = 30
const HEADING = 28
const BAR_HEIGHT = 14

// opaque on purpose: GitHub's theme and that of the system, which is what an image can ask for, may differ
const STYLE = `
    text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
    .title { font-size: 18px; font-weight: 600 }
    .small { font-size: 11.5px; fill: #59636e }
    .ratio { font-weight: 600 }
    .heading { font-style: italic }
    .end { text-anchor: end }
    .middle { text-anchor: middle }
    .card { fill: #ffffff; stroke: #d1d9e0 }
    .grid { stroke: #e6eaef }
    .equal { stroke: #59636e; stroke-dasharray: 3 3 }
    .less { fill: #1a7f6b }
    .more { fill: #c4622d }
    .spread { stroke: #1f2328; stroke-opacity: .55; fill: none }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .small { fill: #9198a1 }
      .card { fill: #0d1117; stroke: #3d444d }
      .grid { stroke: #21262d }
      .equal { stroke: #9198a1 }
      .less { fill: #2fae93 }
      .more { fill: #dd7f49 }
      .spread { stroke: #e6edf3 }
    }`

/** What is compared, and which workloads belong there. */
const SECTIONS = [
  { heading: 'CPU time', has: (kind: string) => kind !== 'memory' },
  { heading: 'memory per connection', has: (kind: string) => kind === 'memory' }
]

type Row = WorkloadResult & { readonly ratio: { readonly median: number, readonly min: number, readonly max: number } }

/** A picture of how many times as much `ws` costs, as SVG for light and dark pages, 800 px wide. */
export function chart ({ environment, rounds, duration, workloads }: Results): string {
  const rows: Row[] = workloads.flatMap(result => result.ratios.ws === undefined ? [] : [{ ...result, ratio: result.ratios.ws }])
  const end = axisEnd(rows.map(({ ratio }) => ratio.median))
  const x = (ratio: number): number => BAR_START + Math.min(ratio / end, 1) * (BAR_END - BAR_START)
  const drawn: string[] = []
  let bottom = FIRST_ROW
  for (const { heading, has } of SECTIONS) {
    const section = rows.filter(({ kind }) => has(kind))
    if (section.length === 0) continue
    drawn.push(`  <text class="small heading end" x="${LABEL_END}" y="${bottom + 18}">${heading}</text>`)
    bottom += HEADING
    for (const row of section) {
      drawn.push(bar(row, bottom, x, end))
      bottom += ROW
    }
  }
  const height = bottom + 68
  const step = [0.5, 1, 2, 5, 10, 20].find(candidate => end / candidate <= 8) ?? 50
  const ticks = Array.from({ length: Math.floor(end / step) + 1 }, (_, i) => i * step)
  if (!ticks.includes(1)) ticks.push(1)
  const { versions } = environment
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="title description">
  <title id="title">What ws costs a server, in multiples of what fastify-websocket-stream costs</title>
  <desc id="description">${rows.map(({ name, ratio }) => `${display(name)}: ${threeDigits(ratio.median)}`).join('; ')}</desc>
  <style>${STYLE}
  </style>
  <rect class="card" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>
  <text class="title" x="28" y="38">ws costs … times as much as fastify-websocket-stream</text>
  <text class="small" x="28" y="60">What a server needs for the same work. × 1 and × 16: echoes, so many messages in flight on each of 64</text>
  <text class="small" x="28" y="76">connections (16 for 1 MiB), binary unless it says text. Bars are medians, thin lines the range over all rounds.</text>
  <text class="small end" x="${FIGURES_END}" y="${FIRST_ROW - 18}">ours / ws</text>
${ticks.map(tick => `  <line class="grid" x1="${x(tick)}" x2="${x(tick)}" y1="${FIRST_ROW - 8}" y2="${bottom}"/>
  <text class="small middle" x="${x(tick)}" y="${FIRST_ROW - 18}">${tick}×</text>`).join('\n')}
${drawn.join('\n')}
  <line class="equal" x1="${x(1)}" x2="${x(1)}" y1="${FIRST_ROW - 8}" y2="${bottom}"/>
  <text class="small" x="28" y="${bottom + 28}">fastify-websocket-stream ${versions['fastify-websocket-stream']} on Fastify ${versions['fastify']} against ws ${versions['ws']} on node:http, both with their defaults, side by side in</text>
  <text class="small" x="28" y="${bottom + 44}">${rounds} rounds of ${threeDigits(duration / 1000)} s. Node.js ${environment.node}, ${environment.processor}, ${environment.date}. Again: npm run bench</text>
</svg>
`
}

function bar ({ name, kind, ratio, servers }: Row, top: number, x: (ratio: number) => number, end: number): string {
  const middle = top + ROW / 2 - 2
  const baseline = middle + 4.5
  const tip = x(ratio.median)
  const isCut = ratio.median > end
  // behind everything, and behind the line at 1 too
  const labelStart = Math.max(isCut ? tip : x(ratio.max), x(1)) + 7
  return [
    `  <text class="end" x="${LABEL_END}" y="${baseline}">${display(name)}</text>`,
    `  <rect class="${ratio.median >= 1 ? 'less' : 'more'}" x="${BAR_START}" y="${middle - BAR_HEIGHT / 2}" width="${fixed(tip - BAR_START)}" height="${BAR_HEIGHT}" rx="2"/>`,
    isCut
      ? `  <path class="card" stroke-width="0" d="M${tip - 22} ${middle + 9}l6 -18h4l-6 18z"/>`
      : `  <path class="spread" d="M${fixed(x(ratio.min))} ${middle}H${fixed(x(ratio.max))}m0 -3v6M${fixed(x(ratio.min))} ${middle - 3}v6"/>`,
    `  <text class="ratio" x="${fixed(labelStart)}" y="${baseline}">${threeDigits(ratio.median)}×</text>`,
    `  <text class="small end" x="${FIGURES_END}" y="${baseline}">${pair(kind, servers.ours!.cost.median, servers.ws!.cost.median)}</text>`
  ].join('\n')
}

/** Where the axis ends: behind the longest bar, unless that would leave all others short; then it is cut. */
function axisEnd (ratios: readonly number[]): number {
  const [longest = 1, second = 1] = ratios.toSorted((a, b) => b - a)
  return 1.1 * Math.max(1, longest > 2 * second ? second * 1.3 : longest)
}

/** The unit once. */
function pair (kind: WorkloadResult['kind'], ours: number, ws: number): string {
  return `${cost(kind, ours).split(' ')[0]} / ${cost(kind, ws)}`
}

function display (name: string): string {
  return name.replace(' x ', ' × ').replace('memory, ', '')
}

function fixed (value: number): string {
  return value.toFixed(1)
}
