import { createServer, connect as connectTcp } from 'node:net'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FastifyRequest } from 'fastify'
import Fastify from 'fastify'
import { test } from 'tap'
import websocket, { connect } from '../../lib/index.ts'
import { AddressSeats, addressKey } from '../../lib/fastify/address-seats.ts'
import { close, echo, handshake, problem, serve } from '../helpers/http.ts'
import { openSession, serveHttp2 } from '../helpers/http2.ts'

test('IPv4 counts as it is, also within IPv6, and IPv6 by the network of 64 bits', t => {
  const keys: Record<string, string | null> = {
    '10.0.0.1': '10.0.0.1',
    '::ffff:10.0.0.1': '10.0.0.1',
    '::FFFF:a00:1': '10.0.0.1',
    '2001:db8:1:2:3:4:5:6': '2001:db8:1:2::/64',
    '2001:DB8:1:2::9': '2001:db8:1:2::/64',
    '2001:db8:1:3::9': '2001:db8:1:3::/64',
    '2001:db8::': '2001:db8:0:0::/64',
    '::1': '0:0:0:0::/64',
    'fe80::1%eth0': 'fe80:0:0:0::/64',
    '64:ff9b::192.0.2.33': '64:ff9b:0:0::/64',
    'not an address': 'not an address',
    '': null
  }
  for (const [ip, key] of Object.entries(keys)) t.equal(addressKey(ip), key, ip)
  t.equal(addressKey(undefined), null)
  t.end()
})

test('a key may be anything that is a string, and null is not limited', t => {
  const seats = new AddressSeats()
  const seat = { leave () {} }
  const option = { max: 1, key: ({ id }: FastifyRequest) => id as never }
  const ask = (id: unknown): string | null => seats.admit(option, { id } as FastifyRequest)
  t.equal(ask(null), null)
  t.equal(ask(undefined), null)
  t.equal(seats.take(null, seat), seat)
  const first = seats.take(ask('a'), seat)
  t.throws(() => ask('a'), { code: 'FST_WS_TOO_MANY_FROM_ADDRESS', statusCode: 429 })
  t.equal(ask('b'), 'b')
  t.throws(() => ask(5), { message: 'maxConnectionsPerAddress.key must return a string or null, not number' })
  first.leave()
  t.equal(ask('a'), 'a')
  t.equal(seats.taken.size, 0)
  t.end()
})

test('connections from one address are limited, of all routes together or of a route that says so, and one that ended makes room', async t => {
  const { app, site } = await serve(t, app => {
    app.get('/a', { websocket: true }, echo)
    app.get('/b', { websocket: true }, echo)
    app.get('/own', { websocket: { maxConnectionsPerAddress: 1 } }, echo)
  }, { plugin: { maxConnectionsPerAddress: 2 } })
  const first = await site.open('/a')
  await site.open('/b')
  const refused = await site.ask(handshake('/a'))
  t.equal(refused.statusCode, 429)
  t.match(problem(refused), { code: 'FST_WS_TOO_MANY_FROM_ADDRESS', message: /^there are 2 connections from this address already/ })
  await site.open('/own')
  t.equal((await site.ask(handshake('/own'))).statusCode, 429)
  const [connection] = app.websocketServer.clients
  await first.write(close(1000)).closed
  await connection!.closed
  await site.open('/a')
  for (const client of app.websocketServer.clients) client.terminate()
  await Promise.all([...app.websocketServer.clients].map(({ closed }) => closed))
  const { addressSeats } = app.websocketServer as unknown as { addressSeats: AddressSeats }
  t.equal(addressSeats.taken.size, 0, 'nothing is left behind')
})

test('a handshake that is still in hooks, or is refused in the end, takes no seat', async t => {
  let refuses = true
  const { site } = await serve(t, app => {
    app.addHook('onSend', async (_request, reply, payload) => {
      if (refuses && reply.statusCode === 101) reply.code(403)
      return payload
    })
    app.get('/ws', { websocket: true }, echo)
  }, { plugin: { maxConnectionsPerAddress: 1 } })
  for (let i = 0; i < 3; i++) {
    t.equal((await site.ask(handshake())).statusCode, 403)
    await site.emptied()
  }
  refuses = false
  await site.open('/ws')
  t.equal((await site.ask(handshake())).statusCode, 429)
})

