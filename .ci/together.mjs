// The test files of the folder that the command line names, one after the other in one process, where tap counts them together; but for those that run
// in a process of their own.
import { readdirSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

for (const name of readdirSync(process.argv[2], { recursive: true }).sort()) {
  const file = resolve(process.argv[2], name)
  if (!name.endsWith('.test.ts') || readFileSync(file, 'utf8').startsWith('// Runs in a process of its own:')) continue
  await import(pathToFileURL(file).href)
}
