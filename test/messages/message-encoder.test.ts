// value -> text; bytes and what was prepared go out as they are.
import { test } from 'tap'
import { SchemaError } from '../../lib/errors.ts'
import { createUnionSerialize, isBytes, MessageEncoder } from '../../lib/messages/message-encoder.ts'
import type { SendOptions } from '../../types/connection.ts'

const json = new MessageEncoder(value => JSON.stringify(value))

test('a value is serialized, a string and a list of buffers too', async t => {
  t.equal(json.encode({ a: 1 }), '{"a":1}')
  t.equal(json.encode('text'), '"text"')
  t.equal(json.encode(5), '5')
  t.equal(json.encode(null), 'null')
  t.equal(json.encode([1]), '[1]')
  t.equal(json.encode({ a: 1 }, { compress: false }), '{"a":1}')
  t.match(json.encode([Buffer.from('x')]), /"Buffer"/)
})

test('bytes are what they are', async t => {
  for (const bytes of [Buffer.from('x'), new Uint8Array(2), new Float64Array(1), new DataView(new ArrayBuffer(1)), new ArrayBuffer(1), new SharedArrayBuffer(1), new Blob(['x'])]) {
    t.ok(isBytes(bytes))
    t.equal(json.encode(bytes), bytes)
  }
  for (const value of [null, undefined, 'x', 5, {}, [], new Map(), Object.create(null)]) t.notOk(isBytes(value))
})

test('a serializer may give bytes, and nothing but text or bytes', async t => {
  const bytes = Buffer.from('x')
  t.equal(new MessageEncoder(() => bytes).encode({}), bytes)
  for (const [given, name] of [[undefined, 'undefined'], [null, 'null'], [{}, 'object'], [Promise.resolve('x'), 'object'], [5, 'number']]) {
    t.throws(() => new MessageEncoder(() => given).encode({}), { code: 'FST_WS_SERIALIZATION', message: new RegExp(`its serializer gave ${String(name)}$`) })
  }
})

test('what a serializer throws is the cause', async t => {
  const cause = new TypeError('"a" is required!')
  t.throws(() => new MessageEncoder(() => { throw cause }).encode({}), { name: 'SchemaError', code: 'FST_WS_SERIALIZATION', cause, message: /: "a" is required!$/ })
  // eslint-disable-next-line no-throw-literal
  t.throws(() => new MessageEncoder(() => { throw 'oops' }).encode({}), { cause: 'oops', message: /: oops$/ })
})

test('a value is neither binary nor a fragment', async t => {
  for (const options of [{ binary: true }, { binary: false }, { fin: false }, { fin: true }]) {
    t.throws(() => json.encode({}, options), { code: 'FST_WS_TYPED' })
    t.throws(() => json.encode(Buffer.from('x'), options), SchemaError)
  }
  t.equal(json.encode({}, { binary: undefined, fin: undefined }), '{}')
  t.equal(json.encode({}, null as unknown as SendOptions), '{}')
})

test('of a union the serializer of the member that has the tag is asked', async t => {
  const serialize = createUnionSerialize('type', new Map<string | number, () => string>([['a', () => 'A'], [1, () => 'one']]))
  t.equal(serialize({ type: 'a' }), 'A')
  t.equal(serialize({ type: 1 }), 'one')
  const encoder = new MessageEncoder(serialize)
  for (const value of [{ type: '1' }, {}, null, undefined, 5, { type: 5n }, { type: 'x'.repeat(1e6) }]) t.throws(() => encoder.encode(value), { code: 'FST_WS_SERIALIZATION' })
  t.throws(() => encoder.encode({ type: 'b' }), { message: /: no member of the union has "b" for type$/ })
})
