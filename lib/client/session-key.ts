import type { RequestOptions } from 'node:https'

// options of a request rather than of its connection
const OF_REQUEST = new Set(['auth', 'headers', 'hostname', 'method', 'path', 'port', 'signal', 'timeout'])

const ids = new WeakMap<object, number>()
let lastId = 0

/** Handshakes with equal keys may share a session: the same origin, proxy and TLS options. */
export function keyOf (http2: true | 'auto', url: URL, proxy: URL | null, options: RequestOptions): string {
  const entries = Object.entries(options).filter(([name, value]) => !OF_REQUEST.has(name) && value !== undefined)
  return JSON.stringify([http2, url.protocol, url.host, proxy?.href, entries.sort(([a], [b]) => a < b ? -1 : 1).map(([name, value]) => [name, describe(value)])])
}

/** Bytes compare by content, other objects by identity. */
function describe (value: unknown): unknown {
  if (ArrayBuffer.isView(value)) return ['bytes', Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')]
  if (Array.isArray(value)) return value.map(describe)
  if (typeof value !== 'function' && (typeof value !== 'object' || value === null)) return [typeof value, String(value)]
  const id = ids.get(value) ?? ++lastId
  ids.set(value, id)
  return ['object', id]
}
