// The recipe of docs/topics.md, as it stands there: a page that is cut off comes back, misses nothing and sees nothing twice.
import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { connect as connectTo, createServer, type AddressInfo, type Socket } from 'node:net'
import { runInNewContext } from 'node:vm'
import Fastify from 'fastify'
import type { Page } from 'puppeteer-core'
import websocket from '../../lib/index.ts'
import { BROWSERS, openWindow, testInBrowser } from './browsers.ts'

const [server, page] = [...readFileSync(new URL('../../docs/topics.md', import.meta.url), 'utf8')
  .split('### A room that a page comes back to')[1]!.matchAll(/```js[^\n]*\n([^]*?)```/g)].map(([, code]) => code!)

const PAGE = `<!doctype html><title>room</title><ol></ol><script>
const list = document.querySelector('ol')
const show = text => { list.append(Object.assign(document.createElement('li'), { textContent: text })) }
const reload = () => { show('(reload)') }
${page}
let socket = connect()
</script>`

const textsOf = (tab: Page): Promise<string[]> => tab.$$eval('li', items => items.map(({ textContent }) => textContent))

for (const name of BROWSERS) {
  testInBrowser(`two windows in a room in ${name}`, name, async (t, browser) => {
    const app = Fastify({ forceCloseConnections: true })
    await app.register(websocket, { topics: { rules: [{ topic: 'room:*', size: 500 }], gap: 'close', maxBehind: 100_000 } })
    runInNewContext(server!, { app })
    app.get('/', (_request, reply) => reply.type('text/html').send(PAGE))
    await app.listen({ port: 0, host: '127.0.0.1' })
    t.teardown(() => app.close())
    const { port } = app.server.address() as AddressInfo

    // the network of the second window, which can be taken away
    const sockets = new Set<Socket>()
    let isOff = false
    const network = createServer(socket => {
      if (isOff) {
        socket.destroy()
        return
      }
      const through = connectTo(port, '127.0.0.1')
      socket.pipe(through).pipe(socket)
      for (const end of [socket, through]) {
        sockets.add(end)
        end.on('error', () => {}).on('close', () => { sockets.delete(end) })
      }
    }).listen(0, '127.0.0.1')
    await once(network, 'listening')
    t.teardown(() => { network.close() })

    const open = async (port: number): Promise<Page> => {
      const tab = await openWindow(t, browser)
      await tab.goto(`http://127.0.0.1:${port}/`)
      await tab.waitForSelector('li')
      return tab
    }
    const [first, second] = [await open(port), await open((network.address() as AddressInfo).port)]
    const { topics } = app.websocketServer
    t.equal(topics.subscribers('room:5'), 2)
    await first.evaluate("socket.send('one')")
    await second.waitForSelector('li:nth-child(2)')
    isOff = true
    for (const socket of sockets) socket.resetAndDestroy()
    for (const text of ['two', 'three']) await first.evaluate(`socket.send('${text}')`)
    await first.waitForSelector('li:nth-child(4)')
    t.strictSame(await textsOf(second), ['(reload)', 'one'])
    isOff = false
    await second.waitForSelector('li:nth-child(4)')
    while (topics.subscribers('room:5') < 2) await new Promise(resolve => { setImmediate(resolve) })
    await first.evaluate("socket.send('four')")
    await second.waitForSelector('li:nth-child(5)')
    t.strictSame(await textsOf(second), ['(reload)', 'one', 'two', 'three', 'four'])

    // a reader that is stopped loses its connection at maxBehind, and comes back whole
    for (const socket of sockets) socket.pause()
    const slow: unknown[] = []
    for (const connection of app.websocketServer.clients) connection.on('slow', () => { slow.push(connection) })
    let count = 0
    for (; slow.length === 0; count++) {
      await app.websocketServer.publish('room:5', String(count).padEnd(20_000))
      await new Promise(resolve => { setImmediate(resolve) })
    }
    for (const socket of sockets) socket.resume()
    await second.waitForSelector(`li:nth-child(${5 + count})`)
    t.strictSame((await textsOf(second)).slice(5).map(text => Number(text)), Array.from({ length: count }, (_, i) => i))
    t.strictSame((await textsOf(second)).filter(text => text === '(reload)').length, 1)
  })
}
