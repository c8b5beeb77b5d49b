// OpenTelemetry metrics and context. Nothing here runs per message: counters that connections keep anyway are read when metrics are collected.
import { context, metrics, trace, type Attributes, type BatchObservableResult, type Counter, type Histogram, type Meter, type MeterProvider, type ObservableResult } from '@opentelemetry/api'
import type { FastifyInstance } from 'fastify'
import type { CloseInfo } from '../../types/connection.ts'
import type { TopicsStats, TopicsTable } from '../../types/topics.ts'
import { HandshakeRouter } from '../fastify/handshake-router.ts'
import type { ServerObserver } from '../fastify/observer.ts'
import type { Refusal } from '../handshake/refusals.ts'
import { boundedCloseCode, errorType } from './attributes.ts'
import { Census, type RouteFigures } from './census.ts'

export interface TelemetryOptions {
  /** Default: the global one at the time the app becomes ready. */
  readonly meterProvider?: MeterProvider | undefined
  /**
   * Runs handlers and listeners without the span of the handshake. Otherwise all their spans become its children, although it has ended, in one
   * trace that grows for as long as the connection is open. The rest of the context is kept. Default: false.
   */
  readonly traces?: boolean | undefined
}

const NAME = 'fastify-websocket-stream'
// seconds: the buckets of Kestrel, and longer ones up to a day
const DURATIONS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 1800, 3600, 14_400, 86_400]
const ROUND_TRIPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
const RECEIVE = { 'network.io.direction': 'receive' }
const TRANSMIT = { 'network.io.direction': 'transmit' }

/**
 * Measures all WebSockets of an app, including nested scopes, with OpenTelemetry. Call it before the app is ready. Instruments are created when the
 * app becomes ready, as those created before the SDK starts never record anything.
 * @throws TypeError for an invalid option; ready() rejects if no scope of the app has registered the plugin
 */
export function telemetry (app: FastifyInstance, options: TelemetryOptions = {}): void {
  checkOptions(options)
  let census: Census | null = null
  app.addHook('onReady', async () => {
    const router = routerOf(app)
    const meter = (options.meterProvider ?? metrics.getMeterProvider()).getMeter(NAME)
    census = new Census(router.servers)
    observe(meter, census)
    observeTopics(meter, () => new Set(router.servers.flatMap(({ scopeTopics: { made } }) => made ?? [])))
    router.observers.push(new Recorder(meter))
    if (options.traces === true) router.enter = callback => context.with(trace.deleteSpan(context.active()), callback)
  })
  app.addHook('onClose', async () => { census?.finish() })
}

function checkOptions (options: object): void {
  for (const name of Object.keys(options)) {
    if (name !== 'meterProvider' && name !== 'traces') throw new TypeError(`unknown option ${name} of telemetry(): there are meterProvider, traces`)
  }
  const { meterProvider, traces } = options as { meterProvider?: Partial<MeterProvider> | null, traces?: unknown }
  if (meterProvider !== undefined && typeof meterProvider?.getMeter !== 'function') {
    throw new TypeError('the option meterProvider of telemetry() must be a MeterProvider of OpenTelemetry')
  }
  if (traces !== undefined && typeof traces !== 'boolean') throw new TypeError('the option traces of telemetry() must be true or false')
}

function routerOf (app: FastifyInstance): HandshakeRouter {
  // the plugin's router, which may use another server
  const server = app.hasDecorator('websocketServer') ? (app as unknown as { websocketServer: { router?: HandshakeRouter } }).websocketServer : {}
  const router = server.router ?? HandshakeRouter.at(app.server)
  if (router === undefined) throw new Error('telemetry() finds no registration of fastify-websocket-stream in this app')
  return router
}

/** Instruments that are observed when metrics are collected. */
function observe (meter: Meter, census: Census): void {
  const upDown = (name: string, unit: string, description: string) => meter.createObservableUpDownCounter(`websocket.server.${name}`, { unit, description })
  const counter = (name: string, unit: string, description: string) => meter.createObservableCounter(`websocket.server.${name}`, { unit, description })
  const active = upDown('active_connections', '{connection}', 'Open WebSocket connections.')
  const messages = counter('messages', '{message}', 'Complete messages.')
  const io = counter('io', 'By', 'Bytes of frames.')
  const unsent = upDown('unsent', 'By', 'Bytes sent but not yet taken by the transport.')
  const held = upDown('held', 'By', 'Bytes of received messages not yet consumed.')
  const attributesOf = new Map<string, Record<'route' | 'receive' | 'transmit', Attributes>>()
  const report = (result: BatchObservableResult, route: string, figures: RouteFigures): void => {
    let attributes = attributesOf.get(route)
    if (attributes === undefined) {
      const own = ofRoute(route)
      attributesOf.set(route, attributes = { route: own, receive: { ...own, ...RECEIVE }, transmit: { ...own, ...TRANSMIT } })
    }
    result.observe(active, figures.open, attributes.route)
    result.observe(messages, figures.messagesReceived, attributes.receive)
    result.observe(messages, figures.messagesSent, attributes.transmit)
    result.observe(io, figures.bytesReceived, attributes.receive)
    result.observe(io, figures.bytesSent, attributes.transmit)
    result.observe(unsent, figures.unsent, attributes.route)
    result.observe(held, figures.held, attributes.route)
  }
  meter.addBatchObservableCallback(async result => {
    // '' stands for handshakes refused before their route was known, and has no connections
    for (const [route, figures] of await census.take()) if (route !== '') report(result, route, figures)
  }, [active, messages, io, unsent, held])
}

