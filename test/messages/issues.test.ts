// What a peer makes a validator say is cut to what a log line can take.
import { test } from 'tap'
import { cutText, describeIssues, toIssues } from '../../lib/messages/issues.ts'

const size = (value: unknown): number => Buffer.byteLength(JSON.stringify(value))
const AJVS = { instancePath: '/text', schemaPath: '#/properties/text/type', keyword: 'type', params: { type: 'string' }, message: 'must be string' }

test('what Ajv says is kept as it is, without what it was said of', async t => {
  t.strictSame(toIssues([{ ...AJVS, data: 'x'.repeat(1000), schema: {}, parentSchema: {} }]), [AJVS])
  const enumerated = { ...AJVS, keyword: 'enum', params: { allowedValues: ['a', 1, true, null] } }
  t.strictSame(toIssues([enumerated]), [enumerated])
})

test('up to four issues are kept', async t => {
  t.strictSame(toIssues(Array.from({ length: 1000 }, () => AJVS)), [AJVS, AJVS, AJVS, AJVS])
  t.strictSame(toIssues([]), [])
})

test('however much there is, it takes less than 1 KiB of JSON', async t => {
  for (const text of ['x'.repeat(1e4), '\0'.repeat(1e4), '\u{1F600}'.repeat(1e4), '\ud800'.repeat(1e4), '"'.repeat(1e4)]) {
    const params = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`${i}${text}`, Array.from({ length: 100 }, () => text)]))
    const issue = { keyword: text, instancePath: text, schemaPath: text, message: text, params }
    t.ok(size(toIssues([issue, issue, issue, issue, issue])) <= 1024, JSON.stringify(text.slice(0, 2)))
    t.ok(size(describeIssues(toIssues([issue, issue]))) <= 256)
  }
})

test('what is no text or number in params is left out, and of what is no list of errors nothing is made up', async t => {
  t.strictSame(toIssues([{ message: 'wrong', params: { issue: { code: 'x' }, list: ['a', {}, undefined, 2], big: 5n, yes: false } }]),
    [{ keyword: '', instancePath: '', schemaPath: '', message: 'wrong', params: { list: ['a', 2], yes: false } }])
  t.strictSame(toIssues([{ params: null, message: 5 }]), [{ keyword: '', instancePath: '', schemaPath: '', message: '', params: {} }])
})

test('issues are told in the words of Fastify', async t => {
  t.equal(describeIssues(toIssues([AJVS])), 'message/text must be string')
  t.equal(describeIssues(toIssues([AJVS, { ...AJVS, instancePath: '' }])), 'message/text must be string, message must be string')
})

test('a text is cut between characters, and only where it is too long', async t => {
  t.equal(cutText('x'.repeat(126)), 'x'.repeat(126))
  t.equal(cutText('short \u{1F600}'), 'short \u{1F600}')
  for (const character of ['x', '\u00e9', '\u{1F600}', '\0']) {
    const cut = cutText(`a${character.repeat(1000)}`)
    t.match(cut, /\.\.\.$/)
    t.ok(size(cut) <= 130 && size(cut) > 80, `${JSON.stringify(character)}: ${size(cut)}`)
    t.notMatch(cut, /[\ud800-\udbff](?![\udc00-\udfff])/)
  }
})
