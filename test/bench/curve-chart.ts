import { CURVES, type CurveName } from './curves.ts'
import { threeDigits } from './number-format.ts'
import type { Results } from './results.ts'

const WIDTH = 800
const HEIGHT = 430
const LEFT = 76
const RIGHT = 690
const TOP = 84
const BOTTOM = 340

// as in the chart of workloads
const STYLE = `
    text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
    .title { font-size: 18px; font-weight: 600 }
    .small { font-size: 11.5px; fill: #59636e }
    .middle { text-anchor: middle }
    .end { text-anchor: end }
    .card { fill: #ffffff; stroke: #d1d9e0 }
    .grid { stroke: #e6eaef }
    .line { fill: none; stroke-width: 2 }
    .ours { stroke: #1a7f6b }
    .ws { stroke: #c4622d; stroke-dasharray: 5 3 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .small { fill: #9198a1 }
      .card { fill: #0d1117; stroke: #3d444d }
      .grid { stroke: #21262d }
      .ours { stroke: #2fae93 }
      .ws { stroke: #dd7f49 }
    }`

interface Dot {
  readonly x: number
  readonly name: string
  readonly cost: Readonly<Record<'ours' | 'ws', number>>
}

/** A picture of what an echo costs along `curve`, ours and ws, both axes logarithmic; SVG for light and dark pages. */
export function curveChart (curve: CurveName, { environment, rounds, duration, workloads }: Results): string {
  const { title, points } = CURVES[curve]
  const dots: Dot[] = points.flatMap(({ x, name }) => {
    const { ours, ws } = workloads.find(result => result.name === name)?.servers ?? {}
    return ours === undefined || ws === undefined ? [] : [{ x, name, cost: { ours: ours.cost.median, ws: ws.cost.median } }]
  })
  const costs = dots.flatMap(({ cost }) => [cost.ours, cost.ws])
  const across = scale(dots.map(({ x }) => x), LEFT, RIGHT)
  const up = scale([10 ** Math.floor(Math.log10(Math.min(...costs))), 10 ** Math.ceil(Math.log10(Math.max(...costs)))], BOTTOM, TOP)
  const ticks = Array.from({ length: 8 }, (_, i) => 10 ** (i - 1)).filter(tick => up(tick) <= BOTTOM + 1 && up(tick) >= TOP - 1)
  const line = (peer: 'ours' | 'ws'): string => {
    const path = dots.map(({ x, cost }, i) => `${i === 0 ? 'M' : 'L'}${across(x).toFixed(1)} ${up(cost[peer]).toFixed(1)}`).join('')
    return `  <path class="line ${peer}" d="${path}"/>`
  }
  const { versions } = environment
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="title description">
  <title id="title">CPU time of a server for an echo: ${title}</title>
  <desc id="description">${dots.map(({ name, cost }) => `${name}: ${threeDigits(cost.ours)} µs, ws ${threeDigits(cost.ws)} µs`).join('; ')}</desc>
  <style>${STYLE}
  </style>
  <rect class="card" x="0.5" y="0.5" width="${WIDTH - 1}" height="${HEIGHT - 1}" rx="8"/>
  <text class="title" x="28" y="38">What an echo costs a server, in µs of CPU</text>
  <text class="small" x="28" y="60">${title}. Solid line: fastify-websocket-stream, dashed: ws.</text>
${ticks.map(tick => `  <line class="grid" x1="${LEFT}" x2="${RIGHT}" y1="${up(tick).toFixed(1)}" y2="${up(tick).toFixed(1)}"/>
  <text class="small end" x="${LEFT - 8}" y="${(up(tick) + 4).toFixed(1)}">${tick.toLocaleString('en-US')} µs</text>`).join('\n')}
${dots.map(({ x, name, cost }) => `  <text class="small middle" x="${across(x).toFixed(1)}" y="${BOTTOM + 20}">${name}</text>
  <text class="small middle" x="${across(x).toFixed(1)}" y="${BOTTOM + 36}">${threeDigits(cost.ws / cost.ours)}×</text>`).join('\n')}
${line('ws')}
${line('ours')}
  <text class="small" x="${RIGHT + 28}" y="${BOTTOM + 36}">ws / ours</text>
  <text class="small" x="28" y="${HEIGHT - 30}">fastify-websocket-stream ${versions['fastify-websocket-stream']} on Fastify ${versions['fastify']} against ws ${versions['ws']} on node:http, medians of ${rounds} rounds of ${threeDigits(duration / 1000)} s in turns.</text>
  <text class="small" x="28" y="${HEIGHT - 14}">Node.js ${environment.node}, ${environment.processor}, ${environment.date}. Again: npm run bench -- --curve=${curve}</text>
</svg>
`
}

/** Logarithmic. */
function scale (values: readonly number[], from: number, to: number): (value: number) => number {
  const [low, high] = [Math.log(Math.min(...values)), Math.log(Math.max(...values))]
  return value => from + (Math.log(value) - low) / (high - low || 1) * (to - from)
}
