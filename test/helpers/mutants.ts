// A copy of lib in which something is wrong, to see that a test finds it.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Test } from 'tap'

const LIB = fileURLToPath(new URL('../../lib', import.meta.url))

/** In a file of lib: what is written there, and what is written there instead. */
export type Mutation = readonly [file: string, original: string, mutated: string]

/**
 * Imports `module` of a copy of lib with `mutations`; the copy is removed at the end of the test.
 * @throws Error when what is to be mutated is not written there, once
 */
export async function importMutant<Module> (t: Test, module: string, mutations: readonly Mutation[]): Promise<Module> {
  const folder = mkdtempSync(join(tmpdir(), 'fastify-websocket-stream-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  cpSync(LIB, join(folder, 'lib'), { recursive: true })
  for (const [file, original, mutated] of mutations) {
    const path = join(folder, 'lib', file)
    const source = readFileSync(path, 'utf8')
    if (source.split(original).length !== 2) throw new Error(`in ${file} there is not once: ${original}`)
    writeFileSync(path, source.replace(original, () => mutated))
  }
  return await import(pathToFileURL(join(folder, 'lib', module)).href) as Module
}
