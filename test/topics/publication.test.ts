import { test } from 'tap'
import { prepare, type PreparedMessage } from '../../lib/connection/prepared-message.ts'
import { Publication, toMessage } from '../../lib/topics/publication.ts'
import type { Encode, Entry } from '../../types/topics.ts'

const ENTRY: Entry = { head: { epoch: 'e', number: 2, tag: 't' }, previous: 1, previousTag: null, body: Buffer.alloc(0) }
const message = (text: string): PreparedMessage => prepare(text, { compress: false }) as PreparedMessage
const fail = (error: unknown): void => { throw error }

test('a publication has the position of its entry', t => {
  t.equal(new Publication('a', ENTRY, message('x'), null).position, 'e.2.t')
  t.equal(new Publication('a', null, message('x'), null).position, null)
  t.end()
})

test('an encode function is called once for all subscribers that have it, with a copy', t => {
  const publication = new Publication('a', ENTRY, message('x'), null)
  let calls = 0
  const encode: Encode = (payload, { topic, position, binary }) => {
    calls++
    const text = `${topic} ${position} ${binary} ${payload}`
    payload.fill('!')
    return text
  }
  const encoded = publication.encodedBy(encode, fail)!
  t.equal(String(encoded.payload), 'a e.2.t false x')
  t.equal(encoded.mayCompress, false)
  t.equal(publication.encodedBy(encode, fail), encoded)
  t.equal(calls, 1)
  t.equal(String(publication.encodedBy(null, fail)!.payload), 'x')
  t.equal(String(publication.encodedBy(() => 'other', fail)!.payload), 'other')
  t.end()
})

test('an encode function that throws is told of once, and gives nothing', t => {
  const publication = new Publication('a', null, message('x'), null)
  const errors: unknown[] = []
  const encode: Encode = () => { throw new Error('no') }
  for (let i = 0; i < 3; i++) t.equal(publication.encodedBy(encode, error => { errors.push(error) }), null)
  t.match(errors, [{ message: 'no' }])
  t.end()
})

test('what was prepared is taken as it is', t => {
  const prepared = message('x')
  t.equal(toMessage(prepared, { binary: true }), prepared)
  t.equal(toMessage('x', { binary: true }).isBinary, true)
  t.throws(() => toMessage(new Blob([])), TypeError)
  t.end()
})
