// Which unions are told apart by one property, and what is compiled for each member.
import { test } from 'tap'
import { Type } from 'typebox'
import { findTaggedUnion, unionMembers } from '../../lib/messages/tagged-union.ts'

const member = (type: unknown, more: object = {}) => ({ type: 'object', properties: { type: { const: type }, ...more }, required: ['type'] })
const A = member('a')
const B = member('b', { text: { type: 'string' } })
const unknown = (): undefined => undefined
const entries = (schema: unknown, resolve: (reference: string) => unknown = unknown): unknown => {
  const union = findTaggedUnion(schema, resolve)
  return union === null ? null : [union.property, ...union.members]
}

test('members that demand a property, each with a value of its own, are compiled one by one as they are', async t => {
  for (const keyword of ['anyOf', 'oneOf']) t.strictSame(entries({ [keyword]: [A, B] }), ['type', ['a', A], ['b', B]], keyword)
  const [one, two] = [member(1), { type: 'object', properties: { type: { enum: [2] } }, required: ['type'] }]
  t.strictSame(entries({ anyOf: [one, two], $id: 'x', title: 'x', description: 'x' }), ['type', [1, one], [2, two]])
  t.strictSame(entries({ anyOf: [member('1'), member(1)] }), ['type', ['1', member('1')], [1, member(1)]])
  const [Say, Typing] = [Type.Object({ kind: Type.Literal('say') }), Type.Object({ kind: Type.Literal('typing') })]
  t.strictSame(entries(Type.Union([Say, Typing])), ['kind', ['say', Say], ['typing', Typing]])
})

test('the property is the first that tells all of them apart', async t => {
  const versioned = (v: number, type: string) => ({ properties: { v: { const: v }, type: { const: type } }, required: ['v', 'type'] })
  t.equal(findTaggedUnion({ anyOf: [versioned(1, 'a'), versioned(1, 'b')] }, unknown)!.property, 'type')
  t.equal(findTaggedUnion({ anyOf: [versioned(1, 'a'), versioned(2, 'a')] }, unknown)!.property, 'v')
  t.equal(findTaggedUnion({ anyOf: [versioned(1, 'a'), versioned(1, 'a')] }, unknown), null)
})

test('what is no such union is compiled as a whole', async t => {
  const optional = { ...A, required: [] }
  for (const schema of [
    true, null, undefined, 'x', 5, [], {}, A, { anyOf: [A] }, { anyOf: [] }, { anyOf: [A, A] }, { anyOf: [A, optional] }, { anyOf: [A, true] }, { anyOf: [A, null] },
    { anyOf: [A, B], oneOf: [A, B] }, { anyOf: [A, member({})] }, { anyOf: [A, member(null)] }, { anyOf: [A, member(true)] },
    { anyOf: [A, { properties: { type: { enum: ['b', 'c'] } }, required: ['type'] }] }, { anyOf: [A, { required: ['type'] }] }, { anyOf: [A, { properties: { type: true }, required: ['type'] }] },
    { anyOf: [{ type: 'string' }, { type: 'number' }] }, { allOf: [A, B] }
  ]) t.equal(findTaggedUnion(schema, unknown), null, JSON.stringify(schema))
})

test('a member may be named by a $ref, which is what is compiled', async t => {
  const schemas: Record<string, unknown> = { 'A#': A, B }
  t.strictSame(entries({ anyOf: [{ $ref: 'A#' }, { $ref: 'B' }] }, reference => schemas[reference]), ['type', ['a', { $ref: 'A#' }], ['b', { $ref: 'B' }]])
  t.equal(entries({ anyOf: [{ $ref: 'A#' }, { $ref: 'C#' }] }, reference => schemas[reference]), null)
})

test('what else the root says is said with each member, so that references into it are found', async t => {
  const $defs = { a: A, 'b/~': B }
  const schema = { $id: 'x', $defs, anyOf: [{ $ref: '#/$defs/a' }, { $ref: '#/$defs/b~1~0' }] }
  t.strictSame(entries(schema), ['type', ['a', { $defs, allOf: [{ $ref: '#/$defs/a' }] }], ['b', { $defs, allOf: [{ $ref: '#/$defs/b~1~0' }] }]])
  t.strictSame(entries({ oneOf: [A, B], allOf: [true], minProperties: 1 }), ['type', ['a', { minProperties: 1, allOf: [true, A] }], ['b', { minProperties: 1, allOf: [true, B] }]])
  for (const $ref of ['#/$defs/none', '#/$defs/a/none/none', '#/none/none']) t.equal(entries({ $defs, anyOf: [A, { $ref }] }), null, $ref)
})

test('the members of a union are those of anyOf or oneOf, where there are two or more', async t => {
  t.strictSame(unionMembers({ oneOf: [A, B] }), [A, B])
  for (const schema of [null, true, {}, { anyOf: [A] }, { anyOf: {} }, { anyOf: [A, B], oneOf: [A, B] }]) t.equal(unionMembers(schema), null)
})
