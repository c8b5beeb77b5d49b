// The tests of this folder in one process, in which they share a browser of each kind: CI runs them so.
import { readdirSync } from 'node:fs'
import { t } from 'tap'

const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.test.ts')).sort()
await Promise.all(files.map((name) => import(`./${name}`)))
// the files ask for less
t.setTimeout(900_000)
