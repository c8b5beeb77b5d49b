// usage: npm run chaos:figures -- [million:STORE[=messages] | latency[=messages a second] | return[=clients] ...]. Default: million:aof and the others,
// with 1,000,000, 10,000 and 10,000. Figures are of the machine and of what else it does.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism, loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import { createClient } from 'redis'
import { redisBroker } from '../../lib/brokers/redis/index.ts'
import { fastifyWebsocket } from '../../lib/index.ts'
import type { Broker, TopicRule, WebSocketConnection } from '../../types/index.ts'
import { RedisServer } from '../helpers/redis-server.ts'
import { chaos } from './chaos.ts'
import { STORES, type StoreKind } from './stores.ts'

const SECONDS = 10
const WARM_UP_SECONDS = 2 // code that runs for the first time is slow, and whatever is late waits behind it
const WARM_UP = 'warm up'
const TOPICS = Array.from({ length: 10 }, (_, i) => `topic:${i}`)
const RULES: Readonly<Record<string, TopicRule>> = { plain: { topic: '*', plain: true }, numbered: { topic: '*' }, history: { topic: '*', size: 500 } }

const now = (): number => Number(process.hrtime.bigint()) / 1e6 // the same for all processes

/** An app whose connections do nothing by themselves. */
async function startNode (port: number, rule: TopicRule, watch: (broker: Broker) => void = () => {}): Promise<{ app: Fastify.FastifyInstance, enter: () => Promise<[server: WebSocketConnection, client: WebSocketConnection]> }> {
  const app = Fastify()
  const broker = redisBroker({ client: createClient({ url: `redis://127.0.0.1:${port}` }) })
  watch(broker)
  await app.register(fastifyWebsocket, { topics: { broker, rules: [rule] } })
  let entered: (connection: WebSocketConnection) => void = () => {}
  app.get('/', { websocket: true }, connection => { entered(connection) })
  await app.ready()
  const enter = async (): Promise<[WebSocketConnection, WebSocketConnection]> => {
    const server = new Promise<WebSocketConnection>(resolve => { entered = resolve })
    const client = await app.injectWS()
    return [await server, client]
  }
  return { app, enter }
}

function percentiles (values: number[]): Record<string, string> {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number): string => `${sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!.toFixed(2)} ms`
  return { p50: at(0.5), p99: at(0.99), 'p99.9': at(0.999), max: at(1) }
}

/** Microseconds of CPU of this process since it began. */
function cpu (): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

/** A process of its own: publishes, or is subscribed, as `role` says. */
async function runLatencyNode (role: string, port: number, kind: string, rate: number): Promise<void> {
  const { app, enter } = await startNode(port, RULES[kind]!)
  if (role === 'subscriber') {
    const [server, client] = await enter()
    const latencies: number[] = []
    client.on('message', data => {
      const text = String(data)
      if (text !== WARM_UP) latencies.push(now() - Number(text))
    })
    await Promise.all(TOPICS.map(topic => server.subscribe(topic)))
    process.send!('ready')
    const before = cpu()
    await once(process, 'message')
    process.send!({ messages: latencies.length, ...percentiles(latencies), cpu: (cpu() - before) / rate / (WARM_UP_SECONDS + SECONDS) })
  } else {
    const publish = async (seconds: number, text: () => string): Promise<void> => {
      const begin = now()
      for (let published = 0; published < rate * seconds;) {
        for (const due = Math.min((now() - begin) * rate / 1000, rate * seconds); published < due; published++) {
          void app.websocketServer.publish(TOPICS[published % TOPICS.length]!, text())
        }
        await sleep(1)
      }
      await app.websocketServer.topics.flush()
    }
    await publish(WARM_UP_SECONDS, () => WARM_UP)
    const [before, begin] = [cpu(), now()]
    await publish(SECONDS, () => String(now()))
    process.send!({ seconds: (now() - begin) / 1000, cpu: (cpu() - before) / rate / SECONDS })
  }
  await app.close()
  process.disconnect()
}

