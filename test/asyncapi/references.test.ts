// Where a reference leads, and in whose terms what stands there is to be read.
import { test } from 'tap'
import { enter, follow, idOf, isSchema, lastSegment, outermost, type Place, type Schema } from '../../lib/asyncapi/references.ts'

const NOTHING = (): undefined => undefined
const lead = (reference: string, place: Place): unknown => follow(reference, place)?.schema

test('a schema is an object: not a list, not true, and no null', t => {
  t.strictSame([{}, [], null, true, 'x'].map(isSchema), [true, false, false, false, false])
  t.end()
})

test('its $id is a URI without an empty fragment; an anchor of draft-07 is none', t => {
  t.strictSame([{ $id: 'a#' }, { $id: 'a#b' }, { $id: '#b' }, { $id: 5 }, {}].map(idOf), ['a', 'a#b', undefined, undefined, undefined])
  t.end()
})

test('what distinguishes a URI is its last part that is not empty', t => {
  t.strictSame(['https://a.example/b/c.json#', 'urn:x:y', '#/$defs/Node', '', '/'].map(lastSegment), ['c.json', 'y', 'Node', undefined, undefined])
  t.end()
})

test('# is the schema itself, called by its $id, or else its title', t => {
  for (const [schema, name] of [[{ $id: 'Tree#', title: 'A tree' }, 'Tree'], [{ title: 'A tree' }, 'A tree'], [{ title: 5 }, '']] as const) {
    const place = outermost(schema, NOTHING)
    t.strictSame(follow('#', place), { schema, place, name })
  }
  t.end()
})

test('a pointer leads into it, with escapes of JSON Pointer within those of a URI, and only to what it has itself', t => {
  const root = { $defs: { 'a/b': 1, 'c~d e': [{ x: 2 }], '%': 3, '': 4 } }
  const place = outermost(root, NOTHING)
  t.strictSame(['#/$defs/a~1b', '#/$defs/c~0d%20e/0/x', '#/$defs/%', '#/$defs/'].map(reference => lead(reference, place)), [1, 2, 3, 4])
  t.equal(follow('#/$defs/a~1b', place)?.name, 'a/b')
  t.strictSame(['#/$defs/none', '#/$defs/a~1b/x', '#/toString', '#/$defs/c~0d%20e/1'].map(reference => follow(reference, place)), [null, null, null, null])
  t.end()
})

test('an anchor leads to what bears it, of both kinds', t => {
  const [anchored, old] = [{ $anchor: 'a', type: 'null' }, { $id: '#b', type: 'string' }]
  const place = outermost({ anyOf: [{ items: anchored }], definitions: { old } }, NOTHING)
  t.strictSame([lead('#a', place), lead('#b', place), lead('#c', place)], [anchored, old, undefined])
  t.equal(follow('#a', place)?.name, 'a')
  t.end()
})

test('a URI leads to a nested schema with that $id, as it stands or resolved against the nearest, else to one that is shared', t => {
  const inner = { $id: 'https://a.example/inner.json', $defs: { x: { type: 'null' } } }
  const root = { $id: 'https://a.example/root.json', properties: { inner } }
  const shared: Record<string, unknown> = { Said: { $id: 'Said', $defs: { y: 1 } }, 'https://a.example/far.json': { $id: 'https://a.example/far.json' }, list: [] }
  const findShared = (id: string): unknown => shared[id]
  const place = outermost(root, findShared)
  for (const reference of ['https://a.example/inner.json', 'inner.json', 'inner.json#']) {
    t.strictSame(follow(reference, place), { schema: inner, place: { resource: inner, root, findShared }, name: 'https://a.example/inner.json' }, reference)
  }
  t.equal(lead('inner.json#/$defs/x', place), inner.$defs.x)
  t.strictSame(follow('Said', place), { schema: shared.Said, place: outermost(shared.Said, findShared), name: 'Said' })
  t.equal(lead('Said#/$defs/y', place), 1)
  t.equal(lead('far.json', place), shared['https://a.example/far.json'])
  t.strictSame([lead('none.json', place), lead('list', place), lead('far.json', outermost({}, findShared))], [undefined, undefined, undefined])
  t.end()
})

test('a local reference is one of the nearest schema with an $id, on the way in and at the end of a pointer', t => {
  const inner: Schema = { $id: 'inner', properties: { x: { $ref: '#/$defs/y' } }, $defs: { y: 'of the inner' } }
  const root = { properties: { inner, plain: {} }, $defs: { y: 'of the outer' } }
  const place = outermost(root, NOTHING)
  t.equal(enter(root.properties.plain, place), place)
  t.equal(lead('#/$defs/y', place), 'of the outer')
  t.equal(lead('#/$defs/y', enter(inner, place)), 'of the inner')
  const { place: there } = follow('#/properties/inner/properties/x', place)!
  t.equal(lead('#/$defs/y', there), 'of the inner')
  t.equal(there.root, root)
  t.end()
})

test('what is no schema has nothing in it', t => {
  t.strictSame(outermost(true, NOTHING).root, {})
  t.equal(follow('#/x', outermost([1], NOTHING)), null)
  t.end()
})
