// Schemas of routes -> schemas of one document. Whatever a `$ref` names becomes a component of its own, and the reference one that any reader of
// the document can follow: AsyncAPI's parser takes `Said#` for a file, and `#/$defs/X` for a part of the whole document.
import { Identifiers } from './identifiers.ts'
import { enter, follow, idOf, isSchema, lastSegment, type Place, type Schema } from './references.ts'

/** A reference whose component has no name yet. */
interface Reference {
  $ref: string
}

interface Component {
  /** What it is called, as long as nothing else is. */
  readonly base: string
  readonly source: Schema
  readonly place: Place
  readonly references: Reference[]
  value: unknown
}

const PREFIX = '#/components/schemas/'
const SCHEMA = new Set([
  'additionalItems', 'additionalProperties', 'contains', 'contentSchema', 'else', 'if', 'items', 'not', 'propertyNames', 'then', 'unevaluatedItems',
  'unevaluatedProperties'
])
const LIST = new Set(['allOf', 'anyOf', 'items', 'oneOf', 'prefixItems'])
const MAP = new Set(['dependencies', 'dependentSchemas', 'patternProperties', 'properties'])
// what names a schema or its dialect, and what only references lead to
const DROPPED = new Set(['$anchor', '$defs', '$id', '$schema', 'definitions', 'nullable'])

/** The schemas of one document that have a name. */
export class Components {
  readonly #components: Component[] = []
  readonly #own: Readonly<Record<string, unknown>>
  readonly #onUnknown: (reference: string) => Error

  /**
   * @param own components that are there anyway, by their names
   * @param onUnknown makes the error of a reference that names nothing
   */
  constructor (own: Readonly<Record<string, unknown>>, onUnknown: (reference: string) => Error) {
    this.#own = own
    this.#onUnknown = onUnknown
  }

  /** @returns what stands for it in the document, whose references are in order after finish() */
  add (schema: unknown, place: Place): unknown {
    return isSchema(schema) && idOf(schema) !== undefined ? this.#refer(schema, place, idOf(schema)!) : this.#convert(schema, place)
  }

  /** Gives all their names, and makes one of those that are the same under the same name. */
  finish (): Record<string, unknown> {
    const groups = this.#group()
    const identifiers = new Identifiers(Object.keys(this.#own))
    const names = new Map<number, string>()
    const schemas: Record<string, unknown> = {}
    for (const [i, { base, value }] of this.#components.entries()) {
      const group = groups[i]!
      if (names.has(group)) continue
      const name = identifiers.take(base, 'schema')
      names.set(group, name)
      schemas[name] = value
    }
    for (const [i, { references }] of this.#components.entries()) for (const reference of references) reference.$ref = PREFIX + names.get(groups[i]!)!
    return schemas
  }

  /**
   * By component, the number of its group: in one are those that nothing tells apart, neither what they say nor what they refer to, as two routes may
   * have the same recursive schema each.
   */
  #group (): number[] {
    let groups = this.#components.map(() => 0)
    for (let count = 0; ;) {
      for (const [i, { references }] of this.#components.entries()) for (const reference of references) reference.$ref = String(groups[i])
      const numbers = new Map<string, number>()
      groups = this.#components.map(({ base, value }, i) => {
        const signature = JSON.stringify([groups[i], base, value])
        if (!numbers.has(signature)) numbers.set(signature, numbers.size)
        return numbers.get(signature)!
      })
      if (numbers.size === count) return groups
      count = numbers.size
    }
  }

  #refer (source: Schema, place: Place, name: string): Reference {
    let component = this.#components.find(known => known.source === source && known.place.root === place.root && known.place.findShared === place.findShared)
    if (component === undefined) {
      component = { base: lastSegment(name) ?? '', source, place, references: [], value: null }
      this.#components.push(component) // before what is in it, which may refer to it
      component.value = this.#convert(source, place)
    }
    const reference = { $ref: '' }
    component.references.push(reference)
    return reference
  }

  #convert (schema: unknown, outer: Place): unknown {
    if (typeof schema === 'boolean') return schema ? {} : { not: {} }
    if (!isSchema(schema)) return schema
    const place = enter(schema, outer)
    const converted: Record<string, unknown> = {}
    let referred: unknown
    for (const [keyword, value] of Object.entries(schema)) {
      if (DROPPED.has(keyword)) continue
      if (keyword === '$ref' && typeof value === 'string') referred = this.#follow(value, place)
      else converted[keyword] = this.#convertMember(keyword, value, place)
    }
    if (schema.nullable === true) allowNull(converted)
    // to a reader of the document a reference stands alone, to Ajv what is beside it counts
    const { allOf, ...rest } = converted
    const all = [...(referred === undefined ? [] : [referred]), ...(Array.isArray(allOf) ? allOf as unknown[] : [])]
    if (all.length === 1 && Object.keys(rest).length === 0) return all[0]
    return all.length === 0 ? converted : { ...rest, allOf: all }
  }

  #convertMember (keyword: string, value: unknown, place: Place): unknown {
    if (Array.isArray(value)) return LIST.has(keyword) ? value.map(element => this.#convertNested(element, place)) : value
    if (MAP.has(keyword) && isSchema(value)) {
      // a list is one of dependencies: names of properties
      return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, Array.isArray(member) ? member : this.#convertNested(member, place)]))
    }
    return SCHEMA.has(keyword) ? this.#convertNested(value, place) : value
  }

  /** What is not the whole of a message may be true or false. */
  #convertNested (schema: unknown, place: Place): unknown {
    return typeof schema === 'boolean' ? schema : this.#convert(schema, place)
  }

  #follow (reference: string, place: Place): unknown {
    const target = follow(reference, place)
    if (target === null) {
      if (reference.startsWith(PREFIX) && Object.hasOwn(this.#own, reference.slice(PREFIX.length))) return { $ref: reference }
      throw this.#onUnknown(reference)
    }
    return isSchema(target.schema) ? this.#refer(target.schema, target.place, target.name) : this.#convert(target.schema, target.place)
  }
}

/** Ajv's word for what JSON Schema says by a list of types. */
function allowNull (schema: Record<string, unknown>): void {
  if (schema.type !== undefined) schema.type = [...new Set([schema.type, 'null'].flat())]
  if (Array.isArray(schema.enum) && !schema.enum.includes(null)) schema.enum = [...schema.enum as unknown[], null]
}
