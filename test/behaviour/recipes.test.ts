// The programs of docs/recipes.md as they stand there, each with a client of the library that it is about.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { createTRPCClient, createWSClient, wsLink } from '@trpc/client'
import type { FastifyInstance } from 'fastify'
import { createClient } from 'graphql-ws'
import mqtt from 'mqtt'
import { test, type Test } from 'tap'
import { connect } from '../../lib/index.ts'
import { sectionOf, snippetsOf } from '../helpers/markdown.ts'
import { RedisServer, withoutRedis } from '../helpers/redis-server.ts'

const PAGE = await readFile(new URL('../../docs/recipes.md', import.meta.url), 'utf8')
const WORK = new URL('../../.tap/recipes/', import.meta.url)

let started = 0

/** Runs a program on a port that is free, with the source of the package. */
async function start (t: Test, heading: string): Promise<string> {
  const [snippet] = snippetsOf(sectionOf(PAGE, heading))
  const program = snippet!.code
    .replace("'fastify-websocket-stream'", "'../../lib/index.ts'")
    .replace("'fastify-websocket-stream/redis'", "'../../lib/brokers/redis/index.ts'")
    .replace('{ port: 3000 }', "{ port: 0, host: '127.0.0.1' }")
  const file = new URL(`${heading.replaceAll(/\W+/g, '-')}-${++started}.ts`, WORK)
  await mkdir(WORK, { recursive: true })
  await writeFile(file, `${program}\nexport { app }\n`)
  const { app } = await import(file.href) as { app: FastifyInstance }
  t.teardown(() => app.close())
  return `ws://127.0.0.1:${(app.server.address() as AddressInfo).port}`
}

test('a chat of two nodes lets in who is signed in, passes on what its schema allows, and goes on where a reader was', { skip: withoutRedis }, async t => {
  const redis = await RedisServer.start()
  t.teardown(() => redis.remove())
  process.env['REDIS_URL'] = `redis://127.0.0.1:${redis.port}`
  t.teardown(() => { delete process.env['REDIS_URL'] })
  const [one, two] = [await start(t, '## A chat for those who are signed in'), await start(t, '## A chat for those who are signed in')]
  const signIn = async (url: string, name: string): Promise<string> => {
    const { headers } = await fetch(`${url.replace('ws:', 'http:')}/login/${name}`, { method: 'POST' })
    return headers.get('set-cookie')!.split(';')[0]!
  }
  const enter = async (url: string, cookie: string, since = '') => {
    const client = await connect(`${url}/rooms/5?since=${encodeURIComponent(since)}`, { headers: { cookie } })
    return { client, receive: async () => JSON.parse(String(await client.receive())) }
  }
  await t.rejects(connect(`${one}/rooms/5`), { statusCode: 401 } as unknown as Error)
  const [annsCookie, bobsCookie] = [await signIn(one, 'ann'), await signIn(two, 'bob')]
  const [ann, bob] = [await enter(one, annsCookie), await enter(two, bobsCookie)]
  t.match([await ann.receive(), await bob.receive()], [{ recovered: false, position: String }, { recovered: false, position: String }])
  ann.client.send('{"text":"hello"}')
  const { position, ...hello } = await bob.receive()
  t.same(hello, { by: 'ann', text: 'hello' })

  bob.client.terminate()
  ann.client.send('{"text":"are you there?"}')
  t.match([await ann.receive(), await ann.receive()], [{ text: 'hello' }, { text: 'are you there?' }])
  const back = await enter(one, bobsCookie, position)
  t.match([await back.receive(), await back.receive()], [{ by: 'ann', text: 'are you there?' }, { recovered: true }])
  back.client.send('{"text":""}')
  t.match((await back.client.closed), { code: 1007, reason: /text must NOT have fewer than 1 characters/ })
  ann.client.close(1000)
})

test('graphql-ws answers queries and subscriptions', async t => {
  const url = await start(t, '## GraphQL subscriptions: graphql-ws')
  const client = createClient({ url: `${url}/graphql`, webSocketImpl: WebSocket })
  const results: unknown[] = []
  for await (const { data } of client.iterate({ query: 'subscription { countdown(from: 2) }' })) results.push(data)
  for await (const { data } of client.iterate({ query: '{ hello }' })) results.push(data)
  t.same(results, [{ countdown: 2 }, { countdown: 1 }, { countdown: 0 }, { hello: 'world' }])
  await client.dispose()
})

test('tRPC answers queries and subscriptions', async t => {
  const url = await start(t, '## tRPC')
  const client = createWSClient({ url: `${url}/trpc` })
  // the types of its router stay in the program
  const router = createTRPCClient<any>({ links: [wsLink({ client })] }) as any
  t.equal(await router.double.query(21), 42)
  const numbers: unknown[] = []
  await new Promise((resolve, reject) => {
    router.countdown.subscribe(2, { onData: (number: unknown) => { numbers.push(number) }, onComplete: resolve, onError: reject })
  })
  t.same(numbers, [2, 1, 0])
  await client.close()
})

test('aedes passes on what mqtt.js publishes', async t => {
  const url = await start(t, '## MQTT: aedes')
  const [subscriber, publisher] = await Promise.all([mqtt.connectAsync(`${url}/mqtt`), mqtt.connectAsync(`${url}/mqtt`)])
  await subscriber.subscribeAsync('news')
  const heard = new Promise(resolve => { subscriber.on('message', (topic, payload) => { resolve(`${topic}: ${payload}`) }) })
  await publisher.publishAsync('news', 'hello')
  t.equal(await heard, 'news: hello')
  await Promise.all([subscriber.endAsync(), publisher.endAsync()])
})
