// Topics of one process, as an application sees them: who gets what, who is too slow, and what is left when all have gone.
import { createServer } from 'node:http'
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { subscribe as listen, unsubscribe as unlisten } from 'node:diagnostics_channel'
import { test } from 'tap'
import { connect, memoryBroker, prepare, Topics, upgrade } from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { TopicGap } from '../../types/topics.ts'
import { startConnection, turn } from '../helpers/app.ts'
import { openRawClient } from '../helpers/raw-client.ts'
import { codeOf, fill, startTopics, take, type Member } from '../helpers/topics.ts'

test('what is published gets to all who are subscribed, but not to the connection that publishes it', async t => {
  const { topics, enter } = await startTopics(t, undefined)
  const [a, b, c] = [await enter(), await enter(), await enter()]
  for (const { connection } of [a, b, c]) t.strictSame(await connection.subscribe('news'), { recovered: false, position: null })
  await c.connection.subscribe('other')
  t.strictSame(await a.connection.publish('news', 'of a'), { position: null })
  await topics.publish('news', Buffer.from('of all'))
  await topics.publish('news', 'but b', { except: b.connection })
  await topics.publish('nobody', 'lost')
  await topics.publish('other', 7)
  t.strictSame(await take(a.client, 2), ['of all', 'but b'])
  t.strictSame(await take(b.client, 2), ['of a', 'of all'])
  t.strictSame(await take(c.client, 4), ['of a', 'of all', 'but b', '7'])
  t.match(topics.stats(), { topics: 2, subscriptions: 4, published: 5, delivered: 8, skipped: 0, waiting: 0 })
})

test('it arrives as it was published: text, binary, as options say, prepared; a Buffer may be used again', async t => {
  const { topics, enter } = await startTopics(t, undefined)
  const { client, connection } = await enter()
  const seen: unknown[] = []
  client.on('message', (data, isBinary) => { seen.push([data.toString(), isBinary]) })
  void connection.subscribe('a')
  const bytes = Buffer.from('bytes')
  void topics.publish('a', bytes)
  bytes.fill('x')
  void topics.publish('a', 'text', { binary: true })
  void topics.publish('a', Buffer.from('as text'), { binary: false })
  void topics.publish('a', prepare('prepared'))
  void topics.publish('a', [Buffer.from('in '), Buffer.from('two')])
  for (let i = 0; i < 5; i++) await turn()
  t.strictSame(seen, [['bytes', true], ['text', true], ['as text', false], ['prepared', false], ['in two', true]])
  t.throws(() => topics.publish('a', new Blob(['a']) as never), { name: 'TypeError', message: /Blob/ })
  t.throws(() => topics.publish('a', {} as never), { name: 'TypeError' })
})

test('subscribed twice it gets everything once, and unsubscribed nothing any more', async t => {
  const { topics, enter } = await startTopics(t, undefined)
  const { client, connection } = await enter()
  t.equal(connection.subscribe('a'), connection.subscribe('a', { slow: 'skip' }))
  await topics.publish('a', 'once')
  t.equal(connection.unsubscribe('a'), true)
  t.equal(connection.unsubscribe('a'), false)
  t.equal(connection.unsubscribe('b'), false)
  await topics.publish('a', 'not')
  connection.send('end')
  t.strictSame(await take(client, 2), ['once', 'end'])
  t.equal(topics.size, 0)
})

test('topics says what a connection is subscribed to, in close listeners what it was, and nothing after; it may be assigned over', async t => {
  const { topics, enter } = await startTopics(t, undefined)
  const { client, connection } = await enter()
  t.strictSame([...connection.topics], [])
  for (const name of ['a', 'b', 'c']) void connection.subscribe(name)
  connection.unsubscribe('b')
  t.strictSame([...connection.topics], ['a', 'c'])
  t.strictSame([...topics.names()], ['a', 'c'])
  t.equal(topics.subscribers('a'), 1)
  let seen: unknown
  connection.on('close', () => {
    seen = [[...connection.topics], topics.size, connection.unsubscribe('a')]
    void connection.publish('a', 'farewell')
  })
  const other = await enter()
  void other.connection.subscribe('a')
  client.close()
  await connection.closed
  t.strictSame(seen, [['a', 'c'], 1, false])
  t.strictSame([...connection.topics], [])
  t.equal(await other.client.receive(), 'farewell')
  t.equal(await codeOf(connection.subscribe('a')), 'FST_WS_TOPICS_UNSUBSCRIBED')
  Object.assign(connection, { topics: 5 })
  t.equal(connection.topics, 5)
})

