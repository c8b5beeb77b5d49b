// Defaults are said in three places: where they are, in the docs of the types, and in the reference or a page that it leads to.
import { readFileSync } from 'node:fs'
import { test } from 'tap'
import { DEFAULTS, DEFLATE_DEFAULTS, RATE_LIMIT_DEFAULTS } from '../../lib/options/defaults.ts'
import { connectSettings } from '../../lib/options/settings.ts'
import { sectionOf } from '../helpers/markdown.ts'

const { proxy, maxRedirects, http2 } = connectSettings({})
const CONNECT_ONLY = { proxy, maxRedirects, http2 }
const EXPECTED: Record<string, unknown> = { ...DEFAULTS, ...DEFLATE_DEFAULTS, ...RATE_LIMIT_DEFAULTS, messages: Infinity, bytes: Infinity, ...CONNECT_ONLY }

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

/** What a text begins with, as a value: 64 KiB, 10 000 ms, `{ interval: 5 }`, 'info', none; undefined where it is in words. */
function valueOf (text: string): unknown {
  const said = text.replaceAll('`', '').trim()
  const [, number, unit] = /^(\d[\d _]*)(KiB|MiB)?/.exec(said) ?? []
  if (number !== undefined) return numberOf(number) * (unit === 'KiB' ? 1024 : unit === 'MiB' ? 1024 * 1024 : 1)
  if (said.startsWith('{')) {
    return Object.fromEntries([...said.slice(0, said.indexOf('}')).matchAll(/(\w+): ([\d_]+)/g)].map(([, name, value]) => [name, numberOf(value!)]))
  }
  if (/^(no limit|none)\b/.test(said)) return Infinity
  if (/^(true|false)\b/.test(said)) return said.startsWith('true')
  return /^'([^']*)'/.exec(said)?.[1]
}

function numberOf (digits: string): number {
  return Number(digits.replaceAll(/[ _]/g, ''))
}

/** Of each property whose doc comment says one. */
function defaultsInTypes (text: string): Array<[name: string, value: unknown]> {
  return [...text.matchAll(/\/\*\*((?:(?!\*\/)[^])*)\*\/\s+(\w+)\?:/g)].flatMap(([, comment, name]) => {
    const said = /Default: ([^]*)/.exec(comment!.replaceAll(/\s*\n\s*\*/g, ''))
    return said === null ? [] : [[name!, valueOf(said[1]!)]]
  })
}

/** Of each row of a table of options: | `level`, `memLevel` | 3, 8 | ... */
function defaultsInTables (text: string): Array<[name: string, value: unknown]> {
  const rows = [...text.matchAll(/^\| ((?:`\w+`(?:, )?)+) \| ([^|]*) \|/gm)]
  return rows.flatMap(([, names, values]) => {
    const parts = names!.split(', ').length > 1 ? values!.split(', ') : [values!]
    return names!.split(', ').map((name, index): [string, unknown] => [name.slice(1, -1), valueOf(parts[index]!)])
  })
}

test('the defaults that the types and the reference name are those there are', async t => {
  const reference = read('docs/reference.md')
  for (const [where, said] of [
    ['types/options.ts', defaultsInTypes(read('types/options.ts'))],
    ['docs/', [
      ...['## Options', '## Compression', '## connect() and upgrade()'].map(heading => sectionOf(reference, heading)),
      sectionOf(read('docs/operate.md'), '## Limits')
    ].flatMap(defaultsInTables)]
  ] as const) {
    for (const [name, value] of said) t.strictSame(value, EXPECTED[name], `${where}: ${name}`)
    t.strictSame(Object.keys(EXPECTED).filter(name => !said.some(([other]) => other === name)), [], `${where} names all`)
  }
})
