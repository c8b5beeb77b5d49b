// A partition of a cluster, without one.
import { test } from 'tap'
import { ClusterPart } from '../../../lib/brokers/redis/cluster-part.ts'
import { gate, turn } from '../../helpers/app.ts'

test('it is drained when all that was sent is answered, whatever the answer: what comes later has its turn behind that', async t => {
  const part = new ClusterPart(0, 0)
  await part.drained()
  const [first, second] = [gate<string>(), gate<never>()]
  const sent = [part.send(() => first.opened), part.send(() => second.opened.then(() => { throw new Error('MOVED') }))]
  const order: string[] = []
  const drained = [part.drained(), part.drained()].map((promise, i) => promise.then(() => { order.push(`drained ${i}`) }))
  first.open('head')
  t.equal(await sent[0], 'head')
  await turn()
  t.strictSame(order, [])
  second.open(undefined as never)
  await t.rejects(sent[1]!, /MOVED/)
  await Promise.all(drained)
  t.strictSame(order, ['drained 0', 'drained 1'])
})

test('who waits for it is told when it is up, or that it will not be', async t => {
  const part = new ClusterPart(0, 0)
  const back = part.back()
  part.setUp()
  await back
  t.strictSame([part.isUp, part.setDown(), part.setDown(), part.isUp], [true, true, false, false])
  const never = part.back()
  part.topics.add('a')
  part.end(new Error('stopped'))
  await t.rejects(never, /stopped/)
  t.equal(part.topics.size, 0)
})
