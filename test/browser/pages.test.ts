// The pages of the example that show one thing each; example.test.ts has echo and chat, upload.test.ts the upload.
import { spawnSync } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { buildApp } from '../../example/app.ts'
import { makeCertificate } from '../../example/certificate.ts'
import { CERTIFICATE } from '../helpers/http.ts'
import { BROWSERS, fill, openPage, testInBrowser, textOf, textsOf } from './browsers.ts'

const PAGES = ['/', '/slow-reader', '/tokens', '/upload', '/http2', '/api']

for (const name of BROWSERS) {
  testInBrowser(`the pages in ${name}`, name, async (t, browser) => {
    await t.test('tokens come until Stop, or until the window is closed, and then their generator ends', async (t) => {
      const { address } = await listen(t)
      const [tab, other] = [await openPage(t, browser, `${address}/tokens`), await openPage(t, browser, `${address}/tokens`)]
      t.match(await textOf(tab, '#tokens-state[data-state="none"]'), 'not connected')
      await other.waitForSelector('#tokens-state[data-state]')
      await tab.bringToFront()
      await fill(tab, '#tokens-prompt', 'Why?')
      await tab.keyboard.press('Enter')
      await tab.waitForFunction('document.querySelector("#tokens-text").textContent.startsWith("“Why?”, you ask. That is")')
      await tab.click('#tokens-stop')
      await tab.waitForSelector('#tokens-state[data-state="closed"][data-fine="true"]')
      t.match(await textOf(tab, '#tokens-count'), /^\d+ tokens came before the connection was closed \(1000\)\.$/)
      const ends = '#tokens-log li:nth-child(2) .details'
      t.match(await textOf(tab, ends), /^generator \d+ ends after \d+ tokens$/)

      await other.bringToFront()
      await other.click('#tokens-ask')
      await other.waitForFunction('document.querySelector("#tokens-text").textContent !== ""')
      await other.close()
      t.match(await textOf(tab, '#tokens-log li:nth-child(4) .details'), /^generator \d+ ends/)
    })

    await t.test('the server waits for a reader that takes nothing, with little in its memory, and gives it up if it does not wait', async (t) => {
      const { address } = await listen(t)
      const tab = await openPage(t, browser, `${address}/slow-reader`)
      await tab.waitForSelector('#slow-state[data-state="none"]')
      const setRate = (value: number) => tab.$eval('#slow-rate', (slider, value) => {
        slider.value = String(value)
        slider.dispatchEvent(new (slider.ownerDocument.defaultView.Event)('input'))
      }, value)
      await setRate(0)
      t.equal(await textOf(tab, '#slow-rate-text'), 'nothing')
      await tab.click('#slow-start')
      // it waits for a moment now and then while the kernel still takes all
      await tab.waitForFunction('/^(6[4-9]|7\\d|80)(\\.\\d)? KiB$/.test(document.querySelector("#slow-unsent").textContent.trim())')
      t.equal(await textOf(tab, '#slow-state[data-state="waiting"]'), 'the server waits')
      const sent = await textOf(tab, '#slow-sent')
      await setRate(15)
      await tab.waitForFunction(`document.querySelector('#slow-sent').textContent !== ${JSON.stringify(sent)}`)
      await tab.click('#slow-stop')
      await tab.waitForSelector('#slow-start:enabled')

      await tab.click('#slow-does-not')
      await setRate(0)
      await tab.click('#slow-start')
      t.match(await textOf(tab, '#slow-outcome .summary'), /^The server has given the reader up: more than 16 MiB were unsent \(1013\)\.$/)
    })

    await t.test('WebSockets of a page that came over HTTP/2 share its connection, others have one each', async (t) => {
      const { address } = await listen(t)
      const tab = await openPage(t, browser, `${address}/http2`)
      await tab.waitForFunction('document.querySelector("#http2-summary").textContent === "3 WebSockets over 3 TCP connections."')

      const secure = await buildApp({ certificate: CERTIFICATE })
      t.teardown(() => secure.close())
      await secure.listen({ host: '127.0.0.1', port: 0 })
      const over2 = await openPage(t, browser, `https://localhost:${(secure.server.address() as AddressInfo).port}/http2`)
      await over2.waitForFunction('document.querySelector("#http2-summary").textContent === "3 WebSockets over 1 TCP connection."')
      await over2.click('#http2-open')
      await over2.waitForFunction('document.querySelector("#http2-summary").textContent === "4 WebSockets over 1 TCP connection."')
      t.same(await textsOf(over2, '#http2-sockets td:nth-child(2)'), Array.from({ length: 4 }, () => 'HTTP/2'))
      await over2.click('#http2-close')
      await over2.waitForFunction('document.querySelector("#http2-summary").textContent === "No WebSocket is open."')
    })

    await t.test('every page fits a phone, and every control has a name', async (t) => {
      const { address } = await listen(t)
      for (const path of PAGES) {
        const tab = await openPage(t, browser, address + path)
        await tab.setViewport({ width: 360, height: 740 })
        t.ok(await tab.evaluate('document.documentElement.scrollWidth <= innerWidth'), path)
        t.same(await tab.evaluate('[...document.querySelectorAll("input, button, [tabindex]")].filter(e => !(e.labels?.length || e.textContent.trim() || e.ariaLabel || e.getAttribute("aria-labelledby"))).map(e => e.id)'), [], path)
        t.equal(await tab.$eval('[aria-current="page"]', (link) => link.pathname), path)
        await tab.close()
      }
    })
  })
}

