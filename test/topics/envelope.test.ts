import { test } from 'tap'
import { prepare, type PreparedMessage } from '../../lib/connection/prepared-message.ts'
import { readEnvelope, readTopic, writeEnvelope } from '../../lib/topics/envelope.ts'

const prepared = (...given: Parameters<typeof prepare>): PreparedMessage => prepare(...given) as PreparedMessage

test('a message is read back from its envelope, with who published it', t => {
  for (const origin of [null, { node: 'k3v9', counter: 12 }]) {
    for (const message of [prepared('grüße\n'), prepared(Buffer.from([0, 10, 255])), prepared('', { compress: false }), prepared('text', { binary: true })]) {
      const body = writeEnvelope('room:"1"\n', message, origin)
      const read = readEnvelope(body)!
      t.equal(readTopic(body), 'room:"1"\n')
      t.match(read, { node: origin?.node ?? null, counter: origin?.counter ?? 0 })
      t.match(read.message, { isBinary: message.isBinary, mayCompress: message.mayCompress })
      t.strictSame(read.message.payload, message.payload)
    }
  }
  t.end()
})

test('a publisher in another language writes a line of JSON before its payload', t => {
  t.equal(writeEnvelope('a', prepared('x'), null).toString(), '{"t":"a"}\nx')
  t.match(readEnvelope(Buffer.from('{"t":"a","b":1,"more":[]}\n\xff', 'latin1')), { message: { isBinary: true, mayCompress: true }, node: null, counter: 0 })
  t.end()
})

test('what is no envelope gives no message, and text that is no UTF-8 neither', t => {
  for (const body of ['', 'no line', '[1', '{"t":"a"}', 'null\nx', '5\nx', '{"t":"a"}\n\xff', `{"t":"${'a'.repeat(9000)}"}\nx`]) {
    t.equal(readEnvelope(Buffer.from(body, 'latin1')), null, body.slice(0, 20))
  }
  for (const body of ['{"t":1}\nx', '{}\nx', 'x\n']) t.equal(readTopic(Buffer.from(body)), null, body)
  t.end()
})
