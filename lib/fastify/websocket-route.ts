// From a Fastify request to an open connection.
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { WebSocketHandler } from '../../types/fastify.ts'
import type { WebSocketRouteOptions } from '../../types/options.ts'
import { admit } from '../handshake/admission.ts'
import { Connection, coreOf } from '../connection/connection.ts'
import { isAsyncGenerator, sendAll } from '../connection/outgoing/send-all.ts'
import type { ConnectionSettings } from '../connection/settings.ts'
import { admissionFailed, HandshakeError, serverClosing, tooManyConnections } from '../errors.ts'
import { AddressSeats } from './address-seats.ts'
import type { HandshakeRouter } from './handshake-router.ts'
import { chooseExtensions, chooseProtocol, readOpeningHandshake, responseHeaders, type OpeningHandshake } from '../protocol/server-handshake.ts'
import { deflateSettings, rateLimitSettings, routeOptions, type PluginSettings, type RouteSettings } from '../options/settings.ts'
import type { PendingHandshake } from '../handshake/pending-handshake.ts'
import { HandlerContext, type RequestOwnerOptions } from './handler-context.ts'
import { DEFAULTS } from '../options/defaults.ts'
import type { MessageCodec, MessageSchemas } from './message-schemas.ts'
import { isThenable } from '../promises.ts'
import { Seats } from './seats.ts'
import type { WebSocketServer } from './websocket-server.ts'

/** One registration of the plugin: what its routes share. */
export interface Scope {
  readonly router: HandshakeRouter
  readonly server: WebSocketServer
  readonly schemas: MessageSchemas
  /** Whether the app does not log a request. Null if the registration sets closeLogLevel. */
  readonly isLogDisabled: ((request: FastifyRequest) => boolean) | null
}

// values of request.protocol for TLS; a trusted proxy may say wss
const SECURE = new Set(['https', 'wss'])
type ConnectedRouteSettings = RouteSettings & ConnectionSettings & {
  /** For a connection of a request that is not logged. */
  readonly silent: RequestOwnerOptions
}

/** A route that takes WebSocket handshakes. */
export class WebSocketRoute {
  readonly #url: string
  readonly #handler: WebSocketHandler
  readonly #httpHandler: RouteOptions['handler']
  readonly #options: ReturnType<typeof routeOptions>
  #scope: Scope
  #codec: MessageCodec = {}
  #merged: { readonly revision: number, readonly settings: ConnectedRouteSettings } | null = null
  // null: the route has no limit of its own, and the server's applies
  readonly #seats: Seats | null
  readonly #addressSeats: AddressSeats | null

  constructor (url: string, handler: WebSocketHandler, httpHandler: RouteOptions['handler'], options: WebSocketRouteOptions, scope: Scope) {
    this.#url = url
    this.#handler = handler
    this.#httpHandler = httpHandler
    this.#options = routeOptions(options)
    this.#seats = options.maxConnections === undefined ? null : new Seats()
    this.#addressSeats = options.maxConnectionsPerAddress === undefined ? null : new AddressSeats()
    this.#scope = scope
  }

  adopt (scope: Scope): void {
    this.#scope = scope
    this.#merged = null
  }

  setCodec (codec: MessageCodec): void {
    this.#codec = codec
    this.#merged = null
  }

  handle (instance: FastifyInstance, request: FastifyRequest, reply: FastifyReply): unknown {
    const { router } = this.#scope
    const upgrade = router.upgradeOf(request.raw)
    if (upgrade === undefined) return this.#httpHandler.call(instance, request, reply)
    if (upgrade.isOver) return reply.hijack() // the client is gone
    if (upgrade.isDecided) return // an answer is already on its way
    const settings = this.#settings()
    const refuse = (error: unknown): void => {
      if (upgrade.isDecided) return
      // an error handler may shape the body; header fields that the RFC requires are set here
      if (error instanceof HandshakeError) reply.headers(upgrade.named(error).headers)
      reply.send(error instanceof Error ? error : admissionFailed(error))
    }
    try {
      const handshake = readOpeningHandshake(request.raw, router.maxHeaderFields)
      const decide = (refusal: HandshakeError | null): void => {
        if (refusal !== null) throw refusal
        if (!upgrade.isDecided) this.#accept(instance, request, reply, upgrade, settings, handshake)
      }
      const { raw, host, protocol } = request
      const admission = admit(settings, { request, raw, host, isSecure: SECURE.has(protocol) })
      if (isThenable(admission)) admission.then(decide).catch(refuse).catch(() => { upgrade.refuse(admissionFailed(null)) })
      else decide(admission)
    } catch (error) {
      refuse(error)
    }
  }

