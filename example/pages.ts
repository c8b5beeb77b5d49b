// The pages and what they load: files, code of the example that they show, and the client for pages.
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import * as nodeModule from 'node:module'
import type { FastifyInstance } from 'fastify'

const HTML = 'text/html; charset=utf-8'
const JAVASCRIPT = 'text/javascript; charset=utf-8'

/** Every file of the pages: route, file name, content type. Only /upload is missing, which is a WebSocket route as well. */
const FILES = [
  ['/', 'index.html', HTML],
  ['/slow-reader', 'slow-reader.html', HTML],
  ['/tokens', 'tokens.html', HTML],
  ['/http2', 'http2.html', HTML],
  ['/style.css', 'style.css', 'text/css; charset=utf-8'],
  ['/panel.js', 'panel.js', JAVASCRIPT],
  ['/echo.js', 'echo.js', JAVASCRIPT],
  ['/chat.js', 'chat.js', JAVASCRIPT],
  ['/slow-reader.js', 'slow-reader.js', JAVASCRIPT],
  ['/tokens.js', 'tokens.js', JAVASCRIPT],
  ['/http2.js', 'http2.js', JAVASCRIPT],
  ['/upload.js', 'upload.js', JAVASCRIPT],
  ['/icon.svg', 'icon.svg', 'image/svg+xml']
] as const

const PAGE_HEADERS = {
  'cache-control': 'no-cache',
  // the echo panel may be pointed at any WebSocket server; everything else comes from here
  'content-security-policy': "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff'
}

// resolved through the package's own name, because dist/example/pages.js lies a folder deeper than example/pages.ts
const ROOT = new URL('./', import.meta.resolve('fastify-websocket-stream/package.json'))

// @types/node is that of the oldest Node that types are checked for
const { stripTypeScriptTypes } = nodeModule as unknown as { stripTypeScriptTypes: (code: string) => string }

/** Sends a file of the pages. */
export async function pageOf (name: string, type: string = HTML) {
  const file = await readFile(new URL(`example/public/${name}`, ROOT), 'utf8')
  const body = type === HTML ? withSource(file) : file
  return (_request: unknown, reply: Reply) => reply.headers(PAGE_HEADERS).type(type).send(body)
}

interface Reply {
  headers (fields: object): Reply
  type (type: string): Reply
  send (body: string): unknown
}

export async function pages (app: FastifyInstance): Promise<void> {
  for (const [url, name, type] of FILES) app.get(url, await pageOf(name, type))
  // `fastify-websocket-stream/browser`, which a bundler would find by that name
  const browser = stripTypeScriptTypes(await readFile(new URL('lib/page/reconnect.ts', ROOT), 'utf8'))
  app.get('/reconnect.js', (_request, reply) => reply.headers(PAGE_HEADERS).type(JAVASCRIPT).send(browser))
}

/** Puts the code in that a page asks for by `<!-- source: file.ts name -->`: that function or constant of the example, as it stands there. */
function withSource (page: string): string {
  return page.replaceAll(/<!-- source: (\S+) (\w+) -->/g, (_, file, name) => highlight(declarationOf(file, name)))
}

/** A function up to its brace at the beginning of a line, a constant of one line. */
function declarationOf (file: string, name: string): string {
  const source = readFileSync(new URL(`example/${file}`, ROOT), 'utf8')
  const [code] = new RegExp(`^(export )?(async )?function \\*? ?${name} [^]*?^}$|^const ${name}\\b.*$`, 'm').exec(source) ?? []
  if (code === undefined) throw new Error(`example/${file} declares no ${name}`)
  return code
}

const TOKENS = /(?<comment>\/\/[^\n]*)|(?<string>'[^'\n]*'|`[^`\n]*`)|(?<keyword>\b(?:async|await|break|catch|const|continue|export|finally|for|function|if|let|new|null|of|return|try|while|yield)\b)/g

/** Markup for code: comments, strings and keywords. */
function highlight (code: string): string {
  return escape(code).replaceAll(TOKENS, (token, ...found) => {
    const [kind] = Object.entries(found.at(-1) as Record<string, string | undefined>).find(([, text]) => text !== undefined)!
    return `<span class="${kind}">${token}</span>`
  })
}

function escape (text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
