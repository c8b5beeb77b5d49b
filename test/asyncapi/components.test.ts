// Whatever the references of a schema name is a component of the document, and nothing else is.
import { test } from 'tap'
import { Components } from '../../lib/asyncapi/components.ts'
import type { Schema } from '../../lib/asyncapi/references.ts'

const unknown = (reference: string): Error => new Error(`nothing is ${reference}`)

/** Adds schemas that stand alone. */
function documentOf (schemas: readonly unknown[], shared: Record<string, unknown> = {}, own: Record<string, unknown> = {}): { added: unknown[], components: Record<string, unknown> } {
  const components = new Components(own, unknown)
  const findShared = (id: string): unknown => shared[id]
  const added = schemas.map(schema => components.add(schema, { resource: schema as Schema, root: schema as Schema, findShared }))
  return { components: components.finish(), added }
}

const ref = (name: string): object => ({ $ref: `#/components/schemas/${name}` })

test('a schema without references stays as it is, and is no component', async t => {
  const schema = { type: 'object', properties: { $id: { type: 'string' }, definitions: true }, required: ['a'], additionalProperties: false, default: { $ref: 5 } }
  t.strictSame(documentOf([schema]), { added: [schema], components: {} })
})

test('true and false are schemas, but what AsyncAPI takes for a message is an object', async t => {
  t.strictSame(documentOf([true, false, { items: true, not: false }]).added, [{}, { not: {} }, { items: true, not: false }])
  const { added } = documentOf([{ $ref: '#/$defs/any', $defs: { any: true } }, { properties: { none: { $ref: '#/$defs/none' } }, $defs: { none: false } }])
  t.strictSame(added, [{}, { properties: { none: { not: {} } } }])
})

test('a schema of addSchema() is found by its $id, with and without #, and by a pointer into it', async t => {
  const shared = {
    Said: { $id: 'Said', type: 'object', properties: { by: { $ref: '#/definitions/User' }, text: { type: 'string' } }, definitions: { User: { type: 'object' } } },
    'https://a.example/schemas/room.json': { $id: 'https://a.example/schemas/room.json', properties: { said: { $ref: 'said.json' } } },
    'https://a.example/schemas/said.json': { $id: 'https://a.example/schemas/said.json', type: 'string' }
  }
  const { added, components } = documentOf([
    { $ref: 'Said#' }, { $ref: 'Said' }, { $ref: 'Said#/properties/text' }, { $ref: 'Said#/definitions/User' }, { $ref: 'https://a.example/schemas/room.json' }
  ], shared)
  t.strictSame(added, ['Said', 'Said', 'text', 'User', 'room.json'].map(ref))
  t.strictSame(components, {
    Said: { type: 'object', properties: { by: ref('User'), text: { type: 'string' } } },
    User: { type: 'object' },
    text: { type: 'string' },
    'room.json': { properties: { said: ref('said.json') } },
    'said.json': { type: 'string' }
  })
})

test('local definitions, $ids, anchors and the schema itself are found from wherever they are named', async t => {
  const node = (reference: string, more: object = {}): object => ({ type: 'object', properties: { kids: { type: 'array', items: { $ref: reference } } }, ...more })
  const cases: Array<[schema: Schema, component: string]> = [
    [{ $defs: { 'a/b ~c': node('#/$defs/a~1b%20~0c') }, $ref: '#/$defs/a~1b%20~0c' }, 'b_c'],
    [node('#', { $id: 'Tree#' }) as Schema, 'Tree'],
    [{ $defs: { Node: node('Node', { $id: 'Node' }) }, $ref: 'Node' }, 'Node'],
    [{ $ref: '#tree', $defs: { x: node('#tree', { $anchor: 'tree' }) } }, 'tree'],
    [{ $ref: '#old', definitions: { x: node('#old', { $id: '#old' }) } }, 'old'],
    [{ $ref: '#/$defs/outer/properties/tree', $defs: { outer: { $id: 'Outer', properties: { tree: node('#/properties/tree') } } } }, 'tree']
  ]
  for (const [schema, name] of cases) {
    t.strictSame(documentOf([schema]), { added: [ref(name)], components: { [name]: node(`#/components/schemas/${name}`) } }, JSON.stringify(schema))
  }
  const inner = { $id: 'Inner', properties: { x: { $ref: '#/$defs/y' } }, $defs: { y: { type: 'string' } } }
  t.strictSame(documentOf([{ properties: { inner }, $defs: { y: { type: 'null' } } }]), {
    added: [{ properties: { inner: { properties: { x: ref('y') } } } }], components: { y: { type: 'string' } }
  }, 'from within what has an $id')
  const titled = { title: 'A tree', ...node('#') }
  t.strictSame(documentOf([titled]).components, { A_tree: { title: 'A tree', ...node('#/components/schemas/A_tree') } })
})

