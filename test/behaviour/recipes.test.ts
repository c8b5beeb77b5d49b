// The programs of docs/recipes.md as they stand there, each with a client of the library that it is about.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { createTRPCClient, createWSClient, wsLink } from '@trpc/client'
import type { FastifyInstance } from 'fastify'
import { createClient } from 'graphql-ws'
import mqtt from 'mqtt'
import { test, type Test } from 'tap'
import { sectionOf, snippetsOf } from '../helpers/markdown.ts'

const PAGE = await readFile(new URL('../../docs/recipes.md', import.meta.url), 'utf8')
const WORK = new URL('../../.tap/recipes/', import.meta.url)

/** Runs a program on a port that is free, with the source of the package. */
async function start (t: Test, heading: string): Promise<string> {
  const [snippet] = snippetsOf(sectionOf(PAGE, heading))
  const program = snippet!.code.replace("'fastify-websocket-stream'", "'../../lib/index.ts'").replace('{ port: 3000 }', "{ port: 0, host: '127.0.0.1' }")
  const file = new URL(`${heading.replaceAll(/\W+/g, '-')}.ts`, WORK)
  await mkdir(WORK, { recursive: true })
  await writeFile(file, `${program}\nexport { app }\n`)
  const { app } = await import(file.href) as { app: FastifyInstance }
  t.teardown(() => app.close())
  return `ws://127.0.0.1:${(app.server.address() as AddressInfo).port}`
}

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