test('behind a proxy the address is the one that trustProxy makes of it, and without that a warning says what is amiss, once', async t => {
  const from = (address: string) => ({ 'X-Forwarded-For': address })
  for (const trustProxy of [true, false]) {
    const lines: Array<{ level: number, msg: string }> = []
    const logger = { stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } }
    const { site } = await serve(t, app => { app.get('/ws', { websocket: true }, echo) }, { plugin: { maxConnectionsPerAddress: 1 }, server: { trustProxy, logger } })
    await site.open('/ws', from('203.0.113.1'))
    t.equal((await site.ask(handshake('/ws', from('203.0.113.1')))).statusCode, 429)
    if (trustProxy) {
      await site.open('/ws', from('::ffff:203.0.113.2'))
      t.equal((await site.ask(handshake('/ws', from('203.0.113.2')))).statusCode, 429)
      await site.open('/ws', from('2001:db8::1'))
      t.equal((await site.ask(handshake('/ws', from('2001:db8::2')))).statusCode, 429)
    } else {
      t.equal((await site.ask(handshake('/ws', from('203.0.113.2')))).statusCode, 429)
    }
    const warnings = lines.filter(({ level, msg }) => level === 40 && msg.startsWith('maxConnectionsPerAddress counts all clients of a proxy as one'))
    t.equal(warnings.length, trustProxy ? 0 : 1)
  }
})

test('WebSockets of one HTTP/2 session count each', async t => {
  const app = await serveHttp2(t, app => { app.get('/ws', { websocket: true }, echo) }, { plugin: { maxConnectionsPerAddress: 2 } })
  const client = await openSession(t, app)
  await client.open()
  await client.open()
  const refused = await client.handshake('/ws').whole()
  t.equal(refused.status, 429)
})

test('on a Unix domain socket there is no address, and no limit', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'seats-'))
  const path = join(folder, 'sock')
  const app = Fastify()
  await app.register(websocket, { maxConnectionsPerAddress: 1, shutdownTimeout: 500 })
  app.get('/ws', { websocket: true }, echo)
  await app.listen({ path })
  t.teardown(async () => {
    await app.close()
    await rm(folder, { recursive: true })
  })
  const clients = [await connect(`ws+unix:${path}:/ws`), await connect(`ws+unix:${path}:/ws`)]
  t.equal(app.websocketServer.clients.size, 2)
  for (const client of clients) client.terminate()
})

test('an IPv4 client of a dual stack listener is the same as one of IPv4', async t => {
  const probe = createServer().listen(0, '::')
  const isDual = await new Promise<boolean>(resolve => { probe.once('listening', () => { resolve(true) }).once('error', () => { resolve(false) }) })
  probe.close()
  if (!isDual) {
    t.comment('there is no IPv6 here')
    return
  }
  const app = Fastify()
  await app.register(websocket, { maxConnectionsPerAddress: 2, shutdownTimeout: 500 })
  app.get('/ws', { websocket: true }, echo)
  await app.listen({ port: 0, host: '::' })
  t.teardown(() => app.close())
  const { port } = app.server.address() as { port: number }
  const client = await connect(`ws://127.0.0.1:${port}/ws`)
  const [connection] = app.websocketServer.clients
  t.equal(connection!.info.ip, '::ffff:127.0.0.1')
  const injected = await app.injectWS('/ws', { socket: { remoteAddress: '127.0.0.1' } })
  await t.rejects(connect(`ws://127.0.0.1:${port}/ws`), { code: 'FST_WS_UNEXPECTED_RESPONSE', statusCode: 429 } as object as Error)
  injected.terminate()
  client.terminate()
  connectTcp({ port }).on('error', () => {}).destroy()
})
