// The HTTP/1.1 door without Fastify.
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { UpgradeOptions } from '../../types/options.ts'
import { admit } from '../handshake/admission.ts'
import { Connection, coreOf } from '../connection/connection.ts'
import { admissionFailed, clientLeft, HandshakeError, socketTaken } from '../errors.ts'
import { chooseExtensions, chooseProtocol, readOpeningHandshake, responseHeaders } from '../protocol/server-handshake.ts'
import { deflateSettings, rateLimitSettings, upgradeSettings } from '../options/settings.ts'
import { afterEarlierAnswers, watchRequests } from '../handshake/pipelining.ts'
import { PUBLISHER } from '../handshake/refusals.ts'
import { StandaloneOwner } from './standalone-owner.ts'
import { Http1Handshake } from '../handshake/http1-handshake.ts'

// Nobody has kept track of a request that came before the first handshake.
let isWatching = false

/**
 * Answers an opening handshake, with the arguments of an 'upgrade' event of node:http, in whose turn it must be called.
 * RFC 6455 §4.2. Messages are held until somebody takes them.
 * @returns resolves when the 101 is on its way
 * @throws HandshakeError after the client was refused, ConnectionClosedError when it had left before, or when somebody else answers on
 * the socket, TypeError (after a refusal with 500) for wrong options
 */
export async function upgrade (
  request: IncomingMessage, stream: Duplex, head: Buffer, options: UpgradeOptions = {}
): Promise<WebSocketConnection> {
  const socket = stream as Socket // Node's type of it in 'upgrade'
  const pending = new Http1Handshake(request, socket, head)
  pending.refusalListener = PUBLISHER
  const isFirst = !isWatching
  if (isFirst) watchRequests()
  isWatching = true
  try {
    await new Promise<void>(resolve => { afterEarlierAnswers(socket, resolve) })
    if (!pending.start()) {
      if (isFirst) socket.destroy() // a client with an earlier request would wait for this answer for ever
      throw pending.isTaken ? socketTaken() : clientLeft()
    }
    return await accept(pending, request, options)
  } catch (error) {
    pending.refuse(error instanceof HandshakeError ? error : admissionFailed(error))
    await pending.over
    throw error
  }
}

async function accept (pending: Http1Handshake, request: IncomingMessage, options: UpgradeOptions): Promise<Connection> {
  const { topics, ...settings } = upgradeSettings(options)
  pending.limit(settings.handshakeTimeout)
  const { key, protocols, extensions: offers } = readOpeningHandshake(request)
  const isSecure = (request.socket as Partial<TLSSocket>).encrypted === true
  // judging may take longer than there is time, or than the client stays
  const tooLate = new Promise<HandshakeError>((resolve, reject) => {
    pending.onRefusal(resolve)
    void pending.over.then(() => { reject(clientLeft()) })
  })
  tooLate.catch(() => {}) // every client leaves some day
  try {
    const refusal = await Promise.race([tooLate, admit(settings, { request, raw: request, host: request.headers.host, isSecure })])
    if (refusal !== null) throw refusal
  } finally {
    pending.onRefusal(null)
  }
  const protocol = chooseProtocol(protocols, request, settings)
  const perMessageDeflate = deflateSettings(settings.perMessageDeflate)
  const agreed = chooseExtensions(offers, perMessageDeflate)
  // a field that cannot be sent throws here, while the client can still be refused
  for (const [name, value] of Object.entries(settings.headers)) {
    if (value !== undefined) pending.response.setHeader(name, value)
  }
  return await new Promise(resolve => {
    pending.accept(responseHeaders(key, protocol, agreed.extensions), (transport, head) => {
      const owner = new StandaloneOwner(request, settings.errorHandler)
      const table = topics === undefined ? undefined : () => topics.table
      const rateLimit = rateLimitSettings(settings.rateLimit)
      const connection = new Connection({ ...settings, perMessageDeflate, rateLimit, role: 'server', hasHandler: false, table }, owner)
      coreOf(connection).open(transport, head, { protocol, ...agreed })
      resolve(connection)
    })
    pending.response.writeHead(101).end()
  })
}
