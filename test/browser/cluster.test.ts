// The example on three nodes: a page whose node is killed goes on with another, and nothing is missing.
import type { Page } from 'puppeteer-core'
import { Cluster } from '../../example/cluster/cluster.ts'
import { withoutRedis } from '../helpers/redis-server.ts'
import { BROWSERS, openPage, testInBrowser, textOf, textsOf } from './browsers.ts'

interface Sums { received: string, missing: string, twice: string }

const sumsOf = (tab: Page): Promise<Sums> => tab.$eval('#chat-count-check', ({ dataset }) => ({ ...dataset }) as Sums)

for (const name of withoutRedis ? [] : BROWSERS) {
  testInBrowser(`a chat on three nodes in ${name}`, name, async (t, browser) => {
    const lines: string[] = []
    const cluster = await Cluster.start({ log: line => { lines.push(line) } })
    t.teardown(() => cluster.close())
    const [ada, grace] = [await openPage(t, browser, `http://127.0.0.1:${cluster.port}`), await openPage(t, browser, `http://127.0.0.1:${cluster.port}`)]
    const members = [ada, grace]
    for (const tab of members) {
      await tab.bringToFront()
      await tab.click('#chat-join')
      await tab.waitForSelector('#chat-cluster:not([hidden])')
    }
    // each is with a node of its own, and sees the other
    for (const tab of members) await tab.waitForSelector('#chat-members li:nth-child(2)')

    for (let kills = 1; kills <= 2; kills++) {
      await ada.bringToFront()
      await ada.click('#chat-kill')
      await ada.waitForFunction(`document.querySelectorAll('#chat-log [data-kind="back"]').length === ${kills}`)
      await ada.type('#chat-text', `after ${kills}`)
      await ada.keyboard.press('Enter')
    }
    for (const tab of members) {
      await tab.waitForFunction('document.querySelectorAll(\'#chat-log [data-kind="said"]\').length === 2')
      t.same(await textsOf(tab, '#chat-log [data-kind="said"] .text'), ['after 1', 'after 2'])
      const { received } = await sumsOf(tab)
      // it goes on
      await tab.waitForFunction(`Number(document.querySelector('#chat-count-check').dataset.received) > ${received}`)
      t.match(await sumsOf(tab), { missing: '0', twice: '0' })
    }
    t.match(await textOf(ada, '#chat-log [data-kind="back"]'), /^You are back on node [ABC]\. \d+ that came meanwhile were sent after you, and nothing is missing\.$/)
    t.equal(lines.filter(line => line.includes('has ended (SIGKILL)')).length, 2)
  })
}
