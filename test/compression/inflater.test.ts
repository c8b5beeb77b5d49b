import { constants, deflateRawSync } from 'node:zlib'
import { test } from 'tap'
import { Frame } from '../../lib/protocol/frame.ts'
import { Inflater } from '../../lib/compression/inflater.ts'
import { hex } from '../helpers/frames.ts'
import { random } from '../helpers/random.ts'
import { gate, type Gate } from '../helpers/app.ts'

const KIB = 1024
const INVALID = { name: 'ProtocolError', code: 'WS_ERR_INVALID_DEFLATE', closeCode: 1007 }
const OVERSIZED = { name: 'ProtocolError', code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH', closeCode: 1009 }

interface Ways {
  /** The pieces go in as one message. */
  inflate: (...pieces: Buffer[]) => Promise<Buffer>
  inflater: Inflater
}

/** An inflater that is asked as the Receiver asks. */
function create ({ contextTakeover = false, isStreaming = false, maxPayload = Infinity } = {}): Ways {
  let ready: Gate<void> = gate()
  const inflater = new Inflater({ contextTakeover }, 2, () => { ready.open() })
  inflater.isStreaming = isStreaming
  inflater.maxPayload = maxPayload
  const inflate = async (...pieces: Buffer[]): Promise<Buffer> => {
    const outputs: Buffer[] = []
    const fed = [...pieces]
    for (;;) {
      ready = gate()
      const frame = inflater.next()
      if (frame !== null) {
        outputs.push(frame.payload)
        if (frame.fin) return Buffer.concat(outputs)
      } else if (inflater.isBusy) {
        await ready.opened
      } else {
        const payload = fed.shift()!
        inflater.feed(new Frame(2, fed.length === 0, true, payload, true, true))
      }
    }
  }
  return { inflater, inflate }
}

function deflate (data: Buffer | string, dictionary?: Buffer): Buffer {
  return deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH, ...(dictionary ? { dictionary } : {}) }).subarray(0, -4)
}

const noise = (length: number): Buffer => {
  const next = random(length)
  return Buffer.from(Array.from({ length }, () => Math.floor(next() * 256)))
}

// each message is inflated both ways
for (const isStreaming of [false, true]) {
  const way = isStreaming ? 'while it comes' : 'whole'

  test(`the examples of RFC 7692 §7.2.3, ${way}`, async t => {
    const { inflate } = create({ contextTakeover: true, isStreaming })
    const hello = 'Hello'
    t.equal(String(await inflate(hex('f2 48 cd c9 c9 07 00'))), hello, '.1')
    t.equal(String(await inflate(hex('f2 48'), hex('cd c9 c9 07 00'))), hello, '.1, two fragments')
    t.equal(String(await inflate(hex('f2 00 11 00 00'))), hello, '.2: refers to the message before')
    t.equal(String(await inflate(hex('00 05 00 fa ff 48 65 6c 6c 6f 00'))), hello, '.3: a block without compression')
    t.equal(String(await inflate(hex('f3 48 cd c9 c9 07 00 00'))), hello, '.4: a last block')
    t.equal(String(await inflate(hex('f2 48 05 00 00 00 ff ff ca c9 c9 07 00'))), hello, '.5: two blocks')
    t.equal(String(await inflate(hex('00'))), '', '.6: empty')
    t.equal(String(await inflate(hex(''))), '', 'nothing at all')
    t.equal(String(await inflate(hex('f2 48 cd c9 c9 07 00'))), hello, 'and on')
  })

  test(`messages of every size, in one piece and in many, ${way}`, async t => {
    const { inflate } = create({ isStreaming })
    for (const length of [0, 1, 1000, 16 * KIB, 300 * KIB, 3 * KIB * KIB]) {
      for (const data of [Buffer.alloc(length, 'compress me '), noise(Math.min(length, 300 * KIB))]) {
        const deflated = deflate(data)
        t.ok((await inflate(deflated)).equals(data), `${length} bytes`)
        const pieces: Buffer[] = []
        const size = Math.max(1, Math.ceil(deflated.length / 50))
        for (let at = 0; at < deflated.length; at += size) pieces.push(deflated.subarray(at, at + size))
        t.ok((await inflate(...pieces, Buffer.alloc(0))).equals(data), `${length} bytes in ${pieces.length} pieces`)
      }
    }
  })

  test(`what comes behind a last block counts too, and refers back over it, ${way}`, async t => {
    const { inflate } = create({ isStreaming })
    const first = noise(2000)
    const parts = [deflateRawSync(first), deflateRawSync(first, { dictionary: first }), deflate(first, Buffer.concat([first, first]))]
    t.ok(parts[1]!.length < 100)
    const expected = Buffer.concat([first, first, first])
    t.ok((await inflate(Buffer.concat(parts))).equals(expected))
    t.ok((await inflate(...parts)).equals(expected), 'where pieces end with them')
    const large = Buffer.alloc(KIB * KIB, 'x')
    t.ok((await inflate(deflateRawSync(large), deflate(noise(100_000)))).subarray(0, large.length).equals(large))
  })

  test(`data that are cut off, or no data of deflate, are refused, ${way}`, async t => {
    const data = deflate(noise(1000))
    const large = deflate(noise(50_000))
    const bad = [
      ...[1, 2, 10, 500].map(cut => data.subarray(0, -cut)), large.subarray(0, -1), large.subarray(0, 30_000),
      hex('ff ff ff ff'), hex('f2 48 cd c9 c9 07'), hex('07'), hex('00 05 00 fa fe 48 65 6c 6c 6f 00'), hex('00 ff')
    ]
    for (const bytes of bad) await t.rejects(create({ isStreaming }).inflate(bytes), INVALID, bytes.subarray(0, 10).toString('hex'))
    await t.rejects(create({ isStreaming }).inflate(deflate('abc').subarray(0, -2), hex('ff')), INVALID)
  })

  test(`a message that would take thousands of calls of zlib is refused, ${way}`, async t => {
    const empty = hex('03 00') // a last block, and nothing in it
    t.equal((await create({ isStreaming }).inflate(Buffer.concat([...Array(200).fill(empty), hex('00')]))).length, 0)
    await t.rejects(create({ isStreaming }).inflate(Buffer.concat([...Array(1000).fill(empty), hex('00')])), INVALID)
  })

  test(`a message does not get larger than maxPayload, ${way}`, async t => {
    for (const maxPayload of [0, 1, 1000, 300 * KIB]) {
      const deflated = (length: number): Buffer => deflate(Buffer.alloc(length, 'x'))
      t.equal((await create({ isStreaming, maxPayload }).inflate(deflated(maxPayload))).length, maxPayload)
      for (const over of [1, 100, 10 * KIB * KIB]) {
        const pieces = [deflated(maxPayload + over), Buffer.alloc(0)]
        await t.rejects(create({ isStreaming, maxPayload }).inflate(...pieces), OVERSIZED, `${maxPayload} + ${over}`)
      }
    }
    // one that large only as it was compressed
    await t.rejects(create({ isStreaming, maxPayload: 1000 }).inflate(deflate(noise(50_000))), OVERSIZED)
  })

  test(`with context takeover a message refers to those before it, without it to none, ${way}`, async t => {
    const first = noise(20_000)
    const second = deflate(first, first)
    t.ok(second.length < 200)
    const { inflate } = create({ contextTakeover: true, isStreaming })
    for (const [i, bytes] of [deflate(first), second, second].entries()) t.ok((await inflate(bytes)).equals(first), `message ${i}`)
    const alone = create({ isStreaming })
    await alone.inflate(deflate(first))
    await t.rejects(alone.inflate(second), INVALID, 'the text of a message before, or of another client, is not there')
    await t.rejects(create({ contextTakeover: true, isStreaming }).inflate(second), INVALID)
  })
}

