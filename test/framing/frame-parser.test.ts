import { once } from 'node:events'
import { Readable, Writable, finished } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { test, type Test } from 'tap'
import { ProtocolError } from '../../lib/errors.ts'
import { FrameParser, type FrameParserOptions } from '../../lib/framing/frame-parser.ts'
import type { Role } from '../../lib/protocol/role.ts'
import type { Frame } from '../../lib/protocol/frame.ts'
import { MessageAssembler } from '../../lib/framing/message-assembler.ts'
import { corpus, describe, frameLabel } from '../helpers/corpus.ts'
import { clientFrame, closePayload, hex, serverFrame, show } from '../helpers/frames.ts'
import { cuts, integer, random } from '../helpers/random.ts'

// ---- All the ways to read frames from a parser ----

type Take = (frame: Frame) => void
/** Puts the chunks in, takes every frame out, then ends the stream. Resolves with the error that stopped it, or null. */
type Way = (parser: FrameParser, chunks: Buffer[], take: Take, next: () => number) => Promise<unknown>

const outcome = (stream: Readable | Writable): Promise<unknown> => new Promise(resolve => finished(stream, error => resolve(error ?? null)))

function write (parser: FrameParser, chunks: Buffer[]): void {
  for (const chunk of chunks) parser.write(chunk)
  parser.end()
}

function feed (parser: FrameParser, chunk: Buffer, take: Take): void {
  parser.feed(chunk)
  for (let frame = parser.next(); frame !== null; frame = parser.next()) take(frame)
}

/** Writes a chunk and reads whatever it holds. Rejects with the error that is in it. */
function writeAndRead (parser: FrameParser, chunk: Buffer, take: Take): Promise<void> {
  return new Promise((resolve, reject) => {
    parser.write(chunk, error => { if (error) reject(error); else resolve() })
    for (let frame = parser.read(); frame !== null; frame = parser.read()) take(frame)
  })
}

const streamWays: Record<string, Way> = {
  async 'with a data listener' (parser, chunks, take) {
    parser.on('data', take)
    write(parser, chunks)
    return outcome(parser)
  },

  async 'with a data listener that was there before' (parser, chunks, take) {
    parser.on('data', take)
    await turn()
    write(parser, chunks)
    return outcome(parser)
  },

  async 'with a data listener that pauses after every frame' (parser, chunks, take) {
    parser.on('data', (frame: Frame) => {
      take(frame)
      parser.pause()
      setImmediate(() => parser.resume())
    })
    write(parser, chunks)
    return outcome(parser)
  },

  async 'with for await' (parser, chunks, take) {
    write(parser, chunks)
    try {
      for await (const frame of parser) take(frame)
    } catch (error) {
      return error
    }
    return null
  },

  async 'with a slow for await' (parser, chunks, take) {
    write(parser, chunks)
    try {
      for await (const frame of parser) {
        take(frame)
        await turn()
      }
    } catch (error) {
      return error
    }
    return null
  },

  async 'with read() on readable' (parser, chunks, take) {
    parser.on('readable', () => {
      for (let frame = parser.read(); frame !== null; frame = parser.read()) take(frame)
    })
    write(parser, chunks)
    return outcome(parser)
  },

  async 'with one read() per turn' (parser, chunks, take) {
    const over = outcome(parser)
    write(parser, chunks)
    while (await Promise.race([over.then(() => false), turn(true)])) {
      const frame = parser.read()
      if (frame !== null) take(frame)
    }
    return over
  },

  async 'through pipe() to a slow Writable' (parser, chunks, take) {
    const slow = new Writable({
      objectMode: true,
      highWaterMark: 1,
      write (frame: Frame, _encoding, callback) {
        take(frame)
        setImmediate(callback)
      }
    })
    const source = Readable.from(chunks)
    source.pipe(parser).pipe(slow)
    const error = await outcome(parser)
    source.destroy()
    slow.end()
    await outcome(slow)
    return error
  }
}

const directWays: Record<string, Way> = {
  async 'through feed() and next()' (parser, chunks, take) {
    try {
      for (const chunk of chunks) feed(parser, chunk, take)
    } catch (error) {
      return error
    }
    parser.resume()
    parser.end()
    return outcome(parser)
  },

  async 'with all chunks fed before the first next()' (parser, chunks, take) {
    try {
      for (const chunk of chunks) parser.feed(chunk)
      feed(parser, Buffer.alloc(0), take)
    } catch (error) {
      return error
    }
    parser.resume()
    parser.end()
    return outcome(parser)
  },

  async 'through write() and feed() in turn' (parser, chunks, take, next) {
    const over = outcome(parser)
    try {
      for (const chunk of chunks) {
        if (next() < 0.5) feed(parser, chunk, take)
        else await writeAndRead(parser, chunk, take)
      }
    } catch (error) {
      return error
    }
    parser.resume()
    parser.end()
    return over
  }
}

