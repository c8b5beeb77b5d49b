// Runs validators compiled from schema.receive, as Fastify does for bodies.
import type { MessageIssue } from '../../types/messages.ts'
import { asyncValidator } from '../errors.ts'
import { isThenable } from '../promises.ts'
import { cutText, describeIssues, toIssues } from './issues.ts'
import { withoutStacks } from './stackless.ts'

/** A validator of Ajv, or any that Fastify accepts: returns false and sets `errors`, or `{ error }` or `{ value }`; anything else means valid. */
export type CompiledValidator = ((value: unknown, context?: object) => unknown) & { readonly errors?: unknown }

/** Why a value is invalid. */
export class Invalid {
  readonly message: string
  readonly issues: readonly MessageIssue[]
  readonly cause: Error | undefined

  constructor (message: string, issues: readonly MessageIssue[], cause?: Error) {
    this.message = message
    this.issues = issues
    this.cause = cause
  }

  /** @param issues in the form of Ajv's */
  static of (issues: readonly unknown[]): Invalid {
    const cut = toIssues(issues)
    return new Invalid(describeIssues(cut), cut)
  }
}

/** Returns the value, possibly coerced or replaced, or an Invalid. */
export type Validate = (value: unknown) => unknown

// longer causes would not fit into a log line: Joi lists all errors in its message
const MAX_CAUSE = 400

/** @throws SchemaError if the validator returns a promise */
export function createValidate (validator: CompiledValidator): Validate {
  const validate = isAjvs(validator) ? createAjvValidate(validator) : createForeignValidate(validator)
  return value => {
    try {
      return validate(value)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      // stack overflow: validators of recursive schemas recurse, and arrays may be nested ten thousand deep. Without the long stack
      const cause = withoutStacks(message => new RangeError(message), cutText(error.message))
      return new Invalid(`message cannot be validated: ${cause.message}`, [], cause)
    }
  }
}

/** Whether it is an Ajv validator: others may use a second argument differently. */
export function isAjvs (validator: CompiledValidator): boolean {
  return 'schemaEnv' in validator || /^validate\d+$/.test(validator.name) // the latter for standalone code
}

/** Passes the value as a property of a parent, so that Ajv can replace it by coercion. */
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
