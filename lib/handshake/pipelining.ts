// RFC 9112 §9.3.2: requests may be sent before the answers to earlier ones have come, and are answered in their order. Node
// does not apply this to an upgrade, and its handling of the earlier ones ends with the upgrade.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

// By Node's channel and not by 'request': listen('localhost') makes a second server, of which Fastify passes on only the upgrades.
// The channel covers every server of the process, so it is used only while somebody takes upgrades.
const REQUEST_START = 'http.server.request.start'

// By socket, the unanswered requests in their order.
const unanswered = new WeakMap<Socket, Map<ServerResponse, IncomingMessage>>()
let watchers = 0

function onRequest (message: unknown): void {
  const { request, response, socket } = message as { request: IncomingMessage, response: ServerResponse, socket: Socket }
  const requests = unanswered.get(socket) ?? new Map<ServerResponse, IncomingMessage>()
  unanswered.set(socket, requests.set(response, request))
  response.once('close', () => { requests.delete(response) })
}

/** Keeps track of requests from now on. @returns stops that, once nobody else needs it */
export function watchRequests (): () => void {
  if (watchers++ === 0) subscribe(REQUEST_START, onRequest)
  let isOver = false
  return () => {
    if (!isOver && --watchers === 0) unsubscribe(REQUEST_START, onRequest)
    isOver = true
  }
}

/** Tells whether an earlier request on `socket` is still unanswered. */
export function hasEarlierRequests (socket: Socket): boolean {
  const requests = unanswered.get(socket)
  return requests !== undefined && requests.size > 0
}

/** Calls back when all earlier requests on `socket` are answered; at once if they are already. */
export function afterEarlierAnswers (socket: Socket, callback: () => void): void {
  const requests = unanswered.get(socket)
  if (requests === undefined || requests.size === 0) {
    callback()
    return
  }
  // Node has removed its own listeners: an answer that is on its way waits for this one,
  const onDrain = (): void => { for (const response of [...requests.keys()].slice(0, 1)) response.emit('drain') }
  // and whoever is working on an answer waits for this one.
  const onClose = (): void => { for (const request of requests.values()) request.destroy() }
  const next = (): void => {
    const [last] = [...requests.keys()].slice(-1)
    if (last !== undefined) {
      last.once('close', next)
      return
    }
    socket.off('drain', onDrain)
    socket.off('close', onClose)
    callback()
  }
  socket.on('drain', onDrain)
  socket.prependListener('close', onClose)
  next()
}
