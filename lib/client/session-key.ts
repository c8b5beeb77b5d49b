import type { RequestOptions } from 'node:https'

// what is of one request, and not of its connection
const OF_REQUEST = new Set(['auth', 'headers', 'hostname', 'method', 'path', 'port', 'signal', 'timeout'])

const ids = new WeakMap<object, number>()
let lastId = 0

/** Says which handshakes may share a session: the same for the same origin, by the same way, with the same options of TLS. */
export function keyOf (http2: true | 'auto', url: URL, proxy: URL | null, options: RequestOptions): string {
  const entries = Object.entries(options).filter(([name, value]) => !OF_REQUEST.has(name) && value !== undefined)
  return JSON.stringify([http2, url.protocol, url.host, proxy?.href, entries.sort(([a], [b]) => a < b ? -1 : 1).map(([name, value]) => [name, describe(value)])])
}

/** Bytes by what they are, other objects by which they are. */
function describe (value: unknown): unknown {
  if (ArrayBuffer.isView(value)) return ['bytes', Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')]
  if (Array.isArray(value)) return value.map(describe)
  if (typeof value !== 'function' && (typeof value !== 'object' || value === null)) return [typeof value, String(value)]
  const id = ids.get(value) ?? ++lastId
  ids.set(value, id)
  return ['object', id]
}