test('a connection leaves as soon as it is closing, in the middle of a publish() too, and the others get it once', async t => {
  const { topics, enter } = await startTopics(t, { maxBehind: 100_000 })
  const members = [await enter(), await enter(), await enter(), await enter()]
  for (const { connection } of members) void connection.subscribe('a')
  const [, slow, other] = members
  await fill(slow!)
  other!.connection.close(4000)
  t.equal(topics.subscribers('a'), 3)
  await topics.publish('a', Buffer.alloc(100_000))
  t.equal(topics.subscribers('a'), 2)
  await topics.publish('a', 'next')
  for (const { client } of [members[0]!, members[3]!]) {
    t.equal((await client.receive())!.length, 100_000)
    t.equal(await client.receive(), 'next')
  }
  t.equal(topics.stats().delivered, 5, 'who was closed for it counts')
})

test('who is more than maxBehind behind is closed with 1013 and told so; the others go on, and come back whole', async t => {
  const { topics, enter } = await startTopics(t, { maxBehind: 200_000, rules: [{ topic: 'a', size: 100 }] })
  const [slow, quick] = [await enter(), await enter()]
  const { position } = await slow.connection.subscribe('a')
  void quick.connection.subscribe('a')
  const got: string[] = []
  quick.client.on('message', data => { got.push(data.toString('latin1', 0, 1)) })
  slow.client.pause()
  const told = once(slow.connection, 'slow')
  for (let i = 0; slow.connection.readyState === 1; i++) {
    await topics.publish('a', Buffer.alloc(20_000, String(i % 10)))
    await quick.connection.drained()
    await turn()
  }
  await told
  slow.client.resume()
  t.match(await slow.client.closed, { code: 1013, reason: 'slow reader' })
  for (let i = 0; i < 5; i++) await turn()
  const again = await enter()
  const subscribed = again.connection.subscribe('a', { since: position })
  t.strictSame((await take(again.client, got.length)).map(text => text[0]), got)
  t.match(await subscribed, { recovered: true })
})

test('one large message to who has nothing unsent is no reason to close it', async t => {
  const { topics, enter } = await startTopics(t, { maxBehind: 10 })
  const { client, connection } = await enter()
  void connection.subscribe('a')
  await topics.publish('a', Buffer.alloc(1_000_000))
  t.equal((await client.receive())!.length, 1_000_000)
})

test("with 'skip' a message is not delivered while send() would return false", async t => {
  const { topics, enter } = await startTopics(t, { slow: 'skip' })
  const slow = await enter()
  void slow.connection.subscribe('a')
  const seen: unknown[] = []
  const listener = (message: unknown): void => { seen.push({ ...message as object, connection: undefined }) }
  listen('fastify-websocket-stream:skip', listener)
  t.teardown(() => { unlisten('fastify-websocket-stream:skip', listener) })
  await topics.publish('a', 'before')
  await fill(slow)
  for (let i = 0; i < 3; i++) await topics.publish('a', 'skipped')
  t.match(topics.stats(), { delivered: 1, skipped: 3, waiting: 0 })
  const drained = once(slow.connection, 'drain')
  slow.client.resume()
  slow.client.on('message', data => { if (data.length < 10) seen.push(data.toString()) })
  await drained
  await topics.publish('a', 'after')
  await slow.connection.drained()
  for (let i = 0; i < 10; i++) await turn()
  t.strictSame(seen, [{ connection: undefined, topic: 'a' }, 'before', { connection: undefined, topic: 'a', count: 3 }, 'after'])
})

test("with 'latest' the newest waits, and goes out at drain; a replaced one counts as skipped", async t => {
  const { topics, enter } = await startTopics(t, undefined)
  const slow = await enter()
  void slow.connection.subscribe('ticks', { slow: 'latest' })
  void slow.connection.subscribe('other', { slow: 'latest' })
  const count = await fill(slow)
  for (const text of ['1', '2', '3']) void topics.publish('ticks', text)
  void topics.publish('other', 'o')
  t.match(topics.stats(), { delivered: 0, skipped: 2, waiting: 2 })
  slow.connection.unsubscribe('other')
  t.match(topics.stats(), { delivered: 0, skipped: 3, waiting: 1 })
  slow.client.resume()
  const messages = await take(slow.client, count + 1)
  t.equal(messages.at(-1), '3')
  void topics.publish('ticks', '4')
  t.equal(await slow.client.receive(), '4')
  t.match(topics.stats(), { delivered: 2, skipped: 3, waiting: 0 })
})

