import { createRequire } from 'node:module'
import { test } from 'tap'
import { toYaml } from '../../lib/asyncapi/yaml.ts'
import { random as createRandom } from '../helpers/random.ts'

const { load } = createRequire(import.meta.url)('js-yaml') as { load: (text: string) => unknown }

test('a document is indented, and quoted only where it has to be', async t => {
  const value = {
    asyncapi: '3.1.0',
    info: { title: 'A chat', description: 'All of it.\n\n- one # hash\n- two' },
    channels: { chat: { address: '/chat/{id}', tags: [{ name: 'a' }, { name: 'b', none: null }], empty: {}, list: [], nested: [[1, true], ['on']] } }
  }
  t.equal(toYaml(value), `asyncapi: "3.1.0"
info:
  title: A chat
  description: |-
    All of it.

    - one # hash
    - two
channels:
  chat:
    address: "/chat/{id}"
    tags:
      - name: a
      - name: b
        none: null
    empty: {}
    list: []
    nested:
      - - 1
        - true
      - - "on"
`)
  t.strictSame(load(toYaml(value)), value)
  for (const other of ['text', 'a\nb', 5, null, [], {}]) t.strictSame(load(toYaml(other)), other)
})

test('whatever JSON may hold is read back as it was', async t => {
  const pieces = [
    'a', 'Z', '0', '1', ' ', '\n', '\t', ':', '#', '-', '{', '}', '[', ']', '"', "'", '|', '>', '&', '*', '!', '%', '@', '`', ',', '?', '\\', '/', '.', '~', '=', '<', '$',
    '\r', '\u2028', '\u0085', '\u0000', '\uFEFF', 'é', '😀', '_', '(', ')', 'true', 'null', 'yes', '0x1', '1e3', '2020-01-01', '---', '...'
  ]
  const random = createRandom(20_261_129)
  const pick = (count: number): number => Math.floor(random() * count)
  const list = <Value>(count: number, make: () => Value): Value[] => Array.from({ length: pick(count) }, make)
  const text = (): string => list(8, () => pieces[pick(pieces.length)]).join('')
  const value = (depth: number): unknown => {
    switch (pick(depth > 3 ? 4 : 6)) {
      case 0: return pick(1000) / 8 - 50
      case 1: return [true, false, null][pick(3)]
      case 4: return list(4, () => value(depth + 1))
      case 5: return Object.fromEntries(list(4, () => [text(), value(depth + 1)]))
      default: return text()
    }
  }
  for (let i = 0; i < 5000; i++) {
    const given = value(0)
    const read = load(toYaml(given))
    if (JSON.stringify(read) !== JSON.stringify(given)) t.strictSame(read, given, JSON.stringify(given))
  }
})