/** All topics of the app together: names are the application's, and may contain user data. */
function observeTopics (meter: Meter, all: () => Iterable<TopicsTable>): void {
  const sum = (name: Exclude<keyof TopicsStats, 'isBrokerUp' | 'gapReasons'>) => (result: ObservableResult): void => {
    let total = 0
    for (const topics of all()) total += topics.stats()[name]
    result.observe(total)
  }
  for (const [name, unit, description] of [
    ['published', '{message}', 'Messages published by this process.'],
    ['delivered', '{message}', 'Messages sent to subscribers.'],
    ['skipped', '{message}', 'Messages not sent to subscribers that were too slow.'],
    ['errors', '{error}', 'Rejected promises of topics, and errors of the broker.']
  ] as const) meter.createObservableCounter(`websocket.topics.${name}`, { unit, description }).addCallback(sum(name))
  meter.createObservableCounter('websocket.topics.gaps', { unit: '{gap}', description: 'Gaps reported to subscribers.' }).addCallback(result => {
    const totals = new Map<string, number>()
    for (const topics of all()) {
      for (const [reason, count] of Object.entries(topics.stats().gapReasons)) totals.set(reason, (totals.get(reason) ?? 0) + count)
    }
    for (const [reason, count] of totals) result.observe(count, { 'websocket.gap.reason': reason })
  })
  for (const [name, of, unit, description] of [
    ['subscriptions', 'subscriptions', '{subscription}', 'Subscriptions of connections to topics.'],
    ['pending', 'pendingBytes', 'By', 'Bytes published that wait for the broker.']
  ] as const) meter.createObservableUpDownCounter(`websocket.topics.${name}`, { unit, description }).addCallback(sum(of))
  meter.createObservableGauge('websocket.topics.broker.up', { description: '1 while all brokers of topics are reachable, else 0.' }).addCallback(result => {
    result.observe(Number([...all()].every(topics => topics.stats().isBrokerUp)))
  })
  meter.createObservableGauge('websocket.topics.broker.lag', {
    unit: 's', description: 'How long the oldest published message has been on its way to the broker and back.'
  }).addCallback(result => {
    result.observe(Math.max(0, ...Array.from(all(), topics => topics.stats().lag)) / 1000)
  })
}

/** Records events when they happen: closed connections, refusals and round trips. */
class Recorder implements ServerObserver {
  readonly #durations: Histogram
  readonly #roundTrips: Histogram
  readonly #refusals: Counter

  constructor (meter: Meter) {
    this.#durations = meter.createHistogram('websocket.server.connection.duration', {
      unit: 's', description: 'How long WebSockets were open, and how they ended.', advice: { explicitBucketBoundaries: DURATIONS }
    })
    this.#roundTrips = meter.createHistogram('websocket.server.rtt', {
      unit: 's', description: 'How long peers took to answer a Ping (heartbeat.rtt).', advice: { explicitBucketBoundaries: ROUND_TRIPS }
    })
    this.#refusals = meter.createCounter('websocket.server.handshake.refusals', {
      unit: '{handshake}', description: 'Refused opening handshakes.'
    })
  }

  onClosed (route: string, info: CloseInfo, milliseconds: number): void {
    this.#durations.record(milliseconds / 1000, {
      ...ofRoute(route), 'websocket.close.code': boundedCloseCode(info), 'websocket.close.cause': info.cause
    })
  }

  onRefused ({ asker, response: { statusCode }, refusalCode }: Refusal): void {
    this.#refusals.add(1, { ...ofRoute(asker?.routeOptions.url ?? ''), 'http.response.status_code': statusCode, 'error.type': errorType(refusalCode) })
  }

  onRoundTrip (route: string, milliseconds: number): void {
    this.#roundTrips.record(milliseconds / 1000, ofRoute(route))
  }
}

function ofRoute (route: string): Attributes {
  return route === '' ? {} : { 'http.route': route }
}