test('what is published inside a message that is sent in pieces waits for its end, and counts as unsent', async t => {
  const { topics, enter } = await startTopics(t, { maxBehind: 1000 })
  const [a, b] = [await enter(), await enter()]
  void a.connection.subscribe('a')
  void b.connection.subscribe('a')
  a.connection.send('in ', { fin: false })
  await topics.publish('a', 'news')
  await topics.publish('a', 'more')
  a.connection.send('two ', { fin: false })
  a.connection.send('pieces')
  a.connection.send('end')
  t.strictSame(await take(a.client, 4), ['in two pieces', 'news', 'more', 'end'])
  t.strictSame(await take(b.client, 2), ['news', 'more'])
  a.connection.send('never ends', { fin: false })
  for (let i = 0; i < 3; i++) {
    await topics.publish('a', Buffer.alloc(600))
    await take(b.client, 1)
  }
  t.match(await a.client.closed, { code: 1013 })
  t.equal(topics.subscribers('a'), 1)
  b.connection.send('is cut', { fin: false })
  await topics.publish('a', 'lost')
  b.connection.close(1000)
  t.match(await b.client.closed, { code: 1000 })
})

test('it is compressed once for all without context takeover, and goes uncompressed to those without compression', async t => {
  const OFFER = { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } }
  const connections: WebSocketConnection[] = []
  const { app, port, client } = await startConnection(t, { perMessageDeflate: { threshold: 0 } }, connection => {
    void connection.subscribe('a')
    connections.push(connection)
  }, OFFER)
  const [other, plain] = [await openRawClient(t, port, OFFER), await openRawClient(t, port)]
  await app.websocketServer.publish('a', 'again and '.repeat(100))
  const [first, second, third] = [await client.next(), await other.next(), await plain.next()]
  t.strictSame([first.rsv, second.rsv, third.rsv], [4, 4, 0])
  t.strictSame(first.payload, second.payload)
  t.equal(third.payload.length, 1000)
  await app.websocketServer.publish('a', 'again and '.repeat(100), { compress: false })
  t.equal((await client.next()).rsv, 0)
  t.equal(connections.length, 3)
})

test('encode is called once for each message and function, whoever has it; its position is that of the message', async t => {
  const { topics, enter } = await startTopics(t, { rules: [{ topic: 'room:*' }] })
  const [a, b, c] = [await enter(), await enter(), await enter()]
  const calls: unknown[] = []
  const encode = (payload: Buffer, about: { topic: string, position: string | null, binary: boolean }): string => {
    calls.push([payload.toString(), about])
    return `${about.topic}: ${payload}`
  }
  await a.connection.subscribe('room:1', { encode })
  await b.connection.subscribe('room:1', { encode })
  await c.connection.subscribe('room:1')
  const { position } = await topics.publish('room:1', 'x')
  t.strictSame([await a.client.receive(), await b.client.receive(), await c.client.receive()], ['room:1: x', 'room:1: x', 'x'])
  t.strictSame(calls, [['x', { topic: 'room:1', position, binary: false }]])
  t.match(position, /^\w+\.1\.\w{8}$/)
})

test('an encode that throws is reported once, and told by a gap; what it publishes or ends has its turn after it', async t => {
  const { topics, enter } = await startTopics(t, undefined)
  const [a, b] = [await enter(), await enter()]
  const gaps: TopicGap[] = []
  const errors: unknown[] = []
  const listener = (message: unknown): void => { errors.push((message as { error: Error }).error.message) }
  listen('fastify-websocket-stream:topics-error', listener)
  t.teardown(() => { unlisten('fastify-websocket-stream:topics-error', listener) })
  const encode = (payload: Buffer): string => {
    if (payload.toString() === 'bad') throw new Error('of encode')
    if (payload.toString() === 'nested') {
      void topics.publish('a', 'inner')
      b.connection.unsubscribe('a')
    }
    if (payload.toString() === 'late') return Promise.resolve('x') as never
    return payload.toString()
  }
  for (const { connection } of [a, b]) {
    connection.on('gap', gap => { gaps.push(gap) })
    void connection.subscribe('a', { encode })
  }
  await topics.publish('a', 'bad')
  t.strictSame(gaps, [], 'not inside of publish()')
  await turn()
  t.strictSame(gaps, [1, 2].map(() => ({ topic: 'a', reason: 'encode', from: null, to: null })))
  await topics.publish('a', 'late')
  await topics.publish('a', 'nested')
  await topics.publish('a', 'last')
  t.strictSame(await take(a.client, 3), ['nested', 'inner', 'last'])
  b.connection.send('end')
  t.strictSame(await take(b.client, 1), ['end'])
  t.match(errors, ['of encode', /must be a string/])
})

