// Schemas of routes -> schemas of one document. The target of each `$ref` becomes a component, and the reference one that any reader of the
// document can resolve: AsyncAPI's parser reads `Said#` as a file name, and `#/$defs/X` relative to the whole document.
import { Identifiers } from './identifiers.ts'
import { enter, follow, idOf, isSchema, lastSegment, type Place, type Schema } from './references.ts'

/** A reference whose component has no name yet. */
interface Reference {
  $ref: string
}

interface Component {
  /** Its name, unless that is taken. */
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
// keywords that identify a schema or its dialect, or only hold targets of references; `nullable` is converted
const DROPPED = new Set(['$anchor', '$defs', '$id', '$schema', 'definitions', 'nullable'])

/** The named schemas of one document. */
export class Components {
  readonly #components: Component[] = []
  readonly #own: Readonly<Record<string, unknown>>
  readonly #onUnknown: (reference: string) => Error

  /**
   * @param own components of the user, by name
   * @param onUnknown creates the error for a reference that cannot be resolved
   */
  constructor (own: Readonly<Record<string, unknown>>, onUnknown: (reference: string) => Error) {
    this.#own = own
    this.#onUnknown = onUnknown
  }

  /** @returns the schema for the document; its references are valid after finish() */
  add (schema: unknown, place: Place): unknown {
    return isSchema(schema) && idOf(schema) !== undefined ? this.#refer(schema, place, idOf(schema)!) : this.#convert(schema, place)
  }

  /** Assigns names, and merges equal components with the same name. */
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
   * The group number of each component. A group holds components with equal content and equal references: two routes may each have the same
   * recursive schema.
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
      this.#components.push(component) // before its content, which may refer to it
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
    // readers of the document ignore keywords next to a $ref, while Ajv applies them
    const { allOf, ...rest } = converted
    const all = [...(referred === undefined ? [] : [referred]), ...(Array.isArray(allOf) ? allOf as unknown[] : [])]
    if (all.length === 1 && Object.keys(rest).length === 0) return all[0]
    return all.length === 0 ? converted : { ...rest, allOf: all }
  }

  #convertMember (keyword: string, value: unknown, place: Place): unknown {
    if (Array.isArray(value)) return LIST.has(keyword) ? value.map(element => this.#convertNested(element, place)) : value
    if (MAP.has(keyword) && isSchema(value)) {
      // an array is a list of property names, in `dependencies`
      return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, Array.isArray(member) ? member : this.#convertNested(member, place)]))
    }
    return SCHEMA.has(keyword) ? this.#convertNested(value, place) : value
  }

  /** Nested schemas may stay true or false. */
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

/** Converts Ajv's `nullable` to a list of types. */
function allowNull (schema: Record<string, unknown>): void {
  if (schema.type !== undefined) schema.type = [...new Set([schema.type, 'null'].flat())]
  if (Array.isArray(schema.enum) && !schema.enum.includes(null)) schema.enum = [...schema.enum as unknown[], null]
}
