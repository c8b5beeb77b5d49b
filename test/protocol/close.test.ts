// close-code.ts and close-payload.ts
import { test } from 'tap'
import { isWireCloseCode } from '../../lib/protocol/close-code.ts'
import { createClose, cutReason, parseClosePayload, serializeClosePayload } from '../../lib/protocol/close.ts'

/** Octets in hexadecimal, as RFC 6455 writes them: `03 e8 62 79 65` */
const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex')

const INVALID_UTF8: Array<[hex: string, what: string]> = [
  ['80', 'a lone continuation byte'],
  ['ff', 'a byte that UTF-8 does not have'],
  ['e2 82', 'a character that is cut off'],
  ['c0 af', 'an overlong form'],
  ['ed a0 80', 'a surrogate'],
  ['f4 90 80 80', 'a character beyond U+10FFFF'],
  ['6f 6b e2 28 a1', 'a bad byte behind good ones']
]

test('the close codes that may be on the wire are 1000-1003, 1007-1014 and 3000-4999', async t => {
  const ranges: Array<[first: number, last: number]> = []
  for (let code = 0; code <= 0xffff; code++) {
    if (!isWireCloseCode(code)) continue
    const range = ranges.at(-1)
    if (range?.[1] === code - 1) range[1] = code
    else ranges.push([code, code])
  }
  t.strictSame(ranges, [[1000, 1003], [1007, 1014], [3000, 4999]])
})

test('what is not an integer is no close code', async t => {
  for (const code of [1000.5, 1002.5, 1007.1, 3000.9, NaN, Infinity, -1000, 1000 + 0x1_0000]) {
    t.equal(isWireCloseCode(code), false, `${code}`)
  }
})

test('an empty Close payload is read as 1005 without a reason', async t => {
  t.strictSame(parseClosePayload(bytes('')), { code: 1005, reason: bytes('') })
})

test('a Close payload of 1 byte fails the connection with 1002', async t => {
  for (const hex of ['00', '03', 'ff']) {
    t.throws(() => parseClosePayload(bytes(hex)), {
      name: 'ProtocolError',
      code: 'WS_ERR_INVALID_CLOSE_PAYLOAD',
      closeCode: 1002,
      message: 'a Close frame\'s payload of 1 byte cannot hold a close code'
    }, hex)
  }
})

test('a Close payload of 2 bytes is a code without a reason', async t => {
  const payloads: Array<[hex: string, code: number]> = [
    ['03 e8', 1000], ['03 e9', 1001], ['03 ea', 1002], ['03 eb', 1003],
    ['03 ef', 1007], ['03 f0', 1008], ['03 f1', 1009], ['03 f2', 1010], ['03 f3', 1011], ['03 f4', 1012], ['03 f5', 1013], ['03 f6', 1014],
    ['0b b8', 3000], ['0f 9f', 3999], ['0f a0', 4000], ['13 87', 4999]
  ]
  for (const [hex, code] of payloads) t.strictSame(parseClosePayload(bytes(hex)), { code, reason: bytes('') }, hex)
})

test('a close code that must not be on the wire fails the connection with 1002', async t => {
  const payloads: Array<[hex: string, code: number]> = [
    ['00 00', 0], ['03 e7', 999], ['03 ec', 1004], ['03 ed', 1005], ['03 ee', 1006], ['03 f7', 1015], ['03 f8', 1016],
    ['07 d0', 2000], ['0b b7', 2999], ['13 88', 5000], ['ff ff', 65535]
  ]
  for (const [hex, code] of payloads) {
    t.throws(() => parseClosePayload(bytes(hex)), {
      name: 'ProtocolError',
      code: 'WS_ERR_INVALID_CLOSE_CODE',
      closeCode: 1002,
      message: `close code ${code} must not appear in a Close frame`
    }, hex)
  }
})

test('a bad close code is reported before a bad reason', async t => {
  t.throws(() => parseClosePayload(bytes('03 ed ff')), { code: 'WS_ERR_INVALID_CLOSE_CODE', closeCode: 1002 })
})

test('a close reason is read as it came', async t => {
  t.strictSame(parseClosePayload(bytes('03 e8 62 79 65')), { code: 1000, reason: Buffer.from('bye') })
  t.strictSame(parseClosePayload(bytes('0f a0 e2 82 ac f0 9f 98 80')), { code: 4000, reason: Buffer.from('€😀') })
  t.strictSame(parseClosePayload(bytes('03 e8 ef bb bf')), { code: 1000, reason: bytes('ef bb bf') }, 'a byte order mark included')
  t.strictSame(parseClosePayload(Buffer.concat([bytes('03 e8'), Buffer.alloc(123, 'a')])), { code: 1000, reason: Buffer.alloc(123, 'a') })
})

test('a close reason that is not UTF-8 fails the connection with 1007', async t => {
  for (const [hex, what] of INVALID_UTF8) {
    t.throws(() => parseClosePayload(bytes(`03 e8 ${hex}`)), {
      name: 'ProtocolError',
      code: 'WS_ERR_INVALID_UTF8',
      closeCode: 1007,
      message: 'a close reason is not valid UTF-8'
    }, what)
  }
})

