import { test } from 'tap'
import type { Frame } from '../../lib/protocol/frame.ts'
import { FrameReader } from '../../lib/framing/frame-reader.ts'
import { corpus, describe, frameLabel, type Specimen } from '../helpers/corpus.ts'
import { clientFrame, hex, show } from '../helpers/frames.ts'
import { cuts, integer, random } from '../helpers/random.ts'

const KIB = 1024

interface Reading {
  readonly specimen: Specimen
  readonly source: FrameReader
  readonly chunks: Buffer[]
  readonly frames: string[]
  pieces: Buffer[]
}

/** All frames that are there, until more has to come. */
function readAll (reading: Reading): void {
  for (let frame = reading.source.next(); frame !== null; frame = reading.source.next()) readPiece(reading, frame)
  reading.source.releaseParser()
}

function readPiece (reading: Reading, frame: Frame): void {
  if (frame.opcode > 0x7) {
    reading.frames.push(describe(frameLabel(frame), frame.payload))
    return
  }
  reading.pieces.push(Buffer.from(frame.payload))
  if (!frame.last) return
  reading.frames.push(describe(frameLabel(frame), Buffer.concat(reading.pieces)))
  reading.pieces = []
}

function textOf (source: FrameReader): string[] {
  const texts: string[] = []
  for (let frame = source.next(); frame !== null; frame = source.next()) texts.push(frame.payload.toString())
  source.releaseParser()
  return texts
}

test('many sources whose chunks come in turns each give their own frames, wherever the chunks are cut', async t => {
  const next = random(7)
  for (let round = 0; round < 5; round++) {
    const readings = corpus(40, 1000 + 40 * round).map((specimen): Reading => ({
      specimen,
      source: new FrameReader(specimen.role, round % 2 === 0, null),
      chunks: cuts(specimen.bytes, next),
      frames: [],
      pieces: []
    }))
    for (let open = [...readings]; open.length > 0; open = open.filter(({ chunks }) => chunks.length > 0)) {
      const reading = open[integer(next, 0, open.length - 1)]!
      reading.source.feed(reading.chunks.shift()!)
      readAll(reading)
    }
    for (const { frames, specimen } of readings) t.strictSame(frames, specimen.frames, `seed ${specimen.seed}`)
  }
})

test('a limit is that of one source, whoever had its parser before', async t => {
  const limited = new FrameReader('server', true, null)
  const open = new FrameReader('server', true, null)
  limited.limit(10, false)
  for (let i = 0; i < 3; i++) {
    limited.feed(clientFrame({ opcode: 0x1, payload: '0123456789' }))
    t.strictSame(textOf(limited), ['0123456789'])
    open.feed(clientFrame({ opcode: 0x1, payload: 'a'.repeat(KIB) }))
    t.strictSame(textOf(open), ['a'.repeat(KIB)])
  }
  limited.feed(clientFrame({ opcode: 0x1, payload: '0123456789a' }))
  t.throws(() => limited.next(), { name: 'ProtocolError', closeCode: 1009 })
  t.ok(limited.isOversized)
  t.notOk(open.isOversized)
  open.feed(clientFrame({ opcode: 0x1, payload: 'a'.repeat(KIB) }))
  t.strictSame(textOf(open), ['a'.repeat(KIB)])
  limited.limit(11, false)
  t.strictSame(textOf(limited), ['0123456789a'])
})

test('what is not complete stays with its source: a header, a frame, a message, a control frame', async t => {
  for (const begun of [
    clientFrame({ opcode: 0x1, payload: 'one' }).subarray(0, 3),
    clientFrame({ opcode: 0x1, payload: 'one' }).subarray(0, 7),
    clientFrame({ opcode: 0x1, fin: false, payload: 'one' }),
    clientFrame({ opcode: 0x9, payload: 'one' }).subarray(0, 8)
  ]) {
    const source = new FrameReader('server', false, null)
    const other = new FrameReader('server', false, null)
    source.feed(begun)
    textOf(source)
    other.feed(clientFrame({ opcode: 0x1, payload: 'other' }))
    t.strictSame(textOf(other), ['other'], show(begun))
  }
})

test('a source that has failed or ended leaves nothing of that to the next', async t => {
  for (const [bytes, closeCode] of [[hex('81 01 61'), 1002], [clientFrame({ opcode: 0x8, payload: hex('03 e8') }), null]] as const) {
    const source = new FrameReader('server', false, null)
    source.feed(bytes)
    if (closeCode === null) t.equal(source.next()!.opcode, 0x8)
    else t.throws(() => source.next(), { name: 'ProtocolError', closeCode })
    t.equal(source.next(), null)
    source.releaseParser()
    const other = new FrameReader('server', false, null)
    other.feed(clientFrame({ opcode: 0x1, payload: 'other' }))
    t.strictSame(textOf(other), ['other'])
  }
})

test('chunks that are not read yet stay with their source', async t => {
  const source = new FrameReader('server', false, null)
  const other = new FrameReader('server', false, null)
  source.feed(Buffer.concat([clientFrame({ opcode: 0x1, payload: 'one' }), clientFrame({ opcode: 0x1, payload: 'two' })]))
  t.equal(source.next()!.payload.toString(), 'one')
  source.releaseParser()
  other.feed(clientFrame({ opcode: 0x1, payload: 'other' }))
  t.strictSame(textOf(other), ['other'])
  t.strictSame(textOf(source), ['two'])
})
