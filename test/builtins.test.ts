import { execFile } from 'node:child_process'
import http from 'node:http'
import { fileURLToPath } from 'node:url'
import util, { promisify } from 'node:util'
import { test } from 'tap'
import * as builtins from '../lib/builtins.ts'

const LIBRARY = new URL('../lib/index.ts', import.meta.url).href

test('they are the modules that everybody has', async t => {
  t.equal(builtins.http, http)
  t.equal(builtins.util, util)
})

test('the library does not load undici, Web Streams or workers, which an import of node:http does', async t => {
  const loaded = async (module: string): Promise<string[]> => {
    const script = `await import('${module}'); console.log(JSON.stringify(process.moduleLoadList.map(line => line.split(' ').at(-1))))`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--no-warnings', '-e', script], { cwd: fileURLToPath(new URL('..', import.meta.url)) })
    const names: string[] = JSON.parse(stdout)
    return names.filter(name => ['internal/deps/undici/undici', 'internal/webstreams/readablestream', 'worker_threads'].includes(name)).sort()
  }
  t.strictSame(await loaded(LIBRARY), [])
  t.match(await loaded('node:http'), ['internal/deps/undici/undici'], 'or else there is no reason for any of this')
})
