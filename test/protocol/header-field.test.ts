import { test } from 'tap'
import { formatExtensions, isToken, listHasToken, parseExtensions, parseTokenList, type Extension } from '../../lib/protocol/header-field.ts'
import { integer, random } from '../helpers/random.ts'

const KIB_100 = 100 * 1024
const TOKEN_CHARACTERS = "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~"

test('a token is made of the 77 characters of RFC 9110 §5.6.2 and no others', async t => {
  let accepted = ''
  for (let code = 0; code < 0x1_0000; code++) {
    const character = String.fromCharCode(code)
    if (isToken(character)) accepted += character
  }
  t.equal(accepted, TOKEN_CHARACTERS)
  t.equal(isToken(TOKEN_CHARACTERS), true, 'all of them together')
})

test('an empty value and one with a single wrong character are no tokens', async t => {
  for (const value of ['', ' ', ' chat', 'chat ', 'ch at', 'chat,', 'ch\u00e4t', 'chat\u0000', 'chat\n', '"chat"']) {
    t.equal(isToken(value), false, JSON.stringify(value))
  }
})

test('a token is found in a list at any place and in any case', async t => {
  for (const value of ['upgrade', 'Upgrade', 'keep-alive, uPgRaDe', 'UPGRADE,keep-alive', 'a , \tupgrade\t , b', ',,upgrade,,']) {
    t.equal(listHasToken(value, 'upgrade'), true, JSON.stringify(value))
  }
})

test('a part of a list element is not the token', async t => {
  for (const value of [undefined, '', ',', 'upgrades', 'no-upgrade', 'keep-alive upgrade', 'upgrade;q=1', 'upgrade/1', '"upgrade"', '\u00a0upgrade']) {
    t.equal(listHasToken(value, 'upgrade'), false, JSON.stringify(value))
  }
})

test('a token list is read in its order, without white space and empty elements', async t => {
  const lists: Array<[value: string, tokens: string[]]> = [
    ['chat', ['chat']],
    ['chat, superchat', ['chat', 'superchat']],
    ['superchat,chat', ['superchat', 'chat']],
    [' \tchat\t ,\t superchat ', ['chat', 'superchat']],
    [',chat, ,\t,superchat,', ['chat', 'superchat']],
    ...['', ' ', ',', ' , ,\t'].map((value): [string, string[]] => [value, []]),
    ['chat, chat', ['chat', 'chat']], // whether that is allowed is not the grammar's business
    ['Chat, chat', ['Chat', 'chat']],
    ['__proto__, constructor, toString', ['__proto__', 'constructor', 'toString']]
  ]
  for (const [value, tokens] of lists) t.strictSame(parseTokenList(value), tokens, JSON.stringify(value))
})

test('a list with anything but tokens, or with nothing, is no token list', async t => {
  for (const value of ['chat superchat', 'chat; superchat', '"chat"', 'chat, "', 'chat, a/b', 'ch\u00e4t', '\u00a0chat']) {
    t.equal(parseTokenList(value), null, JSON.stringify(value))
  }
})

