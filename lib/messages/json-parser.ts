// text -> value, like Fastify's body parser: rejects keys that would poison a prototype.

export type JsonParser = (text: string) => unknown

const BYTE_ORDER_MARK = 0xfeff

/**
 * @param strict the app's body parser, which checks every key. Used only if JSON.parse() might differ from it: for text that may contain the
 * key `__proto__` or `constructor` (also written with escapes), or that begins with a byte order mark
 */
export function createJsonParser (strict: JsonParser): JsonParser {
  return text => isSuspicious(text) ? strict(text) : JSON.parse(text)
}

function isSuspicious (text: string): boolean {
  return text.includes('__proto__') || text.includes('constructor') || text.includes('\\u') || text.charCodeAt(0) === BYTE_ORDER_MARK
}