test('what stands beside a reference counts as it does to Ajv', async t => {
  const $defs = { a: { type: 'object' } }
  const { added } = documentOf([{ $ref: '#/$defs/a', $defs, required: ['x'] }, { $ref: '#/$defs/a', allOf: [{ required: ['y'] }], $defs }, { allOf: [{ $ref: '#/$defs/a' }], $defs }])
  t.strictSame(added, [{ required: ['x'], allOf: [ref('a')] }, { allOf: [ref('a'), { required: ['y'] }] }, ref('a')])
})

test('schemas are looked for wherever JSON Schema has them, and nowhere else', async t => {
  const $defs = { a: { type: 'null' } }
  const inside = { $ref: '#/$defs/a' }
  const schema = {
    items: inside,
    prefixItems: [inside],
    additionalItems: inside,
    contains: inside,
    propertyNames: inside,
    if: inside,
    then: inside,
    else: inside,
    not: inside,
    oneOf: [inside],
    patternProperties: { a: inside },
    dependencies: { a: ['b'], c: inside },
    dependentSchemas: { a: inside },
    unevaluatedProperties: inside,
    unevaluatedItems: inside,
    contentSchema: inside
  }
  const { added: [converted] } = documentOf([{ ...schema, $defs }, { $defs }])
  t.strictSame(JSON.stringify(converted).replaceAll('#/components/schemas/a', '#/$defs/a'), JSON.stringify(schema))
  const data = { const: { $ref: 'x' }, enum: [{ $ref: 'x' }], default: { items: { $ref: 'x' } }, examples: [{ $ref: 'x' }] }
  t.strictSame(documentOf([data]).added, [data])
  t.strictSame(documentOf([{ items: [{ $ref: '#/$defs/a' }], $defs }]).added, [{ items: [ref('a')] }])
})

test('nullable, which only Ajv knows, is said in words of JSON Schema', async t => {
  t.strictSame(documentOf([{ type: 'string', nullable: true, enum: ['a'] }, { type: ['string', 'null'], nullable: true }, { nullable: true }, { type: 'string', nullable: false }]).added,
    [{ type: ['string', 'null'], enum: ['a', null] }, { type: ['string', 'null'] }, {}, { type: 'string' }])
})

test('two that are the same under one name are one component, two that are not have two names', async t => {
  const tree = (type: string): object => ({
    $ref: '#/$defs/Node', $defs: { Node: { properties: { leaf: { $ref: '#/$defs/Leaf' }, next: { $ref: '#/$defs/Node' } } }, Leaf: { type } }
  })
  const { added, components } = documentOf([tree('string'), tree('number'), tree('string'), tree('number')])
  t.strictSame(added, ['Node', 'Node-2', 'Node', 'Node-2'].map(ref))
  t.strictSame(components, {
    Node: { properties: { leaf: ref('Leaf'), next: ref('Node') } },
    Leaf: { type: 'string' },
    'Node-2': { properties: { leaf: ref('Leaf-2'), next: ref('Node-2') } },
    'Leaf-2': { type: 'number' }
  })
})

test('components of the user keep their names, and may be referred to', async t => {
  const own = { User: { type: 'string' } }
  const { added, components } = documentOf([{ $ref: '#/$defs/User', $defs: { User: { type: 'object' } } }, { $ref: '#/components/schemas/User' }], {}, own)
  t.strictSame(added, [ref('User-2'), ref('User')])
  t.strictSame(components, { 'User-2': { type: 'object' } })
})

test('a reference that names nothing is an error', async t => {
  for (const $ref of ['Missing#', '#/$defs/none', '#none', 'Broken#/a', '#/components/schemas/none', '#/%zz', '#/title/length']) {
    t.throws(() => documentOf([{ items: { $ref }, title: 'x' }], { Broken: 5 }), /^nothing is /, $ref)
  }
})