test('a page shows the code that serves it, as it stands in the example', async (t) => {
  const app = await buildApp()
  t.teardown(() => app.close())
  for (const path of PAGES) {
    const { body } = await app.inject(path)
    const sections = [...body.matchAll(/<span class="note mono">example\/(\S+)<\/span>.*?<code>(.*?)<\/code>/gs)]
    t.ok(sections.length > 0, path)
    for (const [, file, code] of sections) {
      const lines = code!.replaceAll(/<[^>]*>/g, '').replaceAll('&lt;', '<').replaceAll('&amp;', '&').split('\n')
      const source = (await readFile(new URL(`../../example/${file}`, import.meta.url), 'utf8')).split('\n')
      t.ok(lines.length > 3, file!)
      t.same(lines.filter(line => !source.includes(line)), [], file!)
    }
  }
})

test('the pages and their files come with their types and a policy that allows no inline script', async (t) => {
  const app = await buildApp()
  t.teardown(() => app.close())
  for (const [url, type] of [
    ...PAGES.map(path => [path, 'text/html'] as const),
    ['/style.css', 'text/css'],
    ...['panel', 'echo', 'chat', 'slow-reader', 'tokens', 'http2', 'upload', 'reconnect'].map(name => [`/${name}.js`, 'text/javascript'] as const),
    ['/icon.svg', 'image/svg+xml']
  ] as const) {
    const response = await app.inject(url)
    t.equal(response.statusCode, 200, url)
    t.ok(String(response.headers['content-type']).startsWith(type), `${url} is ${type}`)
    t.match(response.headers['content-security-policy'], "default-src 'self';")
  }
})

test('a certificate for localhost is made where there is openssl', { skip: spawnSync('openssl', ['version']).status !== 0 && 'openssl is not installed' }, async (t) => {
  const { key, cert } = await makeCertificate()
  const certificate = new X509Certificate(cert)
  t.equal(certificate.subjectAltName, 'DNS:localhost, IP Address:127.0.0.1')
  t.ok(certificate.checkPrivateKey(createPrivateKey(key)))
})

async function listen (t: Test) {
  const app = await buildApp()
  t.teardown(() => app.close())
  return { app, address: await app.listen({ host: '127.0.0.1', port: 0 }) }
}
