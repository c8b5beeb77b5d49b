import { readFile } from 'node:fs/promises'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import websocket from '../lib/index.ts'
import { ChatRoom, MAX_NAME_LENGTH } from './chat-room.ts'

const JAVASCRIPT = 'text/javascript; charset=utf-8'

/** Every file of the page: route, file name, content type. */
const PAGE = [
  ['/', 'index.html', 'text/html; charset=utf-8'],
  ['/style.css', 'style.css', 'text/css; charset=utf-8'],
  ['/panel.js', 'panel.js', JAVASCRIPT],
  ['/echo.js', 'echo.js', JAVASCRIPT],
  ['/chat.js', 'chat.js', JAVASCRIPT],
  ['/icon.svg', 'icon.svg', 'image/svg+xml']
] as const

// resolved through the package's own name, because dist/example/app.js lies a folder deeper than example/app.ts
const PAGE_FOLDER = new URL('./example/public/', import.meta.resolve('fastify-websocket-stream/package.json'))

const PAGE_HEADERS = {
  'cache-control': 'no-cache',
  // the echo panel may be pointed at any WebSocket server; everything else comes from here
  'content-security-policy': "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff'
}

const CHAT_SCHEMA = {
  querystring: {
    type: 'object',
    required: ['name'],
    properties: {
      // no control characters, and at least one that can be seen
      name: { type: 'string', maxLength: MAX_NAME_LENGTH, pattern: '^(?=.*\\S)\\P{Cc}+$' }
    }
  }
} as const

/** Builds the example without listening: the page on /, an echo on /echo, a chat room on /chat?name=. */
export async function buildApp (options: FastifyServerOptions = {}): Promise<FastifyInstance> {
  // browsers open spare connections ahead of need; without this `app.close()` waits for the ones that never carry a request
  const app = Fastify({ forceCloseConnections: true, ...options })
  await app.register(websocket)

  app.get('/echo', { websocket: true }, (connection) => {
    connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
  })

  const room = new ChatRoom()
  app.get<{ Querystring: { name: string } }>('/chat', { websocket: true, schema: CHAT_SCHEMA }, (connection, request) => {
    room.join(connection, request.query.name)
  })

  for (const [url, file, contentType] of PAGE) {
    const body = await readFile(new URL(file, PAGE_FOLDER))
    app.get(url, (_request, reply) => reply.headers(PAGE_HEADERS).type(contentType).send(body))
  }

  return app
}
