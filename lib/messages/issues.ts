// What validators say is wrong -> what can be kept and logged: a peer decides how much that is, and some of it is the peer's own text.
import type { MessageIssue } from '../../types/messages.ts'

const MAX_ISSUES = 4
// bytes of JSON, in which a control character takes six: all issues together, and the texts of one
const MAX_SIZE = 900
const MAX_TEXT = 128
// of lists, such as the values that an enum allows, and of params
const MAX_ELEMENTS = 16

/** @param errors as validators give them, in the shape of Ajv's; what is missing is '' */
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

/** In the words of Fastify: `message/text must be string`. */
export function describeIssues (issues: readonly MessageIssue[]): string {
  return cutText(issues.map(({ instancePath, message }) => `message${instancePath} ${message}`).join(', '))
}

/** The beginning of a text, so much of it as takes up to 128 bytes in JSON, in whole characters. */
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

/** What Ajv says is all of this kind; others put whole objects there. */
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
