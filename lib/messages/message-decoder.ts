// message -> JSON -> validated value
import { binaryMessage, invalidMessage, notJson, type MessageError } from '../errors.ts'
import type { Message } from '../framing/message-assembler.ts'
import { cutText } from './issues.ts'
import type { JsonParser } from './json-parser.ts'
import { withoutStacks } from './stackless.ts'
import { Invalid, type Validate } from './validation.ts'
import type { Tag } from './tagged-union.ts'

// allowed tags listed in an issue
const MAX_TAGS = 16

/** The result for a message that cannot be decoded. */
export class Undecodable {
  /** A MessageError if the message is invalid; otherwise whatever the validator threw. */
  readonly error: unknown

  constructor (error: unknown) {
    this.error = error
  }
}

/** Decodes the messages of one route. */
export class MessageDecoder {
  readonly #parse: JsonParser
  readonly #validate: Validate

  constructor (parse: JsonParser, validate: Validate) {
    this.#parse = text => withoutStacks(parse, text)
    this.#validate = validate
  }

  /** @returns a message whose `data` is the value, despite its type: read it with decodedValue() */
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

/** The value in a decoded message. */
export function decodedValue ({ data }: Message): any {
  return data
}

// null is not allowed as a value: receive() resolves with it at the end
const NOTHING = Invalid.of([{ keyword: 'type', instancePath: '', message: 'must not be null', params: {} }])

function toError ({ data, invalid: { message, issues, cause } }: { data: Buffer, invalid: Invalid }): MessageError {
  return invalidMessage(data, message, issues, cause === undefined ? {} : { cause })
}

/** Uses the validator of the member that the message's tag selects. The tag is compared before any coercion. */
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
