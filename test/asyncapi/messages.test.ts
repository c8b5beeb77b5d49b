// What the schema of one direction says may be said.
import { test } from 'tap'
import { Components } from '../../lib/asyncapi/components.ts'
import { toMessages, type Direction, type DocumentedMessage } from '../../lib/asyncapi/messages.ts'

function messagesOf (schema: unknown, shared: Record<string, unknown> = {}, direction: Direction = 'receive'): DocumentedMessage[] {
  return toMessages(schema, direction, id => shared[id], new Components({}, reference => new Error(`nothing is ${reference}`)))
}

const tagged = (tag: unknown, more: object = {}): object => ({ type: 'object', properties: { type: { const: tag } }, required: ['type'], ...more })

test('one that is no union is one message, called by its $id, its tag, its title, or the direction', t => {
  for (const [schema, base] of [
    [{ $id: 'https://a.example/Said.json', ...tagged('say'), title: 'A text' }, 'Said.json'],
    [{ ...tagged('say'), title: 'A text' }, 'say'],
    [{ title: 'A text', properties: { type: { const: 5 } } }, 'A text'],
    [{ title: 5, properties: 5 }, 'receive'],
    [{ anyOf: [tagged('say')] }, 'receive']
  ] as const) {
    t.strictSame(messagesOf(schema).map(({ base }) => base), [base])
  }
  t.strictSame(messagesOf({ type: 'string' }, {}, 'send'), [{ base: 'send', payload: { type: 'string' } }])
  t.end()
})

test('true and false may be said, too', t => {
  t.strictSame(messagesOf(true, {}, 'send'), [{ base: 'send', payload: {} }])
  t.strictSame(messagesOf(false), [{ base: 'receive', payload: { not: {} } }])
  t.end()
})

test('each member of a union is a message, called by its $id or its tag, whatever property that is', t => {
  const schema = { oneOf: [{ $id: 'Say', ...tagged('say') }, tagged('sit')] }
  t.strictSame(messagesOf(schema).map(({ base }) => base), ['Say', 'sit'])
  const numbers = { anyOf: [1, 2].map(v => ({ type: 'object', properties: { v: { const: v } }, required: ['v'] })) }
  t.strictSame(messagesOf(numbers).map(({ base }) => base), ['1', '2'])
  t.end()
})

test('without a tag it is called by its title or its place', t => {
  const messages = messagesOf({ anyOf: [{ type: 'null' }, { title: 'A text', type: 'string' }, true] }, {}, 'send')
  t.strictSame(messages.map(({ base, payload }) => [base, payload]), [['send-1', { type: 'null' }], ['A text', { title: 'A text', type: 'string' }], ['send-3', {}]])
  t.end()
})

test('what the union demands of all is demanded of each', t => {
  const schema = { required: ['id'], anyOf: [tagged('say'), tagged('sit')] }
  t.strictSame(messagesOf(schema).map(({ payload }) => payload), [tagged('say'), tagged('sit')].map(member => ({ required: ['id'], allOf: [member] })))
  t.end()
})

test('a reference is called as it refers, and told what its target and it say; it comes first', t => {
  const Said = { $id: 'Said', title: 'Somebody spoke', description: 'To all.', type: 'string' }
  const schema = { anyOf: [{ $ref: 'Said#' }, { $ref: '#/$defs/sat', description: 'At last.' }, { $ref: 'Said', title: 'Again' }], $defs: { sat: { title: 'Somebody sat', description: '?', type: 'null' } } }
  t.strictSame(messagesOf(schema, { Said }).map(({ base, title, description }) => [base, title, description]), [
    ['Said', 'Somebody spoke', 'To all.'], ['sat', 'Somebody sat', 'At last.'], ['Said', 'Again', 'To all.']
  ])
  t.strictSame(messagesOf({ $ref: 'Said' }, { Said }).map(({ base, title }) => [base, title]), [['Said', 'Somebody spoke']])
  t.end()
})

test('members are told apart through references, too', t => {
  const schema = { oneOf: [{ $ref: '#/$defs/1' }, tagged('sit')], $defs: { 1: tagged('say') } }
  t.strictSame(messagesOf(schema).map(({ base }) => base), ['1', 'sit'])
  t.end()
})

test('title and description are told only if they are text', t => {
  t.strictSame(messagesOf({ title: 1, description: {} }), [{ base: 'receive', payload: { title: 1, description: {} } }])
  t.strictSame(messagesOf({ title: 'T', description: 'D' }).map(({ title, description }) => [title, description]), [['T', 'D']])
  t.end()
})
