// The server side of the opening handshake, RFC 6455 §4.2, as pure functions of header fields.
import { hash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import {
  endedHandshake, handshakeWithBody, lostConnect, lostUpgrade, tooManyHeaderFields, unofferedProtocol, wrongConnection, wrongExtensionsField, wrongHost,
  wrongHttpVersion, wrongKey, wrongMethod, wrongProtocolField, wrongUpgrade, wrongVersion, wrongVersionOverHttp2, type HandshakeError
} from '../errors.ts'
import { acceptOffer, type DeflateAgreement, type DeflateWishes } from './permessage-deflate.ts'
import { formatExtensions, listHasToken, parseExtensions, parseTokenList, type Extension } from './header-field.ts'

/** What is checked of a handshake; compatible with IncomingMessage of node:http. */
export interface HandshakeRequest {
  readonly method?: string | undefined
  readonly httpVersion: string
  readonly headers: IncomingHttpHeaders
  /** Names and values alternating, as received: includes repeated fields, which `headers` hides. */
  readonly rawHeaders: readonly string[]
  /** Present for HTTP/2; httpVersion does not prove that, as a request line may say HTTP/2.0. */
  readonly stream?: { readonly endAfterHeaders: boolean }
}

export interface OpeningHandshake {
  /** Null if absent, as usual over HTTP/2. */
  readonly key: string | null
  /** The client's offers, in its order of preference. */
  readonly protocols: readonly string[]
  readonly extensions: readonly Extension[]
}

// §1.3
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
// §4.1: 16 bytes in base64. The 22nd character carries 2 bits; some clients also set its other 4 bits, which do no harm.
const KEY = /^[A-Za-z0-9+/]{22}==$/

/** Whether a request asks for WebSocket, well-formed or not; `Upgrade: h2c` does not. */
export function isWebSocketUpgrade (headers: IncomingHttpHeaders): boolean {
  return listHasToken(headers.upgrade, 'websocket')
}

/** @returns the error for a request that looks like a handshake whose upgrade a proxy has dropped; null for others */
export function findLostUpgrade ({ httpVersion, headers }: HandshakeRequest): HandshakeError | null {
  if (headers['sec-websocket-key'] === undefined) return null
  if (httpVersion === '2.0') return lostConnect()
  // null if both fields are present: the connection cannot be upgraded for another reason
  return isWebSocketUpgrade(headers) && listHasToken(headers.connection, 'upgrade') ? null : lostUpgrade(headers.upgrade, headers.connection)
}

/** Whether a body follows, even an empty chunked one. RFC 9112 §6.3. */
export function hasBody (headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}

/** Number of header fields from which Node 20 may silently drop some. */
export const MAX_HEADER_FIELDS = 1000

/** Whether the parser has surely kept all fields. */
export function hasAllFields ({ rawHeaders }: Pick<HandshakeRequest, 'rawHeaders'>, maxHeaderFields: number): boolean {
  return rawHeaders.length < 2 * maxHeaderFields
}

/**
 * Reads the client's opening handshake. RFC 6455 §4.2.1, over HTTP/2 RFC 8441 §5.
 * @param maxHeaderFields how many fields the HTTP parser keeps: with that many it may have dropped others, such as one that
 * announces a body or a second Host
 * @throws HandshakeError 400, 405, 426 or 431 for the first rule that it breaks
 */
export function readOpeningHandshake (request: HandshakeRequest, maxHeaderFields = MAX_HEADER_FIELDS): OpeningHandshake {
  if (request.stream !== undefined) return readExtendedConnect(request, request.stream)
  const { method, httpVersion, headers, rawHeaders } = request
  if (!hasAllFields(request, maxHeaderFields)) throw tooManyHeaderFields(maxHeaderFields)
  if (method !== 'GET') throw wrongMethod(method)
  if (httpVersion !== '1.1') throw wrongHttpVersion(httpVersion)
  // RFC 9112 §3.2; Node omits this check for upgrades
  const hosts = countField(rawHeaders, 'host')
  if (hosts !== 1) throw wrongHost(hosts)
  if (!isWebSocketUpgrade(headers)) throw wrongUpgrade(headers.upgrade)
  if (!listHasToken(headers.connection, 'upgrade')) throw wrongConnection(headers.connection)
  // A body would be read as frames. Java's client sends Content-Length: 0.
  if (hasBody(headers)) throw handshakeWithBody()
  // exactly 13: not "013" or "13, 13" either
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

/** Checks a CONNECT with `:protocol: websocket`, whose other pseudo-header fields nghttp2 has checked. */
function readExtendedConnect ({ headers, rawHeaders }: HandshakeRequest, { endAfterHeaders }: { endAfterHeaders: boolean }): OpeningHandshake {
  if ((headers['content-length'] ?? '0') !== '0') throw handshakeWithBody()
  if (endAfterHeaders) throw endedHandshake()
  const version = headers['sec-websocket-version']
  if (version !== '13') throw wrongVersionOverHttp2(version)
  // not required, but proxies pass on the key of a client that expects Sec-WebSocket-Accept
  const key = headers['sec-websocket-key'] ?? ''
  return {
    key: KEY.test(key) && countField(rawHeaders, 'sec-websocket-key') === 1 ? key : null,
    protocols: readProtocols(headers['sec-websocket-protocol']),
    extensions: readExtensions(headers['sec-websocket-extensions'])
  }
}

/** The value of Sec-WebSocket-Accept for `key`. RFC 6455 §4.2.2. */
export function acceptKey (key: string): string {
  return hash('sha1', key + GUID, 'base64')
}

/** `handleProtocols` as in ws: gets the client's offers, returns one of them or false for none. */
export type ProtocolHandler<Request> = (protocols: Set<string>, request: Request) => string | false

/**
 * Chooses the subprotocol: by `handleProtocols` (synchronous), or else the first of `protocols` that is offered; without both, the first offered.
 * @returns '' for none
 * @throws HandshakeError 500 if handleProtocols returns one that was not offered
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

/** The negotiated extensions. */
export interface AgreedExtensions {
  /** The value of the header field; '' for none. */
  readonly extensions: string
  readonly deflate: DeflateAgreement | null
}

export const NO_EXTENSIONS: AgreedExtensions = { extensions: '', deflate: null }

/** Chooses among the client's extensions. @param deflate false: no compression */
export function chooseExtensions (offers: readonly Extension[], deflate: DeflateWishes | false): AgreedExtensions {
  const accepted = deflate === false ? null : acceptOffer(offers, deflate)
  return accepted === null ? NO_EXTENSIONS : { extensions: formatExtensions([accepted.answer]), deflate: accepted.agreement }
}

/** The header fields of the 101 response. RFC 6455 §4.2.2, with its capitalization, on which small clients rely. */
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
 * Fields, in lower case, that only the handshake may set in a 101: a client fails the connection if it gets an extension or subprotocol that
 * was not negotiated.
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
    const given = rawHeaders[i]!
    if (given.length === name.length && given.toLowerCase() === name) count++
  }
  return count
}
