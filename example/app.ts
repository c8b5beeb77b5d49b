import { readFile } from 'node:fs/promises'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import websocket from '../lib/index.ts'
import { ChatRoom, MAX_BEHIND, MAX_NAME_LENGTH } from './chat-room.ts'
import { MAX_UPLOADS, Uploads } from './upload.ts'

const HTML = 'text/html; charset=utf-8'
const JAVASCRIPT = 'text/javascript; charset=utf-8'

/** Every file of the pages: route, file name, content type. Only /upload is missing, which is a WebSocket route as well. */
const FILES = [
  ['/', 'index.html', HTML],
  ['/style.css', 'style.css', 'text/css; charset=utf-8'],
  ['/panel.js', 'panel.js', JAVASCRIPT],
  ['/echo.js', 'echo.js', JAVASCRIPT],
  ['/chat.js', 'chat.js', JAVASCRIPT],
  ['/upload.js', 'upload.js', JAVASCRIPT],
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

const UPLOAD_SCHEMA = {
  params: {
    type: 'object',
    properties: { id: { type: 'string', format: 'uuid' } }
  }
} as const

interface ExampleOptions extends FastifyServerOptions {
  /** Where files that are uploaded are kept until they are sent back. Default: os.tmpdir(). */
  uploadFolder?: string
}

/**
 * Builds the example without listening: the pages on / and /upload, an echo on /echo, a chat room on /chat?name=, and a message
 * of any size there and back on /upload.
 */
export async function buildApp ({ uploadFolder, ...options }: ExampleOptions = {}): Promise<FastifyInstance> {
  // browsers open spare connections ahead of need; without this `app.close()` waits for the ones that never carry a request
  const app = Fastify({ forceCloseConnections: true, ...options })
  await app.register(websocket, { topics: { maxBehind: MAX_BEHIND } })

  app.get('/echo', { websocket: true }, (connection) => {
    connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
  })

  const room = new ChatRoom()
  app.get<{ Querystring: { name: string } }>('/chat', { websocket: true, schema: CHAT_SCHEMA }, (connection, request) => {
    room.join(connection, request.query.name)
  })

  // one URL: the page for a browser that visits it, the WebSocket for the page
  const uploads = new Uploads(uploadFolder)
  const uploadPage = await readFile(new URL('upload.html', PAGE_FOLDER))
  app.route({
    method: 'GET',
    url: '/upload',
    websocket: { maxConnections: MAX_UPLOADS },
    handler: (_request, reply) => reply.headers(PAGE_HEADERS).type(HTML).send(uploadPage),
    wsHandler: (connection) => uploads.serve(connection)
  })
  app.delete<{ Params: { id: string } }>('/upload/:id', { schema: UPLOAD_SCHEMA }, (request, reply) => {
    if (!uploads.cancel(request.params.id)) return reply.callNotFound()
    return reply.code(204).send()
  })
  // the connections are closed by then; what they left on the disk goes too
  app.addHook('onClose', () => uploads.settled())

  for (const [url, file, contentType] of FILES) {
    const body = await readFile(new URL(file, PAGE_FOLDER))
    app.get(url, (_request, reply) => reply.headers(PAGE_HEADERS).type(contentType).send(body))
  }

  return app
}
