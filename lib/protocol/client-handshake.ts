// The client side of the opening handshake, RFC 6455 §4.1, as pure functions of header fields. connect() does the I/O.
import { randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { unexpectedExtensions, unexpectedProtocol, unexpectedResponse, wrongAccept, wrongServerUpgrade } from '../errors.ts'
import { formatExtensions, isToken, listHasToken, parseExtensions, type Extension } from './header-field.ts'
import { readAnswer, type DeflateWishes } from './permessage-deflate.ts'
import { acceptKey, NO_EXTENSIONS, type AgreedExtensions } from './server-handshake.ts'

/** Creates a new key and the header fields of a client's request. RFC 6455 §4.1. */
export function createOpeningHandshake (
  protocols: readonly string[] = [], extensions: readonly Extension[] = []
): { key: string, headers: Record<string, string> } {
  for (const protocol of protocols) {
    if (!isToken(protocol)) throw new SyntaxError(`${JSON.stringify(protocol)} is not a subprotocol name: it must be a token`)
  }
  if (new Set(protocols).size < protocols.length) throw new SyntaxError('a subprotocol is offered twice')
  const key = randomBytes(16).toString('base64')
  return {
    key,
    headers: {
      Upgrade: 'websocket',
      Connection: 'Upgrade',
      'Sec-WebSocket-Key': key,
      'Sec-WebSocket-Version': '13',
      ...(protocols.length === 0 ? {} : { 'Sec-WebSocket-Protocol': protocols.join(', ') }),
      ...(extensions.length === 0 ? {} : { 'Sec-WebSocket-Extensions': formatExtensions(extensions) })
    }
  }
}

/** What a server has chosen. */
export interface HandshakeResponse {
  /** '' for none, which a server may choose even if some were offered. */
  readonly protocol: string
  readonly extensions: readonly Extension[]
}

/**
 * Checks the server's response to a client's handshake. RFC 6455 §4.1. Extensions are checked by readChosenExtensions().
 * @throws HandshakeError for the first rule that it breaks
 */
export function readHandshakeResponse (
  response: { readonly statusCode?: number | undefined, readonly headers: IncomingHttpHeaders },
  key: string,
  offered: readonly string[] = []
): HandshakeResponse {
  const { statusCode, headers } = response
  if (statusCode !== 101) throw unexpectedResponse(statusCode ?? 0)
  if (headers.upgrade?.toLowerCase() !== 'websocket') throw wrongServerUpgrade('Upgrade', headers.upgrade)
  if (!listHasToken(headers.connection, 'upgrade')) throw wrongServerUpgrade('Connection', headers.connection)
  const accept = headers['sec-websocket-accept']
  const expected = acceptKey(key)
  if (accept !== expected) throw wrongAccept(accept, expected)
  const protocol = headers['sec-websocket-protocol'] ?? ''
  if (protocol !== '' && !offered.includes(protocol)) throw unexpectedProtocol(protocol)
  const extensions = headers['sec-websocket-extensions']
  const parsed = extensions === undefined ? [] : parseExtensions(extensions)
  if (parsed === null) throw unexpectedExtensions(extensions!)
  return { protocol, extensions: parsed }
}

/**
 * Checks the extensions that a server has chosen.
 * @param deflate what was offered; false: nothing
 * @throws HandshakeError if they were not offered
 */
export function readChosenExtensions ({ extensions }: HandshakeResponse, deflate: DeflateWishes | false): AgreedExtensions {
  if (extensions.length === 0) return NO_EXTENSIONS
  const field = formatExtensions(extensions)
  const agreement = deflate === false ? null : readAnswer(extensions, deflate)
  if (agreement === null) throw unexpectedExtensions(field)
  return { extensions: field, deflate: agreement }
}