test('a snapshot is sent first, and what is published meanwhile after it; null is none', async t => {
  const { topics, enter } = await startTopics(t, undefined)
  const [a, b] = [await enter(), await enter()]
  let give: (snapshot: string) => void
  const subscribed = a.connection.subscribe('a', { snapshot: position => new Promise(resolve => { give = resolve; t.equal(position, null) }) })
  t.equal(a.connection.subscribe('a'), subscribed, 'which is not done')
  t.strictSame(await b.connection.subscribe('a', { snapshot: () => null, since: 'nonsense' }), { recovered: false, position: null })
  await topics.publish('a', '1')
  await topics.publish('a', '2')
  await turn()
  t.match(topics.stats(), { waiting: 2, delivered: 2 })
  give!('snapshot')
  t.strictSame(await subscribed, { recovered: false, position: null })
  await topics.publish('a', '3')
  t.strictSame(await take(a.client, 4), ['snapshot', '1', '2', '3'])
  t.strictSame(await take(b.client, 3), ['1', '2', '3'])
  t.match(topics.stats(), { waiting: 0, delivered: 6 })
})

test('a snapshot that fails ends the subscription, and subscribe() rejects with that', async t => {
  const { topics, enter } = await startTopics(t, undefined)
  const { connection } = await enter()
  await t.rejects(connection.subscribe('a', { snapshot: () => { throw new Error('of the snapshot') } }), { message: 'of the snapshot' })
  await t.rejects(connection.subscribe('a', { snapshot: () => new Blob(['a']) as never }), { name: 'TypeError' })
  t.equal(topics.size, 0)
  const ended = connection.subscribe('a', { snapshot: () => new Promise(() => {}) })
  await topics.publish('a', 'lost')
  connection.unsubscribe('a')
  t.equal(await codeOf(ended), 'FST_WS_TOPICS_UNSUBSCRIBED')
  t.match(topics.stats(), { waiting: 0, skipped: 1, topics: 0 })
})

test('what waits for a snapshot is bounded by maxBehind, and then as slow says', async t => {
  const { topics, enter } = await startTopics(t, { maxBehind: 1000 })
  const members = [await enter(), await enter(), await enter()]
  let give: (snapshot: string) => void
  const snapshot = new Promise<string>(resolve => { give = resolve })
  for (const [i, slow] of (['close', 'skip', 'latest'] as const).entries()) void members[i]!.connection.subscribe('a', { slow, snapshot: () => snapshot })
  for (const text of ['a', 'b', 'c']) await topics.publish('a', text.repeat(400))
  t.equal(members[0]!.connection.readyState, 2)
  t.match(topics.stats(), { skipped: 2 + 1 + 2, waiting: 3 })
  give!('s')
  t.strictSame((await take(members[1]!.client, 3)).map(text => text[0]), ['s', 'a', 'b'])
  t.strictSame((await take(members[2]!.client, 2)).map(text => text[0]), ['s', 'c'])
  t.match(await members[0]!.client.closed, { code: 1013 })
})

test('a large snapshot goes to a slow reader as it reads, and is not held against it', async t => {
  const { topics, enter } = await startTopics(t, { maxBehind: 100_000 })
  const slow = await enter()
  const count = await fill(slow)
  const subscribed = slow.connection.subscribe('a', { snapshot: () => Buffer.alloc(500_000) })
  void subscribed.then(() => { slow.connection.send('done') })
  await topics.publish('a', 'behind it')
  t.equal(slow.connection.readyState, 1)
  slow.client.resume()
  const messages = await take(slow.client, count + 3)
  t.strictSame(messages.slice(-3).map(text => text.length > 10 ? text.length : text), [500_000, 'done', 'behind it'])
})

test('names, options and limits that are wrong say so', async t => {
  const { topics, enter } = await startTopics(t, { maxTopics: 2 })
  const { connection } = await enter()
  for (const name of ['', 'x'.repeat(1025), '\ud800', 5, null, undefined, ['a']]) {
    for (const call of [() => connection.subscribe(name as string), () => connection.unsubscribe(name as string), () => topics.publish(name as string, 'x')]) {
      t.throws(call, { name: 'TypeError', code: 'FST_WS_TOPICS_NAME', message: /^a topic must be a string of 1 to 1024 characters, not / })
    }
  }
  await t.rejects(topics.position(''), { code: 'FST_WS_TOPICS_NAME' })
  t.throws(() => connection.subscribe('a', { slow: 'never' as never }), { name: 'TypeError', code: 'FST_WS_TOPICS_OPTION' })
  t.throws(() => connection.subscribe('a', { encode: 5 as never }), { code: 'FST_WS_TOPICS_OPTION' })
  t.throws(() => connection.subscribe('a', null as never), { code: 'FST_WS_TOPICS_OPTION' })
  t.throws(() => connection.subscribe('a', { sinze: '' } as never), { code: 'FST_WS_TOPICS_OPTION', message: /sinze.*since/ })
  await connection.subscribe('a')
  await connection.subscribe('b')
  t.equal(await codeOf(connection.subscribe('c')), 'FST_WS_TOPICS_LIMIT')
  t.equal(await codeOf(connection.subscribe('b')), undefined)
  connection.unsubscribe('a')
  t.equal(await codeOf(connection.subscribe('c')), undefined)
})

