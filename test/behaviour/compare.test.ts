// The parts of example/compare that need no server.
import { test } from 'tap'
import { escapeText, linearScale, linePath, ticks } from '../../example/compare/chart.ts'
import { formatGrowth, formatLatency, LIBRARIES, MIB, newComparison, peakGrowthOf, summarize } from '../../example/compare/comparison.ts'
import { percentile } from '../../example/compare/percentile.ts'
import { drawPicture } from '../../example/compare/picture.ts'
import { clientFrame, splitFrames } from '../../example/compare/raw-client.ts'
import { currentLine, report } from '../../example/compare/report.ts'
import { FrameParser } from '../../lib/index.ts'

test('a percentile is one of the values: the smallest that so many do not exceed', async t => {
  const values = [5, 1, 4, 2, 3, 10, 9, 8, 7, 6]
  t.equal(percentile(values, 0.5), 5)
  t.equal(percentile(values, 0.51), 6)
  t.equal(percentile(values, 0.99), 10)
  t.equal(percentile(values, 0), 1)
  t.equal(percentile(values, 1), 10)
  t.equal(values[0], 5, 'the values stay in their order')
  t.equal(percentile([], 0.5), null)
  t.equal(summarize([]), null)
  t.strictSame(summarize([3, 1, 2]), { p50: 2, p99: 3 })
})

test('ticks are round, start at 0 and reach the highest value', async t => {
  t.strictSame(ticks(80, 4), [0, 20, 40, 60, 80])
  t.strictSame(ticks(81, 4), [0, 50, 100])
  t.strictSame(ticks(390, 4), [0, 100, 200, 300, 400])
  t.strictSame(ticks(3, 4), [0, 1, 2, 3])
})

test('a scale maps its domain onto its range, also downwards', async t => {
  const up = linearScale([0, 10], [100, 0])
  t.strictSame([0, 5, 10].map(up), [100, 50, 0])
})

test('a path goes through all points', async t => {
  t.equal(linePath([[0, 1], [2.26, 3]]), 'M0 1L2.3 3')
  t.equal(linePath([]), '')
})

test('text in the picture is no markup', async t => {
  t.equal(escapeText('<a href="x">&'), '&#60;a href=&#34;x&#34;&#62;&#38;')
  const comparison = newComparison(['a <b> & "c"'])
  t.notMatch(drawPicture(comparison), '<b>')
})

test('the picture and the report show what was measured, and a dash for what was not', async t => {
  const comparison = newComparison(['Node.js'])
  const [ours, theirs] = LIBRARIES
  t.match(drawPicture(comparison), '>-<')
  t.equal(currentLine(comparison), null)

  Object.assign(comparison.neverReading[1]!, {
    state: 'running',
    samples: [{ at: 0, rss: 100 * MIB }, { at: 1, rss: 423 * MIB }, { at: 2, rss: 103 * MIB }],
    bytes: 17 * MIB,
    latency: { p50: 0.42, p99: 12.4 },
    isStopped: true
  })
  t.equal(peakGrowthOf(comparison.neverReading[1]!), 323 * MIB)
  Object.assign(comparison.listeningLate[0]!, { state: 'done', sent: 100, delivered: 99 })
  const picture = drawPicture(comparison)
  for (const shown of [ours, theirs, '>+323<', '>17<', '>0.4 / 12<', '>stopped<', '>99 of 100<', '>Node.js<']) t.ok(picture.includes(shown), shown)
  const lines = report(comparison).join('\n')
  t.match(lines, '99 of 100 messages delivered, 1 lost')
  t.match(currentLine(comparison), /never reading: {3}@fastify\/websocket {4}\+3 MiB .*█.* 17 MiB echoed .*bystander 0\.4 \/ 12 ms/)
})

test('growth has a sign, latency as many digits as can be read', async t => {
  t.equal(formatGrowth(12.4 * MIB), '+12')
  t.equal(formatGrowth(-3 * MIB), '−3')
  t.equal(formatGrowth(-1), '+0')
  t.equal(formatGrowth(null), '-')
  t.equal(formatLatency({ p50: 0.05, p99: 99.6 }), '0.1 / 100')
})

for (const length of [0, 5, 125, 126, 16_384, 65_535]) {
  test(`the client's frame of ${length} bytes is one that a server reads`, async t => {
    const payload = Buffer.alloc(length, 'payload')
    const parser = new FrameParser({ role: 'server' })
    parser.feed(clientFrame(payload))
    const frame = parser.next()
    t.ok(frame?.fin)
    t.equal(frame?.opcode, 2)
    t.ok(frame?.payload.equals(payload))
  })
}

test('the client takes a server\'s frames apart wherever they are cut', async t => {
  const bytes = Buffer.concat([
    Buffer.from([0x81, 2]), Buffer.from('hi'),
    Buffer.from([0x82, 126, 1, 0]), Buffer.alloc(256, 'b'),
    Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]), Buffer.alloc(65_536, 'c')
  ])
  const expected = [Buffer.from('hi'), Buffer.alloc(256, 'b'), Buffer.alloc(65_536, 'c')]
  for (const cut of [0, 1, 2, 3, 4, 5, 6, 7, 8, 263, 264, 265, 273, 274, 275, bytes.length]) {
    const first = splitFrames(bytes.subarray(0, cut))
    const second = splitFrames(Buffer.concat([first.rest, bytes.subarray(cut)]))
    const payloads = [...first.payloads, ...second.payloads]
    t.ok(payloads.length === 3 && payloads.every((payload, index) => payload.equals(expected[index]!)), `at ${cut}`)
    t.equal(second.rest.length, 0)
  }
})
