import { isDeepStrictEqual } from 'node:util'
import { test } from 'tap'
import { decodeFrameHeader, encodeFrameHeader, Frame, FrameHeader, frameHeaderLength, MAX_HEADER_LENGTH } from '../../lib/protocol/frame.ts'
import type { Opcode } from '../../lib/protocol/opcode.ts'
import { hex, show } from '../helpers/frames.ts'
import { integer, random } from '../helpers/random.ts'

const header = (fields: Partial<FrameHeader>): FrameHeader => Object.assign(new FrameHeader(), { fin: true, ...fields })

// every form of the header, and what it says
const HEADERS: [bytes: string, says: FrameHeader][] = [
  ['81 00', header({ opcode: 0x1 })],
  ['01 05', header({ fin: false, opcode: 0x1, payloadLength: 5 })],
  ['00 05', header({ fin: false, opcode: 0x0, payloadLength: 5 })],
  ['80 05', header({ opcode: 0x0, payloadLength: 5 })],
  ['82 7d', header({ opcode: 0x2, payloadLength: 125 })],
  ['c2 01', header({ opcode: 0x2, rsv1: true, payloadLength: 1 })],
  ['88 02', header({ opcode: 0x8, payloadLength: 2 })],
  ['89 7d', header({ opcode: 0x9, payloadLength: 125 })],
  ['8a 00', header({ opcode: 0xa })],
  ['81 85 37 fa 21 3d', header({ opcode: 0x1, masked: true, maskingKey: 0x37fa213d, payloadLength: 5 })],
  ['81 80 00 00 00 00', header({ opcode: 0x1, masked: true })],
  ['81 80 ff ff ff fe', header({ opcode: 0x1, masked: true, maskingKey: -2 })],
  ['82 7e 00 7e', header({ opcode: 0x2, payloadLength: 126 })],
  ['82 7e ff ff', header({ opcode: 0x2, payloadLength: 65535 })],
  ['82 fe 01 00 80 00 00 01', header({ opcode: 0x2, masked: true, maskingKey: 0x80000001 | 0, payloadLength: 256 })],
  ['82 7f 00 00 00 00 00 01 00 00', header({ opcode: 0x2, payloadLength: 65536 })],
  ['82 7f 00 00 00 00 ff ff ff ff', header({ opcode: 0x2, payloadLength: 2 ** 32 - 1 })],
  ['82 7f 00 00 00 01 00 00 00 05', header({ opcode: 0x2, payloadLength: 2 ** 32 + 5 })],
  ['82 7f 00 1f ff ff ff ff ff ff', header({ opcode: 0x2, payloadLength: Number.MAX_SAFE_INTEGER })],
  ['82 ff 00 1f ff ff ff ff ff ff 37 fa 21 3d', header({ opcode: 0x2, masked: true, maskingKey: 0x37fa213d, payloadLength: Number.MAX_SAFE_INTEGER })]
]

test('a frame header is read in each of its forms', async t => {
  for (const [bytes, says] of HEADERS) {
    const found = new FrameHeader()
    t.equal(decodeFrameHeader(hex(bytes), 0, hex(bytes).length, found), hex(bytes).length, bytes)
    t.strictSame(found, says, bytes)
  }
})

test('a header is read from the middle of a chunk, whatever stands around it', async t => {
  for (const [bytes, says] of HEADERS) {
    const chunk = Buffer.concat([hex('ff ff ff'), hex(bytes), hex('ff ff ff')])
    const found = new FrameHeader()
    t.equal(decodeFrameHeader(chunk, 3, chunk.length, found), hex(bytes).length, bytes)
    t.strictSame(found, says, bytes)
  }
})

test('a header that goes on beyond the end is length 0, and nothing of it is told', async t => {
  for (const [bytes] of HEADERS) {
    const whole = hex(bytes)
    // the rest lies in the memory behind the end, where it must not be looked at
    for (let end = 0; end < whole.length; end++) {
      const found = new FrameHeader()
      t.equal(decodeFrameHeader(whole, 0, end, found), 0, `${end} bytes of ${bytes}`)
      t.strictSame(found, new FrameHeader())
    }
  }
})

