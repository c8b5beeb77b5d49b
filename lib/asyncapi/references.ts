// Resolves `$ref`s of JSON Schema: within their own schema, or to one added with addSchema().

export type Schema = Readonly<Record<string, unknown>>

/** Finds a schema added with addSchema() in the scope of a route, by its `$id`. */
export type FindShared = (id: string) => unknown

/** The location of a schema, which decides how its references are resolved. */
export interface Place {
  /** The schema that `#` refers to: the nearest enclosing one with an `$id`, or the outermost. */
  readonly resource: Schema
  /** The outermost schema, which is searched for `$id`s and anchors. */
  readonly root: Schema
  readonly findShared: FindShared
}

export interface Target {
  readonly schema: unknown
  readonly place: Place
  /** Its name where it is defined. */
  readonly name: string
}

/** @returns null if there is no such schema */
export function follow (reference: string, place: Place): Target | null {
  const hash = reference.indexOf('#')
  const uri = hash < 0 ? reference : reference.slice(0, hash)
  const fragment = hash < 0 ? '' : decode(reference.slice(hash + 1))
  const resource = uri === '' ? place.resource : findResource(uri, place)
  if (!isSchema(resource)) return null
  const inside = uri === '' || identifiersOf(place.root).get(idOf(resource) ?? '') === resource
  const root = inside ? place.root : resource
  const there: Place = { resource, root, findShared: place.findShared }
  if (fragment === '') return { schema: resource, place: there, name: nameOf(resource) ?? uri }
  if (fragment.startsWith('/')) return followPointer(fragment, there)
  const anchored = identifiersOf(root).get(`#${fragment}`)
  return anchored === undefined ? null : { schema: anchored, place: there, name: fragment }
}

/** The place of a schema that is not nested. */
export function outermost (schema: unknown, findShared: FindShared): Place {
  const root = isSchema(schema) ? schema : {}
  return { resource: root, root, findShared }
}

/** The place of schemas nested in `schema`, which is at `place`. */
export function enter (schema: Schema, place: Place): Place {
  return idOf(schema) === undefined ? place : { ...place, resource: schema }
}

export function isSchema (value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A schema's `$id`; not an anchor, which draft-07 also writes as `$id`. */
export function idOf ({ $id }: Schema): string | undefined {
  return typeof $id === 'string' && !$id.startsWith('#') ? $id.replace(/#$/, '') : undefined
}

/** A schema's own name. */
function nameOf (schema: Schema): string | undefined {
  const { title } = schema
  return idOf(schema) ?? (typeof title === 'string' ? title : undefined)
}

/** The distinctive last part of a URI. */
export function lastSegment (uri: string): string | undefined {
  return uri.split(/[/:#]/).findLast(segment => segment !== '')
}

function findResource (uri: string, { resource, root, findShared }: Place): unknown {
  const candidates = [uri]
  const base = idOf(resource)
  if (base !== undefined && URL.canParse(uri, base)) candidates.push(new URL(uri, base).href)
  const identifiers = identifiersOf(root)
  for (const candidate of candidates) {
    const found = identifiers.get(candidate) ?? findShared(candidate)
    if (found !== undefined) return found
  }
  return undefined
}

/** RFC 6901 §6. */
function followPointer (pointer: string, place: Place): Target | null {
  const tokens = pointer.split('/').slice(1).map(token => token.replaceAll('~1', '/').replaceAll('~0', '~'))
  let schema: unknown = place.resource
  let { resource } = place
  for (const token of tokens) {
    if (typeof schema !== 'object' || schema === null || !Object.hasOwn(schema, token)) return null
    if (isSchema(schema) && idOf(schema) !== undefined) resource = schema
    schema = (schema as Schema)[token]
  }
  return { schema, place: { ...place, resource }, name: tokens.at(-1)! }
}

const identifiers = new WeakMap<Schema, ReadonlyMap<string, Schema>>()

/** All schemas with an `$id` or an anchor in a schema; anchors with a leading #. */
function identifiersOf (root: Schema): ReadonlyMap<string, Schema> {
  let found = identifiers.get(root)
  if (found === undefined) identifiers.set(root, found = collect(root, new Map()))
  return found
}

function collect (value: unknown, found: Map<string, Schema>): Map<string, Schema> {
  if (Array.isArray(value)) for (const element of value) collect(element, found)
  if (!isSchema(value)) return found
  const { $id, $anchor } = value
  if (typeof $id === 'string') found.set(idOf(value) ?? $id, value)
  if (typeof $anchor === 'string') found.set(`#${$anchor}`, value)
  for (const member of Object.values(value)) collect(member, found)
  return found
}

function decode (fragment: string): string {
  try {
    return decodeURIComponent(fragment)
  } catch {
    return fragment
  }
}
