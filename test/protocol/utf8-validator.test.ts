import { test } from 'tap'
import { Utf8Validator } from '../../lib/protocol/utf8-validator.ts'
import { cuts, integer, random } from '../helpers/random.ts'

/** Octets in hexadecimal: `e2 82 ac` */
const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex')
const show = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex').replace(/..(?=.)/g, '$& ')

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Whole text is valid when the platform's own decoder takes it. */
function decodes (text: Uint8Array): boolean {
  try {
    decoder.decode(text)
    return true
  } catch {
    return false
  }
}

// One of these completes whatever can be completed: E0 and F0 want a high second byte, ED and F4 a low one.
const COMPLETIONS = ['', '80', 'bf', '80 80', 'bf bf', '80 80 80', 'bf bf bf'].map(bytes)

/** By brute force: text that is valid, or that something makes valid. */
function canBegin (text: Buffer): boolean {
  return COMPLETIONS.some(completion => decodes(Buffer.concat([text, completion])))
}

/** Where `text` stops being the start of valid UTF-8; its length when it never does. */
function firstBadByte (text: Buffer): number {
  let i = 0
  while (i < text.length && canBegin(text.subarray(0, i + 1))) i++
  return i
}

interface Verdict {
  /** The piece that write() refused; their number when it refused none. */
  refused: number
  /** What end() said; false when a piece was refused. */
  valid: boolean
}

function validate (pieces: readonly Buffer[], validator = new Utf8Validator()): Verdict {
  let refused = 0
  while (refused < pieces.length && validator.write(pieces[refused]!)) refused++
  return { refused, valid: validator.end() && refused === pieces.length }
}

const byteByByte = (text: Buffer): Buffer[] => Array.from(text, (_, i) => text.subarray(i, i + 1))

const VALID: Array<[hex: string, what: string]> = [
  ['', 'nothing'],
  ['00', 'U+0000'],
  ['7f', 'U+007F, the last of 1 byte'],
  ['c2 80', 'U+0080, the first of 2 bytes'],
  ['df bf', 'U+07FF, the last of 2 bytes'],
  ['e0 a0 80', 'U+0800, the first of 3 bytes'],
  ['ed 9f bf', 'U+D7FF, the last before the surrogates'],
  ['ee 80 80', 'U+E000, the first after the surrogates'],
  ['ef bf bd', 'U+FFFD'],
  ['ef bf bf', 'U+FFFF, the last of 3 bytes'],
  ['f0 90 80 80', 'U+10000, the first of 4 bytes'],
  ['f4 8f bf bf', 'U+10FFFF, the last of all'],
  ['ef bb bf', 'a byte order mark'],
  ['ef bb bf ef bb bf 61', 'two byte order marks'],
  ['ce ba e1 bd b9 cf 83 ce bc ce b5', 'the text of the Autobahn test suite']
]

const INVALID: Array<[hex: string, firstBad: number, what: string]> = [
  ['80', 0, 'a lone continuation byte'],
  ['bf', 0, 'a lone continuation byte'],
  ['61 80', 1, 'a lone continuation byte'],
  ['c3 a9 80', 2, 'one continuation byte too many'],
  ['e2 82 ac ac', 3, 'one continuation byte too many'],
  ['f0 9f 98 80 80', 4, 'one continuation byte too many'],
  ['c0 80', 0, 'an overlong U+0000'],
  ['c1 bf', 0, 'an overlong U+007F'],
  ['e0 80 80', 1, 'an overlong U+0000'],
  ['e0 9f bf', 1, 'an overlong U+07FF'],
  ['f0 80 80 80', 1, 'an overlong U+0000'],
  ['f0 8f bf bf', 1, 'an overlong U+FFFF'],
  ['ed a0 80', 1, 'the first surrogate'],
  ['ed bf bf', 1, 'the last surrogate'],
  ['ed a0 bd ed b8 80', 1, 'a pair of surrogates (CESU-8)'],
  ['f4 90 80 80', 1, 'U+110000'],
  ['f5 80 80 80', 0, 'a first byte beyond U+10FFFF'],
  ['f8 88 80 80 80', 0, 'a character of 5 bytes'],
  ['fc 84 80 80 80 80', 0, 'a character of 6 bytes'],
  ['fe', 0, 'a byte that UTF-8 does not have'],
  ['ff', 0, 'a byte that UTF-8 does not have'],
  ['c3 28', 1, 'a character that breaks off after 1 of 2 bytes'],
  ['e2 28 a1', 1, 'a character that breaks off after 1 of 3 bytes'],
  ['e2 82 28', 2, 'a character that breaks off after 2 of 3 bytes'],
  ['f0 28 8c bc', 1, 'a character that breaks off after 1 of 4 bytes'],
  ['f0 9f 28 bc', 2, 'a character that breaks off after 2 of 4 bytes'],
  ['f0 9f 98 28', 3, 'a character that breaks off after 3 of 4 bytes'],
  ['c3 c3 a9', 1, 'a first byte after a first byte'],
  ['e2 82 e2 82 ac', 2, 'a character in the place of a continuation byte'],
  ['ce ba e1 bd b9 cf 83 ce bc ce b5 f4 90 80 80 65', 12, 'the text of the Autobahn test suite']
]

