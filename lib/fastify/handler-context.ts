import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { CloseInfo } from '../../types/connection.ts'
import type { InvalidMessageHandler } from '../../types/messages.ts'
import type { WebSocketErrorHandler } from '../../types/options.ts'
import { isObserved } from '../connection/observability.ts'
import type { Connection } from '../connection/connection.ts'
import type { ConnectionOwner } from '../connection/settings.ts'
import type { MessageError } from '../errors.ts'
import { isThenable } from '../promises.ts'
import type { Seats } from './seats.ts'
import type { WebSocketServer } from './websocket-server.ts'

export interface RequestOwnerOptions {
  readonly errorHandler?: WebSocketErrorHandler | undefined
  readonly onInvalidMessage?: InvalidMessageHandler | undefined
  readonly closeLogLevel: string
}

/** What an errorHandler is called with, or an onInvalidMessage. */
interface Origin {
  readonly instance: FastifyInstance
  readonly request: FastifyRequest
  readonly reply: FastifyReply
}

type Log = (fields: object, message: string) => void

/**
 * Answers for a connection with what is left of the request that it came from. With its reply, its header fields and Node's
 * objects behind both a request takes 3.5 KiB: it stays in memory for an errorHandler or onInvalidMessage alone, or for who observes.
 */
export class HandlerContext implements ConnectionOwner {
  readonly request: FastifyRequest | undefined
  readonly #log: FastifyRequest['log']
  readonly #origin: Origin | null
  readonly #options: RequestOwnerOptions // of the route
  readonly #server: WebSocketServer
  #seats: Seats | null

  constructor (origin: Origin, options: RequestOwnerOptions, server: WebSocketServer, seats: Seats) {
    const { request } = origin
    keepAddress(request)
    this.request = isObserved() ? request : undefined
    this.#log = request.log
    this.#origin = options.errorHandler === undefined && options.onInvalidMessage === undefined ? null : origin
    this.#options = options
    this.#server = server
    this.#seats = seats
    seats.taken++
  }

  /** Gives the seat back: the connection is closed, or will never be open. */
  leave (): void {
    if (this.#seats !== null) this.#seats.taken--
    this.#seats = null
  }

  onClose (connection: Connection, { code, ...info }: CloseInfo): void {
    this.leave()
    this.#server.remove(connection)
    this.log(this.#options.closeLogLevel, { closeCode: code, ...info, ...connection.stats() }, 'WebSocket closed')
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
    const failed = (thrown: unknown): void => { connection.handlerFailed(thrown) }
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
    connection.closeFailed()
  }

  /** Anything can be thrown, even what no logger can print, and a logger may lack a level. */
  log (level: string, fields: object, message: string): void {
    try {
      const log = this.#log
      const write = (log as unknown as Record<string, Log | undefined>)[level]
      write?.call(log, fields, message)
    } catch {}
  }
}

/**
 * For listeners that ask for request.ip when the connection is closed. A socket tells its address while it is open, and afterwards to who has
 * asked before; a stream of HTTP/2 does not, so its request is told. That costs some 100 bytes, and keeps no request.
 */
function keepAddress (request: FastifyRequest): void {
  const { ip } = request
  if (request.raw.httpVersionMajor === 2) Object.defineProperty(request, 'ip', { value: ip, configurable: true, enumerable: true, writable: true })
}
