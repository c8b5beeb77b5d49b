import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { CloseInfo } from '../types/connection.ts'
import type { WebSocketErrorHandler } from '../types/options.ts'
import type { Connection, ConnectionOwner } from './connection.ts'
import { isThenable } from './thenable.ts'

export interface RequestOwnerOptions {
  readonly instance: FastifyInstance
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly errorHandler: WebSocketErrorHandler | undefined
  readonly closeLogLevel: string
  /** Called when the connection is closed. */
  readonly onLeave: (connection: Connection) => void
}

type Log = (fields: object, message: string) => void

/** Answers for a connection with the request that it came from. */
export class RequestOwner implements ConnectionOwner {
  readonly #options: RequestOwnerOptions

  constructor (options: RequestOwnerOptions) {
    this.#options = options
  }

  get request (): FastifyRequest { return this.#options.request }

  onClose (connection: Connection, { code, reason, wasClean }: CloseInfo): void {
    const { closeLogLevel, onLeave } = this.#options
    onLeave(connection)
    this.#log(closeLogLevel, { closeCode: code, reason, wasClean, ...connection.stats() }, 'WebSocket closed')
  }

  onError (error: unknown, connection: Connection): void {
    const { errorHandler, instance, request, reply } = this.#options
    if (errorHandler === undefined) {
      this.#giveUp(error, connection)
      return
    }
    const failed = (thrown: unknown): void => { this.#giveUp(thrown, connection) }
    try {
      const result = errorHandler.call(instance, error, connection, request, reply)
      if (isThenable(result)) result.then(undefined, failed)
    } catch (thrown) {
      failed(thrown)
    }
  }

  #giveUp (error: unknown, connection: Connection): void {
    this.#log('error', { err: error }, 'a WebSocket handler or listener failed')
    connection.closeFailed()
  }

  /** Anything can be thrown, even what no logger can print, and a logger may lack a level. */
  #log (level: string, fields: object, message: string): void {
    try {
      const { log } = this.#options.request
      const write = (log as unknown as Record<string, Log | undefined>)[level]
      write?.call(log, fields, message)
    } catch {}
  }
}
