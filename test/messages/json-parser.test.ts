// JSON.parse() alone where nothing can be hidden from it, and the app's own parser for what might be.
import Fastify from 'fastify'
import { test } from 'tap'
import { createJsonParser } from '../../lib/messages/json-parser.ts'
import { integer, random } from '../helpers/random.ts'

/** A parser, and the texts that it has asked the strict one about. */
function setUp () {
  const asked: string[] = []
  const parse = createJsonParser(text => {
    asked.push(text)
    return 'strict'
  })
  return { parse, asked }
}

test('a text in which no key can be poisonous is parsed at once', async t => {
  const { parse, asked } = setUp()
  for (const text of ['{"a":[1,"b",null]}', '"proto"', ' 5 ', '{"prototype":1}', '"\\n\\t\\"\\\\"', '{"a":"\uFEFF"}']) t.strictSame(parse(text), JSON.parse(text))
  t.strictSame(asked, [])
  for (const text of ['', '{', 'nope', '[1,]']) t.throws(() => parse(text), SyntaxError)
})

test('a text that may hide a poisonous key, or begins with a byte order mark, goes to the strict parser', async t => {
  const { parse, asked } = setUp()
  const texts = ['{"__proto__":1}', '{"constructor":{"prototype":1}}', '{"\\u005f_proto__":1}', '{"const\\u0072uctor":1}', '\uFEFF{}', '"__proto__"']
  t.strictSame(texts.map(parse), texts.map(() => 'strict'))
  t.strictSame(asked, texts)
})

test('whatever the text, the outcome is that of Fastify\'s parser for bodies', async t => {
  const app = Fastify()
  const body = app.getDefaultJsonParser('error', 'error') as (request: unknown, text: string, done: (error: Error | null, value?: unknown) => void) => void
  const strict = (text: string): unknown => {
    let outcome: unknown
    body(null, text, (error, value) => {
      if (error !== null) throw error
      outcome = value
    })
    return outcome
  }
  const parse = createJsonParser(strict)
  const outcome = (parser: (text: string) => unknown, text: string): unknown => {
    try { return { value: parser(text) } } catch { return 'no JSON' }
  }
  const PIECES = ['{', '}', '[', ']', ',', ':', '"a"', '"__proto__"', '"\\u005f_proto__"', '"constructor"', '"prototype"', '1', '-0', 'null', ' ', '\uFEFF', '\\u0000', '"']
  const next = random(19)
  for (let i = 0; i < 3000; i++) {
    const text = Array.from({ length: integer(next, 0, 9) }, () => PIECES[integer(next, 0, PIECES.length - 1)]).join('')
    if (!t.strictSame(outcome(parse, text), outcome(strict, text), JSON.stringify(text))) break
  }
  t.strictSame(outcome(parse, '{"__proto__":{"a":1}}'), 'no JSON')
})
