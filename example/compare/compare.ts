// `npm run compare`: measures this plugin and @fastify/websocket under the same load, shows it while it goes on, and draws a picture of it.
// `-- --keep` keeps the page until Ctrl+C, `-- --save` puts the picture in the place of that of the README.
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { cpus, loadavg, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { LIBRARIES, newComparison } from './comparison.ts'
import { measureAll } from './measure.ts'
import { buildPage } from './page.ts'
import { drawPicture } from './picture.ts'
import { currentLine, report } from './report.ts'

const ROOT = import.meta.resolve('fastify-websocket-stream/package.json')
const REDRAW_INTERVAL = 200
const LINE_INTERVAL = 1000

const { values: { keep, save } } = parseArgs({
  options: { keep: { type: 'boolean', default: false }, save: { type: 'boolean', default: false } }
})
const picture = save ? 'example/compare/compare.svg' : 'dist/compare.svg'

// the servers end with this process
process.once('SIGINT', () => { process.exit(130) })
process.once('SIGTERM', () => { process.exit(143) })

const comparison = newComparison(conditions())
const page = await buildPage(comparison)
await page.listen({ host: '127.0.0.1', port: Number(process.env['PORT'] ?? 0) })

console.log(comparison.conditions.join('\n'))
console.log(`Watch it on http://127.0.0.1:${(page.server.address() as AddressInfo).port}/ for the next minute. Ctrl+C ends it.\n`)

const stopShowing = process.stdout.isTTY ? redrawInPlace() : printCurrentLine()
await measureAll(comparison)
stopShowing()
if (!process.stdout.isTTY) console.log(`\n${report(comparison).join('\n')}`)

await writeFile(new URL(picture, ROOT), `${drawPicture(comparison)}\n`)
console.log(`\nDrawn in ${picture}.`)
if (keep) {
  console.log('The page stays until Ctrl+C.')
} else {
  await page.close()
}

function conditions (): string[] {
  const require = createRequire(import.meta.url)
  const versions = [...LIBRARIES, 'ws', 'fastify'].map(name => `${name} ${require(`${name}/package.json`).version}`)
  const processors = cpus()
  const memory = Math.round(totalmem() / 1024 ** 3)
  const load = loadavg()[0]! // 0 on Windows, which has none
  const isBusy = load > processors.length / 2
  return [
    `${versions.join(', ')}, Node.js ${process.versions.node}`,
    `${process.platform} ${process.arch}, ${processors.length} × ${processors[0]?.model.trim() ?? 'unknown processor'}, ${memory} GiB; one server at a time, each in a process of its own. npm run compare`,
    ...isBusy ? [`Other programs kept the machine busy (load average ${load.toFixed(1)}): the latencies say more about them.`] : []
  ]
}

/** Rewrites the report in the terminal again and again. Returns what ends that. */
function redrawInPlace (): () => void {
  let drawn = 0
  const draw = (): void => {
    // a line that wraps would count as one, and be left behind; some terminals say that they have no columns
    const lines = report(comparison).map(line => line.slice(0, process.stdout.columns || undefined))
    const upAndClear = drawn === 0 ? '' : `\u001b[${drawn}A\u001b[J`
    process.stdout.write(`${upAndClear}${lines.join('\n')}\n`)
    drawn = lines.length
  }
  const timer = setInterval(draw, REDRAW_INTERVAL)
  return () => {
    clearInterval(timer)
    draw()
  }
}

/** Prints a line a second, for logs. Returns what ends that. */
function printCurrentLine (): () => void {
  const timer = setInterval(() => {
    const line = currentLine(comparison)
    if (line !== null) console.log(line)
  }, LINE_INTERVAL)
  return () => { clearInterval(timer) }
}
