// The browsers in which the pages of the example are tested.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Browser, Page } from 'puppeteer-core'
import { t as root, test, type Test } from 'tap'

// the CommonJS build: on Node 20 tap's TypeScript loader resolves one of the ES build's imports to a file that does not exist
const puppeteer: typeof import('puppeteer-core').default = createRequire(import.meta.url)('puppeteer-core').default

// puppeteer gives each launch a new profile in the temporary folder and removes it afterwards
const EXECUTABLES = {
  chrome: {
    executablePath: process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium',
    args: [
      // root, as which containers often run, cannot have the sandbox
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      // no connection of the browser's own
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync'
    ]
  },
  firefox: {
    executablePath: process.env['FIREFOX_PATH'] ?? '/usr/bin/firefox-esr',
    args: []
  }
} as const

type BrowserName = keyof typeof EXECUTABLES

export const BROWSERS = Object.keys(EXECUTABLES) as BrowserName[]

// one of each in a process, launched by the first test that needs it: to launch both takes as long as what a file does with them
const launched = new Map<BrowserName, Promise<Browser>>()

// windows of Chromium that tests have left, for the next: a new one takes it 1.4 seconds. Firefox takes less for that, and up to half a minute for a used one
const idle: Page[] = []
const VIEWPORT = { width: 800, height: 600 }

// for all that share a process: two browsers on a busy machine take their time
root.setTimeout(900_000)

root.teardown(async () => {
  await Promise.all(Array.from(launched.values(), async (browser) => (await browser).close()))
})

/** A test in a browser that it shares with the others of its process; skipped where that is not installed, except in CI. */
export function testInBrowser (title: string, name: BrowserName, run: (t: Test, browser: Browser) => Promise<void>): void {
  const { executablePath } = EXECUTABLES[name]
  const missing = existsSync(executablePath) ? false : `${executablePath} is missing`

  test(title, { skip: process.env['CI'] ? false : missing, timeout: 120_000 }, async (t) => {
    if (missing) {
      t.fail(`${missing}, and CI leaves nothing out`)
      return
    }
    const browser = await launch(name)
    // a browser whose last page is closed ends, so that the first stays
    t.teardown(async () => {
      await Promise.all((await browser.pages()).slice(1).filter((page) => !idle.includes(page)).map((page) => page.close()))
    })
    await run(t, browser)
  })
}

function launch (name: BrowserName): Promise<Browser> {
  let browser = launched.get(name)
  if (!browser) {
    const { executablePath, args } = EXECUTABLES[name]
    browser = puppeteer.launch({ browser: name, executablePath, args: [...args], headless: true, acceptInsecureCerts: true })
    launched.set(name, browser)
  }
  return browser
}

/** Waits for an element and gives the text that a reader finds in it. */
export async function textOf (tab: Page, selector: string): Promise<string> {
  const element = await tab.waitForSelector(selector)
  return element!.evaluate(({ textContent }) => textContent.trim())
}

/** Opens an empty page in a window of its own, and fails the test when a script throws there. */
export async function openWindow (t: Test, browser: Browser): Promise<Page> {
  const isReusable = browser === await launched.get('chrome')
  const tab = isReusable && idle.length > 0 ? idle.pop()! : await (await browser.createBrowserContext()).newPage()
  const onError = (error: unknown): void => {
    // Firefox counts what happens to a WebSocket, such as a refused handshake, among the errors of the page
    if (!String(error).includes('ws://')) t.error(error)
  }
  tab.on('pageerror', onError)
  t.teardown(async () => {
    tab.off('pageerror', onError)
    if (tab.isClosed() || !isReusable) {
      await tab.browserContext().close()
    } else {
      await tab.goto('about:blank')
      await tab.setViewport(VIEWPORT)
      idle.push(tab)
    }
  })
  return tab
}

/** Opens a page of the example in a window of its own. */
export async function openPage (t: Test, browser: Browser, address: string): Promise<Page> {
  const tab = await openWindow(t, browser)
  await tab.goto(address)
  await tab.waitForSelector('.badge[data-state]')
  if (address.lastIndexOf('/') < 8) await tab.waitForSelector('#chat-state[data-state]')
  return tab
}

export async function fill (tab: Page, selector: string, text: string) {
  await tab.$eval(selector, (field) => { field.select() })
  await tab.type(selector, text)
}

export function textsOf (tab: Page, selector: string): Promise<string[]> {
  return tab.$$eval(selector, (elements) => elements.map(({ textContent }) => textContent))
}
