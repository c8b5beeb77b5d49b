// What may be said of topics, and how names, rules and positions are read.
import { readFileSync } from 'node:fs'
import { test } from 'tap'
import { Topics, memoryBroker } from '../../lib/index.ts'
import { readEnvelope, readTopic, writeEnvelope } from '../../lib/topics/envelope.ts'
import { parsePosition } from '../../lib/topics/position.ts'
import { Reporter } from '../../lib/topics/reporter.ts'
import { Rules } from '../../lib/topics/rules.ts'
import { NODE, randomTag } from '../../lib/topics/environment.ts'
import { topicsSettings, TOPICS_DEFAULTS } from '../../lib/topics/settings.ts'
import { prepare } from '../../lib/connection/prepared-message.ts'
import type { TopicsOptions } from '../../types/topics.ts'

test('an option that is wrong says what it must be', async t => {
  const wrong: Array<[options: object, message: RegExp]> = [
    [{ slow: 'never' }, /slow of topics must be 'close' or 'skip' or 'latest', not "never"/],
    [{ maxBehind: -1 }, /maxBehind of topics must be an integer from 0/],
    [{ gap: true }, /gap of topics must be 'event' or 'close', not true/],
    [{ rules: {} }, /rules of topics must be a list of/],
    [{ rules: [null] }, /rules\[0\] of topics must be an object, not null/],
    [{ rules: [{}] }, /rules\[0\].topic of topics must be a string that is not empty, not undefined/],
    [{ rules: [{ topic: '' }] }, /rules\[0\].topic/],
    [{ rules: [{ topic: 'a' }, { topic: 'b', size: 5001 }] }, /rules\[1\].size of topics must be an integer from 0 to 5000, not 5001/],
    [{ rules: [{ topic: 'a', ttl: 0 }] }, /rules\[0\].ttl/],
    [{ rules: [{ topic: 'a', plain: 1 }] }, /rules\[0\].plain of topics must be true or false, not 1/],
    [{ rules: [{ topic: 'a', sise: 1 }] }, /unknown option rules\[0\].sise of topics: there are topic, size, ttl, plain/],
    [{ headTtl: 1000, rules: [{ topic: 'a', ttl: 1001 }] }, /headTtl of topics must be no less than the ttl of rules\[0\], 1001, not 1000/],
    [{ memory: 1.5 }, /memory/],
    [{ maxTopics: 0 }, /maxTopics/],
    [{ publishTimeout: 2 ** 31 }, /publishTimeout/],
    [{ maxPending: '1' }, /maxPending.*not "1"/],
    [{ checkInterval: () => {} }, /checkInterval.*not function/],
    [{ broker: null }, /broker of topics must be a broker/],
    [{ broker: { numbered: true } }, /broker of topics must be a broker/],
    [{ broker: { ...brokerOf(true), read: undefined } }, /with read\(\) if it is numbered/],
    [{ brokers: 1 }, /unknown option brokers of topics: there are slow, /]
  ]
  for (const [options, message] of wrong) t.throws(() => new Topics(options), { name: 'TypeError', code: 'FST_WS_TOPICS_OPTION', message })
  t.doesNotThrow(() => topicsSettings({ broker: brokerOf(false), slow: undefined }))
  t.strictSame(topicsSettings({}), TOPICS_DEFAULTS)
})

function brokerOf (numbered: boolean): NonNullable<TopicsOptions['broker']> {
  const broker = memoryBroker()
  const method = (): never => { throw new Error('unused') }
  return { numbered, start: method, stop: method, publish: method, subscribe: method, unsubscribe: method, ...(numbered ? { read: broker.read! } : {}) }
}

test('the defaults that the types and the docs name are those there are', async t => {
  const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
  const valueOf = (text: string): unknown => {
    const [, number, unit = ''] = /^([\d,]+) ?(\w+)?/.exec(text) ?? []
    const units: Record<string, number> = { MiB: 2 ** 20, s: 1000, h: 3_600_000 }
    return number === undefined ? /^'(\w+)'/.exec(text)?.[1] : Number(number.replaceAll(',', '')) * (units[unit] ?? 1)
  }
  const inTypes = /interface TopicsOptions \{([^]*?)\n\}/.exec(read('types/topics.ts'))![1]!
    .matchAll(/Default: ([^]*?)(?:\.? \*\/|\. )[^]*?readonly (\w+)\?:/g)
  const inDocs = [...read('docs/topics.md').matchAll(/^\| ((?:`\w+`(?:, )?)+) \| ([^|]*) \|/gm)].flatMap(([, names, values]) => {
    const all = names!.split(', ')
    return all.map((name, index) => [name.slice(1, -1), all.length > 1 ? values!.split(', ')[index]! : values!.replaceAll('`', '')])
  })
  for (const [where, said] of [['types', [...inTypes].map(([, value, name]) => [name!, value!])], ['docs', inDocs]] as const) {
    const found = Object.fromEntries(said.filter(([name]) => Object.hasOwn(TOPICS_DEFAULTS, name!)).map(([name, value]) => [name, valueOf(value!)]))
    for (const name of ['slow', 'maxBehind', 'gap', 'headTtl', 'memory', 'maxTopics', 'publishTimeout', 'maxPending', 'checkInterval'] as const) {
      t.equal(found[name], TOPICS_DEFAULTS[name], `${where}: ${name}`)
    }
  }
})

