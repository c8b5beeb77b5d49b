import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import websocket, { Topics, type TopicsOptions } from '../lib/index.ts'
import { api } from './api.ts'
import { chat, CHAT_RULES, MAX_BEHIND, type ChatNode } from './chat.ts'
import { pageOf, pages } from './pages.ts'
import { protocol } from './protocol.ts'
import { slowReader } from './slow-reader.ts'
import { tokens } from './tokens.ts'
import { MAX_UPLOADS, Uploads } from './upload.ts'

const UPLOAD_SCHEMA = {
  params: {
    type: 'object',
    properties: { id: { type: 'string', format: 'uuid' } }
  }
} as const

interface ExampleOptions extends FastifyServerOptions {
  /** Where files that are uploaded are kept until they are sent back. Default: os.tmpdir(). */
  uploadFolder?: string
  /** What apps that serve one chat share. Default: topics of this app. */
  topics?: Topics
  /** Default: the only one. */
  node?: ChatNode
  /** For an app of HTTP/2, with HTTP/1.1 for those who ask for it. */
  certificate?: { key: string, cert: string }
  /** Where that app listens, for the page that leads there. */
  secure?: { port: number | null }
}

/** The topics of the example, with whatever else is needed for them. */
export function newTopics (options: TopicsOptions = {}): Topics {
  return new Topics({ maxBehind: MAX_BEHIND, rules: CHAT_RULES, gap: 'close', ...options })
}

/**
 * Builds the example without listening: its pages, an echo on /echo, a chat on /chat?id=&name=, a reader of any pace on /slow-reader, tokens that
 * stop on /tokens, what came over which HTTP on /http2, and a message of any size there and back on /upload.
 */
export async function buildApp (options: ExampleOptions = {}): Promise<FastifyInstance> {
  const { uploadFolder, topics = newTopics(), node = { name: 'this one', count: 1 }, certificate, secure = { port: null }, ...rest } = options
  // browsers open spare connections ahead of need; without this `app.close()` waits for the ones that never carry a request
  const app = certificate === undefined
    ? Fastify({ forceCloseConnections: true, ...rest })
    : Fastify({ ...rest, http2: true, https: { ...certificate, allowHTTP1: true } } as object) as unknown as FastifyInstance
  await app.register(websocket, { topics })

  echo(app)
  chat(app, node)
  slowReader(app, certificate !== undefined)
  tokens(app)
  protocol(app, secure)
  await upload(app, uploadFolder)
  await pages(app)
  await api(app)
  return app
}

function echo (app: FastifyInstance): void {
  app.get('/echo', { websocket: true }, (connection) => {
    connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
  })
}

async function upload (app: FastifyInstance, folder: string | undefined): Promise<void> {
  // one URL: the page for a browser that visits it, the WebSocket for the page
  const uploads = new Uploads(folder)
  app.route({
    method: 'GET',
    url: '/upload',
    websocket: { maxConnections: MAX_UPLOADS },
    handler: await pageOf('upload.html'),
    wsHandler: (connection) => uploads.serve(connection)
  })
  app.delete<{ Params: { id: string } }>('/upload/:id', { schema: UPLOAD_SCHEMA }, (request, reply) => {
    if (!uploads.cancel(request.params.id)) return reply.callNotFound()
    return reply.code(204).send()
  })
  // the connections are closed by then; what they left on the disk goes too
  app.addHook('onClose', () => uploads.settled())
}
