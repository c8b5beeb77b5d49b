import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readdir, watch, writeFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Browser, ElementHandle, Page } from 'puppeteer-core'
import { test, type Test } from 'tap'
import { buildApp } from '../../example/app.ts'
import { MAX_UPLOADS } from '../../example/upload.ts'
import { BROWSERS, openPage, testInBrowser, textOf } from './browsers.ts'

const MEBIBYTE = 1024 * 1024

for (const name of BROWSERS) {
  testInBrowser(`the upload in ${name}`, name, async (t, browser) => {
    await t.test('a file goes there and comes back identical, with its progress', async (t) => {
      const { address, folder } = await listen(t)
      const tab = await openUpload(t, browser, address)
      t.same(await controls(tab), ['upload-file', 'upload-send'])
      const content = randomBytes(5 * MEBIBYTE + 1)
      await choose(t, tab, 'five.bin', content)
      await tab.click('#upload-send')

      t.match(await textOf(tab, '#upload-outcome[data-kind="done"] .summary'), /^Identical: 5 MiB/)
      t.same(await bar(tab, 'there'), { share: 1, text: '5 MiB' })
      t.same(await bar(tab, 'back'), { share: 1, text: '5 MiB' })
      t.equal(await textOf(tab, '#upload-outcome .mono'), sha256(content))
      t.equal(await tab.$eval('#upload-download', ({ download }) => download), 'five.bin')
      // the policy of the page lets no script fetch a blob: URL, so the test kept what it was made of
      t.equal(await tab.evaluate(`(async () => {
        const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await offered.arrayBuffer()))
        return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
      })()`), sha256(content))
      await tab.waitForSelector('#upload-state[data-state="closed"][data-fine="true"]')
      t.same(await controls(tab), ['upload-file', 'upload-send'])
      await emptied(folder)
    })

    await t.test('without a file nothing is sent, and an empty one is a message as well', async (t) => {
      const { address, folder } = await listen(t)
      const tab = await openUpload(t, browser, address)
      await tab.click('#upload-send')
      await tab.waitForSelector('#upload-file:user-invalid')
      t.equal(await textOf(tab, '#upload-state[data-state="none"]'), 'not connected')

      await choose(t, tab, 'empty', Buffer.alloc(0))
      await tab.click('#upload-send')
      t.match(await textOf(tab, '#upload-outcome[data-kind="done"] .summary'), /^Identical: 0 B/)
      await emptied(folder)
    })

    await t.test('Cancel in the middle leaves no file, and another can go', async (t) => {
      const { address, folder } = await listen(t)
      const tab = await openUpload(t, browser, (await clog(t, address)).address)
      await beginUpload(t, tab)
      t.equal((await readdir(folder)).length, 1)
      t.same(await controls(tab), ['upload-cancel'])

      await tab.click('#upload-cancel')
      t.match(await textOf(tab, '#upload-outcome[data-kind="cancelled"]'), /^Cancelled: .+ of 5 MiB were there\.$/)
      await emptied(folder)
      await tab.waitForSelector('#upload-state[data-state="closed"][data-fine="false"]')

      await choose(t, tab, 'small', Buffer.from('small'))
      await tab.click('#upload-send')
      t.match(await textOf(tab, '#upload-outcome[data-kind="done"] .summary'), /^Identical: 5 B/)
    })

    await t.test('a connection that is lost in the middle is shown, and leaves no file', async (t) => {
      const { address, folder } = await listen(t)
      const network = await clog(t, address)
      const tab = await openUpload(t, browser, network.address)
      await beginUpload(t, tab)
      network.cut()
      t.match(await textOf(tab, '#upload-outcome[data-kind="failed"]'), /^The connection was lost \(1006\): .+ of 5 MiB were there\.$/)
      await emptied(folder)
      t.same(await controls(tab), ['upload-file', 'upload-send'])
    })

    await t.test('a page that is left in the middle leaves no file', async (t) => {
      const { address, folder } = await listen(t)
      const tab = await openUpload(t, browser, (await clog(t, address)).address)
      await beginUpload(t, tab)
      await tab.goto(address)
      await emptied(folder)
    })

    await t.test('app.close() in the middle is shown as 1001, and leaves no file', async (t) => {
      const { app, address, folder } = await listen(t)
      const tab = await openUpload(t, browser, (await clog(t, address)).address)
      await beginUpload(t, tab)
      await app.close()
      t.same(await readdir(folder), [])
      t.match(await textOf(tab, '#upload-outcome[data-kind="failed"]'), /^The server is shutting down \(1001/)

      await tab.click('#upload-send')
      t.match(await textOf(tab, '#upload-outcome[data-kind="failed"]'), /^The server could not be reached/)
    })
  })
}

test('a message comes back behind reports of what the server has', async (t) => {
  const { app, folder } = await build(t)
  const client = await app.injectWS('/upload', { maxPayload: 2 * MEBIBYTE })
  const ready = JSON.parse(String(await client.receive()))
  t.match(ready, { type: 'ready', maxBytes: 8 * 1024 ** 3 })

  const message = client.createMessageStream()
  message.write(Buffer.alloc(10))
  t.same(JSON.parse(String(await client.receive())), { type: 'progress', bytes: 10 })
  t.equal((await readdir(folder)).length, 1)
  const content = Buffer.concat([Buffer.alloc(10), randomBytes(MEBIBYTE)])
  message.end(content.subarray(10))

  const reports: Array<{ type: string, bytes: number }> = []
  let data = await client.receive()
  for (; typeof data === 'string'; data = await client.receive()) reports.push(JSON.parse(data))
  t.same(reports.pop(), { type: 'stored', bytes: content.length, sha256: sha256(content) })
  t.ok(reports.every(({ type, bytes }) => type === 'progress' && bytes <= content.length))
  t.same(data, content)
  client.close(1000)
  t.equal(await client.receive(), null)
  t.match(await client.closed, { code: 1000, wasClean: true })
  await emptied(folder)
  t.equal((await app.inject({ method: 'DELETE', url: `/upload/${ready.id}` })).statusCode, 404, 'nothing is left to cancel')
})

test('an upload is cancelled by its id, which only its client knows', async (t) => {
  const { app, folder } = await build(t)
  const client = await app.injectWS('/upload')
  const { id } = JSON.parse(String(await client.receive()))
  client.createMessageStream().on('error', () => {}).write('begun')
  await client.receive()
  t.equal((await app.inject({ method: 'DELETE', url: '/upload/1' })).statusCode, 400)
  t.equal((await app.inject({ method: 'DELETE', url: '/upload/00000000-0000-4000-8000-000000000000' })).statusCode, 404)
  t.equal((await readdir(folder)).length, 1)
  t.equal((await app.inject({ method: 'DELETE', url: `/upload/${id}` })).statusCode, 204)
  await emptied(folder)
  client.terminate()
})

test('a text message is refused, and so are more uploads than the disk shall hold', async (t) => {
  const { app, folder } = await build(t)
  const clients = await Promise.all(Array.from({ length: MAX_UPLOADS }, () => app.injectWS('/upload')))
  await t.rejects(app.injectWS('/upload'), { message: 'Unexpected server response: 503' })
  for (const client of clients) {
    client.send('text')
    client.resume()
    t.match(await client.closed, { code: 1003, reason: 'expected a file as one binary message' })
  }
  await emptied(folder)
})

async function build (t: Test) {
  const folder = join(t.testdir({ kept: {} }), 'kept')
  const app = await buildApp({ uploadFolder: folder })
  t.teardown(() => app.close())
  return { app, folder }
}

async function listen (t: Test) {
  const { app, folder } = await build(t)
  return { app, folder, address: await app.listen({ host: '127.0.0.1', port: 0 }) }
}

/** Opens the page, which says what it offers to be saved. */
async function openUpload (t: Test, browser: Browser, address: string): Promise<Page> {
  const tab = await openPage(t, browser, `${address}/upload`)
  await tab.evaluate(`{
    const { createObjectURL } = URL
    URL.createObjectURL = (blob) => createObjectURL.call(URL, globalThis.offered = blob)
  }`)
  return tab
}

async function choose (t: Test, tab: Page, name: string, content: Buffer): Promise<void> {
  const folder = join(t.testdirName, 'chosen')
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, name), content)
  const input = await tab.$('#upload-file') as ElementHandle<any>
  await input.uploadFile(join(folder, name))
}