test('extensions are read with their parameters, in their order', async t => {
  const values: Array<[value: string, extensions: Extension[]]> = [
    // the examples of RFC 6455 §9.1
    ['foo', [{ name: 'foo', parameters: [] }]],
    ['bar; baz=2', [{ name: 'bar', parameters: [['baz', '2']] }]],
    ['foo, bar; baz=2', [{ name: 'foo', parameters: [] }, { name: 'bar', parameters: [['baz', '2']] }]],
    ['deflate-stream', [{ name: 'deflate-stream', parameters: [] }]],
    ['mux; max-channels=4; flow-control, deflate-stream', [
      { name: 'mux', parameters: [['max-channels', '4'], ['flow-control', true]] },
      { name: 'deflate-stream', parameters: [] }
    ]],
    ['private-extension', [{ name: 'private-extension', parameters: [] }]],
    // what browsers offer, and one offer after the other, as RFC 7692 §5.1 has it
    ['permessage-deflate; client_max_window_bits', [{ name: 'permessage-deflate', parameters: [['client_max_window_bits', true]] }]],
    ['permessage-deflate; server_max_window_bits=10, permessage-deflate', [
      { name: 'permessage-deflate', parameters: [['server_max_window_bits', '10']] },
      { name: 'permessage-deflate', parameters: [] }
    ]],
    // a parameter twice: every extension has its own rules on that
    ['a; b=1; b=2; b', [{ name: 'a', parameters: [['b', '1'], ['b', '2'], ['b', true]] }]],
    // white space may stand between any two of them (RFC 2616 §2.1, which §9.1 builds upon), or nowhere
    ['a;b=1;c,d', [{ name: 'a', parameters: [['b', '1'], ['c', true]] }, { name: 'd', parameters: [] }]],
    [' \ta\t ; \tb = 1 ;c ,\td ', [{ name: 'a', parameters: [['b', '1'], ['c', true]] }, { name: 'd', parameters: [] }]],
    // empty elements are skipped
    [',, a,\t, ,b ,', [{ name: 'a', parameters: [] }, { name: 'b', parameters: [] }]],
    ['', []],
    [' , ,\t', []],
    // names are data
    ['__proto__; constructor=toString; __proto__', [{ name: '__proto__', parameters: [['constructor', 'toString'], ['__proto__', true]] }]]
  ]
  for (const [value, extensions] of values) t.strictSame(parseExtensions(value), extensions, JSON.stringify(value))
})

test('a quoted parameter value is read without its quotes and escapes', async t => {
  for (const value of ['a; b="10"', 'a; b="\\10"', 'a; b="\\1\\0"', 'a;b="10"', 'a; b = "10" ', ',a; b="10",']) {
    t.strictSame(parseExtensions(value), [{ name: 'a', parameters: [['b', '10']] }], value)
  }
  t.strictSame(parseExtensions('a; b="1"; c="2", d'), [
    { name: 'a', parameters: [['b', '1'], ['c', '2']] },
    { name: 'd', parameters: [] }
  ], 'and the list goes on behind it')
})

test('a quoted parameter value that is no token once unescaped is refused', async t => {
  for (const value of ['a; b=""', 'a; b=" "', 'a; b="1 0"', 'a; b="1,0"', 'a; b="1;0"', 'a; b="\\""', 'a; b="\\\\"', 'a; b="\u00e4"']) {
    t.equal(parseExtensions(value), null, value)
  }
})

test('a quoted parameter value without its closing quote is refused', async t => {
  for (const value of ['a; b="', 'a; b="10', 'a; b="10\\', 'a; b="10\\"', 'a; b=10"', 'a; b="10, c']) {
    t.equal(parseExtensions(value), null, value)
  }
})

test('extensions that break the grammar are refused', async t => {
  const values = [
    ';', '=', '"a"', '/', 'a/b', 'a b', 'a "b"', 'a=b', '\u00e4',
    'a;', 'a; ', 'a;,b', 'a;;b', 'a; ;b', 'a; =1', 'a; "b"', 'a; b c', 'a; b/c', 'a; b="1"c', 'a; b="1" c',
    'a; b=', 'a; b= ', 'a; b=,c', 'a; b=;c', 'a; b==1', 'a; b=1=2', 'a; b=1 2', 'a; b=/',
    'a, b;', 'a, ;b', 'a, =b'
  ]
  for (const value of values) t.equal(parseExtensions(value), null, JSON.stringify(value))
})

