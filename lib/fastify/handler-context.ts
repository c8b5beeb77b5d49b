import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { CloseInfo } from '../../types/connection.ts'
import type { InvalidMessageHandler } from '../../types/messages.ts'
import type { WebSocketErrorHandler } from '../../types/options.ts'
import { isObserved } from '../connection/observability.ts'
import { type Connection, coreOf } from '../connection/connection.ts'
import type { ConnectionOwner } from '../connection/core.ts'
import type { MessageError } from '../errors.ts'
import { isThenable } from '../promises.ts'
import type { Seat } from './seats.ts'
import type { WebSocketServer } from './websocket-server.ts'

export interface RequestOwnerOptions {
  readonly errorHandler?: WebSocketErrorHandler | undefined
  readonly onInvalidMessage?: InvalidMessageHandler | undefined
  readonly closeLogLevel: string
}

/** What errorHandler and onInvalidMessage are called with. */
interface Origin {
  readonly instance: FastifyInstance
  readonly request: FastifyRequest
  readonly reply: FastifyReply
}

type Log = (fields: object, message: string) => void

/**
 * The owner of a route's connection. Keeps the request only for an errorHandler, an onInvalidMessage or a channel with subscribers:
 * with its reply, its header fields and Node's objects behind both it takes 3.5 KiB.
 */
export class HandlerContext implements ConnectionOwner {
  readonly request: FastifyRequest | undefined
  readonly ip: string | undefined
  readonly #log: FastifyRequest['log']
  readonly #origin: Origin | null
  readonly #options: RequestOwnerOptions // of the route
  readonly #server: WebSocketServer
  #seat: Seat | null

  constructor (origin: Origin, options: RequestOwnerOptions, server: WebSocketServer, seat: Seat) {
    const { request } = origin
    this.ip = keepAddress(request)
    this.request = isObserved() ? request : undefined
    this.#log = request.log
    this.#origin = options.errorHandler === undefined && options.onInvalidMessage === undefined ? null : origin
    this.#options = options
    this.#server = server
    this.#seat = seat
  }

  /** Gives the seat back: the connection is closed or will never open. */
  leave (): void {
    this.#seat?.leave()
    this.#seat = null
  }

  onClose (connection: Connection, closeInfo: CloseInfo): void {
    const { code, ...info } = closeInfo
    this.leave()
    this.#server.remove(connection, closeInfo)
    const { id } = connection.info
    this.log(this.#options.closeLogLevel, { connectionId: id, closeCode: code, ...info, ...connection.stats() }, 'WebSocket closed')
  }

  onSendingClose (connection: Connection): void {
    this.#server.onSendingClose(connection)
  }

  onRoundTrip (milliseconds: number, connection: Connection): void {
    this.#server.onRoundTrip(milliseconds, connection)
  }

  onWarning (message: string): void {
    this.log('warn', {}, message)
  }

  onError (error: unknown, connection: Connection): void {
    const { errorHandler } = this.#options
    if (this.#origin === null || errorHandler === undefined) {
      this.#giveUp(error, connection)
      return
    }
    const { instance, request, reply } = this.#origin
    const failed = (thrown: unknown): void => { this.#giveUp(thrown, connection) }
    try {
      const result = errorHandler.call(instance, error, connection, request, reply)
      if (isThenable(result)) result.then(undefined, failed)
    } catch (thrown) {
      failed(thrown)
    }
  }

  onInvalidMessage (error: MessageError, connection: Connection): Promise<unknown> | boolean {
    const { onInvalidMessage } = this.#options
    if (this.#origin === null || onInvalidMessage === undefined) return false
    const { instance, request } = this.#origin
    const failed = (thrown: unknown): void => { coreOf(connection).handlerFailed(thrown) }
    try {
      const result = onInvalidMessage.call(instance, error, connection, request)
      return isThenable(result) ? Promise.resolve(result).catch(failed) : true
    } catch (thrown) {
      failed(thrown)
      return true
    }
  }

  #giveUp (error: unknown, connection: Connection): void {
    this.log('error', { err: error }, 'a WebSocket handler or listener failed')
    coreOf(connection).closeFailed()
  }

  /** Never throws: the thrown value may be impossible to log, and a logger may lack a level. */
  log (level: string, fields: object, message: string): void {
    try {
      const log = this.#log
      const write = (log as unknown as Record<string, Log | undefined>)[level]
      write?.call(log, fields, message)
    } catch {}
  }
}

/**
 * Keeps request.ip readable after the connection is closed. A socket caches its address once it has been read; an HTTP/2 stream does not, so
 * the value is fixed on the request. That costs about 100 bytes and keeps no request alive.
 * @returns the address, copied unless it is the socket's: a slice of a header field would keep the whole field alive
 */
function keepAddress (request: FastifyRequest): string | undefined {
  const { ip } = request
  if (request.raw.httpVersionMajor === 2) Object.defineProperty(request, 'ip', { value: ip, configurable: true, enumerable: true, writable: true })
  return ip === undefined || ip === request.raw.socket?.remoteAddress ? ip : Buffer.from(ip, 'latin1').toString('latin1')
}
