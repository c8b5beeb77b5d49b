// message -> JSON -> value, or why there is none.
import { test } from 'tap'
import { MessageError } from '../../lib/errors.ts'
import { createUnionValidate, decodedValue, MessageDecoder, Undecodable } from '../../lib/messages/message-decoder.ts'
import { createValidate, Invalid, type Validate } from '../../lib/messages/validation.ts'

const text = (data: string): { data: Buffer, isBinary: boolean } => ({ data: Buffer.from(data), isBinary: false })
const anything: Validate = value => value

function decode (message: { data: Buffer, isBinary: boolean }, validate = anything, parse: (text: string) => unknown = JSON.parse): unknown {
  const decoded = new MessageDecoder(parse, validate).decode(message)
  return decoded instanceof Undecodable ? decoded.error : decodedValue(decoded)
}

test('the text of a message is parsed and validated', async t => {
  t.strictSame(decode(text('{"a":["\u00e9"]}')), { a: ['\u00e9'] })
  t.equal(decode(text('"5"'), value => Number(value)), 5)
  t.equal(decode(text('0')), 0)
  t.equal(decode(text('false')), false)
})

test('what is not allowed is an error that knows its close code and what came', async t => {
  const wrong = Invalid.of([{ keyword: 'type', instancePath: '', message: 'must be object', params: {} }])
  for (const [message, validate, expected] of [
    [text('nope'), anything, { code: 'FST_WS_JSON', closeCode: 1007, message: /^message is not JSON: Unexpected token/ }],
    [text(''), anything, { code: 'FST_WS_JSON', closeCode: 1007 }],
    [text('5'), () => wrong, { code: 'FST_WS_VALIDATION', closeCode: 1007, message: 'message must be object', validation: [{ keyword: 'type' }] }],
    [text('null'), anything, { code: 'FST_WS_VALIDATION', closeCode: 1007, message: 'message must not be null' }],
    [text('5'), () => undefined, { code: 'FST_WS_VALIDATION', message: 'message must not be null' }],
    [{ data: Buffer.from('{}'), isBinary: true }, anything, { code: 'FST_WS_BINARY', closeCode: 1003 }]
  ] as const) {
    const error = decode(message, validate)
    t.ok(error instanceof MessageError)
    t.match(error, { ...expected, validationContext: 'message' })
    t.equal((error as MessageError).data, message.data)
    t.notMatch((error as Error).stack, /\n/, 'it costs no stack')
  }
})

test('a text that is long and no JSON is not repeated', async t => {
  const error = decode(text('x'.repeat(1e6)), anything, text => { throw new SyntaxError(text) }) as Error
  t.ok(error.message.length < 200)
})

test('null may become a value, and then is one', async t => {
  t.equal(decode(text('null'), value => value ?? 'nothing'), 'nothing')
})

test('what a validator throws is handed on, and a RangeError is the cause of an invalid message', async t => {
  const oops = new TypeError('oops')
  t.equal(decode(text('5'), () => { throw oops }), oops)
  t.match(decode(text('5'), createValidate(() => { throw new RangeError('Maximum call stack size exceeded') })), { code: 'FST_WS_VALIDATION', cause: { name: 'RangeError' } })
})

test('of a union the validator of the member that has the tag is asked, and no other', async t => {
  const asked: string[] = []
  const member = (name: string): Validate => value => {
    asked.push(name)
    return value
  }
  const validate = createUnionValidate('type', new Map<string | number, Validate>([['a', member('a')], [1, member('one')]]))
  t.strictSame(validate({ type: 1 }), { type: 1 })
  t.strictSame(validate({ type: 'a', more: 1 }), { type: 'a', more: 1 })
  t.strictSame(asked, ['one', 'a'])
  for (const value of [{ type: '1' }, { type: 'b' }, {}, { type: null }, { type: ['a'] }]) {
    t.match(validate(value), {
      message: 'message/type must be equal to one of the allowed values',
      issues: [{ keyword: 'discriminator', instancePath: '/type', params: { allowedValues: ['a', 1] } }]
    }, JSON.stringify(value))
  }
  for (const value of [null, 5, 'a', [{ type: 'a' }]]) t.match(validate(value), { message: 'message must be object' }, JSON.stringify(value))
  t.equal(asked.length, 2)
})

test('of many tags the first 16 are told', async t => {
  const validate = createUnionValidate('type', new Map(Array.from({ length: 100 }, (_, tag) => [tag, anything])))
  t.equal(((validate({}) as Invalid).issues[0]!.params.allowedValues as unknown[]).length, 16)
})
