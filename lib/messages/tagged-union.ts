// A union of objects distinguished by one property. A validator of the whole union would try one member after the other and, with Fastify's
// defaults, remove properties that the first one lacks.

type Schema = Readonly<Record<string, unknown>>
export type Tag = string | number

export interface TaggedUnion {
  /** The property that distinguishes the members. */
  readonly property: string
  /** The schema to compile for each value of the property. */
  readonly members: ReadonlyMap<Tag, unknown>
}

/** Returns the schema of a `$ref`; undefined if it is unknown. */
export type Resolve = (reference: string) => unknown

// keywords that do not constrain the value: a union without others equals its members
const SILENT = new Set(['anyOf', 'oneOf', '$id', '$schema', '$comment', 'title', 'description'])

/** @returns null unless `schema` is a plain JSON Schema of a union whose members one property distinguishes */
export function findTaggedUnion (schema: unknown, resolve: Resolve): TaggedUnion | null {
  const members = unionMembers(schema)
  if (members === null) return null
  const resolved = members.map(member => resolveMember(member, schema as Schema, resolve))
  const property = findProperty(resolved)
  if (property === null) return null
  const alone = aloneMembers(schema as Schema, members)
  return { property, members: new Map(alone.map((member, i) => [tagOf(resolved[i], property)!, member])) }
}

/** Each member of a union, combined with the union's other keywords, which apply to it too. */
export function aloneMembers (union: Schema, members: readonly unknown[]): unknown[] {
  const rest = Object.fromEntries(Object.entries(union).filter(([name]) => name !== 'anyOf' && name !== 'oneOf' && name !== '$id'))
  const isPlain = Object.keys(rest).every(name => SILENT.has(name))
  return members.map(member => isPlain ? member : { ...rest, allOf: [...listOf(rest.allOf), member] })
}

/** The members of a union in plain JSON Schema; null for other schemas. */
export function unionMembers (schema: unknown): readonly unknown[] | null {
  if (!isObject(schema) || Array.isArray(schema.anyOf) === Array.isArray(schema.oneOf)) return null
  const members = (schema.anyOf ?? schema.oneOf) as readonly unknown[]
  return members.length > 1 ? members : null
}

/** The first property that all members require, each with a different constant. */
function findProperty (members: readonly unknown[]): string | null {
  const [first] = members
  if (!isObject(first) || !isObject(first.properties)) return null
  const isTag = (property: string): boolean => {
    const tags = members.map(member => tagOf(member, property))
    return !tags.includes(undefined) && new Set(tags).size === tags.length
  }
  return Object.keys(first.properties).find(isTag) ?? null
}

function tagOf (member: unknown, property: string): Tag | undefined {
  if (!isObject(member) || !isObject(member.properties) || !listOf(member.required).includes(property)) return undefined
  const schema = member.properties[property]
  if (!isObject(schema)) return undefined
  const value = Array.isArray(schema.enum) && schema.enum.length === 1 ? schema.enum[0] as unknown : schema.const
  return typeof value === 'string' || typeof value === 'number' ? value : undefined
}

function resolveMember (member: unknown, root: Schema, resolve: Resolve): unknown {
  if (!isObject(member) || typeof member.$ref !== 'string') return member
  return member.$ref.startsWith('#/') ? followPointer(root, member.$ref) : resolve(member.$ref)
}

/** RFC 6901 §6. */
function followPointer (root: Schema, pointer: string): unknown {
  let value: unknown = root
  for (const token of pointer.slice('#/'.length).split('/')) {
    if (!isObject(value)) return undefined
    value = value[decodeURIComponent(token).replaceAll('~1', '/').replaceAll('~0', '~')]
  }
  return value
}

function listOf (value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function isObject (value: unknown): value is Schema {
  return typeof value === 'object' && value !== null
}
