import { test } from 'tap'
import { keyOf } from '../../lib/client/session-key.ts'

const URL_A = new URL('wss://a.example/one')

test('what is of the request alone makes no difference', t => {
  t.equal(
    keyOf(true, URL_A, null, { path: '/one', headers: { a: 'b' }, auth: 'a:b', signal: AbortSignal.abort(), ca: 'x', family: 4 }),
    keyOf(true, new URL('wss://a.example/two'), null, { family: 4, ca: 'x', path: '/two', rejectUnauthorized: undefined })
  )
  t.end()
})

test('bytes are what they are, other objects which they are', t => {
  const check = (): undefined => undefined
  const keys = [
    keyOf(true, URL_A, null, { ca: Buffer.from('x') }), keyOf(true, URL_A, null, { ca: [Buffer.from('x'), 'y'] }), keyOf(true, URL_A, null, { ca: 'x' }),
    keyOf(true, URL_A, null, { checkServerIdentity: check }), keyOf(true, URL_A, null, { checkServerIdentity: () => undefined })
  ]
  t.equal(new Set(keys).size, keys.length)
  t.equal(keyOf(true, URL_A, null, { ca: Buffer.from('x') }), keys[0])
  t.equal(keyOf(true, URL_A, null, { ca: [Buffer.from('x'), 'y'] }), keys[1])
  t.equal(keyOf(true, URL_A, null, { checkServerIdentity: check }), keys[3])
  t.end()
})

test('origin, way and options of TLS make a difference', t => {
  const keys = [
    keyOf(true, URL_A, null, {}), keyOf('auto', URL_A, null, {}), keyOf(true, new URL('ws://a.example/'), null, {}), keyOf(true, new URL('wss://a.example:8443/'), null, {}),
    keyOf(true, URL_A, new URL('http://proxy'), {}), keyOf(true, URL_A, null, { rejectUnauthorized: false }), keyOf(true, URL_A, null, { servername: 'b' })
  ]
  t.equal(new Set(keys).size, keys.length)
  t.end()
})