// what the bytes show to be wrong, the last of them first; the message names the rule and the value
const BAD_HEADERS: [bytes: string, code: string, closeCode: number, message: RegExp][] = [
  ['a1', 'WS_ERR_UNEXPECTED_RSV_2_3', 1002, /RSV2/],
  ['91', 'WS_ERR_UNEXPECTED_RSV_2_3', 1002, /RSV3/],
  ['b1', 'WS_ERR_UNEXPECTED_RSV_2_3', 1002, /RSV2/],
  ...[0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf].map((opcode): [string, string, number, RegExp] =>
    [`8${opcode.toString(16)}`, 'WS_ERR_INVALID_OPCODE', 1002, new RegExp(`0x${opcode.toString(16)}`, 'i')]),
  ['03', 'WS_ERR_INVALID_OPCODE', 1002, /0x3/],
  ['08', 'WS_ERR_EXPECTED_FIN', 1002, /0x8/],
  ['09', 'WS_ERR_EXPECTED_FIN', 1002, /0x9/],
  ['0a', 'WS_ERR_EXPECTED_FIN', 1002, /0xA/],
  ['88 7e', 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH', 1002, /125/],
  ['89 7f', 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH', 1002, /125/],
  ['8a fe', 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH', 1002, /125/],
  ['82 7e 00 7d', 'WS_ERR_INVALID_PAYLOAD_LENGTH', 1002, /125 bytes .* 16 bits/],
  ['82 fe 00 00', 'WS_ERR_INVALID_PAYLOAD_LENGTH', 1002, /0 bytes .* 16 bits/],
  ['82 7f 00 00 00 00 00 00 ff ff', 'WS_ERR_INVALID_PAYLOAD_LENGTH', 1002, /65535 bytes .* 64 bits/],
  ['82 ff 00 00 00 00 00 00 00 00', 'WS_ERR_INVALID_PAYLOAD_LENGTH', 1002, /0 bytes .* 64 bits/],
  ['82 7f 80', 'WS_ERR_INVALID_PAYLOAD_LENGTH', 1002, /most significant bit/],
  ['82 ff ff', 'WS_ERR_INVALID_PAYLOAD_LENGTH', 1002, /most significant bit/],
  ['82 7f 00 20 00 00 00 00 00 00', 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH', 1009, /2\^53/],
  ['82 ff 7f ff ff ff ff ff ff ff', 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH', 1009, /2\^53/]
]

test('a bad header is refused at the byte that shows it, and not before', async t => {
  for (const [bytes, code, closeCode, message] of BAD_HEADERS) {
    const chunk = hex(bytes)
    t.equal(decodeFrameHeader(chunk, 0, chunk.length - 1, new FrameHeader()), 0, `${bytes}, without its last byte`)
    t.throws(() => decodeFrameHeader(chunk, 0, chunk.length, new FrameHeader()), { name: 'ProtocolError', code, closeCode, message }, bytes)
    t.throws(() => decodeFrameHeader(Buffer.concat([chunk, Buffer.alloc(14)]), 0, chunk.length + 14, new FrameHeader()), { code, message }, `${bytes} and more`)
  }
})

test('a frame header is written in the shortest form, byte by byte as it is read', async t => {
  for (const [bytes, { opcode, fin, rsv1, payloadLength, masked, maskingKey }] of HEADERS) {
    const target = Buffer.alloc(MAX_HEADER_LENGTH + 4, 0xee)
    const end = encodeFrameHeader(target, 2, opcode, fin, rsv1, payloadLength, masked ? maskingKey : null)
    t.equal(show(target.subarray(2, end)), bytes)
    t.equal(end - 2, frameHeaderLength(payloadLength, masked), `the length of ${bytes} is known beforehand`)
    t.equal(show(target.subarray(0, 2)), 'ee ee', 'nothing is written before it')
    t.ok(target.subarray(end).every(byte => byte === 0xee), 'nor behind it')
  }
})

test('no header is longer than MAX_HEADER_LENGTH', async t => {
  t.equal(frameHeaderLength(Number.MAX_SAFE_INTEGER, true), MAX_HEADER_LENGTH)
})

test('a header of any values is read as it was written', async t => {
  const next = random(1)
  const opcodes: Opcode[] = [0x0, 0x1, 0x2, 0x8, 0x9, 0xa]
  const wrong: unknown[] = []
  for (let i = 0; i < 2000; i++) {
    const opcode = opcodes[integer(next, 0, 5)]!
    const isControl = opcode > 0x2
    const written = header({
      opcode,
      fin: isControl || next() < 0.5,
      rsv1: next() < 0.5,
      masked: true,
      maskingKey: integer(next, -(2 ** 31), 2 ** 31 - 1),
      payloadLength: isControl ? integer(next, 0, 125) : Math.floor(2 ** (next() * 53))
    })
    const target = Buffer.alloc(MAX_HEADER_LENGTH)
    const end = encodeFrameHeader(target, 0, opcode, written.fin, written.rsv1, written.payloadLength, written.maskingKey)
    const read = new FrameHeader()
    const length = decodeFrameHeader(target, 0, end, read)
    if (length !== end || !isDeepStrictEqual(read, written)) wrong.push({ bytes: show(target), read, written })
  }
  t.strictSame(wrong, [])
})

test('a Frame holds what it was made of', async t => {
  const payload = hex('61')
  t.match(new Frame(0x1, true, false, payload, false, true), { opcode: 0x1, fin: true, rsv1: false, payload, first: false, last: true })
})
