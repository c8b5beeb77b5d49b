// HTTP/1.1 handshakes without Fastify.
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
import { isThenable } from '../promises.ts'
import { StandaloneOwner } from './standalone-owner.ts'
import { Http1Handshake } from '../handshake/http1-handshake.ts'

// Requests are not tracked before the first handshake.
let isWatching = false

/**
 * Answers an opening handshake. Takes the arguments of an 'upgrade' event of node:http, and must be called synchronously in its
 * listener. RFC 6455 §4.2. Messages are held until consumed.
 * @returns resolves when the 101 is on its way
 * @throws HandshakeError after refusing the client, ConnectionClosedError if it has left or another response uses the socket, TypeError
 * (after a refusal with 500) for invalid options
 */
export async function upgrade (
  request: IncomingMessage, stream: Duplex, head: Buffer, options: UpgradeOptions = {}
): Promise<WebSocketConnection> {
  const socket = stream as Socket // its type in Node's 'upgrade' event
  const pending = new Http1Handshake(request, socket, head)
  pending.refusalListener = PUBLISHER
  const isFirst = !isWatching
  if (isFirst) watchRequests()
  isWatching = true
  try {
    await new Promise<void>(resolve => { afterEarlierAnswers(socket, resolve) })
    const { hasStream } = pending
    if (!pending.start()) {
      if (isFirst && hasStream) socket.destroy() // a client with an untracked earlier request would wait forever for this answer
      throw pending.isTaken ? socketTaken() : clientLeft()
    }
    const connection = accept(pending, request, options)
    pending.wait()
    return await connection
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
  const admission = admit(settings, { request, raw: request, host: request.headers.host, isSecure })
  const refusal = isThenable(admission) ? await whileClientWaits(admission, pending) : admission
  if (refusal !== null) throw refusal
  const protocol = chooseProtocol(protocols, request, settings)
  const perMessageDeflate = deflateSettings(settings.perMessageDeflate)
  const agreed = chooseExtensions(offers, perMessageDeflate)
  // an invalid field throws here, while the client can still be refused
  for (const [name, value] of Object.entries(settings.headers)) {
    if (value !== undefined) pending.response.setHeader(name, value)
  }
  return await new Promise((resolve, reject) => {
    pending.accept(responseHeaders(key, protocol, agreed.extensions), {
      onSwitched (transport, head) {
        const owner = new StandaloneOwner(request, settings.errorHandler)
        const table = topics === undefined ? undefined : () => topics.table
        const rateLimit = rateLimitSettings(settings.rateLimit)
        const connection = new Connection({ ...settings, perMessageDeflate, rateLimit, role: 'server', hasHandler: false, table }, owner)
        coreOf(connection).open(transport, head, { protocol, ...agreed })
        resolve(connection)
      },
      onLost () { reject(clientLeft()) }
    })
    pending.response.writeHead(101).end()
  })
}

/**
 * Waits for what the application decides, which may take longer than the timeout, or than the client waits.
 * @throws ConnectionClosedError if the client leaves
 */
async function whileClientWaits (admission: PromiseLike<HandshakeError | null>, pending: Http1Handshake): Promise<HandshakeError | null> {
  let isDecided = false
  try {
    return await new Promise((resolve, reject) => {
      pending.onRefusal(resolve)
      void pending.over.then(() => { if (!isDecided) reject(clientLeft()) })
      admission.then(resolve, reject)
    })
  } finally {
    isDecided = true
    pending.onRefusal(null)
  }
}
