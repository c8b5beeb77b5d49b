// The page that shows what the routes of the example say of themselves.
import { existsSync } from 'node:fs'
import type { Page } from 'puppeteer-core'
import type { Test } from 'tap'
import { buildApp } from '../../example/app.ts'
import { BROWSERS, fill, openPage, testInBrowser, textsOf } from './browsers.ts'

// what `npm run asyncapi` installs, and CI does
const isInstalled = existsSync(new URL('../../example/asyncapi/node_modules/@asyncapi/react-component', import.meta.url))

for (const name of BROWSERS) {
  testInBrowser(`the page of the document in ${name}`, name, async (t, browser) => {
    await t.test('what a schema says can be sent, and what it does not allow ends the connection', async t => {
      const tab = await openPage(t, browser, `${await listen(t)}/api`)
      await tab.setViewport({ width: 1280, height: 1000 })
      t.strictSame(await textsOf(tab, '#try-channel option'), ['/chat', '/slow-reader/samples', '/tokens/answer'])
      t.strictSame(await textsOf(tab, '#try-given label'), ['id', 'name', 'since'])
      await fill(tab, '#try-query-name', 'Ann')
      await tab.click('#try-connect')
      await tab.waitForSelector('#try-state[data-state="open"]')
      await tab.click('#try-send')
      await waitForEvent(tab, '"type":"said","id":"hello","by":{"id":"hello","name":"Ann"},"text":"hello"')
      await fill(tab, '#try-payload', '{"type":"sing"}')
      await tab.click('#try-send')
      await waitForEvent(tab, '1007 message/type must be equal to one of the allowed values')
      await tab.waitForSelector('#try-state[data-state="closed"][data-fine="false"]')

      await tab.select('#try-channel', 'tokens_answer')
      await tab.click('#try-connect')
      await tab.waitForSelector('#try-state[data-state="open"]')
      await tab.click('#try-send')
      await waitForEvent(tab, '{"token":')
      await tab.click('#try-close')
      await tab.waitForSelector('#try-state[data-state="closed"][data-fine="true"]')
    })

    await t.test('the document is shown without any other host', async t => {
      const address = await listen(t)
      const tab = await openPage(t, browser, address)
      const foreign: string[] = []
      tab.on('request', request => { if (!request.url().startsWith(address)) foreign.push(request.url()) })
      await tab.goto(`${address}/api`)
      const frame = await (await tab.waitForSelector('#document-frame'))!.contentFrame()
      await frame.waitForFunction(isInstalled
        ? 'document.body.textContent.includes("Operations") && document.body.textContent.includes("chat.receive")'
        : 'document.querySelector("#source").textContent.startsWith("asyncapi: ")')
      t.strictSame(foreign, [])
    })
  })
}

async function listen (t: Test): Promise<string> {
  const app = await buildApp()
  t.teardown(() => app.close())
  return app.listen({ port: 0, host: '127.0.0.1' })
}

async function waitForEvent (tab: Page, text: string): Promise<void> {
  await tab.waitForFunction(`document.querySelector('#try-log').textContent.includes(${JSON.stringify(text)})`)
}
