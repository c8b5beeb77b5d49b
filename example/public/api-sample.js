// A JSON Schema of the document -> a value that it is likely to allow, to begin with.
const MAX_DEPTH = 6
const FORMATS = {
  date: '2026-01-31',
  'date-time': '2026-01-31T12:00:00Z',
  email: 'somebody@example.com',
  uri: 'https://example.com/',
  uuid: '00000000-0000-4000-8000-000000000000'
}

/** Gives what a `$ref` of the document leads to. */
export function resolve (value, root) {
  while (typeof value?.$ref === 'string') {
    const tokens = decodeURIComponent(value.$ref).split('/').slice(1)
    value = tokens.reduce((found, token) => found?.[token.replaceAll('~1', '/').replaceAll('~0', '~')], root)
  }
  return value
}

export function sampleOf (given, root, depth = 0) {
  const schema = resolve(given, root)
  if (typeof schema !== 'object' || schema === null || depth > MAX_DEPTH) return null
  const said = schema.examples?.[0] ?? schema.default ?? schema.const ?? schema.enum?.[0]
  if (said !== undefined) return said
  if (schema.allOf) return Object.assign({}, ...schema.allOf.map((part) => sampleOf(part, root, depth + 1)))
  const members = schema.anyOf ?? schema.oneOf
  if (members) return sampleOf(members[0], root, depth + 1)
  return ofType([schema.type].flat()[0] ?? (schema.properties ? 'object' : undefined), schema, root, depth)
}

function ofType (type, schema, root, depth) {
  switch (type) {
    case 'object':
      return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, property]) => [name, sampleOf(property, root, depth + 1)]))
    case 'array':
      return schema.items ? [sampleOf(schema.items, root, depth + 1)] : []
    case 'integer':
    case 'number':
      return schema.minimum ?? (schema.exclusiveMinimum ?? -1) + 1
    case 'boolean':
      return true
    case 'string':
      return FORMATS[schema.format] ?? 'hello'.padEnd(schema.minLength ?? 0, '!').slice(0, schema.maxLength)
    default:
      return null
  }
}
