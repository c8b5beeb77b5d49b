// A page that came over HTTP/2 opens WebSockets on the session that it came on.
import type { Http2Server, ServerHttp2Session } from 'node:http2'
import type { AddressInfo } from 'node:net'
import cookie from '@fastify/cookie'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import websocket from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import { CERTIFICATE } from '../helpers/http.ts'
import { BROWSERS, testInBrowser } from './browsers.ts'

t.setTimeout(240_000)

interface Site {
  app: FastifyInstance
  url: string
  /** What the server saw, by WebSocket path. */
  doors: Record<string, string>
  /** Sessions of HTTP/2, and upgrades of HTTP/1.1. */
  counts: { sessions: number, upgrades: number }
  closes: Array<[code: number, reason: string]>
}

async function serve (t: Test): Promise<Site> {
  const app = Fastify({ http2: true, https: { ...CERTIFICATE, allowHTTP1: true } }) as unknown as FastifyInstance
  await app.register(cookie)
  await app.register(websocket, { maxPayload: 2 ** 21, origin: '*' })
  const counts = { sessions: 0, upgrades: 0 }
  const doors: Record<string, string> = {}
  const closes: Site['closes'] = []
  const sessions = new Set<ServerHttp2Session>()
  const server = app.server as unknown as Http2Server
  server.on('session', session => {
    session.once('stream', () => { sessions.add(session); counts.sessions = sessions.size }) // those that carried something
  })
  server.on('upgrade', () => { counts.upgrades++ })
  const seen = (connection: WebSocketConnection, path: string, version: string): void => {
    doors[path] = version
    connection.on('message', (data, isBinary) => {
      if (String(data) === 'close') connection.close(4002, 'by the server')
      else connection.send(data, { binary: isBinary })
    })
    connection.on('close', (code, reason) => { closes.push([code, String(reason)]) })
  }
  app.get('/', async (_request, reply) => reply.type('text/html').send('<!doctype html><title>page</title>'))
  app.get('/cookies', async request => request.cookies)
  for (const path of ['/ws', '/first']) {
    app.get(path, {
      websocket: { perMessageDeflate: true, handleProtocols: protocols => protocols.has('second') ? 'second' : false },
      preHandler: async (_request, reply) => { reply.setCookie('socket', 'baked', { path: '/' }) }
    }, (connection, request) => { seen(connection, path, request.raw.httpVersion) })
  }
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  return { app, url: `https://localhost:${(app.server.address() as AddressInfo).port}`, doors, counts, closes }
}

for (const name of BROWSERS) {
  testInBrowser(`HTTP/2 in ${name}`, name, async (t, browser) => {
    await t.test('a WebSocket rides the session of its page', async t => {
      const { url, doors, counts, closes } = await serve(t)
      const page = await browser.newPage()
      await page.goto(url)
      const result = await page.evaluate(`(async () => {
        const open = () => new Promise((resolve, reject) => {
          const socket = new WebSocket(location.origin.replace('https', 'wss') + '/ws', ['first', 'second'])
          socket.binaryType = 'arraybuffer'
          socket.onopen = () => { resolve(socket) }
          socket.onerror = () => { reject(new Error('no connection')) }
        })
        const message = socket => new Promise(resolve => { socket.onmessage = ({ data }) => { resolve(data) } })
        const closed = socket => new Promise(resolve => { socket.onclose = ({ code, reason, wasClean }) => { resolve([code, reason, wasClean]) } })
        const socket = await open()
        socket.send('hello')
        const text = await message(socket)
        const sent = new Uint8Array(1024 * 1024).map((_, index) => index ^ (index >> 8))
        socket.send(sent)
        const received = new Uint8Array(await message(socket))
        const echoed = received.length === sent.length && received.every((byte, index) => byte === sent[index])
        const others = await Promise.all(Array.from({ length: 5 }, open))
        const cookies = await (await fetch('/cookies')).json()
        const ends = [closed(socket), closed(others[0])]
        socket.close(4001, 'by the page')
        others[0].send('close')
        return { text, echoed, protocol: socket.protocol, extensions: socket.extensions, cookies, ends: await Promise.all(ends), page: performance.getEntriesByType('navigation')[0].nextHopProtocol }
      })()`)
      t.match(result, {
        text: 'hello',
        echoed: true,
        protocol: 'second',
        extensions: /^permessage-deflate/,
        cookies: { socket: 'baked' },
        page: 'h2',
        ends: [[4001, 'by the page', true], [4002, 'by the server', true]]
      })
      t.strictSame(doors, { '/ws': '2.0' })
      t.strictSame(counts, { sessions: 1, upgrades: 0 })
      t.strictSame(closes.sort(), [[4001, 'by the page'], [4002, 'by the server']])
      await page.close()
    })

    await t.test('a page from elsewhere gets in too, by HTTP/1.1 if that is what its browser tries first', async t => {
      const { url, doors } = await serve(t)
      const other = await serve(t)
      const page = await browser.newPage()
      await page.goto(other.url)
      t.equal(await page.evaluate(`new Promise((resolve, reject) => {
        const socket = new WebSocket('${url.replace('https', 'wss')}/first')
        socket.onopen = () => { socket.send('hello') }
        socket.onmessage = ({ data }) => { resolve(data) }
        socket.onerror = () => { reject(new Error('no connection')) }
      })`), 'hello')
      t.comment(doors)
      if (name === 'chrome') t.strictSame(doors, { '/first': '1.1' })
      await page.close()
    })

    await t.test('app.close() says 1001 to a page, and ends', async t => {
      const { app, url } = await serve(t)
      const page = await browser.newPage()
      await page.goto(url)
      await page.evaluate(`new Promise(resolve => {
        const socket = new WebSocket(location.origin.replace('https', 'wss') + '/ws')
        window.end = new Promise(resolve => { socket.onclose = ({ code, wasClean }) => { resolve([code, wasClean]) } })
        socket.onopen = resolve
      })`)
      await app.close()
      t.strictSame(await page.evaluate('window.end'), [1001, true])
      await page.close()
    })
  })
}
