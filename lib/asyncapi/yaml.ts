// JSON -> YAML 1.2, a superset of JSON: values that need quotes are written as in JSON.

// text that no YAML parser, even of 1.1, reads as a number, a date, true, null or anything else
const PLAIN = /^[A-Za-z/$][\w/.-]*(?: [\w/.(][\w/.()-]*)*$/
const RESERVED = /^(?:true|false|yes|no|on|off|null|y|n)$/i
// text without leading whitespace, which would define the indentation of a block, trailing whitespace in lines, or unprintable characters
const BLOCK = /^(?=[^\s])(?:[^\p{C}\u2028\u2029]*[^\s\p{C}]|(?=\n))(?:\n(?:[^\p{C}\u2028\u2029]*[^\s\p{C}])?)*$/u

/** @param value a JSON value */
export function toYaml (value: unknown): string {
  const lines = isNested(value) ? nested(value, '') : [JSON.stringify(value)]
  return `${lines.join('\n')}\n`
}

/** The lines of a non-empty object or list. */
function nested (value: object, indent: string): string[] {
  if (Array.isArray(value)) {
    return value.flatMap(element => {
      if (!isNested(element)) return [`${indent}- ${scalar(element, `${indent}  `)}`]
      const [first, ...rest] = nested(element, `${indent}  `)
      return [`${indent}- ${first!.trimStart()}`, ...rest]
    })
  }
  return Object.entries(value).flatMap(([key, member]) => {
    const name = isPlain(key) ? key : JSON.stringify(key)
    return isNested(member) ? [`${indent}${name}:`, ...nested(member, `${indent}  `)] : [`${indent}${name}: ${scalar(member, `${indent}  `)}`]
  })
}

function scalar (value: unknown, indent: string): string {
  if (typeof value !== 'string') return JSON.stringify(value)
  if (isPlain(value)) return value
  if (!value.includes('\n') || !BLOCK.test(value) || value.endsWith('\n')) return JSON.stringify(value)
  return `|-\n${value.replaceAll(/^(?=.)/gm, indent)}`
}

function isPlain (text: string): boolean {
  return text.length <= 80 && PLAIN.test(text) && !RESERVED.test(text)
}

function isNested (value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0
}
