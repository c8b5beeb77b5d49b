import { execFile } from 'node:child_process'
import http from 'node:http'
import { fileURLToPath } from 'node:url'
import util, { promisify } from 'node:util'
import zlib from 'node:zlib'
import { test } from 'tap'
import * as builtins from '../lib/builtins.ts'

const LIBRARY = new URL('../lib/index.ts', import.meta.url).href

test('they are the modules that everybody has', async t => {
  t.equal(builtins.http, http)
  t.equal(builtins.util, util)
  t.equal(builtins.zlib(), zlib)
  t.equal(builtins.zlib(), zlib)
})

test('the library does not load undici, Web Streams or workers, which imports of Node\'s modules do, nor zlib', async t => {
  const loaded = async (module: string): Promise<string[]> => {
    const script = `await import('${module}'); console.log(JSON.stringify(process.moduleLoadList.map(line => line.split(' ').at(-1))))`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--no-warnings', '-e', script], { cwd: fileURLToPath(new URL('..', import.meta.url)) })
    const names: string[] = JSON.parse(stdout)
    return names.filter(name => ['internal/deps/undici/undici', 'internal/webstreams/readablestream', 'worker_threads', 'zlib'].includes(name)).sort()
  }
  t.strictSame(await loaded(LIBRARY), [])
  t.match(await loaded('node:http'), ['internal/deps/undici/undici'], 'or else there is no reason for any of this')
  t.match(await loaded('node:zlib'), ['zlib'])
})
