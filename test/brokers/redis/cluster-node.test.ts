// A node of a cluster, whose broker does what a test says.
import { test } from 'tap'
import { ClusterNode } from '../../../lib/brokers/redis/cluster-node.ts'
import type { ServerBroker } from '../../../lib/brokers/redis/server-broker.ts'
import type { BrokerHost } from '../../../types/topics.ts'

test('what is waited for while a node is up rejects when it goes, and not for its next life', async t => {
  let host: BrokerHost | undefined
  const broker = { start: async (given: BrokerHost) => { host = given }, stop: async () => {} }
  const node = new ClusterNode({ host: '127.0.0.1', port: 1 }, broker as unknown as ServerBroker)
  const told: string[] = []
  t.equal(node.hasStarted, false)
  await t.rejects(node.whileUp(Promise.reject(new Error('unheard'))), /the node is away/)
  await node.start({ deliver: topic => { told.push(topic) }, error: ({ message }) => { told.push(message) }, wentDown: () => { told.push('down') }, cameUp: () => { told.push('up') } })
  t.strictSame([node.hasStarted, node.isUp], [true, true])
  const waiting = node.whileUp(new Promise(() => {}))
  host!.deliver('a', { head: null, body: Buffer.alloc(0) })
  host!.error(new Error('of the server'))
  host!.interrupted()
  await t.rejects(waiting, /the node has gone/)
  t.equal(node.isUp, false)
  host!.restored()
  t.equal(await node.whileUp(Promise.resolve(5)), 5)
  await node.stop()
  t.equal(node.isUp, false)
  t.strictSame(told, ['a', 'of the server', 'down', 'up'])
})
