// RFC 9112 §9.3.2: requests may be sent before earlier ones are answered, and are answered in order. Node does not do this for an
// upgrade, and stops handling the earlier requests.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

// Uses Node's channel instead of 'request', as Fastify passes on only upgrades of the second server that listen('localhost') creates.
// The channel covers all servers of the process, so it is used only while upgrades are handled.
const REQUEST_START = 'http.server.request.start'

// unanswered requests by socket, in order
const unanswered = new WeakMap<Socket, Map<ServerResponse, IncomingMessage>>()
let watchers = 0

function onRequest (message: unknown): void {
  const { request, response, socket } = message as { request: IncomingMessage, response: ServerResponse, socket: Socket }
  const requests = unanswered.get(socket) ?? new Map<ServerResponse, IncomingMessage>()
  unanswered.set(socket, requests.set(response, request))
  response.once('close', () => { requests.delete(response) })
}

/** Tracks requests from now on. @returns stops that, once all callers have stopped */
export function watchRequests (): () => void {
  if (watchers++ === 0) subscribe(REQUEST_START, onRequest)
  let isOver = false
  return () => {
    if (!isOver && --watchers === 0) unsubscribe(REQUEST_START, onRequest)
    isOver = true
  }
}

/** Whether an earlier request on `socket` is still unanswered. */
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
  // Node has removed its own listeners: an answer being written waits for 'drain',
  const onDrain = (): void => { for (const response of [...requests.keys()].slice(0, 1)) response.emit('drain') }
  // and handlers of earlier requests wait for 'close'
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
