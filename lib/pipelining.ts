// RFC 9112 §9.3.2: requests may be sent before the answers to earlier ones have come, and are answered in their order. To an
// upgrade Node does not apply this.
import { subscribe } from 'node:diagnostics_channel'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

// The last response on each socket. By Node's channel and not by 'request', as listen('localhost') makes a second server, of
// which Fastify passes on nothing but the upgrades.
const lastResponses = new WeakMap<Socket, ServerResponse>()
subscribe('http.server.request.start', message => {
  const { socket, response } = message as { socket: Socket, response: ServerResponse }
  lastResponses.set(socket, response)
})

/** Calls back when all earlier requests of `socket` are answered, at once if they are. */
export function afterEarlierAnswers (socket: Socket, callback: () => void): void {
  const earlier = lastResponses.get(socket)
  if (earlier === undefined || earlier.closed || earlier.destroyed) callback()
  else earlier.once('close', () => { afterEarlierAnswers(socket, callback) })
}
