// The loop for pages in pages: over cuts, through the back/forward cache, and over HTTP/2.
import { readFileSync } from 'node:fs'
import type { Http2Server, ServerHttp2Session } from 'node:http2'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import ts from 'typescript'
import websocket from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { Encode } from '../../types/topics.ts'
import { CERTIFICATE, within } from '../helpers/http.ts'
import { BROWSERS, testInBrowser } from './browsers.ts'

const LOOP = ts.transpileModule(readFileSync(new URL('../../lib/page/reconnect.ts', import.meta.url), 'utf8'), {
  compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext }
}).outputText
const LIVES = 12

// Each life is told its number, asks to be cut, and the last is closed with 1000.
const PAGE = `<!doctype html><title>loop</title><script type="module">
import { reconnect } from '/loop.js'
window.events = []
window.done = reconnect('/ws', async connection => {
  for await (const { life } of connection) {
    events.push('life ' + life)
    connection.send({ cut: true })
  }
}, { json: true, backoff: { min: 1 }, onState: ({ state }) => { if (state !== 'waiting') events.push(state) } })
  .then(({ code }) => 'ended with ' + code, error => 'failed: ' + error)
</script>`

const AWAY = `<!doctype html><title>away</title><script type="module">
import { reconnect } from '/loop.js'
window.shows = []
addEventListener('pageshow', ({ persisted }) => { shows.push(persisted) })
window.lives = 0
reconnect('/stay', async connection => {
  for await (const message of connection) lives++
}, { backoff: { min: 1 } })
</script>`

// Asks to be cut at any message, and says where it was.
const NEWS = `<!doctype html><title>news</title><script type="module">
import { reconnect } from '/loop.js'
window.numbers = []
let since = ''
let lives = 0
window.done = reconnect(() => '/feed?since=' + encodeURIComponent(since), async connection => {
  let left = Math.ceil(Math.random() * 30)
  lives++
  for await (const { number, position } of connection) {
    numbers.push(number)
    since = position
    if (left-- > 0) continue
    if (lives === 20) break
    connection.send('cut')
    left = Infinity
  }
}, { json: true, backoff: { min: 1, max: 10 } }).then(({ sent }) => 'ended with ' + sent.code, error => 'failed: ' + error)
</script>`

interface Site {
  url: string
  app: FastifyInstance
  closes: number[]
  versions: string[]
  sessions: Set<ServerHttp2Session>
}

async function serve (t: Test, isHttp2: boolean): Promise<Site> {
  const app = (isHttp2 ? Fastify({ http2: true, https: { ...CERTIFICATE, allowHTTP1: true } }) : Fastify({ forceCloseConnections: true })) as unknown as FastifyInstance
  await app.register(websocket, { topics: { rules: [{ topic: '*', size: 5_000 }] } })
  const site: Site = { url: '', app, closes: [], versions: [], sessions: new Set() }
  if (isHttp2) {
    const server = app.server as unknown as Http2Server
    server.on('session', session => {
      site.sessions.add(session)
      session.once('close', () => { site.sessions.delete(session) })
    })
  }
  for (const [path, page] of Object.entries({ '/': PAGE, '/away': AWAY, '/news': NEWS, '/elsewhere': '<!doctype html><title>elsewhere</title>' })) {
    app.get(path, async (_request, reply) => reply.type('text/html').send(page))
  }
  app.get('/loop.js', async (_request, reply) => reply.type('text/javascript').send(LOOP))
  let lives = 0
  const cuts: Array<(connection: WebSocketConnection) => void> = [
    connection => { connection.terminate() },
    connection => { connection.close(1012) },
    connection => { connection.close(4000) },
    // with all that goes over it
    connection => {
      if (isHttp2) for (const session of site.sessions) session.destroy()
      else connection.terminate()
    }
  ]
  app.get('/ws', { websocket: true }, (connection, request) => {
    const life = lives++
    site.versions.push(request.raw.httpVersion)
    connection.send(JSON.stringify({ life }))
    connection.on('message', () => {
      if (life === LIVES - 1) connection.close(1000)
      else cuts[life % 4]!(connection)
    })
  })
  let feeds = 0
  const encode: Encode = (payload, { position }) => JSON.stringify({ number: Number(payload), position })
  app.get<{ Querystring: { since: string } }>('/feed', { websocket: true }, async (connection, { query: { since } }) => {
    connection.on('message', () => { cuts[feeds++ % cuts.length]!(connection) })
    await connection.subscribe('news', { since, encode })
  })
  app.get('/stay', { websocket: true }, connection => {
    connection.send('hello')
    connection.on('close', code => { site.closes.push(code) })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  site.url = `${isHttp2 ? 'https' : 'http'}://localhost:${(app.server.address() as AddressInfo).port}`
  return site
}

for (const name of BROWSERS) {
  testInBrowser(`reconnect() in ${name}`, name, async (t, browser) => {
    for (const isHttp2 of [false, true]) {
      await t.test(`every connection is followed by the next, over HTTP/${isHttp2 ? '2' : '1.1'}`, async t => {
        const site = await serve(t, isHttp2)
        const tab = await browser.newPage()
        await tab.goto(site.url)
        t.equal(await within(60_000, tab.evaluate('done'), 'the loop'), 'ended with 1000')
        const lives = Array.from({ length: LIVES }, (_, life) => ['connecting', 'open', `life ${life}`]).flat()
        const events = await tab.evaluate('events') as string[]
        // an attempt that comes too early is another
        t.strictSame(events.filter((event, index) => event !== 'connecting' || events[index + 1] === 'open'), [...lives, 'ended'])
        t.strictSame(new Set(site.versions), new Set([isHttp2 ? '2.0' : '1.1']), 'none has gone back to HTTP/1.1')
        await tab.close()
      })
    }

    for (const isHttp2 of [false, true]) {
      await t.test(`cut off at any moment it has every message of a topic once, over HTTP/${isHttp2 ? '2' : '1.1'}`, async t => {
        const { app, url } = await serve(t, isHttp2)
        let published = 0
        const publishing = setInterval(() => { void app.websocketServer.topics.publish('news', String(published++)) }, 1)
        t.teardown(() => { clearInterval(publishing) })
        const tab = await browser.newPage()
        await tab.goto(`${url}/news`)
        t.equal(await within(60_000, tab.evaluate('done'), 'the loop'), 'ended with 1000')
        const numbers = await tab.evaluate('numbers') as number[]
        t.strictSame(numbers, numbers.map((_, index) => numbers[0]! + index))
        await tab.close()
      })
    }

    await t.test('a page closes on its way into the back/forward cache, and comes back with it', async t => {
      const { url, closes } = await serve(t, false)
      const tab = await browser.newPage()
      await tab.goto(`${url}/away`)
      await tab.waitForFunction('lives === 1')
      await tab.goto(`${url}/elsewhere`)
      await tab.goBack()
      await tab.waitForFunction('lives > 0')
      const shows = await tab.evaluate('shows') as boolean[]
      t.strictSame(shows, name === 'chrome' ? [false, true] : [false], 'as puppeteer starts it Firefox has no such cache')
      if (name === 'chrome') await tab.waitForFunction('lives === 2')
      // Firefox closes with 1001 before the page knows
      t.equal(closes[0], name === 'chrome' ? 1000 : 1001)
      await tab.close()
    })
  })
}
