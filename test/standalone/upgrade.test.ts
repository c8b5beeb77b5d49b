// upgrade(): the HTTP/1.1 door without Fastify.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { test, type Test } from 'tap'
import { Connection, upgrade } from '../../lib/index.ts'
import type { UpgradeOptions } from '../../types/options.ts'
import { show } from '../helpers/frames.ts'
import { close, deferred, handshake, listen, problem, request, text, within, type Site } from '../helpers/http.ts'

/** A server of node:http whose upgrades go to upgrade(), and what became of them. */
async function startServer (
  t: Test, options: UpgradeOptions = {}, onHead: (head: Buffer) => void = () => {}
): Promise<{ site: Site, server: Server, outcomes: Array<Promise<Connection>> }> {
  const outcomes: Array<Promise<Connection>> = []
  const server = createServer((_request, response) => { setImmediate(() => { response.end('http') }) })
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    onHead(head)
    const outcome = upgrade(request, socket, head, options)
    outcome.catch(() => {})
    outcomes.push(outcome)
  })
  const site = await listen(t, {
    server,
    listen: async ({ port, host }) => {
      await once(server.listen(port, host), 'listening')
      return String((server.address() as AddressInfo).port)
    },
    close: () => {
      for (const socket of site.sockets) socket.destroy()
      server.close()
    }
  })
  return { site, server, outcomes }
}

test('the head that it is given stays as it is: others may look at it too', async t => {
  const heads: Array<{ head: Buffer, bytes: string }> = []
  const { site, outcomes } = await startServer(t, {}, head => { heads.push({ head, bytes: show(head) }) })
  const peer = await site.connect()
  await peer.write(Buffer.concat([Buffer.from(handshake('/')), text('early')])).answer()
  t.equal(await (await outcomes[0]!).receive(), 'early')
  t.equal(heads[0]!.bytes, show(text('early')))
  t.equal(show(heads[0]!.head), heads[0]!.bytes)
})

