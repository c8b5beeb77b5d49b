// Validators of any library are asked as Fastify asks them about a body.
import { createRequire } from 'node:module'
import { test } from 'tap'
import { SchemaError } from '../../lib/errors.ts'
import { createValidate, Invalid, isAjvs, type CompiledValidator } from '../../lib/messages/validation.ts'

type AjvClass = new (options?: object) => { compile (schema: unknown): CompiledValidator }
// the one that Fastify uses
const Ajv = createRequire(createRequire(import.meta.url).resolve('@fastify/ajv-compiler'))('ajv').default as AjvClass
const ISSUE = { keyword: 'type', instancePath: '/a', schemaPath: '', message: 'must be string', params: {} }

test('a value that is valid is given back, with what Ajv has made of it', async t => {
  const ajv = new Ajv({ coerceTypes: 'array', useDefaults: true, removeAdditional: true })
  const schema = { type: 'object', properties: { a: { type: 'string', default: 'x' }, b: { type: 'integer' } }, additionalProperties: false }
  const validate = createValidate(ajv.compile(schema))
  const value = { b: '5', c: 1 }
  t.equal(validate(value), value)
  t.strictSame(value, { b: 5, a: 'x' })
})

test('Ajv may make another value of a whole message', async t => {
  const ajv = new Ajv({ coerceTypes: 'array' })
  t.equal(createValidate(ajv.compile({ type: 'integer' }))('5'), 5)
  t.strictSame(createValidate(ajv.compile({ type: 'array' }))('a'), ['a'])
  t.equal(createValidate(ajv.compile({ type: 'string' }))(null), '')
  t.equal(createValidate(new Ajv().compile({ type: 'integer' }))('5') instanceof Invalid, true)
})

test('a validator of Ajv is known, also one from a file, and others are given the value alone', async t => {
  t.ok(isAjvs(new Ajv().compile({})))
  function validate10 (_value: unknown, { parentData, parentDataProperty }: any = {}) {
    parentData[parentDataProperty] = 'coerced'
    return true
  }
  t.equal(createValidate(validate10)('x'), 'coerced')
  const given: unknown[] = []
  createValidate((...values: unknown[]) => { given.push(...values) })('x')
  t.strictSame(given, ['x'])
})

test('what is valid may be said in each of the ways that Fastify knows', async t => {
  for (const [result, expected] of [[true, 'given'], [undefined, 'given'], [null, 'given'], [{}, 'given'], [{ error: undefined, value: 'other' }, 'other'], [{ error: null }, 'given'],
    [{ value: 0 }, 0], [{ value: '' }, ''], [{ value: false }, false], [{ value: undefined }, undefined]]) {
    t.equal(createValidate(() => result)('given'), expected, JSON.stringify(result))
  }
})

test('what is invalid may be too', async t => {
  const refusals: Array<[CompiledValidator, object]> = [
    [Object.assign(() => false, { errors: [ISSUE] }), { message: 'message/a must be string', issues: [ISSUE] }],
    [() => false, { message: '', issues: [] }],
    [() => ({ error: [ISSUE] }), { message: 'message/a must be string', issues: [ISSUE] }],
    [() => ({ error: new TypeError('"a" must be a string') }), { message: 'message is invalid: "a" must be a string', issues: [] }],
    [() => ({ error: { message: 'wrong' } }), { message: 'message is invalid: wrong', issues: [] }],
    [() => ({ error: 'wrong' }), { message: 'message is invalid: wrong', issues: [] }]
  ]
  for (const [validator, expected] of refusals) {
    const outcome = createValidate(validator)({})
    t.ok(outcome instanceof Invalid)
    t.match(outcome, expected)
  }
})

test('an error of another library is the cause where a log line can take it', async t => {
  const short = Object.assign(new Error('wrong'), { stack: 'Error: wrong' })
  const refuse = (error: Error): Invalid => createValidate(() => ({ error }))({}) as Invalid
  t.equal(refuse(short).cause, short)
  const long = refuse(new Error('x'.repeat(1e6)))
  t.equal(long.cause, undefined)
  t.ok(long.message.length < 150)
})

test('a value that is nested too deeply for a validator is invalid', async t => {
  const validate = createValidate(new Ajv().compile({ $id: 'tree', type: 'array', items: { $ref: 'tree' } }))
  const outcome = validate(JSON.parse('['.repeat(50_000) + ']'.repeat(50_000))) as Invalid
  t.ok(outcome instanceof Invalid)
  t.match(outcome, { message: /^message cannot be validated: Maximum call stack/, issues: [], cause: { name: 'RangeError', stack: /^[^\n]*$/ } })
  t.strictSame(validate([[]]), [[]])
})

test('whatever else a validator throws is no word on the value', async t => {
  for (const thrown of [new TypeError('oops'), 'oops', null]) {
    try {
      createValidate(() => { throw thrown })({})
      t.fail()
    } catch (error) {
      t.equal(error, thrown)
    }
  }
})

test('a validator that returns a promise is refused, and what that rejects with ends there', async t => {
  for (const promise of [Promise.resolve(true), Promise.reject(new Error('x'))]) {
    t.throws(() => createValidate(() => promise)({}), { name: 'SchemaError', code: 'FST_WS_ASYNC_VALIDATOR' })
    t.throws(() => createValidate(() => promise)({}), SchemaError)
  }
})
