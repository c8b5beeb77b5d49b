import { test } from 'tap'
import { BINARY, CLOSE, CONTINUATION, isControlOpcode, isKnownOpcode, PING, PONG, TEXT } from '../../lib/protocol/opcode.ts'

test('the opcodes are those of RFC 6455 §11.8', async t => {
  t.strictSame({ CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG }, { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 })
})

test('of the sixteen opcodes six are known, and the upper half are control frames', async t => {
  const all = Array.from({ length: 16 }, (_, opcode) => opcode)
  t.strictSame(all.filter(isKnownOpcode), [0, 1, 2, 8, 9, 10])
  t.strictSame(all.filter(isControlOpcode), [8, 9, 10, 11, 12, 13, 14, 15])
})
