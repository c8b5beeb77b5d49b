import { readFile } from 'node:fs/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import websocket from '../../lib/index.ts'
import type { Comparison } from './comparison.ts'

const JAVASCRIPT = 'text/javascript; charset=utf-8'
const STYLE = 'text/css; charset=utf-8'

const EXAMPLE = new URL('./example/', import.meta.resolve('fastify-websocket-stream/package.json'))

/** Every file of the page: route, file, content type. What draws the picture for the README draws it in the browser too. */
const FILES = [
  ['/', new URL('compare/public/index.html', EXAMPLE), 'text/html; charset=utf-8'],
  ['/live.js', new URL('compare/public/live.js', EXAMPLE), JAVASCRIPT],
  ['/compare.css', new URL('compare/public/compare.css', EXAMPLE), STYLE],
  ['/style.css', new URL('public/style.css', EXAMPLE), STYLE],
  ['/icon.svg', new URL('public/icon.svg', EXAMPLE), 'image/svg+xml'],
  ...['picture.js', 'chart.js', 'comparison.js', 'percentile.js'].map(file => [`/${file}`, new URL(file, import.meta.url), JAVASCRIPT] as const)
] as const

const HEADERS = {
  'cache-control': 'no-cache',
  // an SVG brings its own <style>
  'content-security-policy': "default-src 'self'; style-src 'self' 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff'
}

/** ms between two pictures. */
const INTERVAL = 200

/** Builds the page on /, and a feed of the comparison as JSON on /live. */
export async function buildPage (comparison: Comparison): Promise<FastifyInstance> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(websocket, {
    // how it ended, to everyone who has watched
    async preClose () {
      for (const connection of app.websocketServer.clients) connection.send(JSON.stringify(comparison))
    }
  })

  app.get('/live', { websocket: true }, connection => {
    let last = ''
    const show = (): void => {
      if (connection.bufferedAmount > 0) return // it has not taken the last one: the next will be newer
      const now = JSON.stringify(comparison)
      if (now !== last) connection.send(last = now)
    }
    const timer = setInterval(show, INTERVAL)
    connection.on('close', () => { clearInterval(timer) })
    show()
  })

  for (const [url, file, contentType] of FILES) {
    const body = await readFile(file)
    app.get(url, (_request, reply) => reply.headers(HEADERS).type(contentType).send(body))
  }

  return app
}