  /** Shared by all connections of the route; created again when the options of the server change. */
  #settings (): ConnectedRouteSettings {
    const { options, revision } = this.#scope.server
    if (this.#merged === null || revision !== this.#merged.revision) this.#merged = { revision, settings: this.#merge(options) }
    return this.#merged.settings
  }

  #merge ({ verifyClient, topics: _, ...inherited }: PluginSettings): ConnectedRouteSettings {
    // a route's own `origin` takes precedence over an inherited verifyClient
    const isInherited = verifyClient !== undefined && this.#options.origin === undefined
    const { onInvalidMessage, ...settings } = { ...inherited, ...(isInherited ? { verifyClient } : {}), ...this.#options }
    const { errorHandler } = settings
    // only if a schema can find a message invalid, as it makes each connection keep its request
    const answering = onInvalidMessage === undefined || this.#codec.decoder === undefined ? {} : { onInvalidMessage }
    return {
      ...settings,
      ...this.#codec,
      ...answering,
      role: 'server',
      route: this.#url,
      table: () => this.#scope.server.topics.table,
      perMessageDeflate: deflateSettings(settings.perMessageDeflate),
      rateLimit: rateLimitSettings(settings.rateLimit),
      silent: { errorHandler, ...answering, closeLogLevel: 'silent' }
    }
  }

  #accept (
    instance: FastifyInstance, request: FastifyRequest, reply: FastifyReply, upgrade: PendingHandshake, settings: ConnectedRouteSettings,
    { key, protocols, extensions: offers }: OpeningHandshake
  ): void {
    const { router, server } = this.#scope
    if (router.isClosing || server.isClosing) throw serverClosing()
    const seats = this.#seats ?? server.seats
    if (seats.taken >= settings.maxConnections) throw tooManyConnections(settings.maxConnections)
    const addressSeats = this.#addressSeats ?? server.addressSeats
    const address = addressSeats.admit(settings.maxConnectionsPerAddress, request)
    const protocol = chooseProtocol(protocols, request.raw, settings)
    const agreed = chooseExtensions(offers, settings.perMessageDeflate)
    const headers = responseHeaders(key, protocol, agreed.extensions)
    for (const [name, value] of server.fieldsAddedTo(headers, request.raw)) reply.header(name, value)
    const seat = addressSeats.take(address, seats.take())
    const owner = new HandlerContext({ instance, request, reply }, this.#isSilent(request, settings) ? settings.silent : settings, server, seat)
    const connection = router.enter(() => new Connection(settings, owner))
    upgrade.accept(headers, {
      onSwitched: (transport, head) => {
        coreOf(connection).open(transport, head, { protocol, ...agreed })
        router.enter(() => { this.#serve(instance, connection, request, owner) })
        if (server.isClosing) coreOf(connection).shutDown(server.options.shutdownCode) // closing began while hooks ran
      },
      onLost: () => { owner.leave() }
    })
    // All hooks run, including onSend and onResponse; they may add header fields or still refuse.
    reply.code(101).send()
  }

  /** The app does not log the request, and no closeLogLevel is set. */
  #isSilent (request: FastifyRequest, { closeLogLevel }: ConnectedRouteSettings): boolean {
    if (this.#options.closeLogLevel !== undefined || closeLogLevel !== DEFAULTS.closeLogLevel) return false
    return this.#scope.isLogDisabled?.(request) === true
  }

  // Its closures live as long as the handler's promise: they must not hold the request, which the handler may have released.
  #serve (instance: FastifyInstance, connection: Connection, request: FastifyRequest, owner: HandlerContext): void {
    const settled = (): void => { coreOf(connection).handlerSettled() }
    const failed = (error: unknown): void => {
      // not a failure of the handler: the peer has left
      if (coreOf(connection).isDisconnect(error)) owner.log('debug', { err: error }, 'a WebSocket handler ended with its connection')
      else coreOf(connection).handlerFailed(error)
      settled()
    }
    try {
      this.#scope.server.add(connection, request.raw)
      const result = this.#handler.call(instance, connection, request)
      if (isAsyncGenerator(result)) sendAll(result, connection).then(settled, failed)
      else if (isThenable(result)) result.then(settled, failed)
      else settled()
    } catch (error) {
      failed(error)
    }
  }
}