test('a Close payload is written as a code and a reason', async t => {
  t.strictSame(serializeClosePayload({ code: 1000, reason: Buffer.from('bye') }), bytes('03 e8 62 79 65'))
  t.strictSame(serializeClosePayload({ code: 4999, reason: bytes('') }), bytes('13 87'))
  t.strictSame(serializeClosePayload({ code: 1011, reason: Buffer.from('€') }), bytes('03 f3 e2 82 ac'))
})

test('1005 is written as an empty payload', async t => {
  t.strictSame(serializeClosePayload({ code: 1005, reason: bytes('') }), bytes(''))
  t.strictSame(serializeClosePayload(createClose()), bytes(''))
})

test('a Close payload that was read is written back as it was', async t => {
  for (const hex of ['', '03 e8', '03 e8 62 79 65', '0f a0 e2 82 ac', '13 87 00']) {
    t.strictSame(serializeClosePayload(parseClosePayload(bytes(hex))), bytes(hex), hex)
  }
})

test('an application may close without a code, with a code, and with a code and a reason', async t => {
  t.strictSame(createClose(), { code: 1005, reason: bytes('') })
  t.strictSame(createClose(1000), { code: 1000, reason: bytes('') })
  t.strictSame(createClose(1000, undefined), { code: 1000, reason: bytes('') })
  t.strictSame(createClose(1000, ''), { code: 1000, reason: bytes('') })
  t.strictSame(createClose(1000, 'bye'), { code: 1000, reason: Buffer.from('bye') })
  t.strictSame(createClose(4000, bytes('e2 82 ac')), { code: 4000, reason: Buffer.from('€') })
  t.strictSame(createClose(4000, Uint8Array.of(0x62, 0x79, 0x65)), { code: 4000, reason: Buffer.from('bye') })
})

test('without a close code the reason is dropped', async t => {
  t.strictSame(createClose(undefined, 'bye'), { code: 1005, reason: bytes('') })
})

test('a close code that must not be on the wire cannot be sent', async t => {
  for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535, -1, NaN, 1000.5]) {
    t.throws(() => createClose(code), { name: 'RangeError', message: `close code ${code} cannot be sent` }, `${code}`)
  }
})

test('a close code that is not a number is refused', async t => {
  // @ts-expect-error a string
  t.throws(() => createClose('1000'), { name: 'TypeError', message: 'a close code must be a number, not string' })
  // @ts-expect-error null, which is not the same as nothing
  t.throws(() => createClose(null), { name: 'TypeError', message: 'a close code must be a number, not object' })
})

test('a close reason of 123 bytes can be sent', async t => {
  for (const reason of ['a'.repeat(123), '€'.repeat(41), Buffer.alloc(123, 'a')]) {
    const payload = serializeClosePayload(createClose(1000, reason))
    t.equal(payload.length, 125)
    t.strictSame(parseClosePayload(payload), { code: 1000, reason: Buffer.from(reason) })
  }
})

test('a close reason of 124 bytes cannot be sent', async t => {
  for (const reason of ['a'.repeat(124), '€'.repeat(41) + 'a', Buffer.alloc(124, 'a')]) {
    t.throws(() => createClose(1000, reason),
      { name: 'RangeError', message: 'a close reason of 124 bytes cannot be sent, 123 is the limit' })
  }
})

test('a close reason that is neither a string nor bytes is refused', async t => {
  // @ts-expect-error a number, which Buffer.from() does not take
  t.throws(() => createClose(1000, 5), { name: 'TypeError', message: 'a close reason must be a string or a Buffer, not number' })
  // @ts-expect-error an array, which Buffer.from() would take
  t.throws(() => createClose(1000, [98]), { name: 'TypeError', message: 'a close reason must be a string or a Buffer, not object' })
  // @ts-expect-error null, which is not the same as nothing
  t.throws(() => createClose(1000, null), { name: 'TypeError', message: 'a close reason must be a string or a Buffer, not object' })
})

test('a close reason in bytes that are not UTF-8 is refused', async t => {
  for (const [hex, what] of INVALID_UTF8) {
    t.throws(() => createClose(1000, bytes(hex)), { name: 'TypeError', message: 'a close reason must be valid UTF-8' }, what)
  }
})

test('a lone surrogate in a close reason is sent as U+FFFD', async t => {
  t.strictSame(createClose(1000, 'a\ud800b'), { code: 1000, reason: bytes('61 ef bf bd 62') })
})

test('a close reason is copied, so the caller may use its memory again', async t => {
  const given = Buffer.from('bye')
  const { reason } = createClose(1000, given)
  given.fill(0)
  t.strictSame(reason, Buffer.from('bye'))
})

test('a reason is cut to 123 bytes, between two characters', async t => {
  for (const [text, expected] of [
    ['', ''], ['short', 'short'], ['x'.repeat(123), 'x'.repeat(123)], ['x'.repeat(124), 'x'.repeat(123)],
    ['\u00e9'.repeat(100), '\u00e9'.repeat(61)], [`x${'\u{1F600}'.repeat(100)}`, `x${'\u{1F600}'.repeat(30)}`]
  ] as const) {
    const reason = cutReason(text)
    t.equal(String(reason), expected)
    t.strictSame(createClose(1000, reason).reason, reason)
  }
})
