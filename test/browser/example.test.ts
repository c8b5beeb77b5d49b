import type { FastifyInstance } from 'fastify'
import type { Page } from 'puppeteer-core'
import { test, type Test } from 'tap'
import { buildApp } from '../../example/app.ts'
import { BROWSERS, fill, openPage, testInBrowser, textOf, textsOf } from './browsers.ts'

for (const name of BROWSERS) {
  testInBrowser(`the example in ${name}`, name, async (t, browser) => {
    await t.test('the page logs open, the message and its echo, and the close with code, reason and wasClean', async (t) => {
      const { address } = await listen(t)
      const tab = await openPage(t, browser, address)
      t.equal(await textOf(tab, '#echo-state[data-state="none"]'), 'not connected')
      t.same(await enabledButtons(tab), ['echo-connect'])

      await tab.click('#echo-connect')
      t.equal(await textOf(tab, '#echo-state[data-state="open"]'), 'OPEN · 1')
      t.same(await enabledButtons(tab), ['echo-send', 'echo-send-binary', 'echo-close'])

      await fill(tab, '#echo-text', 'grüß dich')
      await tab.click('#echo-send')
      t.match(await textOf(tab, '#echo-log [data-kind="message"][data-direction="in"]'), /received\s*grüß dich\s+11 B\s+identical/)

      await fill(tab, '#echo-code', '4001')
      await fill(tab, '#echo-reason', 'bye')
      await tab.click('#echo-close')
      t.match(await textOf(tab, '#echo-log [data-kind="close"]'), /close\s*4001\s+bye\s+wasClean true/)
      t.equal(await textOf(tab, '#echo-state[data-state="closed"]'), 'CLOSED · 3')
      t.same(await enabledButtons(tab), ['echo-connect'])
      t.same(await kinds(tab, '#echo-log'), ['open', 'message', 'message', 'close'])
    })

    await t.test('Enter connects, sends and closes, and a new connection can be made afterwards', async (t) => {
      const { address } = await listen(t)
      const tab = await openPage(t, browser, address)
      for (let round = 1; round <= 2; round++) {
        await tab.focus('#echo-url')
        await tab.keyboard.press('Enter')
        await tab.waitForSelector('#echo-state[data-state="open"]')
        await tab.focus('#echo-text')
        await tab.keyboard.press('Enter')
        await tab.waitForSelector(`#echo-log li:nth-child(${round * 4 - 1})[data-direction="in"]`)
        await tab.focus('#echo-reason')
        await tab.keyboard.press('Enter')
        await tab.waitForSelector(`#echo-log li:nth-child(${round * 4})[data-kind="close"]`)
      }
      // a Close frame without a code is answered with one without a code, which browsers report as 1005
      t.match(await textOf(tab, '#echo-log li:nth-child(8)'), /close\s*1005\s+no reason\s+wasClean true/)
    })

    await t.test('an echo of 1 MiB is identical', async (t) => {
      const { address } = await listen(t)
      const tab = await openPage(t, browser, address)
      t.same(await tab.evaluate(`new Promise((resolve, reject) => {
        const sent = new Uint8Array(1024 * 1024).map((_, index) => index ^ (index >> 8))
        const socket = new WebSocket('ws://' + location.host + '/echo')
        socket.binaryType = 'arraybuffer'
        socket.onopen = () => { socket.send(sent) }
        socket.onmessage = ({ data }) => {
          const received = new Uint8Array(data)
          resolve({ length: received.length, identical: received.every((byte, index) => byte === sent[index]) })
          socket.close(1000)
        }
        socket.onclose = ({ code }) => { reject(new Error('closed with ' + code)) }
      })`), { length: 1024 * 1024, identical: true })

      await tab.click('#echo-connect')
      await tab.waitForSelector('#echo-state[data-state="open"]')
      await tab.click('#echo-send-binary')
      t.match(await textOf(tab, '#echo-log [data-direction="in"]'), /received\s*binary\s+1 MiB\s+identical/)
    })

    await t.test('app.close() ends while a page is connected, which sees 1001', async (t) => {
      const { app, address } = await listen(t)
      const tab = await openPage(t, browser, address)
      await tab.click('#echo-connect')
      await tab.waitForSelector('#echo-state[data-state="open"]')
      await tab.click('#chat-join')
      await tab.waitForSelector('#chat-members li')
      await app.close()
      t.match(await textOf(tab, '#echo-log [data-kind="close"]'), /close\s*1001\s.*wasClean true/)
      // whoever restarts the server finds the members again
      t.match(await textOf(tab, '#chat-log [data-kind="lost"]'), /lost \(1001/)
      await tab.click('#chat-leave')
      t.equal(await textOf(tab, '#chat-state[data-state="closed"]'), 'not connected')
    })

    await t.test('a refused connection is logged as an error and a close with 1006', async (t) => {
      const { address } = await listen(t)
      const tab = await openPage(t, browser, address)
      await fill(tab, '#echo-url', `${address.replace('http:', 'ws:')}/no-such-route`)
      await tab.click('#echo-connect')
      t.match(await textOf(tab, '#echo-log [data-kind="close"]'), /close\s*1006\s+no reason\s+wasClean false/)
      t.same(await kinds(tab, '#echo-log'), ['error', 'close'])
    })

    await t.test('a close code that no page may send is refused in words, and the connection stays', async (t) => {
      const { address } = await listen(t)
      const tab = await openPage(t, browser, address)
      await tab.click('#echo-connect')
      await tab.waitForSelector('#echo-state[data-state="open"]')
      await fill(tab, '#echo-code', '1001')
      await tab.click('#echo-close')
      t.match(await textOf(tab, '#echo-log [data-kind="error"]'), /1001 was not sent: a page may close with code 1000, or with 3000 to 4999\./)
      t.equal(await textOf(tab, '#echo-state[data-state="open"]'), 'OPEN · 1')
    })

    await t.test('on a phone one tap leads to the chat, and the state of a connection that ended well is not red', async (t) => {
      const { app, address } = await listen(t)
      const tab = await openPage(t, browser, address)
      await tab.setViewport({ width: 390, height: 844 })
      const isInSight = (): Promise<boolean> => tab.$eval('#chat-join', (button) => {
        const { top, bottom } = button.getBoundingClientRect()
        return top >= 0 && bottom <= 844
      })
      t.equal(await isInSight(), false)
      await tab.click('[data-testid="jump-chat"]')
      t.equal(await isInSight(), true)
      await tab.click('#chat-join')
      await tab.waitForSelector('#chat-members li')
      await tab.click('#chat-leave')
      await tab.waitForSelector('#chat-state[data-state="closed"]')
      const good = await colorOf(tab, '#chat-state')
      await tab.click('#chat-join')
      await tab.waitForSelector('#chat-members li')
      for (const client of app.websocketServer.clients) client.close(1008, 'no')
      t.match(await textOf(tab, '#chat-log [data-kind="ended"]:last-child'), /closed \(1008, no\)/)
      await tab.waitForSelector('#chat-state[data-state="failed"]')
      t.not(await colorOf(tab, '#chat-state'), good)
    })

    await t.test('two windows in the chat see each other come, talk and go', async (t) => {
      const { address } = await listen(t)
      const ada = await openPage(t, browser, address)
      await join(ada, 'Ada')
      const grace = await openPage(t, browser, address)
      await join(grace, 'Grace <b>')
      t.equal(await textOf(ada, '#chat-log [data-kind="joined"]:nth-child(2)'), 'Grace <b> joined.')
      t.same(await textsOf(ada, '#chat-members .name'), ['Ada', 'Grace <b>'])
      t.same(await textsOf(grace, '#chat-members .name'), ['Ada', 'Grace <b>'])

      await say(grace, 'hello')
      t.match(await textOf(ada, '#chat-log [data-own="false"]'), /Grace <b>.*hello$/)
      await say(ada, 'welcome')
      t.match(await textOf(grace, '#chat-log [data-own="false"]'), /Ada.*welcome$/)
      t.same(await kinds(ada, '#chat-log'), ['joined', 'joined', 'said', 'said'])
      t.same(await kinds(grace, '#chat-log'), ['joined', 'said', 'said'])

      await grace.bringToFront()
      await grace.click('#chat-leave')
      t.equal(await textOf(ada, '#chat-log [data-kind="left"]'), 'Grace <b> left.')
      t.same(await textsOf(ada, '#chat-members .name'), ['Ada'])
      t.equal(await textOf(grace, '#chat-log [data-kind="ended"]'), 'You left.')

      // whoever closes the window leaves as well
      await join(grace, 'Grace')
      await ada.waitForSelector('#chat-members li:nth-child(2)')
      await grace.close()
      t.equal(await textOf(ada, '#chat-log [data-kind="left"]:last-child'), 'Grace left.')
    })

    await t.test('a member that is cut off comes back to all that was said, and has lost nothing of what it said', async (t) => {
      const { app, address } = await listen(t)
      const [ada, grace] = [await openPage(t, browser, address), await openPage(t, browser, address)]
      await join(ada, 'Ada')
      await join(grace, 'Grace')
      await grace.click('#chat-cut')
      await grace.waitForSelector('#chat-log [data-kind="lost"]')
      await say(grace, 'are you there?')
      t.equal(await textOf(grace, '#chat-log [data-kind="pending"] .text'), 'are you there?')
      for (const text of ['one', 'two', 'three']) await say(ada, text)
      await ada.waitForSelector('#chat-log [data-kind="said"]:last-child')
      // the page need not wait for as long as it would
      await grace.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
      t.match(await textOf(grace, '#chat-log [data-kind="back"]'), 'You are back. 3 that came meanwhile were sent after you, and nothing is missing.')
      await grace.waitForSelector('#chat-log li:last-child[data-kind="said"]')
      for (const tab of [grace, ada]) {
        await tab.waitForFunction('document.querySelectorAll(\'#chat-log [data-kind="said"]\').length === 4')
        t.same(await textsOf(tab, '#chat-log [data-kind="said"] .text'), ['one', 'two', 'three', 'are you there?'])
      }

      for (const client of app.websocketServer.clients) client.close(1012)
      await ada.waitForSelector('#chat-log [data-kind="back"]')
    })

    await t.test('the chat refuses what does not belong there', async (t) => {
      const { address } = await listen(t)
      const tab = await openPage(t, browser, address)
      const closeOf = (name: string, message: string) => tab.evaluate(`new Promise((resolve) => {
        const socket = new WebSocket('ws://' + location.host + '/chat?id=x&name=' + encodeURIComponent(${JSON.stringify(name)}))
        socket.onopen = () => { socket.send(${message}) }
        socket.onclose = ({ code, reason }) => { resolve(code + ' ' + reason) }
      })`)
      t.match(await closeOf('Ada', '"{"'), /^1007 /)
      t.match(await closeOf('Ada', '"null"'), /^1007 /)
      t.match(await closeOf('Ada', 'JSON.stringify({ type: "say", id: "x", text: "x".repeat(501) })'), /^1007 message\/text must NOT have more than 500 characters/)
      t.match(await closeOf('Ada', 'JSON.stringify({ type: "say", id: "x", text: " " })'), /^1007 message\/text must match pattern/)
      t.match(await closeOf('Ada', '" ".repeat(5000)'), /^1009 /)
      t.match(await closeOf('Ada', 'new Uint8Array(1)'), /^1003 /)
      for (const name of ['', ' ', 'x'.repeat(25), 'line\nfeed']) t.equal(await closeOf(name, '""'), '1006 ', JSON.stringify(name))
    })
  })
}

test('the chat shows a member out with 1013 once too much waits for it, and goes on without it', async (t) => {
  const app = await buildApp()
  t.teardown(() => app.close())
  const [ada, slow] = await Promise.all([enter(app, 'Ada'), enter(app, 'Slow')])
  slow.client.pause()
  const [, connection] = app.websocketServer.clients
  while (connection!.readyState === connection!.OPEN) {
    ada.client.send(JSON.stringify({ type: 'say', id: 'x', text: 'still '.repeat(80) }))
    await ada.next('said')
  }
  t.ok(connection!.bufferedAmount > 256 * 1024)
  slow.client.resume()
  t.match(await slow.client.closed, { code: 1013 })
  t.same((await ada.next('here')).members, [{ id: 'Ada', name: 'Ada' }])
  const grace = await enter(app, 'Grace')
  grace.client.send(JSON.stringify({ type: 'say', id: 'y', text: 'after' }))
  t.match(await ada.next('said'), { id: 'y', by: { id: 'Grace', name: 'Grace' }, text: 'after', position: String })
})

test('the chat holds no more than a hundred members', async (t) => {
  const app = await buildApp()
  t.teardown(() => app.close())
  for (let i = 0; i < 99; i++) await app.injectWS(`/chat?id=${i}&name=Ada`)
  const last = await enter(app, 'Ada')
  t.equal((await last.next('here')).members.length, 100)
  const refused = await app.injectWS('/chat?id=x&name=Ada')
  t.match(await refused.closed, { code: 1013, reason: 'the room is full' })
})

test('only where somebody can end a node a member can', async (t) => {
  const app = await buildApp()
  t.teardown(() => app.close())
  const ada = await enter(app, 'Ada')
  ada.client.send(JSON.stringify({ type: 'kill' }))
  ada.client.send(JSON.stringify({ type: 'say', id: 'x', text: 'still here' }))
  t.match(await ada.next('said'), { text: 'still here' })
})

/** A member, and the next message of a type that it is sent. */
async function enter (app: FastifyInstance, name: string) {
  const client = await app.injectWS(`/chat?id=${name}&name=${name}`)
  const next = async (type: string) => {
    for (;;) {
      const message = JSON.parse(String(await client.receive()))
      if (message.type === type) return message
    }
  }
  await next('welcome')
  return { client, next }
}

async function listen (t: Test) {
  const app = await buildApp()
  t.teardown(() => app.close())
  return { app, address: await app.listen({ host: '127.0.0.1', port: 0 }) }
}

async function join (tab: Page, name: string) {
  await tab.bringToFront()
  await fill(tab, '#chat-name', name)
  await tab.keyboard.press('Enter')
  await tab.waitForSelector('#chat-members li')
}

async function say (tab: Page, text: string) {
  await tab.bringToFront()
  await tab.type('#chat-text', text)
  await tab.keyboard.press('Enter')
}

function kinds (tab: Page, selector: string): Promise<string[]> {
  return tab.$$eval(`${selector} li`, (entries) => entries.map(({ dataset }) => dataset.kind))
}

function colorOf (tab: Page, selector: string): Promise<string> {
  return tab.$eval(selector, (element) => element.ownerDocument.defaultView.getComputedStyle(element).color)
}

function enabledButtons (tab: Page): Promise<string[]> {
  return tab.$$eval('#echo button:enabled:not(#echo-clear)', (buttons) => buttons.map(({ id }) => id))
}
