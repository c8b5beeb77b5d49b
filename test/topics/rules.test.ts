import { test } from 'tap'
import { Rules } from '../../lib/topics/rules.ts'

test('the first rule whose pattern matches says how a topic is kept', t => {
  const rules = new Rules([{ topic: 'room:*', size: 10, ttl: 5 }, { topic: '*', size: 1 }], 7, false)
  t.strictSame(rules.of('room:1'), { size: 10, ttl: 5, headTtl: 7, plain: false })
  t.strictSame(rules.of('news'), { size: 1, ttl: 300_000, headTtl: 7, plain: false })
  t.end()
})

test('all rules there are include that of topics without one', t => {
  t.strictSame(new Rules([{ topic: 'a', size: 5 }, { topic: 'b', plain: true }], 7, false).all.map(({ size, plain }) => [size, plain]), [[5, false], [0, true], [0, false]])
  t.end()
})

test('a topic without a rule is numbered or not as the broker is, and nothing of it is kept', t => {
  t.strictSame(new Rules([], 7, true).of('a'), { size: 0, ttl: 300_000, headTtl: 7, plain: true })
  t.strictSame(new Rules([{ topic: 'a', size: 5, plain: true }], 7, false).of('a'), { size: 0, ttl: 300_000, headTtl: 7, plain: true })
  t.end()
})

for (const [pattern, matching, others] of [
  ['a', ['a'], ['', 'aa', 'b']],
  ['a*', ['a', 'ab', 'a*'], ['', 'ba']],
  ['*a', ['a', 'ba'], ['ab']],
  ['a*b', ['ab', 'axb', 'abab'], ['a', 'b', 'aba']],
  ['ab*bc', ['abbc', 'abxbc'], ['abc']], // no character stands for two
  ['a*b*c', ['abc', 'axbxc', 'abbc'], ['acb', 'ac']],
  ['*', ['', 'a'], []],
  ['a.b', ['a.b'], ['axb']]
] as const) {
  test(`${pattern} matches ${matching.join(', ')}${others.length > 0 ? `, and not ${others.join(', ')}` : ''}`, t => {
    const rules = new Rules([{ topic: pattern, size: 1 }], 7, false)
    for (const topic of matching) t.equal(rules.of(topic).size, 1, topic)
    for (const topic of others) t.equal(rules.of(topic).size, 0, topic)
    t.end()
  })
}

test('a pattern of many stars takes no longer for a name that nearly matches', t => {
  const rules = new Rules([{ topic: `${'a*'.repeat(100)}b`, size: 1 }], 7, false)
  t.equal(rules.of('a'.repeat(1024)).size, 0)
  t.end()
})
