import { test } from 'tap'
import { follows, Proof } from '../../lib/topics/proof.ts'
import type { Entry, Head } from '../../types/topics.ts'

const head = (number: number, tag = `t${number}`, epoch = 'e'): Head => ({ epoch, number, tag })
const entry = (number: number, { previous = number - 1, previousTag = `t${previous}` as string | null, at = head(number) } = {}): Entry =>
  ({ head: at, previous, previousTag, body: Buffer.alloc(0) })
const numbers = (entries: readonly Entry[] | null): number[] | null => entries === null ? null : entries.map(({ head: { number } }) => number)

test('all since a position is given where each message follows the one before it, up to the head', t => {
  const proof = new Proof(head(5), [entry(2), entry(3), entry(4), entry(5)])
  for (const [since, expected] of [[1, [2, 3, 4, 5]], [3, [4, 5]], [4, [5]], [5, []], [0, null], [6, null]] as const) {
    t.strictSame(numbers(proof.since(head(since))), expected, `since ${since}`)
  }
  t.end()
})

test('a position of another epoch, or with another tag at its number, proves nothing', t => {
  const proof = new Proof(head(5), [entry(4), entry(5)])
  t.equal(proof.since(head(3, 't3', 'other')), null)
  t.equal(proof.since(head(3, 'other')), null)
  t.equal(proof.since(head(5, 'other')), null)
  t.end()
})

test('what is behind a hole in the chain proves nothing of what is before it', t => {
  const proof = new Proof(head(6), [entry(3), entry(5, { previous: 4 }), entry(6)])
  t.equal(proof.since(head(2)), null)
  t.strictSame(numbers(proof.since(head(4))), [5, 6])
  t.end()
})

test('entries that do not reach the head prove nothing', t => {
  for (const entries of [[], [entry(4)], [entry(5, { at: head(5, 'other') })]]) {
    const proof = new Proof(head(5), entries)
    t.equal(proof.since(head(3)), null)
    t.strictSame(proof.since(head(5)), [])
  }
  t.end()
})

test('numbers may leave others out where a broker counts for all topics at once, and a message may not know the tag before it', t => {
  t.strictSame(numbers(new Proof(head(90), [entry(70, { previous: 7 }), entry(90, { previous: 70 })]).since(head(7))), [70, 90])
  t.ok(follows(entry(2, { previousTag: null }), head(1, 'whatever')))
  t.notOk(follows(entry(2), head(1, 'whatever')))
  t.end()
})