const ways = { ...directWays, ...streamWays }
const firstWay = directWays['through feed() and next()']

const cuttings: Record<string, (bytes: Buffer, next: () => number) => Buffer[]> = {
  whole: bytes => [Buffer.from(bytes)],
  'byte by byte': bytes => Array.from(bytes, byte => Buffer.from([byte])),
  'cut at random': cuts
}

// ---- What was read, in a form that does not depend on where the chunks were cut ----

class Notes {
  /** Frames with their pieces joined. */
  readonly frames: string[] = []
  /** Messages and control frames. */
  readonly received: string[] = []
  readonly #assembler = new MessageAssembler()
  #pieces: Frame[] = []

  readonly take = (frame: Frame): void => {
    const [head = frame] = this.#pieces
    const isOrderly = frame.first === (head === frame) && frame.opcode === head.opcode && frame.fin === head.fin &&
      (frame.payload.length > 0 || (frame.first && frame.last)) && !frame.rsv1
    if (!isOrderly) this.frames.push(`unexpected piece ${JSON.stringify(frame)}`)
    this.#pieces.push(frame)
    if (frame.last) this.#join('')

    if (frame.opcode < 0x8) {
      const message = this.#assembler.add(frame)
      if (message !== null) this.received.push(describe(message.isBinary ? 'binary' : 'text', message.data))
    } else {
      if (!frame.first || !frame.last || !frame.fin) this.frames.push('a piece of a control frame')
      this.received.push(describe({ 0x8: 'close', 0x9: 'ping', 0xa: 'pong' }[frame.opcode as number]!, frame.payload))
    }
  }

