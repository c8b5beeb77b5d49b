// Slots and who has them, without a server.
import { test } from 'tap'
import { Layout, PARTITIONS } from '../../../lib/brokers/redis/layout.ts'
import { parseSlots, slotOf } from '../../../lib/brokers/redis/topology.ts'

test('a key lies in the slot that the CRC-16 of what is in its braces names', t => {
  t.equal(slotOf('123456789'), 0x31c3)
  t.equal(slotOf('user:{123456789}:name'), 0x31c3)
  t.equal(slotOf('{}123456789'), slotOf('{}123456789{x}'.slice(0, 11)), 'of which nothing is hashed alone')
  t.not(slotOf('{}123456789'), slotOf(''))
  const layout = new Layout('ws1')
  for (const partition of [0, 7, 255]) {
    const slot = slotOf(layout.channel(partition))
    t.strictSame([slotOf(layout.headKey('a{b}', partition)), slotOf(layout.listKey('}', partition))], [slot, slot])
  }
  t.end()
})

test('partitions are spread over three, four or six nodes, none of which has half as much again as its share', t => {
  for (const nodes of [3, 4, 6]) {
    const counts = Array.from({ length: nodes }, () => 0)
    for (let partition = 0; partition < PARTITIONS; partition++) counts[Math.floor(slotOf(`ws1:{${partition}}`) * nodes / 16_384)]!++
    t.ok(Math.max(...counts) < 1.5 * PARTITIONS / nodes, counts.join())
  }
  t.end()
})

test('CLUSTER SLOTS is read, and anything else is null', t => {
  const asked = { host: '10.0.0.1', port: 1 }
  const same = (address: { host: string, port: number }): { host: string, port: number } => address
  const topology = parseSlots([
    [0, 99, [Buffer.from('10.0.0.2'), 7000, Buffer.from('id'), []], [Buffer.from('10.0.0.3'), 7001, Buffer.from('id')]],
    [200, 200, [null, 7002]],
    [300, 16_383, [Buffer.from(''), 7003], [Buffer.from('?'), 7004]]
  ], asked, same)!
  t.strictSame([0, 99, 100, 200, 16_383].map(slot => topology.ownerOf(slot)), [
    { host: '10.0.0.2', port: 7000 }, { host: '10.0.0.2', port: 7000 }, null, { host: '10.0.0.1', port: 7002 }, { host: '10.0.0.1', port: 7003 }
  ])
  t.strictSame(topology.nodes.map(({ port }) => port), [7000, 7001, 7002, 7003, 7004])
  const mapped = parseSlots([[0, 1, ['a', 1]]], asked, () => ({ host: 'outside', port: 2 }))!
  t.strictSame(mapped.ownerOf(0), { host: 'outside', port: 2 })
  for (const none of [null, 'OK', [1], [[0, 1]], [[0, 'x', ['a', 1]]], [[0, 1, 'a']]]) t.equal(parseSlots(none, asked, same), null, JSON.stringify(none))
  t.end()
})