async function latency (rate = 10_000): Promise<void> {
  for (const kind of Object.keys(RULES)) {
    const server = await RedisServer.start()
    try {
      const start = (role: string): ReturnType<typeof fork> => fork(import.meta.filename, [], { env: { ...process.env, FIGURES: [role, server.port, kind, rate].join() } })
      const subscriber = start('subscriber')
      await once(subscriber, 'message')
      const publisher = start('publisher')
      const [published] = await once(publisher, 'message') as [{ seconds: number, cpu: number }]
      await sleep(500)
      subscriber.send('report')
      const [{ cpu, ...report }] = await once(subscriber, 'message') as [{ cpu: number }]
      const { calls, microseconds } = await server.usage()
      const perMessage = (count: number): number => Number((count / rate / (WARM_UP_SECONDS + SECONDS)).toFixed(3))
      console.log(`latency, ${kind}:`, {
        rate: Math.round(rate * SECONDS / published.seconds),
        ...report,
        // so that one can tell what a busy machine adds
        cpu: { publisher: `${published.cpu.toFixed(0)} us`, redis: `${perMessage(microseconds).toFixed(0)} us`, subscriber: `${cpu.toFixed(0)} us` },
        commands: Object.fromEntries(Object.entries(calls).map(([command, count]) => [command, perMessage(count)]).filter(([, count]) => count !== 0))
      })
    } finally {
      await server.remove()
    }
  }
}

/** Many clients of one node, with what each has missed. Their sockets are in memory. */
async function comeBack (clients = 10_000, topics = 100, missed = 50): Promise<void> {
  const server = await RedisServer.start()
  let reads = 0
  const { app, enter } = await startNode(server.port, { topic: '*', size: 500 }, broker => {
    const read = broker.read!.bind(broker)
    broker.read = async (...args) => {
      reads++
      return await read(...args)
    }
  })
  try {
    const members = []
    for (let i = 0; i < clients; i++) members.push(await enter())
    const names = Array.from({ length: topics }, (_, i) => `room:${i}`)
    const positions = await Promise.all(names.map(topic => app.websocketServer.topics.position(topic)))
    for (let i = 0; i < missed; i++) await Promise.all(names.map(topic => app.websocketServer.publish(topic, `message ${i}`)))
    let whole = 0
    reads = 0
    const begin = now()
    await Promise.all(members.map(async ([server, client], i) => {
      // by a listener: receive() half a million times would take longer than all the rest, which is in this process too
      const received = new Promise<boolean>(resolve => {
        let next = 0
        client.on('message', data => {
          if (String(data) !== `message ${next}`) resolve(false)
          else if (++next === missed) resolve(true)
        })
      })
      const { recovered } = await server.subscribe(names[i % topics]!, { since: positions[i % topics] })
      if (await received && recovered) whole++
    }))
    console.log('return:', { clients, topics, missed, whole, reads, seconds: Number(((now() - begin) / 1000).toFixed(2)) })
  } finally {
    await app.close()
    await server.remove()
  }
}

async function million (store: StoreKind, messages = 1_000_000): Promise<void> {
  const { undetected, behind, restored, ...counts } = await chaos({ seed: 1, store, nodes: 3, clients: 3, topics: 1_000, messages, brokerKills: 20, nodeKills: 20 })
  console.log(`million:${store}:`, { ...counts, undetected: undetected.length, behind: behind.length, longestToRestore: `${Math.max(0, ...restored)} ms` })
}

const DEFAULT = ['million:aof', 'latency', 'return']
const MEASURES: Readonly<Record<string, (count?: number) => Promise<void>>> = {
  latency,
  return: comeBack,
  ...Object.fromEntries((Object.keys(STORES) as StoreKind[]).map(store => [`million:${store}`, (count?: number) => million(store, count)]))
}

const child = process.env['FIGURES']
if (child !== undefined) {
  const [role, port, kind, rate] = child.split(',')
  await runLatencyNode(role!, Number(port), kind!, Number(rate))
} else {
  const given = process.argv.slice(2)
  for (const measure of given.length > 0 ? given : DEFAULT) {
    const [name, count] = measure.split('=') as [string, string | undefined]
    console.log(`${name}: node ${process.version}, ${availableParallelism()} cores, load ${loadavg().map(load => load.toFixed(1)).join(' ')}`)
    await MEASURES[name]!(count === undefined ? undefined : Number(count))
  }
}
