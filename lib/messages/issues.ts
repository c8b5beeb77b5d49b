// Validation errors -> issues that can be kept and logged. Their size is limited, as it depends on the peer, and so does some of their text.
import type { MessageIssue } from '../../types/messages.ts'

const MAX_ISSUES = 4
// bytes as JSON, where a control character takes six: of all issues together, and of one string
const MAX_SIZE = 900
const MAX_TEXT = 128
// of lists, such as the values of an enum, and of params
const MAX_ELEMENTS = 16

/** @param errors of a validator, in the form of Ajv's; missing strings become '' */
export function toIssues (errors: readonly unknown[]): MessageIssue[] {
  const issues: MessageIssue[] = []
  let size = 0
  for (const error of errors) {
    const issue = toIssue(error as Partial<MessageIssue>)
    size += sizeOf(issue)
    if (issues.length > 0 && size > MAX_SIZE) break
    issues.push(size > MAX_SIZE ? { ...issue, params: {} } : issue)
    if (issues.length === MAX_ISSUES) break
  }
  return issues
}

/** In Fastify's form: `message/text must be string`. */
export function describeIssues (issues: readonly MessageIssue[]): string {
  return cutText(issues.map(({ instancePath, message }) => `message${instancePath} ${message}`).join(', '))
}

/** Cuts a string to at most 128 bytes of JSON, without splitting characters. */
export function cutText (text: string): string {
  if (text.length <= MAX_TEXT && sizeOf(text) <= MAX_TEXT) return text
  const room = MAX_TEXT - '...'.length
  let cut = text.slice(0, room)
  for (let size = sizeOf(cut); size > room; size = sizeOf(cut)) cut = cut.slice(0, Math.floor(cut.length * room / size))
  return `${cut.replace(/[\uD800-\uDBFF]$/, '')}...`
}

function toIssue ({ keyword, instancePath, schemaPath, message, params }: Partial<MessageIssue>): MessageIssue {
  return { keyword: toText(keyword), instancePath: toText(instancePath), schemaPath: toText(schemaPath), message: toText(message), params: toParams(params) }
}

function toText (value: unknown): string {
  return typeof value === 'string' ? cutText(value) : ''
}

/** Keeps simple values, as all of Ajv's are; other validators include whole objects. */
function toParams (params: unknown): Record<string, unknown> {
  if (typeof params !== 'object' || params === null) return {}
  const entries = Object.entries(params).slice(0, MAX_ELEMENTS).map(([name, value]) => [cutText(name), toParam(value)])
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined))
}

function toParam (value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, MAX_ELEMENTS).map(toSimple).filter(element => element !== undefined)
  return toSimple(value)
}

function toSimple (value: unknown): unknown {
  if (typeof value === 'string') return cutText(value)
  return typeof value === 'number' || typeof value === 'boolean' || value === null ? value : undefined
}

function sizeOf (value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value))
}
