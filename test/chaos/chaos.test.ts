// A short run; a longer one: npm run chaos.
import { test } from 'tap'
import { withoutNats } from '../helpers/nats-server.ts'
import { withoutRedis } from '../helpers/redis-server.ts'
import { chaos } from './chaos.ts'
import { Ledger } from './ledger.ts'

test('what is missing after kills of Redis, which comes back with older data, and of a node is told to each client', { skip: withoutRedis }, async t => {
  const result = await chaos({ seed: 1, store: 'rdb', nodes: 2, clients: 4, topics: 4, messages: 1_500, brokerKills: 6, nodeKills: 1 })
  const { undetected, behind, doubles, unknown } = result
  t.strictSame({ undetected, behind, doubles, unknown }, { undetected: [], behind: [], doubles: 0, unknown: 0 })
  t.ok(result.accepted > 0 && result.delivered > 0 && result.notRecovered > 0, JSON.stringify(result))
})

test('so it is after kills of NATS, which comes back with older data', { skip: withoutNats }, async t => {
  const result = await chaos({ seed: 1, store: 'nats-older', nodes: 2, clients: 4, topics: 4, messages: 1_000, brokerKills: 4, nodeKills: 1 })
  const { undetected, behind, doubles, unknown } = result
  t.strictSame({ undetected, behind, doubles, unknown }, { undetected: [], behind: [], doubles: 0, unknown: 0 })
  t.ok(result.accepted > 0 && result.delivered > 0 && result.notRecovered > 0, JSON.stringify(result))
})

test('a ledger finds what is missing without a gap, and what came twice', t => {
  const ledger = new Ledger()
  const message = (position: string, parent: string | null): void => { ledger.take({ kind: 'message', topic: 'a', position, parent, text: '' }) }
  message('e.1.a', 'e.0.-') // before it is known from where
  ledger.take({ kind: 'subscribed', topic: 'a', recovered: false, position: 'e.0.-' })
  message('e.2.b', 'e.1.a')
  ledger.take({ kind: 'gap', topic: 'a', from: 'e.2.b', to: 'e.5.c', reason: 'lost' })
  ledger.take({ kind: 'gap', topic: 'a', from: 'e.5.c', to: 'f.0.-', reason: 'epoch' })
  message('f.1.d', 'f.0.-')
  t.strictSame(ledger.check(), { delivered: 3, gaps: 2, undetected: [], doubles: 0, unknown: 0, position: 'f.1.d' })
  ledger.disconnected()
  ledger.take({ kind: 'subscribed', topic: 'a', recovered: true, position: 'f.2.e' })
  message('f.3.g', 'f.2.e')
  message('f.3.g', 'f.2.e')
  message('f.4.h', null)
  t.match(ledger.check(), { undetected: [/f\.3\.g follows f\.2\.e, and came after f\.1\.d/, /and came after f\.3\.g/], doubles: 1, unknown: 1 })
  t.end()
})