test('the limit may be raised while a message is over it', async t => {
  for (const length of [2000, 400 * KIB]) {
    const { inflate, inflater } = create({ maxPayload: 1000 })
    await t.rejects(inflate(deflate(Buffer.alloc(length, 'x'))), OVERSIZED)
    t.equal(inflater.isOversized, true)
    t.throws(() => inflater.next(), OVERSIZED)
    inflater.maxPayload = Infinity
    inflater.isStreaming = true
    t.equal(inflater.isOversized, false)
    t.equal((await inflate()).length, length)
  }
})

test('a limit that is raised while the message is inflated beside the event loop counts', async t => {
  const { inflate, inflater } = create({ maxPayload: 300 * KIB })
  const inflated = inflate(deflate(Buffer.alloc(400 * KIB, 'x')))
  t.equal(inflater.isBusy, true)
  inflater.maxPayload = Infinity
  t.equal((await inflated).length, 400 * KIB)
})

test('a small message is inflated at once, and a stream is read no faster than it is asked for', async t => {
  const { inflater } = create()
  inflater.feed(new Frame(1, true, true, deflate('hello'), true, true))
  t.match(inflater.next(), { opcode: 1, fin: true, payload: Buffer.from('hello') })
  t.equal(inflater.next(), null)

  const ready = gate()
  const streaming = new Inflater({ contextTakeover: false }, 1, ready.open)
  streaming.isStreaming = true
  streaming.feed(new Frame(1, true, true, deflate(Buffer.alloc(64 * KIB * KIB, 'x')), true, true))
  t.equal(streaming.next(), null)
  await ready.opened
  t.equal(streaming.next()?.payload.length, 64 * KIB)
  t.ok(streaming.isBusy)
  streaming.destroy()
  t.equal(streaming.next(), null)
})

test('a message of many last blocks is inflated beside the event loop', async t => {
  const blocks = (count: number): Frame => new Frame(2, true, true, Buffer.concat([...Array(count).fill(deflateRawSync('abc')), hex('00')]), true, true)
  for (const [count, isQuick] of [[1, true], [3, true], [4, false]] as const) {
    const ready = gate()
    const inflater = new Inflater({ contextTakeover: false }, 1, ready.open)
    inflater.feed(blocks(count))
    const frame = inflater.next()
    t.equal(frame !== null, isQuick, `${count} blocks`)
    if (frame === null) await ready.opened
    t.equal(String((frame ?? inflater.next())!.payload), 'abc'.repeat(count))
  }
})

test('what is destroyed gives nothing any more, and its jobs are not done', async t => {
  let ready = 0
  const inflaters = Array.from({ length: 4 }, () => new Inflater({ contextTakeover: true }, 1, () => { ready++ }))
  const bomb = deflate(Buffer.alloc(KIB * KIB, 'x'))
  for (const inflater of inflaters) {
    inflater.feed(new Frame(2, true, true, bomb, true, true))
    t.equal(inflater.next(), null)
    inflater.destroy()
  }
  // the same limiter: all before it are done
  await create().inflate(bomb)
  const last = gate()
  const inflater = new Inflater({ contextTakeover: false }, 1, last.open)
  inflater.feed(new Frame(2, true, true, bomb, true, true))
  inflater.next()
  await last.opened
  t.equal(ready, 0)
})