test('a handshake is accepted, with header fields of one\'s own, and messages wait for who takes them', async t => {
  const { site, outcomes } = await startServer(t, {
    headers: {
      'x-own': 'mine', 'Sec-WebSocket-Protocol': 'c', 'sec-websocket-extensions': 'permessage-deflate', 'Sec-WebSocket-Version': '8', 'sec-websocket-key': 'x', connection: 'close'
    },
    protocols: ['b']
  })
  const peer = await site.connect()
  const answer = await peer.write(handshake('/', { 'Sec-WebSocket-Protocol': 'a, b' }), text('early')).answer()
  t.match(answer, { statusCode: 101, headers: { 'x-own': 'mine', 'sec-websocket-protocol': 'b', 'sec-websocket-accept': 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=' } })
  t.equal(answer.headers.connection, 'Upgrade')
  for (const name of ['extensions', 'version', 'key']) t.notOk(`sec-websocket-${name}` in answer.headers, name)
  const connection = await outcomes[0]!
  t.ok(connection instanceof Connection)
  t.equal(connection.protocol, 'b')
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(await connection.receive(), 'early')
  connection.on('message', data => { connection.send(data) })
  t.strictSame(await peer.write(text('a')).contents(1), ['a'])
  peer.write(close(1000))
  t.match(await connection.closed, { code: 1000, wasClean: true })
})

const refused: Array<[title: string, options: UpgradeOptions, fields: Record<string, string>, statusCode: number, code: string]> = [
  ['malformed', {}, { 'Sec-WebSocket-Version': '8' }, 426, 'FST_WS_VERSION'],
  ['of another origin', {}, { Origin: 'https://evil.example' }, 403, 'FST_WS_ORIGIN'],
  ['that verifyClient refuses', { verifyClient: () => false }, {}, 401, 'FST_WS_VERIFY_CLIENT'],
  ['whose handleProtocols is wrong', { handleProtocols: () => 'c' }, { 'Sec-WebSocket-Protocol': 'a' }, 500, 'FST_WS_HANDLE_PROTOCOLS'],
  ['that is never decided', { handshakeTimeout: 50, verifyClient: () => new Promise<boolean>(() => {}) }, {}, 503, 'FST_WS_HANDSHAKE_TIMEOUT']
]
for (const [title, options, fields, statusCode, code] of refused) {
  test(`a handshake ${title} is refused with ${statusCode}, and nothing of it is left`, async t => {
    const { site, outcomes } = await startServer(t, options)
    const answer = await site.ask(handshake('/', fields))
    t.equal(answer.statusCode, statusCode)
    t.equal(problem(answer).code, code)
    if (code !== 'FST_WS_HANDSHAKE_TIMEOUT') await t.rejects(outcomes[0]!, { code })
    await within(3000, site.emptied(), 'no connection is left')
  })
}

test('wrong options, and a judge that fails, refuse with 500 and reject with the error', async t => {
  for (const [options, error] of [
    [{ maxPayload: -1 }, { name: 'TypeError', message: /maxPayload/ }],
    [{ headers: { 'a b': 'c' } }, { code: 'ERR_INVALID_HTTP_TOKEN' }],
    [{ verifyClient: () => { throw new Error('broken') } }, { message: 'broken' }]
  ] as unknown as Array<[UpgradeOptions, Error]>) {
    const { site, outcomes } = await startServer(t, options)
    t.equal((await site.ask(handshake('/'))).statusCode, 500)
    await t.rejects(outcomes[0]!, error)
    await within(3000, site.emptied(), 'no connection is left')
  }
})

test('a client that leaves before the answer: rejects', async t => {
  const asked = deferred()
  const verdict = deferred<boolean>()
  const { site, outcomes } = await startServer(t, {
    verifyClient: async () => {
      asked.resolve()
      return verdict.promise
    }
  })
  const peer = await site.connect()
  peer.write(handshake('/'))
  await asked.promise
  peer.reset()
  await within(2000, site.emptied(), 'no connection is left')
  verdict.resolve(true)
  await t.rejects(outcomes[0]!, { code: 'WS_ERR_CONNECTION_CLOSED', message: /has left/ })
})

async function isAdmittedLater (): Promise<boolean> {
  for (let turns = 0; turns < 3; turns++) await new Promise(resolve => { setImmediate(resolve) })
  return true
}

for (const [title, options] of [
  ['at once', {}],
  ['after a while', { verifyClient: isAdmittedLater }]
] as Array<[title: string, options: UpgradeOptions]>) {
  test(`of two that answer the same handshake ${title} the first does, and the other is told so`, async t => {
    const { site, server, outcomes } = await startServer(t, options)
    const [first] = server.listeners('upgrade') as Array<(...given: unknown[]) => void>
    server.on('upgrade', first!)
    const peer = await site.connect()
    peer.write(handshake())
    await once(server, 'upgrade')
    peer.write(text('early'))
    t.equal((await peer.answer()).statusCode, 101)
    const connection = await outcomes[0]!
    t.equal(await connection.receive(), 'early')
    await t.rejects(outcomes[1]!, { code: 'WS_ERR_CONNECTION_CLOSED', message: /another response is using the socket/ })
    connection.send('hello')
    connection.close(1000)
    t.strictSame(await peer.contents(2), ['hello', 1000])
    peer.write(close(1000))
    t.match(await connection.closed, { code: 1000 })
  })
}

test('a judge who lets in a client that has just left: rejects', async t => {
  const { site, server, outcomes } = await startServer(t, {
    verifyClient ({ req }, judge) { req.socket.prependOnceListener('close', () => { judge(true) }) }
  })
  const peer = await site.connect()
  peer.write(handshake())
  await once(server, 'upgrade')
  peer.end()
  await t.rejects(within(2000, outcomes[0]!, 'the outcome'), { code: 'WS_ERR_CONNECTION_CLOSED' })
})

test('a handshake behind another request is answered in its turn', async t => {
  const { site, outcomes } = await startServer(t)
  const peer = await site.connect()
  peer.write(request('/'), handshake('/'))
  t.match(await peer.answer(), { statusCode: 200, body: 'http' })
  t.match(await peer.answer(), { statusCode: 101 })
  ;(await outcomes[0]!).terminate()
})

test('a judge that never answers: rejects with what refused the client, or when that has left', async t => {
  for (const options of [{ verifyClient: (_info: unknown, _callback: unknown) => {} }, { verifyClient: () => new Promise<boolean>(() => {}) }]) {
    const { site, outcomes } = await startServer(t, { ...options, handshakeTimeout: 50 })
    t.equal((await site.ask(handshake('/'))).statusCode, 503)
    await t.rejects(outcomes[0]!, { code: 'FST_WS_HANDSHAKE_TIMEOUT' })
  }
  const { site, outcomes } = await startServer(t, { verifyClient: () => new Promise<boolean>(() => {}) })
  const peer = await site.connect()
  peer.write(handshake('/'))
  while (outcomes.length === 0) await new Promise(resolve => { setImmediate(resolve) })
  peer.reset()
  await t.rejects(within(2000, outcomes[0]!, 'the end'), { code: 'WS_ERR_CONNECTION_CLOSED' })
})

test('a header field of a body does not go out with the 101', async t => {
  const { site } = await startServer(t, { headers: { trailer: 'x', 'Content-Length': '5', 'x-own': 'mine' } })
  const peer = await site.connect()
  const { statusCode, headers } = await peer.write(handshake('/')).answer()
  peer.reset()
  t.equal(statusCode, 101)
  t.match(headers, { 'x-own': 'mine' })
  t.notOk('trailer' in headers || 'content-length' in headers)
})

test('a refusal that cannot be written drops the client', async t => {
  const { site, outcomes } = await startServer(t, { verifyClient: (_info, answer) => { answer(false, 401, 'no', { 'bad name': 'x' }) } })
  const peer = await site.connect()
  t.equal(await peer.write(handshake('/')).rest(), '')
  await t.rejects(outcomes[0]!, { code: 'FST_WS_VERIFY_CLIENT' })
})

test('a status code of verifyClient that refuses nobody becomes 401', async t => {
  for (const statusCode of [0, 101, 200, 600, 1.5, 'abc']) {
    const { site } = await startServer(t, { verifyClient: (_info, answer) => { answer(false, statusCode as number) } })
    t.equal((await site.ask(handshake('/'))).statusCode, 401, String(statusCode))
  }
})

test('an undefined header field is none', async t => {
  const { site } = await startServer(t, { headers: { 'x-own': undefined } })
  t.match(await site.ask(handshake('/')), { statusCode: 101 })
})
