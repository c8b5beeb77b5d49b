// Parsers for header field values, by the grammars of RFC 9110 §5.6 and RFC 6455 §9.1. They make one pass and use no regular
// expression that could backtrack, as the input is untrusted.

/** An offered or accepted extension: parameters in order; `true` for one without a value. RFC 6455 §9.1. */
export interface Extension {
  readonly name: string
  readonly parameters: ReadonlyArray<readonly [name: string, value: string | true]>
}

// RFC 9110 §5.6.2: "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~" / DIGIT / ALPHA
const TCHAR = new Uint8Array(128)
for (const char of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  TCHAR[char.charCodeAt(0)] = 1
}

export function isToken (value: string): boolean {
  return value !== '' && tokenEnd(value, 0) === value.length
}

/** Whether a comma-separated list contains `token`, ignoring case. @param token in lower case */
export function listHasToken (value: string | undefined, token: string): boolean {
  if (value === undefined) return false
  if (value.length === token.length) return value.toLowerCase() === token // most lists have one element
  return value.split(',').some(item => trim(item).toLowerCase() === token)
}

/**
 * Parses a comma-separated list of tokens, such as Sec-WebSocket-Protocol.
 * @returns the tokens in order, or null if the value is not such a list. Empty elements are skipped, as RFC 9110 §5.6.1.2
 * requires of recipients; a list with only such elements, which no sender should send (RFC 6455 §4.3: 1#token), counts as empty
 */
export function parseTokenList (value: string): string[] | null {
  const tokens: string[] = []
  for (const item of value.split(',')) {
    const token = trim(item)
    if (token === '') continue
    if (!isToken(token)) return null
    tokens.push(token)
  }
  return tokens
}

/**
 * Parses a Sec-WebSocket-Extensions value. RFC 6455 §9.1.
 * @returns the extensions in order, none for an empty list, or null if the value breaks the grammar
 */
export function parseExtensions (value: string): Extension[] | null {
  const extensions: Extension[] = []
  let position = skipSpace(value, 0)
  while (position < value.length) {
    if (value[position] === ',') { // an empty list element
      position = skipSpace(value, position + 1)
      continue
    }
    const nameEnd = tokenEnd(value, position)
    if (nameEnd === position) return null
    const name = value.slice(position, nameEnd)
    const parameters: Array<readonly [string, string | true]> = []
    position = skipSpace(value, nameEnd)
    while (value[position] === ';') {
      const start = skipSpace(value, position + 1)
      const end = tokenEnd(value, start)
      if (end === start) return null
      const parameter = value.slice(start, end)
      position = skipSpace(value, end)
      // The grammar has no whitespace around "=", but §9.1 refers to RFC 2616, whose §2.1 implies it.
      if (value[position] !== '=') {
        parameters.push([parameter, true])
        continue
      }
      const parsed = parseParameterValue(value, skipSpace(value, position + 1))
      if (parsed === null) return null
      parameters.push([parameter, parsed.value])
      position = skipSpace(value, parsed.end)
    }
    if (position < value.length && value[position] !== ',') return null
    extensions.push({ name, parameters })
  }
  return extensions
}

export function formatExtensions (extensions: readonly Extension[]): string {
  return extensions
    .map(({ name, parameters }) => [name, ...parameters.map(([key, value]) => value === true ? key : `${key}=${value}`)].join('; '))
    .join(', ')
}

/** A token, or a quoted-string whose content, once unescaped, is a token (§9.1). */
function parseParameterValue (value: string, start: number): { value: string, end: number } | null {
  if (value[start] !== '"') {
    const end = tokenEnd(value, start)
    return end === start ? null : { value: value.slice(start, end), end }
  }
  let content = ''
  for (let i = start + 1; i < value.length; i++) {
    if (value[i] === '"') return isToken(content) ? { value: content, end: i + 1 } : null
    if (value[i] === '\\') i++
    content += value[i] ?? ''
  }
  return null // the closing quote is missing
}

function tokenEnd (value: string, start: number): number {
  let i = start
  while (i < value.length && TCHAR[value.charCodeAt(i)] === 1) i++
  return i
}

function skipSpace (value: string, start: number): number {
  let i = start
  while (value[i] === ' ' || value[i] === '\t') i++
  return i
}

/** Removes optional whitespace: only space and tab, unlike String#trim. RFC 9110 §5.6.3. */
function trim (value: string): string {
  const start = skipSpace(value, 0)
  let end = value.length
  while (end > start && (value[end - 1] === ' ' || value[end - 1] === '\t')) end--
  return value.slice(start, end)
}

/** Connection-specific fields of HTTP/1.1, not allowed in HTTP/2: Node throws for some of them. RFC 9113 §8.2.2. */
export const CONNECTION_FIELDS: ReadonlySet<string> = new Set(['connection', 'http2-settings', 'keep-alive', 'proxy-connection', 'te', 'transfer-encoding', 'upgrade'])
