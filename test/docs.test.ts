// The documentation says what is true: its code compiles, its programs run, its links lead somewhere, and the reference leaves nothing out.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { FastifyInstance } from 'fastify'
import { test, type Test } from 'tap'
import getExePath from '../node_modules/typescript7/lib/getExePath.js'
import * as exported from '../lib/index.ts'
import { anchorsOf, linksOf, namesIn, rowsOf, sectionOf, snippetsOf } from './helpers/markdown.ts'
import { binary, openRawClient, text } from './helpers/raw-client.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const WORK = join(ROOT, '.tap/docs')
const read = (path: string): Promise<string> => readFile(join(ROOT, path), 'utf8')

const paths = ['README.md', ...(await readdir(join(ROOT, 'docs'))).filter(name => name.endsWith('.md')).map(name => `docs/${name}`)]
const pages = new Map(await Promise.all(paths.map(async path => [path, await read(path)] as const)))
const reference = pages.get('docs/reference.md')!

const { name: PACKAGE, exports } = JSON.parse(await read('package.json')) as { name: string, exports: Record<string, string | { types: string }> }
/** Of each specifier under which code is imported, the file of lib. */
const SOURCES = Object.entries(exports).flatMap(([subpath, target]): Array<[specifier: string, file: string]> =>
  typeof target === 'string' ? [] : [[PACKAGE + subpath.slice(1), target.types.replace(/^\.\/dist\//, '').replace(/\.d\.ts$/, '.ts')]])

// Code

/** Compiles all code of the pages in one go, as a user's code is compiled. @returns errors, each with page and line */
async function compile (pages: Iterable<readonly [path: string, page: string]>): Promise<string[]> {
  const folder = join(WORK, 'snippets')
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  const config = {
    extends: '../../../tsconfig.json',
    compilerOptions: {
      rootDir: '../../..',
      moduleDetection: 'force',
      verbatimModuleSyntax: false,
      lib: ['es2023', 'dom', 'dom.iterable', 'dom.asynciterable'], // some of it is of pages
      allowJs: true,
      checkJs: true,
      paths: {
        ...Object.fromEntries(SOURCES.map(([specifier, file]) => [specifier, [`../../../${file}`]])),
        // it brings the types of @fastify/websocket into the program, which is one for all pages
        'graphql-ws/use/@fastify/websocket': ['../../../test/helpers/docs-graphql-ws.ts']
      }
    },
    include: ['.', '../../../test/helpers/docs-modules.d.ts']
  }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))
  await Promise.all([...pages].flatMap(([path, page]) => filesOf(path, page)).map(([name, code]) => writeFile(join(folder, name), code)))
  // Without Node in between, into whose children tap loads what the compiler's wrapper does not bear. One thread takes half of the CPU time of several.
  const output = await new Promise<string>(resolve => {
    execFile(getExePath(), ['-p', '.', '--pretty', 'false', '--singleThreaded'], { cwd: folder }, (_, stdout, stderr) => { resolve(stdout + stderr) })
  })
  // not of lib, which is compiled elsewhere, and without the types of pages; nor that nobody says what type something is, as JavaScript cannot
  return output.split(/\n(?! )/).filter(line => line !== '' && !line.startsWith('../') && !/^\S+\.js\(.* error TS70\d\d:/.test(line))
}

/** All code of a page as files, in which each line has the number that it has in the page. */
function filesOf (path: string, page: string): Array<[name: string, code: string]> {
  return snippetsOf(page).filter(({ language }) => language === 'ts' || language === 'js').map(({ language, names, code, line }) => {
    const imported = names.map(name => {
      const [own, given = language === 'js' && own === 'app' ? 'jsApp' : own] = name.split('=')
      return `${given} as ${own}`
    })
    const prelude = names.length === 0 ? '' : `import { ${imported.join(', ')} } from '../../../test/helpers/docs-prelude.ts'`
    return [`${path.replaceAll('/', '-')}-${line}.${language}`, `${prelude}${'\n'.repeat(line - 1)}${code}`]
  })
}

const BROKEN = `# A page

\`\`\`ts app
app.get('/', { websocket: true }, connection => {
  connection.sent(1)
})
\`\`\`

\`\`\`js
nope()
\`\`\`
`

test('all code of the documentation compiles, and what does not is found', async t => {
  const errors = await compile([...pages, ['docs/broken.md', BROKEN]])
  t.strictSame(errors.filter(error => !error.includes('broken.md')), [])
  t.match(errors.filter(error => error.includes('broken.md')), [/^docs-broken\.md-10\.js\(10,1\): error .*'nope'/, /^docs-broken\.md-4\.ts\(5,14\): error .*'sent'/])
})

/** Runs a program of the README as it stands, but on a port that is free and with the source of the package. */
async function start (t: Test, heading: string): Promise<number> {
  const [snippet] = snippetsOf(sectionOf(pages.get('README.md')!, heading))
  const file = join(WORK, `program-${heading.replaceAll(/\W+/g, '-')}.ts`)
  let program = snippet!.code
  for (const [specifier, source] of SOURCES) program = program.replaceAll(`'${specifier}'`, `'../../${source}'`)
  program = program.replace('{ port: 3000 }', '{ port: 0 }') + '\nexport { app }\n'
  await mkdir(WORK, { recursive: true })
  await writeFile(file, program)
  const { app } = await import(file) as { app: FastifyInstance }
  t.teardown(() => app.close())
  return (app.server.address() as AddressInfo).port
}

test('the echo of the README sends back text as text, and bytes as bytes', async t => {
  const client = await openRawClient(t, await start(t, '## An echo'), { path: '/echo' })
  client.write(text('hello'), binary('bytes'))
  t.strictSame(await client.take(2), ['text hello', 'binary bytes'])
})

test('the chat of the README passes on what is said, to all others in the room, and what is a line', async t => {
  const port = await start(t, '## A typed chat with rooms')
  const open = (path: string) => openRawClient(t, port, { path })
  const [ann, bob, cid, dan] = [await open('/rooms/blue'), await open('/rooms/blue'), await open('/rooms/blue'), await open('/rooms/red')]
  await Promise.all([ann, bob, cid, dan].map(client => client.roundTrip())) // all handlers have run
  ann.write(text('{"text":"hello"}'))
  t.strictSame([await bob.take(1), await cid.take(1)], [['text {"text":"hello"}'], ['text {"text":"hello"}']])
  bob.write(text('{"text":"hi"}'))
  t.strictSame(await ann.take(1), ['text {"text":"hi"}'], 'and not her own')
  dan.write(text('{}'))
  t.match(await dan.rest(), [/^close 1007 message must have required property 'text'/], 'and nothing that is said in another room')
})

test('the tokens of the README come one by one, and stop when the client leaves', async t => {
  const port = await start(t, '## Tokens that stop when the client leaves')
  const { log } = console
  t.teardown(() => { console.log = log })
  const stopped = new Promise(resolve => { console.log = resolve })
  const client = await openRawClient(t, port, { path: '/ask' })
  client.write(text('Why?'))
  t.strictSame(await client.take(2), ['text Why? 1', 'text Why? 2'])
  client.destroy()
  t.equal(await stopped, 'no more tokens are made')
})

// Links

function deadLinks (path: string, page: string): string[] {
  return linksOf(page).flatMap(({ target, line }) => {
    if (/^https?:/.test(target)) return []
    const [file, anchor] = target.split('#') as [string, string?]
    const linked = file === '' ? path : relative(ROOT, join(ROOT, dirname(path), file))
    const isThere = existsSync(join(ROOT, linked))
    const text = pages.get(linked)
    const leadsThere = anchor === undefined ? isThere : text !== undefined && anchorsOf(text).has(anchor)
    return leadsThere ? [] : [`${path}:${line}: ${target}`]
  })
}

test('every link between pages leads to a file, a page or a heading that is there', async t => {
  t.strictSame([...pages].flatMap(([path, page]) => deadLinks(path, page)), [])
  t.strictSame(deadLinks('docs/a.md', '[a](gone.md)\n[b](reference.md#gone) [c](#gone)\n`[d](gone)` [e](reference.md#options) ![f](../README.md)'),
    ['docs/a.md:1: gone.md', 'docs/a.md:2: reference.md#gone', 'docs/a.md:2: #gone'])
})

test('the README is short', async t => {
  t.ok(Buffer.byteLength(pages.get('README.md')!) <= 8 * 1024)
})

// The map beside the source

test('each file of lib has a test of its name in the same folder of test, but for those of types alone and index files', async t => {
  const files = (await readdir(join(ROOT, 'lib'), { recursive: true })).filter(file => file.endsWith('.ts') && !file.endsWith('index.ts'))
  const untested = files.filter(file => !existsSync(join(ROOT, 'test', file.replace(/ts$/, 'test.ts'))))
  const isCode = await Promise.all(untested.map(async file => /^(?:export )?(?:async )?(?:const|let|function|class)\b/m.test(await read(`lib/${file}`))))
  t.strictSame(untested.filter((_, i) => isCode[i]), [])
  t.ok(files.length > untested.length && untested.length > 0)
})

test('the map of the source has each folder of lib, and names no file or folder that is not there', async t => {
  const rows = rowsOf(sectionOf(pages.get('docs/internals.md')!, '## Map of the source'))
  const names = new Set(rows.flat().flatMap(namesIn))
  const folders = (await readdir(join(ROOT, 'lib'), { withFileTypes: true })).filter(entry => entry.isDirectory()).map(({ name }) => `${name}/`)
  t.strictSame(folders.filter(folder => !names.has(folder)), [])
  const files = [...names].filter(name => /\/$|\.ts$/.test(name))
  t.strictSame(files.filter(name => ![`lib/${name}`, `lib/connection/${name}`].some(path => existsSync(join(ROOT, path)))), [])
})

// The reference beside the types

const types = (await Promise.all((await readdir(join(ROOT, 'types'))).map(name => read(`types/${name}`)))).join('\n')
const errors = await read('lib/errors.ts')

/** The names of an interface's members. */
function membersOf (name: string): string[] {
  const [, body] = new RegExp(`^export interface ${name}\\b[^{]*\\{\\n([^]*?)^\\}`, 'm').exec(types) ?? []
  if (body === undefined) throw new Error(`types/ has no interface ${name}`)
  const members = [...body.replaceAll(/\/\*\*[^]*?\*\//g, '').matchAll(/^ {2}(?:readonly |get |set )*(\w+)\??\s*[(:<]/gm)].map(([, member]) => member!)
  return [...new Set(members)]
}

/** All names that tables of the sections have rows for. */
function documented (...headings: string[]): Set<string> {
  return new Set(headings.flatMap(heading => rowsOf(sectionOf(reference, heading))).flatMap(row => namesIn(row[0]!)))
}

/** Those that every EventEmitter has. */
const EMITTER = ['on', 'once', 'off', 'addListener', 'removeListener', 'prependListener', 'prependOnceListener', 'emit']
/** The interfaces of types/ whose members have rows, by section. */
const SECTIONS: Record<string, string> = {
  ConnectionOptions: '## Options',
  HandshakeOptions: '## Options',
  WebSocketRouteOptions: '## Options',
  WebSocketPluginOptions: '## Options',
  PerMessageDeflateOptions: '## Compression',
  UpgradeOptions: '## connect() and upgrade()',
  ConnectOptions: '## connect() and upgrade()',
  ReconnectOptions: '## reconnect()',
  SendOptions: '### Sending',
  PrepareOptions: '### Sending',
  ReceiveOptions: '### Receiving',
  MessageStreamsOptions: '### Receiving',
  ToDuplexOptions: '### Streams',
  MessageWebStreams: '## Connection',
  CreateMessageStreamOptions: '### Streams',
  WebSocketConnection: '## Connection',
  ConnectionEvents: '### Events',
  ListenerOptions: '### Events',
  CloseInfo: '### Ending',
  ConnectionStats: '### About it',
  ConnectionInfo: '### About it',
  WebSocketServerFacade: '## Server',
  WebSocketServerStats: '## Server',
  ConnectionLoad: '## Server',
  DrainOptions: '## Server',
  SubscribeOptions: '### Topics of a connection',
  TopicsOptions: '## Topics',
  PublishOptions: '## Topics',
  TopicsTable: '## Topics'
}

test('the reference has each option, each member of connection and server, and each event', async t => {
  for (const [name, heading] of Object.entries(SECTIONS)) {
    const rows = documented(heading)
    t.strictSame(membersOf(name).filter(member => !rows.has(member) && !EMITTER.includes(member)), [], `of ${name}, rows under ${heading}`)
  }
})

test('options that the reference leaves to another page have a row there', async t => {
  const names = [...types.matchAll(/^export interface (\w+Options)\b/gm)].map(([, name]) => name!).filter(name => !Object.hasOwn(SECTIONS, name))
  const rows = new Set([...pages.values()].flatMap(rowsOf).flatMap(row => namesIn(row[0]!)))
  t.strictSame(names.flatMap(name => membersOf(name).filter(member => !rows.has(member)).map(member => `${name}.${member}`)), [])
})

test('the reference names no option, member or event that there is not', async t => {
  const known = new Set(Object.keys(SECTIONS).flatMap(membersOf))
  for (const heading of ['## Options', '## Compression', '## connect() and upgrade()', '## reconnect()']) {
    t.strictSame([...documented(heading)].filter(name => !known.has(name)), [], heading)
  }
})

test('the reference has each error code, with its status or close code, and no other', async t => {
  const rows = rowsOf(sectionOf(reference, '## Errors'))
  const codes = [...errors.matchAll(/'((?:FST_WS|WS_ERR)_\w+)'(?:, (\d{3,4}))?/g)]
  t.strictSame(codes.filter(([, code, status = '']) => !rows.some(row => row.flatMap(namesIn).includes(code!) && row.join(' ').includes(status)))
    .map(([said]) => said), [])
  const known = new Set(codes.map(([, code]) => code))
  t.strictSame(rows.flatMap(row => row.flatMap(namesIn)).filter(name => /^(FST_WS|WS_ERR)_\w+$/.test(name) && !known.has(name)), [])
})

test('the reference says what each cause of an end is', async t => {
  const causes = /^export type CloseCause = (.*)$/m.exec(types)![1]!.split(' | ')
  t.ok(causes.length >= 9)
  const row = rowsOf(sectionOf(reference, '### Ending')).find(([name]) => name === '`cause`')!.join(' ')
  t.strictSame(causes.filter(cause => !row.includes(`\`${cause}\`:`)), [])
})

test('the reference has each diagnostics channel', async t => {
  const files = (await readdir(join(ROOT, 'lib'), { recursive: true })).filter(name => name.endsWith('.ts'))
  const sources = await Promise.all(files.map(name => read(`lib/${name}`)))
  const names = sources.flatMap(source => [...source.matchAll(/\bchannel\('([^']+)'\)/g)]).map(([, name]) => name!)
  t.ok(names.length >= 5)
  const rows = documented('## Logs, channels and context')
  t.strictSame(names.filter(name => !rows.has(name)), [])
})

test('the reference has each export of the package, and each of its subpaths', async t => {
  const rows = documented('## Exports')
  t.strictSame(Object.keys(exported).filter(name => name !== 'module.exports' && !rows.has(name)), [])
  t.strictSame(Object.keys(exports).map(subpath => PACKAGE + subpath.slice(1)).filter(name => !rows.has(name)), [])
})