/** Sends 5 MiB into a network that is clogged, and waits until the server has some of them. */
async function beginUpload (t: Test, tab: Page): Promise<void> {
  await choose(t, tab, 'five.bin', randomBytes(5 * MEBIBYTE))
  await tab.click('#upload-send')
  await tab.waitForFunction("0 < document.querySelector('#upload-there').value && document.querySelector('#upload-there').value < 1")
}

/** A network that carries one MiB of each connection to the server, and then nothing more until it is cut. */
async function clog (t: Test, address: string) {
  const sockets = new Set<Socket>()
  const cut = () => { for (const socket of sockets) socket.destroy() }
  const network = createServer((near) => {
    const far = connect(Number(new URL(address).port), '127.0.0.1')
    let carried = 0
    near.on('data', (chunk) => {
      carried += chunk.length
      far.write(chunk)
      if (carried >= MEBIBYTE) near.pause()
    })
    far.pipe(near)
    for (const [socket, other] of [[near, far], [far, near]] as const) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
  })
  network.listen(0, '127.0.0.1')
  await once(network, 'listening')
  t.teardown(() => {
    cut()
    network.close()
  })
  return { cut, address: `http://127.0.0.1:${(network.address() as AddressInfo).port}` }
}

/** Resolves when nothing is left in a folder. */
async function emptied (folder: string): Promise<void> {
  const watching = new AbortController()
  const changes = watch(folder, { signal: watching.signal })[Symbol.asyncIterator]()
  // from here on no change is missed
  let change = changes.next()
  while ((await readdir(folder)).length > 0) {
    await change
    change = changes.next()
  }
  change.catch(() => {})
  watching.abort()
}

async function bar (tab: Page, name: string) {
  return {
    share: await tab.$eval(`#upload-${name}`, (element) => element.hasAttribute('value') ? element.value : null),
    text: await textOf(tab, `#upload-${name}-text`)
  }
}

function controls (tab: Page): Promise<string[]> {
  return tab.$$eval('#upload-form :is(input, button):enabled', (elements) => elements.map(({ id }) => id))
}

function sha256 (content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}
