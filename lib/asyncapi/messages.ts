// The schema of one direction -> the messages of that direction.
import { aloneMembers, findTaggedUnion, unionMembers } from '../messages/tagged-union.ts'
import type { Components } from './components.ts'
import { follow, idOf, isSchema, lastSegment, outermost, type FindShared, type Schema } from './references.ts'

export type Direction = 'receive' | 'send'

export interface DocumentedMessage {
  /** Its name, unless that is taken. */
  readonly base: string
  readonly title?: string
  readonly description?: string
  readonly payload: unknown
}

/** One message for each member of a union, named after its schema or its tag. */
export function toMessages (schema: unknown, direction: Direction, findShared: FindShared, components: Components): DocumentedMessage[] {
  const place = outermost(schema, findShared)
  if (!isSchema(schema)) return [{ base: direction, payload: components.add(schema, place) }]
  const resolve = (reference: string): unknown => follow(reference, place)?.schema
  const members = unionMembers(schema)
  if (members === null) return [toMessage(schema, schema, typeOf(schema) ?? titleOf(schema) ?? direction)]
  const tagged = findTaggedUnion(schema, resolve)
  const tags = tagged === null ? null : [...tagged.members.keys()]
  return aloneMembers(schema, members).map((alone, i) =>
    toMessage(members[i], alone, tags === null ? titleOf(members[i]) ?? `${direction}-${i + 1}` : String(tags[i])))

  /** @param otherwise the name if the schema has none */
  function toMessage (member: unknown, alone: unknown, otherwise: string): DocumentedMessage {
    const { title, description } = describe(member)
    return {
      base: nameOf(member) ?? otherwise,
      ...(typeof title === 'string' ? { title } : {}),
      ...(typeof description === 'string' ? { description } : {}),
      payload: components.add(alone, place)
    }
  }

  /** Merges a reference with its target; the reference's own keywords take precedence. */
  function describe (member: unknown): Schema {
    if (!isSchema(member)) return {}
    const referred = typeof member.$ref === 'string' ? resolve(member.$ref) : undefined
    return isSchema(referred) ? { ...referred, ...member } : member
  }
}

/** The name of a schema, or the one by which it is referenced. */
function nameOf (member: unknown): string | undefined {
  if (!isSchema(member)) return undefined
  const { $ref } = member
  return lastSegment(idOf(member) ?? (typeof $ref === 'string' ? $ref : ''))
}

/** The const of its property `type`: a tag, even where there is no other message yet. */
function typeOf ({ properties }: Schema): string | undefined {
  const { const: value } = Object((Object(properties) as Record<string, unknown>).type) as { const?: unknown }
  return typeof value === 'string' ? value : undefined
}

function titleOf (member: unknown): string | undefined {
  return isSchema(member) && typeof member.title === 'string' ? member.title : undefined
}