const CUT_OFF: Array<[hex: string, what: string]> = [
  ['c3', '1 of 2 bytes'],
  ['e2', '1 of 3 bytes'],
  ['e2 82', '2 of 3 bytes'],
  ['f0', '1 of 4 bytes'],
  ['f0 9f', '2 of 4 bytes'],
  ['f0 9f 98', '3 of 4 bytes'],
  ['61 c3 a9 ed 9f', '2 of 3 bytes, behind whole characters'],
  ['f0 9f 98 80 f4 8f bf', '3 of 4 bytes, behind a whole character']
]

test('valid text is accepted whole, byte by byte, and cut at every position', async t => {
  for (const [hex, what] of VALID) {
    const text = bytes(hex)
    const verdicts = [[text], byteByByte(text), ...cutInTwo(text)].map(pieces => validate(pieces).valid)
    t.strictSame(verdicts, verdicts.map(() => true), `${hex}: ${what}`)
  }
})

test('invalid text is refused with the piece that holds its first bad byte', async t => {
  for (const [hex, firstBad, what] of INVALID) {
    const text = bytes(hex)
    t.equal(firstBadByte(text), firstBad, `${hex}: ${what}`)
    t.strictSame(validate([text]), { refused: 0, valid: false }, 'whole')
    t.strictSame(validate(byteByByte(text)), { refused: firstBad, valid: false }, 'byte by byte')
    t.strictSame(
      cutInTwo(text).map(pieces => validate(pieces).refused),
      Array.from({ length: text.length + 1 }, (_, cut) => firstBad < cut ? 0 : 1),
      'cut at every position'
    )
  }
})

test('text that ends inside a character is accepted until it ends', async t => {
  for (const [hex, what] of CUT_OFF) {
    const text = bytes(hex)
    t.strictSame(validate([text]), { refused: 1, valid: false }, `${hex}: ${what}`)
    t.strictSame(validate(byteByByte(text)), { refused: text.length, valid: false }, 'byte by byte')
    for (const pieces of cutInTwo(text)) t.strictSame(validate(pieces), { refused: 2, valid: false }, pieces.map(show).join(' | '))
  }
})

test('an empty piece changes nothing, not even inside a character', async t => {
  const empty = Buffer.alloc(0)
  t.strictSame(validate([]), { refused: 0, valid: true })
  t.strictSame(validate([empty]), { refused: 1, valid: true })
  t.strictSame(validate([empty, bytes('e2'), empty, bytes('82'), empty, bytes('ac'), empty]), { refused: 7, valid: true })
  t.strictSame(validate([bytes('e2'), empty]), { refused: 2, valid: false })
  t.strictSame(validate([bytes('e2'), empty, bytes('28')]), { refused: 2, valid: false })
})

test('a piece may end one character, hold others, and begin another', async t => {
  t.strictSame(validate([bytes('61 e2'), bytes('82 ac 62 f0 9f'), bytes('98 80')]), { refused: 3, valid: true })
  t.strictSame(validate([bytes('61 e2'), bytes('82 ac f0 9f'), bytes('98 80 c3'), bytes('a9')]), { refused: 4, valid: true })
  t.strictSame(validate([bytes('61 e2'), bytes('82 ac ff f0 9f'), bytes('98 80')]), { refused: 1, valid: false })
})

