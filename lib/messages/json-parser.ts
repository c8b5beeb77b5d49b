// text -> value, as Fastify makes a body of it: keys that would poison a prototype are not taken.

export type JsonParser = (text: string) => unknown

const BYTE_ORDER_MARK = 0xfeff

/**
 * @param strict the app's own parser for bodies, which looks at every key: it is asked only about what JSON.parse() alone might let pass, or might not
 * take: a text in which a key can be `__proto__` or `constructor` (or is written with escapes), or that begins with a byte order mark
 */
export function createJsonParser (strict: JsonParser): JsonParser {
  return text => isSuspicious(text) ? strict(text) : JSON.parse(text)
}

function isSuspicious (text: string): boolean {
  return text.includes('__proto__') || text.includes('constructor') || text.includes('\\u') || text.charCodeAt(0) === BYTE_ORDER_MARK
}
