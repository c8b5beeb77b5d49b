// value -> text, by a schema: properties that the schema lacks are not sent
import { isAnyArrayBuffer } from 'node:util/types'
import type { MessageData, SendOptions } from '../../types/connection.ts'
import { notSerializable, notTyped } from '../errors.ts'
import { cutText } from './issues.ts'
import type { Tag } from './tagged-union.ts'

/** A serializer compiled from schema.send. It should return text; whether it validates is up to the compiler. */
export type Serialize = (value: any) => unknown

/** Encodes the messages of one route. */
export class MessageEncoder {
  readonly #serialize: Serialize

  constructor (serialize: Serialize) {
    this.#serialize = serialize
  }

  /**
   * @returns the text of a value; bytes unchanged
   * @throws SchemaError for a value that cannot be serialized, and for options that do not apply to values
   */
  encode (value: unknown, options?: SendOptions): MessageData {
    if (options !== undefined && options !== null) checkOptions(options)
    if (isBytes(value)) return value
    const text = this.#run(value)
    if (typeof text === 'string' || isBytes(text)) return text
    throw notSerializable(`its serializer gave ${text === null ? 'null' : typeof text}`)
  }

  #run (value: unknown): unknown {
    try {
      return this.#serialize(value)
    } catch (cause) {
      throw notSerializable(cutText(cause instanceof Error ? cause.message : String(cause)), { cause })
    }
  }
}

/** Data that is sent unchanged, as a binary message. */
export function isBytes (value: unknown): value is NodeJS.ArrayBufferView | ArrayBuffer | Blob {
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) === Object.prototype) return false
  return ArrayBuffer.isView(value) || isAnyArrayBuffer(value) || value instanceof Blob
}

/** Uses the serializer of the member that the value's tag selects: one for the whole union would validate against each member in turn. */
export function createUnionSerialize (property: string, serializers: ReadonlyMap<Tag, Serialize>): Serialize {
  return (value: Record<string, Tag> | null | undefined) => {
    const tag = value?.[property]
    const serialize = serializers.get(tag!)
    if (serialize === undefined) throw new TypeError(`no member of the union has ${JSON.stringify(tag) ?? 'undefined'} for ${property}`)
    return serialize(value)
  }
}

function checkOptions ({ binary, fin }: SendOptions): void {
  if (binary !== undefined) throw notTyped('the option binary', 'send')
  if (fin !== undefined) throw notTyped('the option fin', 'send')
}