test('the validator is ready for the next text after end()', async t => {
  const validator = new Utf8Validator()
  t.strictSame(validate([bytes('e2 82 ac')], validator), { refused: 1, valid: true }, 'a text')
  t.strictSame(validate([bytes('61 f0 9f')], validator), { refused: 1, valid: false }, 'one that ends inside a character')
  t.strictSame(validate([bytes('e2 82 ac')], validator), { refused: 1, valid: true }, 'another')
  t.strictSame(validate([bytes('e2'), bytes('28')], validator), { refused: 1, valid: false }, 'one with a bad byte')
  t.strictSame(validate([bytes('c3'), bytes('a9')], validator), { refused: 2, valid: true }, 'and another')
  t.equal(validator.end(), true, 'an empty one')
  t.equal(validator.write(bytes('98 80')), false, 'the rest of a character of an earlier text')
})

test('every start of a character is judged as by brute force', async t => {
  const every = Array.from({ length: 256 }, (_, byte) => byte)
  const edges = [0x7f, 0x80, 0xbf, 0xc0] // from the third byte on there is but one range, RFC 3629 §4
  const differences: string[] = []
  let good = 0
  let bad = 0
  const visit = (start: Buffer) => {
    for (const byte of start.length < 2 ? every : edges) {
      const text = Buffer.concat([start, Buffer.of(byte)])
      const complete = decodes(text)
      const expected = complete || canBegin(text)
      if (expected) good++
      else bad++
      const validator = new Utf8Validator()
      const verdicts = byteByByte(text).map(piece => validator.write(piece))
      if (verdicts.pop() !== expected || verdicts.includes(false)) differences.push(`${show(text)} byte by byte`)
      if (expected && validator.end() !== complete) differences.push(`${show(text)} at its end`)
      if (new Utf8Validator().write(text) !== expected) differences.push(`${show(text)} whole`)
      if (expected && !complete) visit(text)
    }
  }
  visit(Buffer.alloc(0))
  t.strictSame(differences, [])
  t.ok(Math.min(good, bad) > 1000, `${good} good and ${bad} bad were tried`)
})

test('random text, cut at random, is judged as by TextDecoder, and refused at its first bad byte', async t => {
  const next = random(3629)
  const pick = <T>(list: readonly T[]): T => list[integer(next, 0, list.length - 1)]!
  const [good, bad] = [VALID, [...INVALID, ...CUT_OFF]].map(list => list.map(([hex]) => bytes(hex))) as [Buffer[], Buffer[]]
  const count = { valid: 0, invalid: 0, 'cut off': 0 }
  const differences: string[] = []
  for (let round = 0; round < 600; round++) {
    let text = Buffer.concat(Array.from({ length: integer(next, 1, 6) }, () => pick(next() < 0.9 ? good : bad)))
    if (next() < 0.1) text[integer(next, 0, text.length - 1)] = integer(next, 0, 0xff)
    if (next() < 0.3) text = text.subarray(0, integer(next, 0, text.length))
    const firstBad = firstBadByte(text)
    const valid = decodes(text)
    count[valid ? 'valid' : firstBad < text.length ? 'invalid' : 'cut off']++
    for (const pieces of [[text], byteByByte(text), ...cutInTwo(text), cuts(text, next), cuts(text, next), cuts(text, next)]) {
      let end = 0
      const expected = pieces.findIndex(piece => { end += piece.length; return end > firstBad })
      const verdict = validate(pieces)
      if (verdict.valid !== valid || verdict.refused !== (expected === -1 ? pieces.length : expected)) {
        differences.push(pieces.map(show).join(' | '))
      }
    }
  }
  t.strictSame(differences.slice(0, 5), [])
  t.ok(Math.min(...Object.values(count)) >= 20, `${JSON.stringify(count)} were tried`)
})

test('a bad byte is found anywhere in a long text that comes in pieces', async t => {
  const next = random(64)
  const text = Buffer.from('Grüße, 世界! 😀 '.repeat(3000))
  t.strictSame(validate(cuts(text, next)).valid, true, `${text.length} bytes`)
  for (let round = 0; round < 30; round++) {
    const broken = Buffer.from(text)
    const at = integer(next, 0, text.length - 1)
    broken[at] = 0xff
    const pieces = cuts(broken, next)
    let end = 0
    t.equal(validate(pieces).refused, pieces.findIndex(piece => { end += piece.length; return end > at }), `byte ${at}, ${pieces.length} pieces`)
  }
})

/** In two pieces, one of which may be empty, cut at every position. */
function cutInTwo (text: Buffer): Buffer[][] {
  return Array.from({ length: text.length + 1 }, (_, cut) => [text.subarray(0, cut), text.subarray(cut)])
}