  /** Ends with the pieces of a frame that did not end. */
  all (): string[] {
    if (this.#pieces.length > 0) this.#join(', unfinished')
    return this.frames
  }

  #join (suffix: string): void {
    this.frames.push(describe(frameLabel(this.#pieces[0]!), Buffer.concat(this.#pieces.map(piece => piece.payload))) + suffix)
    this.#pieces = []
  }
}

function label (error: unknown): string {
  return error instanceof ProtocolError ? `${error.code} ${error.closeCode}` : String(error)
}

/** Reads `bytes` in every way and in every cut, each time with the same outcome. */
async function readsAs (t: Test, bytes: Buffer, options: FrameParserOptions, expected: { frames: string[], error: string }): Promise<void> {
  const next = random(1)
  for (const [cutting, cut] of Object.entries(cuttings)) {
    const outcomes: Record<string, unknown> = {}
    for (const [name, way] of Object.entries(ways)) {
      const notes = new Notes()
      const error = await way(new FrameParser(options), cut(bytes, next), notes.take, next)
      outcomes[name] = { frames: notes.all(), error: label(error) }
    }
    t.strictSame(outcomes, Object.fromEntries(Object.keys(ways).map(name => [name, expected])), cutting)
  }
}

// ---- What a peer must not send ----

interface BadInput {
  title: string
  role?: Role
  /** The frames below come after the first fragment of a text message, 'Hel'. */
  inMessage?: boolean
  options?: Partial<FrameParserOptions>
  bytes: string
  /** ByteCollector of data that are read from `bytes`. */
  frames?: string[]
  code: string
  closeCode: number
  /** How many of `bytes` show what is wrong; default: all. null: only the end of the stream does. */
  failsAt?: number | null
}

const NO_KEY = '00 00 00 00' // masks nothing, so that the payload can be read below

const badInputs: BadInput[] = [
  // §5.1
  { title: 'a server fails an unmasked frame with 1002', bytes: '81 05 48 65 6c 6c 6f', code: 'WS_ERR_EXPECTED_MASK', closeCode: 1002, failsAt: 2 },
  { title: 'a server fails an empty unmasked frame with 1002', bytes: '81 00', code: 'WS_ERR_EXPECTED_MASK', closeCode: 1002 },
  { title: 'a server fails an unmasked frame with a 16-bit length with 1002', bytes: '82 7e 01 00', code: 'WS_ERR_EXPECTED_MASK', closeCode: 1002 },
  { title: 'a server fails an unmasked control frame with 1002', bytes: '89 00', code: 'WS_ERR_EXPECTED_MASK', closeCode: 1002 },
  { title: 'a client fails a masked frame with 1002', role: 'client', bytes: '81 85 37 fa 21 3d 7f 9f 4d 51 58', code: 'WS_ERR_UNEXPECTED_MASK', closeCode: 1002, failsAt: 6 },
  { title: 'a client fails a masked control frame with 1002', role: 'client', bytes: '89 80 37 fa 21 3d', code: 'WS_ERR_UNEXPECTED_MASK', closeCode: 1002 },

  // §5.2
  { title: 'RSV1 without an extension fails with 1002', bytes: `c1 81 ${NO_KEY} 61`, code: 'WS_ERR_UNEXPECTED_RSV_1', closeCode: 1002, failsAt: 6 },
  { title: 'RSV1 in a frame from a server fails with 1002', role: 'client', bytes: 'c2 00', code: 'WS_ERR_UNEXPECTED_RSV_1', closeCode: 1002 },
  { title: 'RSV1 in a control frame fails with 1002', bytes: `c9 80 ${NO_KEY}`, code: 'WS_ERR_UNEXPECTED_RSV_1', closeCode: 1002 },
  { title: 'RSV1 in a continuation frame fails with 1002', inMessage: true, bytes: `c0 80 ${NO_KEY}`, code: 'WS_ERR_UNEXPECTED_RSV_1', closeCode: 1002 },
  { title: 'RSV2 fails with 1002', bytes: `a1 81 ${NO_KEY} 61`, code: 'WS_ERR_UNEXPECTED_RSV_2_3', closeCode: 1002, failsAt: 1 },
  { title: 'RSV3 fails with 1002', bytes: `91 81 ${NO_KEY} 61`, code: 'WS_ERR_UNEXPECTED_RSV_2_3', closeCode: 1002, failsAt: 1 },
  { title: 'RSV2 in a continuation frame fails with 1002', inMessage: true, bytes: 'a0', code: 'WS_ERR_UNEXPECTED_RSV_2_3', closeCode: 1002 },
  ...[0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf].map((opcode): BadInput => ({
    title: `the reserved opcode 0x${opcode.toString(16)} fails with 1002`,
    bytes: `8${opcode.toString(16)} 80 ${NO_KEY}`,
    code: 'WS_ERR_INVALID_OPCODE',
    closeCode: 1002,
    failsAt: 1
  })),
  { title: 'a length below 126 in 16 bits fails with 1002', bytes: `82 fe 00 7d ${NO_KEY}`, code: 'WS_ERR_INVALID_PAYLOAD_LENGTH', closeCode: 1002, failsAt: 4 },
  { title: 'a length of 0 in 16 bits fails with 1002', bytes: `82 fe 00 00 ${NO_KEY}`, code: 'WS_ERR_INVALID_PAYLOAD_LENGTH', closeCode: 1002, failsAt: 4 },
  { title: 'a length below 65,536 in 64 bits fails with 1002', bytes: `82 ff 00 00 00 00 00 00 ff ff ${NO_KEY}`, code: 'WS_ERR_INVALID_PAYLOAD_LENGTH', closeCode: 1002, failsAt: 10 },
  { title: 'a length below 126 in 64 bits fails with 1002', role: 'client', bytes: '82 7f 00 00 00 00 00 00 00 01', code: 'WS_ERR_INVALID_PAYLOAD_LENGTH', closeCode: 1002 },
  { title: 'a 64-bit length with its top bit set fails with 1002', bytes: `82 ff 80 00 00 00 00 00 00 00 ${NO_KEY}`, code: 'WS_ERR_INVALID_PAYLOAD_LENGTH', closeCode: 1002, failsAt: 3 },
  { title: 'a length of 2^53 fails with 1009', bytes: `82 ff 00 20 00 00 00 00 00 00 ${NO_KEY}`, code: 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH', closeCode: 1009, failsAt: 10 },
  { title: 'a length of 2^63 - 1 fails with 1009', role: 'client', bytes: '82 7f 7f ff ff ff ff ff ff ff', code: 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH', closeCode: 1009 },

  // §5.4
  { title: 'a continuation frame without a message to continue fails with 1002', bytes: `80 80 ${NO_KEY}`, code: 'WS_ERR_INVALID_OPCODE', closeCode: 1002 },
  { title: 'a continuation frame without FIN and without a message to continue fails with 1002', role: 'client', bytes: '00 01 61', code: 'WS_ERR_INVALID_OPCODE', closeCode: 1002, failsAt: 2 },
  { title: 'a new text frame inside a message fails with 1002', inMessage: true, bytes: `81 80 ${NO_KEY}`, code: 'WS_ERR_INVALID_OPCODE', closeCode: 1002 },
  { title: 'a new binary frame inside a message fails with 1002', inMessage: true, bytes: `02 80 ${NO_KEY}`, code: 'WS_ERR_INVALID_OPCODE', closeCode: 1002 },
  {
    title: 'a new text frame after an empty fragment fails with 1002',
    bytes: `01 80 ${NO_KEY} 81 80 ${NO_KEY}`,
    frames: ['0x1 without FIN, 0 bytes: '],
    code: 'WS_ERR_INVALID_OPCODE',
    closeCode: 1002
  },

  // §5.5
  { title: 'a Close frame without FIN fails with 1002', bytes: `08 80 ${NO_KEY}`, code: 'WS_ERR_EXPECTED_FIN', closeCode: 1002, failsAt: 1 },
  { title: 'a Ping frame without FIN fails with 1002', bytes: `09 80 ${NO_KEY}`, code: 'WS_ERR_EXPECTED_FIN', closeCode: 1002, failsAt: 1 },
  { title: 'a Pong frame without FIN fails with 1002', inMessage: true, bytes: `0a 80 ${NO_KEY}`, code: 'WS_ERR_EXPECTED_FIN', closeCode: 1002, failsAt: 1 },
  { title: 'a Ping frame of 126 bytes fails with 1002 before its length has come', bytes: '89 fe 00 7e', code: 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH', closeCode: 1002, failsAt: 2 },
  { title: 'a Pong frame with a 64-bit length fails with 1002 before its length has come', bytes: '8a ff 00 00', code: 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH', closeCode: 1002, failsAt: 2 },
  { title: 'a Close frame of 126 bytes fails with 1002 before its length has come', role: 'client', bytes: '88 7e', code: 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH', closeCode: 1002, failsAt: 2 },

  // §5.5.1, §7.4
  { title: 'a Close frame of one byte fails with 1002', bytes: `88 81 ${NO_KEY} 03`, code: 'WS_ERR_INVALID_CLOSE_PAYLOAD', closeCode: 1002 },
  ...[0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535].map((code): BadInput => ({
    title: `a Close frame with code ${code} fails with 1002`,
    bytes: `88 82 ${NO_KEY} ${show(closePayload(code))}`,
    code: 'WS_ERR_INVALID_CLOSE_CODE',
    closeCode: 1002
  })),
  { title: 'a Close frame with a bad code and a reason fails with 1002', role: 'client', bytes: '88 04 03 ed 6f 6b', code: 'WS_ERR_INVALID_CLOSE_CODE', closeCode: 1002 },
  { title: 'a close reason that is not UTF-8 fails with 1007', bytes: `88 84 ${NO_KEY} 03 e8 c3 28`, code: 'WS_ERR_INVALID_UTF8', closeCode: 1007 },
  { title: 'a close reason that ends inside a character fails with 1007', bytes: `88 84 ${NO_KEY} 03 e8 61 c3`, code: 'WS_ERR_INVALID_UTF8', closeCode: 1007 },
  { title: 'a bad Close frame inside a message fails with 1002', inMessage: true, bytes: `88 81 ${NO_KEY} 03`, code: 'WS_ERR_INVALID_CLOSE_PAYLOAD', closeCode: 1002 },

  // maxPayload
  { title: 'an announced length over maxPayload fails with 1009', options: { maxPayload: 5 }, bytes: `82 86 ${NO_KEY}`, code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH', closeCode: 1009 },
  { title: 'an announced length of 2^40 over maxPayload fails with 1009', options: { maxPayload: 2 ** 40 - 1 }, bytes: `82 ff 00 00 01 00 00 00 00 00 ${NO_KEY}`, code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH', closeCode: 1009 },
  {
    title: 'fragments that are over maxPayload together fail with 1009',
    inMessage: true,
    options: { maxPayload: 5 },
    bytes: `00 82 ${NO_KEY} 6c 6f 80 81 ${NO_KEY} 21`,
    frames: ['0x0 without FIN, 2 bytes: 6c 6f'],
    code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH',
    closeCode: 1009,
    failsAt: 14
  },
  { title: 'a continuation frame that announces more than maxPayload leaves fails with 1009', inMessage: true, options: { maxPayload: 5 }, bytes: `00 83 ${NO_KEY}`, code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH', closeCode: 1009 },

  // the end of the stream
  { title: 'an end after one byte of a header fails with 1002', bytes: '81', code: 'WS_ERR_UNEXPECTED_END', closeCode: 1002, failsAt: null },
  { title: 'an end inside a length fails with 1002', bytes: '82 fe 01', code: 'WS_ERR_UNEXPECTED_END', closeCode: 1002, failsAt: null },
  { title: 'an end inside a masking key fails with 1002', bytes: '81 85 37 fa', code: 'WS_ERR_UNEXPECTED_END', closeCode: 1002, failsAt: null },
  { title: 'an end between a header and its payload fails with 1002', bytes: '81 85 37 fa 21 3d', code: 'WS_ERR_UNEXPECTED_END', closeCode: 1002, failsAt: null },
  {
    title: 'an end inside a payload fails with 1002',
    bytes: '81 85 37 fa 21 3d 7f 9f',
    frames: ['0x1, 2 bytes: 48 65, unfinished'],
    code: 'WS_ERR_UNEXPECTED_END',
    closeCode: 1002,
    failsAt: null
  },
  { title: 'an end inside a control frame fails with 1002', bytes: `89 83 ${NO_KEY} 61 62`, code: 'WS_ERR_UNEXPECTED_END', closeCode: 1002, failsAt: null },
  { title: 'an end inside a Close frame fails with 1002', role: 'client', bytes: '88 02 03', code: 'WS_ERR_UNEXPECTED_END', closeCode: 1002, failsAt: null },
  { title: 'an end between two fragments fails with 1002', inMessage: true, bytes: '', code: 'WS_ERR_UNEXPECTED_END', closeCode: 1002, failsAt: null },
  {
    title: 'an end after a control frame between two fragments fails with 1002',
    inMessage: true,
    bytes: `89 80 ${NO_KEY}`,
    frames: ['0x9, 0 bytes: '],
    code: 'WS_ERR_UNEXPECTED_END',
    closeCode: 1002,
    failsAt: null
  }
]

// what stands before the bad bytes, and must be read in every case: a message, a Ping and a message in two fragments
const good = [
  { opcode: 0x1, payload: 'Hello' },
  { opcode: 0x9, payload: '?' },
  { opcode: 0x2, payload: 'a', fin: false },
  { opcode: 0x0, payload: 'b' }
]
const goodFrames = ['0x1, 5 bytes: 48 65 6c 6c 6f', '0x9, 1 bytes: 3f', '0x2 without FIN, 1 bytes: 61', '0x0, 1 bytes: 62']

for (const { title, role = 'server', inMessage = false, options, bytes, frames = [], code, closeCode, failsAt = hex(bytes).length } of badInputs) {
  const frame = role === 'server' ? clientFrame : serverFrame
  const start = Buffer.concat([...good.map(frame), inMessage ? frame({ opcode: 0x1, payload: 'Hel', fin: false }) : Buffer.alloc(0)])
  const more = failsAt === null ? Buffer.alloc(0) : frame({ opcode: 0x1, payload: 'never' })
  const stream = Buffer.concat([start, hex(bytes), more])
  const expected = {
    frames: [...goodFrames, ...inMessage ? ['0x1 without FIN, 3 bytes: 48 65 6c'] : [], ...frames],
    error: `${code} ${closeCode}`
  }

  test(`${title}, after all frames before it were read`, async t => {
    for (const ownsChunks of [false, true]) await readsAs(t, stream, { role, ...options, ownsChunks }, expected)
  })

  if (failsAt !== null) {
    test(`${title}, at byte ${failsAt} of ${bytes}`, async t => {
      const parser = new FrameParser({ role, ...options })
      const until = start.length + failsAt - 1
      for (const byte of stream.subarray(0, until)) feed(parser, Buffer.from([byte]), () => {})
      t.throws(() => feed(parser, stream.subarray(until, until + 1), () => {}), { name: 'ProtocolError', code, closeCode })
    })
  }
}

// ---- What a peer may send ----

/** Reads `bytes` and expects these frames and no error. */
function accepts (t: Test, bytes: Buffer, options: FrameParserOptions, frames: string[]): Promise<void> {
  return readsAs(t, bytes, options, { frames, error: 'null' })
}

test('the example frames of RFC 6455 §5.7 are read', async t => {
  await accepts(t, hex('81 05 48 65 6c 6c 6f'), { role: 'client' }, ['0x1, 5 bytes: 48 65 6c 6c 6f'])
  await accepts(t, hex('81 85 37 fa 21 3d 7f 9f 4d 51 58'), { role: 'server' }, ['0x1, 5 bytes: 48 65 6c 6c 6f'])
  await accepts(t, hex('01 03 48 65 6c 80 02 6c 6f'), { role: 'client' }, ['0x1 without FIN, 3 bytes: 48 65 6c', '0x0, 2 bytes: 6c 6f'])
  await accepts(t, hex('89 05 48 65 6c 6c 6f'), { role: 'client' }, ['0x9, 5 bytes: 48 65 6c 6c 6f'])
  await accepts(t, hex('8a 85 37 fa 21 3d 7f 9f 4d 51 58'), { role: 'server' }, ['0xa, 5 bytes: 48 65 6c 6c 6f'])
})

test('a stream without a byte ends without an error', async t => {
  await accepts(t, hex(''), { role: 'server' }, [])
})

test('empty frames and empty fragments are frames', async t => {
  await accepts(t, hex('81 00 02 00 00 00 80 00 89 00 8a 00'), { role: 'client' }, [
    '0x1, 0 bytes: ', '0x2 without FIN, 0 bytes: ', '0x0 without FIN, 0 bytes: ', '0x0, 0 bytes: ', '0x9, 0 bytes: ', '0xa, 0 bytes: '
  ])
})

test('control frames of 125 bytes come between fragments', async t => {
  const ping = 'p'.repeat(125)
  const bytes = Buffer.concat([
    clientFrame({ opcode: 0x1, fin: false, payload: 'a' }), clientFrame({ opcode: 0x9, payload: ping }), clientFrame({ opcode: 0x0, payload: 'b' })
  ])
  await accepts(t, bytes, { role: 'server' }, [
    '0x1 without FIN, 1 bytes: 61', describe('0x9', Buffer.from(ping)), '0x0, 1 bytes: 62'
  ])
})

test('every close code that may be on the wire is read', async t => {
  for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]) {
    const payload = closePayload(code, 'é')
    await accepts(t, clientFrame({ opcode: 0x8, payload }), { role: 'server' }, [describe('0x8', payload)])
  }
  await accepts(t, hex('88 00'), { role: 'client' }, ['0x8, 0 bytes: '])
})

test('what follows a Close frame is ignored, be it frames, garbage or its end', async t => {
  for (const after of ['81 01 61', '88 02 03 e8', 'ff ff ff ff', '81', '81 7f 00 00 01', '00']) {
    await accepts(t, hex(`88 02 03 e8 ${after}`), { role: 'client', maxPayload: 1 }, ['0x8, 2 bytes: 03 e8'])
  }
})

test('a Close frame inside a fragmented message ends the stream without an error', async t => {
  await accepts(t, hex('01 01 61 88 00'), { role: 'client' }, ['0x1 without FIN, 1 bytes: 61', '0x8, 0 bytes: '])
})

test('messages of exactly maxPayload bytes pass, one after the other and in fragments', async t => {
  await accepts(t, hex('81 03 61 62 63 01 02 61 62 80 01 63 82 03 61 62 63'), { role: 'client', maxPayload: 3 }, [
    '0x1, 3 bytes: 61 62 63', '0x1 without FIN, 2 bytes: 61 62', '0x0, 1 bytes: 63', '0x2, 3 bytes: 61 62 63'
  ])
})

test('control frames do not count towards maxPayload', async t => {
  await accepts(t, hex('01 01 61 89 02 61 62 80 01 63'), { role: 'client', maxPayload: 2 }, [
    '0x1 without FIN, 1 bytes: 61', '0x9, 2 bytes: 61 62', '0x0, 1 bytes: 63'
  ])
})

test('300 streams give the same frames and messages whole, in every cut and in every way', async t => {
  const specimens = corpus(300, 20_000)
  for (const [cutting, cut] of Object.entries(cuttings)) {
    for (const [name, way] of Object.entries(ways)) {
      const next = random(3)
      const wrong: unknown[] = []
      let read = 0
      for (const { seed, role, bytes, frames, received } of specimens) {
        // a turn of the event loop for each of 65,536 bytes says no more than for each of 600
        if (cutting === 'byte by byte' && way !== firstWay && bytes.length > 600) continue
        const notes = new Notes()
        const error = await way(new FrameParser({ role, ownsChunks: next() < 0.5 }), cut(bytes, next), notes.take, next)
        const found = { frames: notes.all(), received: notes.received, error: label(error) }
        if (!isDeepStrictEqual(found, { frames, received, error: 'null' })) wrong.push({ seed, found, frames, received })
        read += notes.received.length
      }
      t.strictSame(wrong.slice(0, 1), [], `${cutting}, ${name}`)
      t.ok(read > 500, `${read} messages and control frames`)
    }
  }
})

test('a control frame that was cut behind its header leaves nothing behind for the next one', async t => {
  const parser = new FrameParser({ role: 'client' })
  const found: string[] = []
  for (const bytes of ['89 05', '61 62 63 64 65', '89 02 66', '67', '88 03 03', 'e8 68']) {
    feed(parser, hex(bytes), frame => found.push(show(frame.payload)))
  }
  t.strictSame(found, ['61 62 63 64 65', '66 67', '03 e8 68'])
})

test('pieces of a data frame come out as they come in, a control frame only whole', async t => {
  const parser = new FrameParser({ role: 'client' })
  const found: string[] = []
  const take: Take = ({ opcode, fin, payload, first, last }) => {
    found.push(`0x${opcode} ${payload.toString()} ${[fin && 'fin', first && 'first', last && 'last'].filter(Boolean).join(' ')}`)
  }
  const steps: [bytes: string, frames: string[]][] = [
    ['01', []],
    ['05', []],
    ['61 62', ['0x1 ab first']],
    ['63', ['0x1 c ']],
    ['64 65 89', ['0x1 de last']],
    ['02 70', []],
    ['71 80', ['0x9 pq fin first last']],
    ['01 66 81 02 67', ['0x0 f fin first last', '0x1 g fin first']],
    ['68', ['0x1 h fin last']]
  ]
  for (const [bytes, frames] of steps) {
    feed(parser, hex(bytes), take)
    t.strictSame(found.splice(0), frames, bytes)
  }
})

// ---- Memory ----

const MIB = 1024 * 1024

test('nothing is allocated for a length that was only announced', async t => {
  for (const [length, maxPayload] of [[2 ** 30, Infinity], [2 ** 40, Infinity], [2 ** 30, 2 ** 30 - 1], [2 ** 40, MIB]] as const) {
    for (const ownsChunks of [false, true]) {
      const parser = new FrameParser({ role: 'server', maxPayload, ownsChunks })
      const assembler = new MessageAssembler()
      const before = process.memoryUsage().arrayBuffers
      const found: Frame[] = []
      const attempt = (): void => feed(parser, clientFrame({ opcode: 0x2, length, payload: 'abc' }), frame => {
        assembler.add(frame)
        found.push(frame)
      })
      if (length > maxPayload) t.throws(attempt, { code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH', closeCode: 1009 })
      else attempt()
      t.strictSame(found.map(frame => frame.payload.toString()), length > maxPayload ? [] : ['abc'])
      const grown = process.memoryUsage().arrayBuffers - before
      t.ok(grown < MIB, `${grown} bytes more for a frame of ${length}`)
    }
  }
})

test('a frame of 2^53 - 1 bytes is begun when there is no maxPayload', async t => {
  const parser = new FrameParser({ role: 'client' })
  parser.feed(hex('82 7f 00 1f ff ff ff ff ff ff 61'))
  t.match(parser.next(), { opcode: 0x2, fin: true, first: true, last: false, payload: Buffer.from('a') })
  t.equal(parser.next(), null)
})

test('with ownsChunks payloads are unmasked where they lie', async t => {
  // a length for each of the ways that mask() has
  for (const payload of ['Hello', 'long'.repeat(100)]) {
    const chunk = clientFrame({ opcode: 0x1, payload })
    const start = chunk.length - payload.length
    const parser = new FrameParser({ role: 'server', ownsChunks: true })
    parser.feed(chunk)
    const frame = parser.next()!
    t.equal(frame.payload.toString(), payload)
    t.equal(frame.payload.buffer, chunk.buffer, 'the payload is the chunk\'s memory')
    t.equal(frame.payload.byteOffset, chunk.byteOffset + start)
    t.equal(chunk.toString('latin1', start), payload)
  }
})

test('without ownsChunks no byte of a chunk is ever changed', async t => {
  const next = random(4)
  for (const { role, bytes } of corpus(30, 30_000)) {
    for (const [name, way] of Object.entries(ways)) {
      const original = Buffer.from(bytes)
      const chunks: Buffer[] = []
      for (let start = 0; start < bytes.length;) {
        const end = start + integer(next, 1, bytes.length)
        chunks.push(bytes.subarray(start, end))
        start = end
      }
      const notes = new Notes()
      t.equal(await way(new FrameParser({ role }), chunks, notes.take, next), null)
      if (!bytes.equals(original)) t.fail(name)
    }
  }
})

test('a client hands on what it reads without a copy, and never writes to it', async t => {
  for (const ownsChunks of [false, true]) {
    const chunk = hex('82 03 61 62 63')
    const parser = new FrameParser({ role: 'client', ownsChunks })
    parser.feed(chunk)
    const frame = parser.next()!
    t.equal(frame.payload.buffer, chunk.buffer)
    t.equal(frame.payload.byteOffset, chunk.byteOffset + 2)
    t.equal(show(chunk), '82 03 61 62 63')
  }
})

// ---- Backpressure ----

/** Counts the frames that it parses. */
class CountingParser extends FrameParser {
  parsed = 0

  override next (): Frame | null {
    const frame = super.next()
    if (frame !== null) this.parsed++
    return frame
  }
}

const numbered = (count: number): Buffer => Buffer.concat(Array.from({ length: count }, (_, i) => clientFrame({ opcode: 0x2, payload: String(i) })))

test('a reader that does not read stops the parser in the middle of a chunk', async t => {
  const parser = new CountingParser({ role: 'server' })
  let isWritten = false
  parser.write(numbered(10_000), () => { isWritten = true })
  await turn()
  t.equal(parser.parsed, 1)
  t.equal(parser.readableLength, 1)
  t.equal(isWritten, false, 'the chunk is not done with')

  const found: string[] = []
  for (let i = 0; i < 10_000; i++) {
    found.push((parser.read() as Frame).payload.toString())
    if (parser.readableLength > 1 || parser.parsed > i + 2) t.fail(`${parser.readableLength} frames wait after ${i}`)
    if (i === 5000) {
      await turn()
      t.ok(parser.parsed <= 5002, 'it stops at any frame')
      t.equal(isWritten, false)
    }
  }
  await turn()
  t.equal(isWritten, true)
  t.strictSame(found, Array.from({ length: 10_000 }, (_, i) => String(i)))
})

test('pause() in a data listener stops the parser within one frame', async t => {
  const parser = new CountingParser({ role: 'server' })
  const found: string[] = []
  parser.on('data', (frame: Frame) => {
    found.push(frame.payload.toString())
    if (found.length % 10 === 0) parser.pause()
  })
  await turn() // from here on a write is parsed at once
  parser.write(numbered(95))
  for (let count = 10; count < 95; count += 10) {
    await turn()
    t.equal(found.length, count)
    t.ok(parser.parsed <= count + 1, `${parser.parsed} frames are parsed`)
    parser.resume()
  }
  await turn()
  t.strictSame(found, Array.from({ length: 95 }, (_, i) => String(i)))
})

test('destroy() in a data listener is the end: no frame comes after it', async t => {
  for (const wait of [true, false]) {
    const parser = new FrameParser({ role: 'server' })
    const found: string[] = []
    parser.on('data', (frame: Frame) => {
      found.push(frame.payload.toString())
      if (found.length === 3) parser.destroy()
    })
    if (wait) await turn()
    parser.write(numbered(10))
    await once(parser, 'close')
    t.strictSame(found, ['0', '1', '2'])
  }
})

test('a source without end does not pile up before a slow Writable', async t => {
  const chunk = numbered(1000)
  const parser = new CountingParser({ role: 'server' })
  let produced = 0
  const source = new Readable({
    read () {
      produced += chunk.length
      this.push(chunk)
    }
  })
  let taken = 0
  let goOn = (): void => {}
  const sink = new Writable({
    objectMode: true,
    highWaterMark: 1,
    write (_frame, _encoding, callback) {
      taken++
      goOn = callback
    }
  })
  source.pipe(parser).pipe(sink)
  for (let count = 1; count <= 2500; count++) {
    await turn()
    if (taken !== count) t.equal(taken, count, 'the sink gets the next frame')
    if (parser.parsed > taken + 3) t.fail(`${parser.parsed} frames are parsed, ${taken} are taken`)
    goOn()
  }
  // two high-water marks of bytes and the chunks that crossed them
  const limit = Math.ceil(2500 / 1000) * chunk.length + source.readableHighWaterMark + parser.writableHighWaterMark + 2 * chunk.length
  t.ok(produced <= limit, `${produced} bytes produced, ${limit} at most`)
  source.destroy()
  parser.destroy()
  sink.destroy()
})

test('writes of any size all complete while a reader takes its time', async t => {
  const next = random(5)
  const bytes = numbered(3000)
  const parser = new FrameParser({ role: 'server' })
  const chunks = cuts(bytes, next)
  let written = 0
  for (const chunk of chunks) parser.write(chunk, () => { written++ })
  parser.end()
  const notes = new Notes()
  for await (const frame of parser) {
    notes.take(frame)
    if (next() < 0.3) await turn()
  }
  t.strictSame(notes.frames, Array.from({ length: 3000 }, (_, i) => describe('0x2', Buffer.from(String(i)))))
  t.equal(written, chunks.length)
})

test('what a parser keeps of a cut header or control frame is a copy', async t => {
  const parser = new FrameParser({ role: 'server' })
  const found: string[] = []
  // a Ping of 'ab', cut inside its masking key and inside its payload
  for (const bytes of ['89 82 37', 'fa 21 3d 56', '98']) {
    const chunk = hex(bytes)
    feed(parser, chunk, frame => found.push(frame.payload.toString()))
    chunk.fill(0xff)
  }
  t.strictSame(found, ['ab'])
})

test('a waiting parser does not hold the chunk that it read last', async t => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  for (const [where, bytes] of Object.entries({
    'between two frames': '82 01 61',
    'in a header': '82',
    'behind a header': '82 05',
    'in a payload': '82 05 61 62',
    'behind the header of a control frame': '89 05',
    'in a control frame': '89 05 61 62',
    'behind a Close frame': '88 00 61 62'
  })) {
    const parser = new FrameParser({ role: 'client', ownsChunks: true })
    const memory = new WeakRef(new Uint8Array(hex(bytes)).buffer) // of its own, not of Node's pool
    feed(parser, Buffer.from(memory.deref()!), () => {})
    await turn()
    collectGarbage()
    t.equal(memory.deref(), undefined, where)
    t.equal(parser.next(), null)
  }
})

test('a failure is final: nothing of a refused frame comes out behind it', async t => {
  const parser = new FrameParser({ role: 'client' })
  parser.feed(hex('c2 03 81 01 78 81 01 79'))
  t.throws(() => parser.next(), { code: 'WS_ERR_UNEXPECTED_RSV_1', closeCode: 1002 })
  t.equal(parser.next(), null)
  parser.feed(hex('81 01 79'))
  t.equal(parser.next(), null)
})

test('a message over maxPayload is refused for as long as it is over it', async t => {
  const parser = new FrameParser({ role: 'client', maxPayload: 1 })
  parser.feed(hex('82 03 61 62 63 81 01 79'))
  for (let i = 0; i < 2; i++) t.throws(() => parser.next(), { code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH', closeCode: 1009 })
  t.equal(parser.isOversized, true)
  parser.maxPayload = 3
  t.equal(parser.isOversized, false)
  t.equal(parser.next()?.payload.toString(), 'abc')
  parser.maxPayload = 1
  t.equal(parser.next()?.payload.toString(), 'y')
  t.equal(parser.next(), null)
})
