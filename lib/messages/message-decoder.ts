// message -> JSON -> value that the schema allows
import { binaryMessage, invalidMessage, notJson, type MessageError } from '../errors.ts'
import type { Message } from '../framing/message-assembler.ts'
import { cutText } from './issues.ts'
import type { JsonParser } from './json-parser.ts'
import { withoutStacks } from './stackless.ts'
import { Invalid, type Validate } from './validation.ts'
import type { Tag } from './tagged-union.ts'

// of the tags that could have been sent, which are told
const MAX_TAGS = 16

/** What a decoder gives in place of a message that it makes no value of. */
export class Undecodable {
  /** A MessageError where the message is not allowed; whatever else the validator has thrown. */
  readonly error: unknown

  constructor (error: unknown) {
    this.error = error
  }
}

/** Makes values of the messages of one route. */
export class MessageDecoder {
  readonly #parse: JsonParser
  readonly #validate: Validate

  constructor (parse: JsonParser, validate: Validate) {
    this.#parse = text => withoutStacks(parse, text)
    this.#validate = validate
  }

  /** @returns a message that has its value in place of data, whatever the type says: where there is a decoder, it is read by decodedValue() */
  decode (message: Message): Message | Undecodable {
    const { data } = message
    if (message.isBinary) return new Undecodable(withoutStacks(binaryMessage, data))
    let value: unknown
    try {
      value = this.#parse(data.toString())
    } catch (error) {
      return new Undecodable(withoutStacks(reason => notJson(data, reason), cutText((error as Error).message)))
    }
    try {
      value = this.#validate(value)
    } catch (error) {
      return new Undecodable(error)
    }
    if (value === null || value === undefined) value = NOTHING
    return value instanceof Invalid ? new Undecodable(withoutStacks(toError, { data, invalid: value })) : { data: value as Buffer, isBinary: false }
  }
}

/** Of what a decoder has made. */
export function decodedValue ({ data }: Message): any {
  return data
}

// it would look like the end to whoever reads
const NOTHING = Invalid.of([{ keyword: 'type', instancePath: '', message: 'must not be null', params: {} }])

function toError ({ data, invalid: { message, issues, cause } }: { data: Buffer, invalid: Invalid }): MessageError {
  return invalidMessage(data, message, issues, cause === undefined ? {} : { cause })
}

/** Asks the validator of the member that the message says it is. Its tag is compared as it came, before any coercion. */
export function createUnionValidate (property: string, validators: ReadonlyMap<Tag, Validate>): Validate {
  const params = { allowedValues: [...validators.keys()].slice(0, MAX_TAGS) }
  return value => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      return Invalid.of([{ keyword: 'type', instancePath: '', message: 'must be object', params: { type: 'object' } }])
    }
    const validate = validators.get((value as Record<string, Tag>)[property]!)
    if (validate !== undefined) return validate(value)
    return Invalid.of([{ keyword: 'discriminator', instancePath: `/${property}`, message: 'must be equal to one of the allowed values', params }])
  }
}