test('a promise that nobody looks at does not end the process, and is counted', async t => {
  const { topics, enter } = await startTopics(t, { maxTopics: 1 })
  const { connection } = await enter()
  void connection.subscribe('a')
  void connection.subscribe('b')
  await turn()
  t.equal(topics.stats().errors, 1)
})

test('connect() has no topics', async t => {
  const { enter } = await startTopics(t, undefined)
  const { client } = await enter()
  for (const call of [() => client.subscribe('a'), () => client.unsubscribe('a'), () => client.publish('a', 'x')]) {
    t.throws(call, { code: 'FST_WS_TOPICS_NONE' })
  }
})

test('without Fastify upgrade() is given a Topics, or has none', async t => {
  const topics = new Topics({ rules: [{ topic: 'a', size: 5 }] })
  await topics.start()
  const connections: WebSocketConnection[] = []
  const server = createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  server.on('upgrade', (request, socket, head) => {
    void upgrade(request, socket, head, request.url === '/none' ? {} : { topics }).then(connection => { connections.push(connection) }, () => {})
  })
  await once(server, 'listening')
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
  const clients = [await connect(url), await connect(url), await connect(`${url}/none`)]
  await connections[0]!.subscribe('a')
  await connections[1]!.publish('a', 'hello')
  t.equal(await clients[0]!.receive(), 'hello')
  t.throws(() => connections[2]!.subscribe('a'), { code: 'FST_WS_TOPICS_NONE' })
  server.removeAllListeners('upgrade')
  server.on('upgrade', (request, socket, head) => {
    void t.rejects(upgrade(request, socket, head, { topics: {} as never }), { name: 'TypeError', message: /topics must be a Topics, not object/ })
  })
  await t.rejects(connect(url), { code: 'FST_WS_UNEXPECTED_RESPONSE' })
  await topics.close()
  t.equal(await codeOf(connections[0]!.publish('a', 'x')), 'FST_WS_TOPICS_CLOSED')
  t.equal(await codeOf(connections[1]!.subscribe('a')), 'FST_WS_TOPICS_CLOSED')
  await t.rejects(topics.start(), { code: 'FST_WS_TOPICS_CLOSED' })
  for (const client of clients) client.terminate()
})

test('a snapshot is made in the context of subscribe(), whoever decides that it is needed', async t => {
  const store = new AsyncLocalStorage<string>()
  const { enter } = await startTopics(t, { broker: memoryBroker({ delay: 1 }) })
  const { client, connection } = await enter()
  void store.run('of subscribe', () => connection.subscribe('a', { snapshot: () => store.getStore() }))
  t.equal(await client.receive(), 'of subscribe')
})

test("a gap is told in the context of its connection's request", async t => {
  const store = new AsyncLocalStorage<string>()
  const seen: unknown[] = []
  const { app, connection } = await startConnection(t, {}, () => {})
  store.run('outside', () => {
    connection.on('gap', () => { seen.push(store.getStore()) })
    void connection.subscribe('a', { encode: () => { throw new Error('none') } })
    void app.websocketServer.publish('a', 'x')
  })
  await turn()
  t.strictSame(seen, [undefined])
})

test('no topic is left when all have gone, in any order', async t => {
  const { topics, enter } = await startTopics(t, undefined)
  const members: Member[] = []
  while (members.length < 12) members.push(await enter())
  for (const [i, { connection }] of members.entries()) {
    for (const name of ['all', `of ${i}`, `some ${i % 3}`]) void connection.subscribe(name)
  }
  t.equal(topics.size, 1 + 12 + 3)
  for (const i of [3, 0, 7, 11, 5, 1]) members[i]!.connection.unsubscribe('all')
  t.equal(topics.subscribers('all'), 6)
  await topics.publish('all', 'x')
  t.equal(topics.stats().delivered, 6)
  for (const { connection } of members) connection.terminate()
  t.match(topics.stats(), { topics: 0, subscriptions: 0 })
  t.strictSame([...topics.names()], [])
})