test('every short value of extensions is read as a regular expression of the grammar reads it', async t => {
  const tokenCharacter = String.raw`[!#$%&'*+\-.^_\x60|~0-9A-Za-z]`
  const token = `${tokenCharacter}+`
  const quoted = String.raw`"(?:\\?${tokenCharacter})+"`
  const extension = String.raw`${token}(?:\s*;\s*${token}(?:\s*=\s*(?:${token}|${quoted}))?)*`
  // an empty list too
  const grammar = new RegExp(String.raw`^[\s,]*(?:${extension}(?:\s*,(?:\s*${extension})?)*)?\s*$`)
  // none of what is dropped here can be a part of a token
  const normal = (value: string) => value.replace(/[\s"\\]/g, '').split(',').filter(Boolean)
    .map(element => element.split(';').join('; ')).join(', ')

  const disagreements: string[] = []
  let accepted = 0
  let refused = 0
  const visit = (value: string, depth: number) => {
    const expected = grammar.test(value) ? normal(value) : null
    const parsed = parseExtensions(value)
    if ((parsed === null ? null : formatExtensions(parsed)) !== expected) disagreements.push(value)
    if (expected === null) refused++
    else accepted++
    if (depth === 0) return
    for (const character of 'a,;="\\ ') visit(value + character, depth - 1)
  }
  for (const start of ['', 'a;', 'a;a=', 'a;a="', 'a;a="a"']) visit(start, 5)
  t.strictSame(disagreements, [])
  t.strictSame({ accepted, refused }, { accepted: 1152, refused: 96888 }, 'of all values, by the regular expression')
})

test('extensions are written in the form that RFC 6455 §9.1 shows', async t => {
  t.equal(formatExtensions([]), '')
  t.equal(formatExtensions([{ name: 'permessage-deflate', parameters: [] }]), 'permessage-deflate')
  t.equal(formatExtensions([
    { name: 'mux', parameters: [['max-channels', '4'], ['flow-control', true]] },
    { name: 'deflate-stream', parameters: [] }
  ]), 'mux; max-channels=4; flow-control, deflate-stream')
})

test('extensions that were written are read back as they were', async t => {
  const next = random(6455)
  const token = () => Array.from({ length: integer(next, 1, 5) }, () => TOKEN_CHARACTERS[integer(next, 0, 76)]).join('')
  for (let round = 0; round < 200; round++) {
    const extensions: Extension[] = Array.from({ length: integer(next, 1, 4) }, () => ({
      name: token(),
      parameters: Array.from({ length: integer(next, 0, 3) }, () => [token(), next() < 0.3 ? true : token()] as const)
    }))
    const value = formatExtensions(extensions)
    t.strictSame(parseExtensions(value), extensions, value)
  }
})

test('a header field of 100 KiB is read in one pass', async t => {
  for (const character of [',', ';', ' ', '\t', '\\', '"', '=']) {
    const value = character.repeat(KIB_100)
    const title = `100 KiB of ${JSON.stringify(character)}`
    t.equal(isToken(value), false, title)
    t.equal(listHasToken(value, 'upgrade'), false, title)
    const isEmptyList = [',', ' ', '\t'].includes(character)
    t.strictSame(parseTokenList(value), isEmptyList ? [] : null, title)
    t.strictSame(parseExtensions(value), isEmptyList ? [] : null, title)
    t.equal(parseExtensions(`a; b="${value}`), null, `${title} after a quote`)
    t.equal(parseExtensions(`a; b=${value}`), null, `${title} after an equals sign`)
  }
  const spaces = ' '.repeat(KIB_100)
  t.equal(listHasToken(`a${spaces}b,${spaces}upgrade${spaces}`, 'upgrade'), true)
  t.equal(parseTokenList(`a${spaces}b`), null)
  t.strictSame(parseTokenList(`${spaces}a${spaces},${spaces}b${spaces}`), ['a', 'b'])
  t.strictSame(parseExtensions(`${spaces}a${spaces};${spaces}b${spaces}=${spaces}1${spaces}`), [{ name: 'a', parameters: [['b', '1']] }])
  t.equal(parseTokenList('a,'.repeat(KIB_100 / 2))?.length, KIB_100 / 2)
  t.equal(parseExtensions('a,'.repeat(KIB_100 / 2))?.length, KIB_100 / 2)
  t.equal(parseExtensions('a' + ';b'.repeat(KIB_100 / 2))?.[0]?.parameters.length, KIB_100 / 2)
  t.equal(parseExtensions('a;'.repeat(KIB_100 / 2)), null)
  t.strictSame(parseExtensions(`a; b="${'\\1'.repeat(KIB_100 / 2)}"`), [{ name: 'a', parameters: [['b', '1'.repeat(KIB_100 / 2)]] }])
})