test('of the rules that match the first counts; a star stands for any characters, anywhere', async t => {
  const matches = (pattern: string, topic: string): boolean => new Rules([{ topic: pattern, size: 1 }], 1, false).of(topic).size === 1
  for (const [pattern, yes, no] of [
    ['room', ['room'], ['room:1', 'a room', '']],
    ['room:*', ['room:', 'room:1', 'room:a:b'], ['room', 'aroom:1']],
    ['*:private', [':private', 'a:private'], ['private', 'a:private:b']],
    ['a*b*c', ['abc', 'a1b2c', 'abbcc', 'aXbc'], ['ac', 'acb', 'abcd']],
    ['*', ['', 'anything'], []],
    ['a**b', ['ab', 'a-b'], ['a']],
    ['ab*ba', ['abba', 'ab-ba'], ['aba']],
    ['(.+)+$', ['(.+)+$'], ['aaaa']]
  ] as Array<[string, string[], string[]]>) {
    for (const topic of yes) t.ok(matches(pattern, topic), `${pattern} ${topic}`)
    for (const topic of no) t.notOk(matches(pattern, topic), `${pattern} ${topic}`)
  }
  t.notOk(matches('*a*a*a*a*a*a*a*b', 'a'.repeat(1000)), 'in no time')
  const rules = new Rules([{ topic: 'a', size: 7, plain: true }, { topic: 'a*', ttl: 5 }], 9, true)
  t.strictSame(rules.of('a'), { size: 0, ttl: 300_000, headTtl: 9, plain: true })
  t.strictSame(rules.of('ab'), { size: 0, ttl: 5, headTtl: 9, plain: false })
  t.strictSame(rules.of('b'), { size: 0, ttl: 300_000, headTtl: 9, plain: true })
})

test('a position is read, and nothing else is', async t => {
  t.strictSame(parsePosition('e.1.t'), { epoch: 'e', number: 1, tag: 't' })
  t.strictSame(parsePosition('e.0.-'), { epoch: 'e', number: 0, tag: '-' })
  for (const other of ['e.1', 'e.01.t', 'e.1.t.', '.1.t', 'e.9999999999999999.t', 'e.1.--', 'e.-1.t', 'e.1e3.t', ' e.1.t', null, undefined, 5, {}]) {
    t.equal(parsePosition(other), null, String(other))
  }
})

test('a message travels with its topic, and what it is', async t => {
  const text = writeEnvelope('room:"1"\n', prepare('hé'), null)
  t.equal(String(text), '{"t":"room:\\"1\\"\\n"}\nhé')
  t.equal(readTopic(text), 'room:"1"\n')
  t.match(readEnvelope(text), { message: { isBinary: false, mayCompress: true }, node: null, counter: 0 })
  const binary = writeEnvelope('a', prepare(Buffer.from([0x0a, 0xff]), { compress: false }), { node: 'n', counter: 5 })
  t.match(readEnvelope(binary), { message: { isBinary: true, mayCompress: false, payload: Buffer.from([0x0a, 0xff]) }, node: 'n', counter: 5 })
  for (const none of ['', 'x', '{}', '{"t":5}\n', '[]\n', `${'x'.repeat(9000)}\n`]) t.equal(readTopic(Buffer.from(none)), null)
})

test('errors are counted, and one of a kind is logged in ten seconds', async t => {
  let now = 0
  const reporter = new Reporter(null, () => now)
  const lines: unknown[] = []
  reporter.report(new Error('nobody logs'))
  now = 20_000
  reporter.log = { error: (fields, message) => { lines.push([(fields as { err: unknown }).err, message]) } }
  for (const error of [new TypeError('1'), new TypeError('2'), Object.assign(new TypeError('3'), { code: 'CODE' }), 'thrown', null]) reporter.report(error)
  t.equal(lines.length, 4)
  now = 30_000
  reporter.report(new TypeError('4'))
  t.equal(lines.length, 5)
  reporter.log = { error: () => { throw new Error('of the logger') } }
  reporter.report(new RangeError('5'))
  t.equal(reporter.errors, 8)
})

test('time and chance are those of Node where nothing else is said', async t => {
  t.match(randomTag(NODE.random), /^[0-9a-z]{8}$/)
  t.type(NODE.clock(), 'number')
  await new Promise<void>(resolve => {
    const alive = setTimeout(() => {}, 2 ** 30) // as what is scheduled does not keep the process alive
    NODE.schedule(() => { t.fail('it was called off') }, 1)()
    NODE.schedule(() => { clearTimeout(alive); resolve() }, 2)
  })
})
