// The server's side of the opening handshake, RFC 6455 §4.2, as pure functions of header fields. A door does the I/O.
import { hash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import {
  endedHandshake, handshakeWithBody, lostConnect, lostUpgrade, tooManyHeaderFields, unofferedProtocol, wrongConnection, wrongExtensionsField, wrongHost,
  wrongHttpVersion, wrongKey, wrongMethod, wrongProtocolField, wrongUpgrade, wrongVersion, wrongVersionOverHttp2, type HandshakeError
} from '../errors.ts'
import { acceptOffer, type DeflateAgreement, type DeflateWishes } from './permessage-deflate.ts'
import { formatExtensions, listHasToken, parseExtensions, parseTokenList, type Extension } from './header-field.ts'

/** What a handshake is judged by. A node:http IncomingMessage fits. */
export interface HandshakeRequest {
  readonly method?: string | undefined
  readonly httpVersion: string
  readonly headers: IncomingHttpHeaders
  /** Names and values in turn, as received: shows repeated fields, which `headers` hides. */
  readonly rawHeaders: readonly string[]
  /** Of HTTP/2, which "HTTP/2.0" in a request line does not show. */
  readonly stream?: { readonly endAfterHeaders: boolean }
}

export interface OpeningHandshake {
  /** Null where none came, as usual over HTTP/2. */
  readonly key: string | null
  /** What the client offers, in its order of preference. */
  readonly protocols: readonly string[]
  readonly extensions: readonly Extension[]
}

// §1.3
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
// §4.1: 16 bytes in base64. The 22nd character carries 2 bits; some clients set its other 4 too, and nothing depends on them.
const KEY = /^[A-Za-z0-9+/]{22}==$/

/** Tells whether a request asks for WebSocket, well-formed or not; `Upgrade: h2c` and others do not. */
export function isWebSocketUpgrade (headers: IncomingHttpHeaders): boolean {
  return listHasToken(headers.upgrade, 'websocket')
}

/** @returns what is wrong with an HTTP request that looks like a handshake whose upgrade a proxy has dropped; null for others */
export function findLostUpgrade ({ httpVersion, headers }: HandshakeRequest): HandshakeError | null {
  if (headers['sec-websocket-key'] === undefined) return null
  if (httpVersion === '2.0') return lostConnect()
  // both fields are there: it came over a connection that cannot be upgraded
  return isWebSocketUpgrade(headers) && listHasToken(headers.connection, 'upgrade') ? null : lostUpgrade(headers.upgrade, headers.connection)
}

/** Tells whether a body follows, even an empty chunked one. RFC 9112 §6.3. */
export function hasBody (headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}

/** From how many header fields on Node 20 drops some silently. */
export const MAX_HEADER_FIELDS = 1000

/** Tells whether the parser shows all fields that came. */
export function hasAllFields ({ rawHeaders }: Pick<HandshakeRequest, 'rawHeaders'>, maxHeaderFields: number): boolean {
  return rawHeaders.length < 2 * maxHeaderFields
}

/**
 * Reads the client's opening handshake. RFC 6455 §4.2.1, over HTTP/2 RFC 8441 §5.
 * @param maxHeaderFields how many fields the HTTP parser keeps: at that many it may have dropped others, which
 * may have announced a body or a second Host
 * @throws HandshakeError 400, 405, 426 or 431 for the first rule that it breaks
 */
export function readOpeningHandshake (request: HandshakeRequest, maxHeaderFields = MAX_HEADER_FIELDS): OpeningHandshake {
  if (request.stream !== undefined) return readExtendedConnect(request, request.stream)
  const { method, httpVersion, headers, rawHeaders } = request
  if (!hasAllFields(request, maxHeaderFields)) throw tooManyHeaderFields(maxHeaderFields)
  if (method !== 'GET') throw wrongMethod(method)
  if (httpVersion !== '1.1') throw wrongHttpVersion(httpVersion)
  // RFC 9112 §3.2; Node leaves this check out for upgrades
  const hosts = countField(rawHeaders, 'host')
  if (hosts !== 1) throw wrongHost(hosts)
  if (!isWebSocketUpgrade(headers)) throw wrongUpgrade(headers.upgrade)
  if (!listHasToken(headers.connection, 'upgrade')) throw wrongConnection(headers.connection)
  // A body's bytes would be taken for frames. Java's client sends Content-Length: 0.
  if (hasBody(headers)) throw handshakeWithBody()
  // no other version is accepted, and neither are "013" and "13, 13"
  const version = headers['sec-websocket-version']
  if (version !== '13') throw wrongVersion(version)
  const key = headers['sec-websocket-key']
  if (key === undefined || !KEY.test(key) || countField(rawHeaders, 'sec-websocket-key') !== 1) throw wrongKey(key)
  return {
    key,
    protocols: readProtocols(headers['sec-websocket-protocol']),
    extensions: readExtensions(headers['sec-websocket-extensions'])
  }
}

/** What is left to check of a CONNECT with `:protocol: websocket`: nghttp2 has checked its other pseudo-header fields. */
function readExtendedConnect ({ headers, rawHeaders }: HandshakeRequest, { endAfterHeaders }: { endAfterHeaders: boolean }): OpeningHandshake {
  if ((headers['content-length'] ?? '0') !== '0') throw handshakeWithBody()
  if (endAfterHeaders) throw endedHandshake()
  const version = headers['sec-websocket-version']
  if (version !== '13') throw wrongVersionOverHttp2(version)
  // not required; proxies pass their client's key on, and some clients wait for the answer to it
  const key = headers['sec-websocket-key'] ?? ''
  return {
    key: KEY.test(key) && countField(rawHeaders, 'sec-websocket-key') === 1 ? key : null,
    protocols: readProtocols(headers['sec-websocket-protocol']),
    extensions: readExtensions(headers['sec-websocket-extensions'])
  }
}

/** The value of Sec-WebSocket-Accept that answers `key`. RFC 6455 §4.2.2. */
export function acceptKey (key: string): string {
  return hash('sha1', key + GUID, 'base64')
}

/** `handleProtocols` as in ws: called with what the client offers; false for none. */
export type ProtocolHandler<Request> = (protocols: Set<string>, request: Request) => string | false

/**
 * Chooses the subprotocol: by `handleProtocols` (not async: a Promise is no subprotocol), else the first of `preferred` that is offered, else the first offered.
 * @returns '' for none
 * @throws HandshakeError 500 when handleProtocols returns what was not offered
 */
export function chooseProtocol<Request> (
  offered: readonly string[],
  request: Request,
  options: { handleProtocols?: ProtocolHandler<Request> | undefined, protocols?: readonly string[] | undefined }
): string {
  if (offered.length === 0) return ''
  if (typeof options.handleProtocols === 'function') {
    const chosen: unknown = options.handleProtocols(new Set(offered), request)
    if (chosen === false || chosen === '' || chosen === undefined) return ''
    if (typeof chosen !== 'string' || !offered.includes(chosen)) throw unofferedProtocol(chosen)
    return chosen
  }
  if (options.protocols !== undefined) return options.protocols.find(protocol => offered.includes(protocol)) ?? ''
  return offered[0]!
}

/** What is agreed on beside the subprotocol. */
export interface AgreedExtensions {
  /** As in the header field; '' for none. */
  readonly extensions: string
  readonly deflate: DeflateAgreement | null
}

export const NO_EXTENSIONS: AgreedExtensions = { extensions: '', deflate: null }

/** Chooses among the extensions that the client offers. @param deflate false: no compression is wanted */
export function chooseExtensions (offers: readonly Extension[], deflate: DeflateWishes | false): AgreedExtensions {
  const accepted = deflate === false ? null : acceptOffer(offers, deflate)
  return accepted === null ? NO_EXTENSIONS : { extensions: formatExtensions([accepted.answer]), deflate: accepted.agreement }
}

/** The header fields of the 101 response. RFC 6455 §4.2.2, in its upper and lower case, which small clients rely on. */
export function responseHeaders (key: string | null, protocol: string, extensions = ''): Record<string, string> {
  return {
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    ...(key === null ? {} : { 'Sec-WebSocket-Accept': acceptKey(key) }),
    ...(protocol === '' ? {} : { 'Sec-WebSocket-Protocol': protocol }),
    ...(extensions === '' ? {} : { 'Sec-WebSocket-Extensions': extensions })
  }
}

/**
 * Fields, in lower case, that only the handshake may set in a 101: a client that is told of an extension or a subprotocol that was not
 * agreed on fails the connection.
 */
export const AGREED_FIELDS: ReadonlySet<string> = new Set([
  'upgrade', 'connection', 'sec-websocket-accept', 'sec-websocket-protocol', 'sec-websocket-extensions', 'sec-websocket-key', 'sec-websocket-version'
])

function readProtocols (value: string | undefined): readonly string[] {
  if (value === undefined) return []
  const protocols = parseTokenList(value)
  // §4.1: the elements must be unique
  if (protocols === null || new Set(protocols).size < protocols.length) throw wrongProtocolField(value)
  return protocols
}

function readExtensions (value: string | undefined): readonly Extension[] {
  if (value === undefined) return []
  const extensions = parseExtensions(value)
  if (extensions === null) throw wrongExtensionsField(value)
  return extensions
}

function countField (rawHeaders: readonly string[], name: string): number {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.toLowerCase() === name) count++
  }
  return count
}
