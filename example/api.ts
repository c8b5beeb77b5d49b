// The document that the routes make, a form that sends what it says, and AsyncAPI's own component, which shows it.
import { createReadStream, existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import asyncapi from '../lib/asyncapi/index.ts'
import { pageOf } from './pages.ts'

const HTML = 'text/html; charset=utf-8'
const JAVASCRIPT = 'text/javascript; charset=utf-8'
const CSS = 'text/css; charset=utf-8'

const ROOT = new URL('./example/', import.meta.resolve('fastify-websocket-stream/package.json'))
/** Where `npm run asyncapi` installs it. */
const INSTALLED = new URL('asyncapi/node_modules/@asyncapi/', ROOT)
const COMPONENT = new URL('react-component/browser/standalone/index.js', INSTALLED)
const STYLE = new URL('react-component/styles/default.min.css', INSTALLED)

const DOCUMENT_HEADERS = {
  'cache-control': 'no-cache',
  // the component compiles schemas to code and sets styles of its own: so it has a page of its own, in a frame of the other
  'content-security-policy': "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
    "base-uri 'none'; frame-ancestors 'self'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff'
}

export async function api (app: FastifyInstance): Promise<void> {
  await app.register(asyncapi, {
    document: {
      info: { title: 'The example', version: '1.0.0', description: 'All WebSocket routes of this app, by their own schemas.' }
    }
  })
  app.get('/api', await pageOf('api.html'))
  app.get('/api.js', await pageOf('api.js', JAVASCRIPT))
  app.get('/api.css', await pageOf('api.css', CSS))
  app.get('/api/sample.js', await pageOf('api-sample.js', JAVASCRIPT))
  app.get('/api/document.css', await pageOf('api-document.css', CSS))

  const isInstalled = existsSync(COMPONENT) && existsSync(STYLE)
  const page = await readFile(new URL(`public/${isInstalled ? 'api-document.html' : 'api-source.html'}`, ROOT), 'utf8')
  app.get('/api/document', (_request, reply) => reply.headers(DOCUMENT_HEADERS).type(HTML).send(page))
  app.get('/api/source.js', await pageOf('api-source.js', JAVASCRIPT))
  if (!isInstalled) return
  app.get('/api/document.js', await pageOf('api-document.js', JAVASCRIPT))
  app.get('/api/component.js', (_request, reply) => reply.headers(DOCUMENT_HEADERS).type(JAVASCRIPT).send(createReadStream(COMPONENT)))
  app.get('/api/component.css', (_request, reply) => reply.headers(DOCUMENT_HEADERS).type(CSS).send(createReadStream(STYLE)))
}
