// permessage-deflate with the browsers' own WebSocket.
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import websocket from '../../lib/index.ts'
import { BROWSERS, testInBrowser } from './browsers.ts'

const OPTIONS = {
  '/defaults': true,
  '/takeover': { contextTakeover: true, threshold: 0 },
  '/small-window': { windowBits: 9, threshold: 0 },
  '/small-window-takeover': { windowBits: 10, contextTakeover: true, threshold: 0 }
} as const

const SIZES = [0, 1, 125, 126, 1023, 1024, 5000, 5000, 65_536, 1_000_000]

// In the page: echoes of text and binary of these sizes. Gives what was agreed on, or what came back wrong.
const ECHO = async (path: string, sizes: number[]): Promise<string> => {
  const socket = new WebSocket(path)
  socket.binaryType = 'arraybuffer'
  await new Promise((resolve, reject) => {
    socket.onopen = resolve
    socket.onerror = reject
  })
  const message = (data: string | Uint8Array<ArrayBuffer>): Promise<string | ArrayBuffer> => new Promise((resolve, reject) => {
    socket.onmessage = ({ data }) => { resolve(data as string | ArrayBuffer) }
    socket.onclose = ({ code }) => { reject(new Error(`closed with ${code}`)) }
    socket.send(data)
  })
  for (const size of sizes) {
    const text = Array.from({ length: Math.min(size, 1000) }, (_, i) => 'ab cdé'[i * i % 7 % 6]).join('').repeat(Math.ceil(size / 1000)).slice(0, size)
    if (await message(text) !== text) return `wrong text of ${size}`
    const bytes = new Uint8Array(size).map((_, i) => i * i >> 3)
    const echo = new Uint8Array(await message(bytes) as ArrayBuffer)
    if (echo.length !== size || echo.some((byte, i) => byte !== bytes[i])) return `wrong bytes of ${size}`
  }
  socket.close()
  return socket.extensions
}

for (const name of BROWSERS) {
  testInBrowser(`compressed echoes in ${name}`, name, async (t, browser) => {
    const app = Fastify({ forceCloseConnections: true })
    await app.register(websocket, { maxPayload: 64 * 1024 * 1024 })
    app.get('/', (_request, reply) => reply.type('text/html').send('<!doctype html><title>compression</title>'))
    for (const [path, perMessageDeflate] of Object.entries(OPTIONS)) {
      app.get(path, { websocket: { perMessageDeflate } }, connection => {
        connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
      })
    }
    await app.listen({ port: 0, host: '127.0.0.1' })
    t.teardown(() => app.close())
    const address = `127.0.0.1:${(app.server.address() as AddressInfo).port}`
    const tab = await browser.newPage()
    t.teardown(() => tab.close())
    await tab.goto(`http://${address}/`)
    for (const path of Object.keys(OPTIONS)) {
      const sizes = [...SIZES, path === '/defaults' ? 16 * 1024 * 1024 : 100_000]
      t.match(await tab.evaluate(ECHO, `ws://${address}${path}`, sizes), /^permessage-deflate/, path)
    }
  })
}
