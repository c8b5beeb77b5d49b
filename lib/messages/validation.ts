// What the compilers of an app make of schema.receive, asked as Fastify asks it about a body.
import type { MessageIssue } from '../../types/messages.ts'
import { asyncValidator } from '../errors.ts'
import { isThenable } from '../promises.ts'
import { cutText, describeIssues, toIssues } from './issues.ts'
import { withoutStacks } from './stackless.ts'

/** As Ajv's, or any that Fastify takes: false with `errors`, `{ error }` or `{ value }`; anything else says that the value is valid. */
export type CompiledValidator = ((value: unknown, context?: object) => unknown) & { readonly errors?: unknown }

/** Why a value is not valid. */
export class Invalid {
  readonly message: string
  readonly issues: readonly MessageIssue[]
  readonly cause: Error | undefined

  constructor (message: string, issues: readonly MessageIssue[], cause?: Error) {
    this.message = message
    this.issues = issues
    this.cause = cause
  }

  /** @param issues in the shape of Ajv's */
  static of (issues: readonly unknown[]): Invalid {
    const cut = toIssues(issues)
    return new Invalid(describeIssues(cut), cut)
  }
}

/** Gives the value to go on with, which may be another, or says why there is none. */
export type Validate = (value: unknown) => unknown

// longer ones would not fit into a log line: Joi lists all that is wrong in its message
const MAX_CAUSE = 400

/** @throws SchemaError where the validator returns a promise */
export function createValidate (validator: CompiledValidator): Validate {
  const validate = isAjvs(validator) ? createAjvValidate(validator) : createForeignValidate(validator)
  return value => {
    try {
      return validate(value)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      // arrays in arrays, by the ten thousand: validators of recursive schemas call themselves. Its stack says that again and again
      const cause = withoutStacks(message => new RangeError(message), cutText(error.message))
      return new Invalid(`message cannot be validated: ${cause.message}`, [], cause)
    }
  }
}

/** Those of other libraries may take a second argument for something else. */
export function isAjvs (validator: CompiledValidator): boolean {
  return 'schemaEnv' in validator || /^validate\d+$/.test(validator.name) // the latter where it was generated as a file
}

/** It can replace the value as a whole, by coercion, where it knows what that is a property of. */
function createAjvValidate (validator: CompiledValidator): Validate {
  return value => {
    const parent = { message: value }
    const result = validator(value, { parentData: parent, parentDataProperty: 'message' })
    return result === true ? parent.message : conclude(result, validator, parent.message)
  }
}

function createForeignValidate (validator: CompiledValidator): Validate {
  return value => conclude(validator(value), validator, value)
}

function conclude (result: unknown, { errors }: CompiledValidator, value: unknown): unknown {
  if (result === false) return Invalid.of(Array.isArray(errors) ? errors : [])
  if (isThenable(result)) {
    result.then(undefined, () => {})
    throw asyncValidator()
  }
  if (typeof result !== 'object' || result === null) return value
  const { error, ...rest } = result as { error?: unknown, value?: unknown }
  if (error !== undefined && error !== null && error !== false) return toInvalid(error)
  return 'value' in rest ? rest.value : value
}

function toInvalid (error: unknown): Invalid {
  if (Array.isArray(error)) return Invalid.of(error)
  const { message, stack } = error as Partial<Error>
  const text = cutText(`message is invalid: ${typeof message === 'string' ? message : String(error)}`)
  const isShort = error instanceof Error && String(stack).length + error.message.length < MAX_CAUSE
  return new Invalid(text, [], isShort ? error : undefined)
}
