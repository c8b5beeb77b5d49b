import { test } from 'tap'
import { SendQueue, type QueueEntry, type SendQueueOwner } from '../../../lib/connection/outgoing/send-queue.ts'
import { gate, turn } from '../../helpers/app.ts'

// what a queue counts for each entry beside its bytes
const OVERHEAD = 256

const OWNER: SendQueueOwner = { onError (error) { throw error }, onEmpty () {} }

/** An entry that notes its turn, and takes until its gate is open. */
function entry (size: number, name: string, turns: string[], done: Promise<void> | null = null): QueueEntry {
  return {
    size,
    callback () {},
    run () {
      turns.push(name)
      return done ?? undefined
    }
  }
}

/** One that somebody has to end. */
function open (name: string, turns: string[], done: Promise<void>, onCut = (): void => {}): QueueEntry {
  return { size: 0, run () { turns.push(name); return done }, onCut }
}

test('entries have their turn one after the other, and count until they are done', async t => {
  const queue = new SendQueue(OWNER)
  const turns: string[] = []
  const first = gate()
  queue.add(entry(1, 'a', turns, first.opened))
  queue.add(entry(10, 'b', turns))
  queue.add(entry(100, 'c', turns))
  t.strictSame([turns, queue.size, queue.isEmpty], [['a'], 111 + 3 * OVERHEAD, false])
  first.open()
  await turn()
  t.strictSame([turns, queue.size, queue.isEmpty], [['a', 'b', 'c'], 0, true])
  queue.add(entry(1, 'd', turns))
  t.strictSame(turns.at(-1), 'd')
})

test('what waits behind an entry that somebody has to end is not in work', async t => {
  const queue = new SendQueue(OWNER)
  const turns: string[] = []
  const [first, second] = [gate(), gate()]
  queue.add(entry(1, 'a', turns, first.opened))
  queue.add(entry(10, 'b', turns))
  t.equal(queue.sizeInWork, 11 + 2 * OVERHEAD)
  queue.add(open('c', turns, second.opened))
  queue.add(entry(100, 'd', turns))
  t.strictSame([queue.size, queue.sizeInWork], [111 + 3 * OVERHEAD, 11 + 2 * OVERHEAD])
  first.open()
  await turn()
  t.strictSame([queue.size, queue.sizeInWork], [100 + OVERHEAD, 0])
  second.open()
  await turn()
  t.strictSame([queue.size, queue.sizeInWork, turns], [0, 0, ['a', 'b', 'c', 'd']])
})

test('the owner is told whenever nothing waits any more, also of what was dropped', async t => {
  let told = 0
  const queue = new SendQueue({ ...OWNER, onEmpty () { told++ } })
  const turns: string[] = []
  const [first, second] = [gate(), gate()]
  queue.add(entry(1, 'a', turns, first.opened))
  queue.add(entry(1, 'b', turns))
  t.equal(told, 0)
  first.open()
  await turn()
  t.strictSame([told, turns], [1, ['a', 'b']])
  queue.add(open('c', turns, second.opened, () => { second.open() }))
  queue.add(entry(1, 'd', turns))
  queue.cut()
  await turn()
  t.strictSame([told, turns], [2, ['a', 'b', 'c']])
})

test('cut() drops such an entry, in its turn or not, and all behind it; clear() drops everything', async t => {
  const queue = new SendQueue(OWNER)
  const turns: string[] = []
  const first = gate()
  let cuts = 0
  queue.add(entry(1, 'a', turns, first.opened))
  t.strictSame(queue.cut(), [], 'there is none')
  queue.add(open('b', turns, gate().opened, () => { cuts++ }))
  queue.add(entry(10, 'c', turns))
  t.equal(queue.cut().length, 1)
  t.strictSame([cuts, queue.size, queue.sizeInWork], [1, 1 + OVERHEAD, 1 + OVERHEAD])
  t.equal(queue.clear().length, 1)
  t.ok(queue.isEmpty)
  queue.add(entry(5, 'd', turns))
  first.open()
  await turn()
  t.strictSame([turns, queue.size], [['a', 'd'], 0], 'what comes later is not held up by what was dropped')
})

test('an entry that throws or rejects is told of, with its callback, and what is behind it has its turn', async t => {
  const errors: unknown[] = []
  const queue = new SendQueue({ ...OWNER, onError (error, callback) { errors.push(error.message, callback) } })
  const callback = (): void => {}
  const ran = new Promise<void>(resolve => {
    queue.add({ size: 3, callback, run () { throw new Error('throws') } })
    queue.add({ size: 4, run: () => Promise.reject(new Error('rejects')) })
    queue.add({ size: 5, run () { resolve() } })
  })
  await ran
  t.strictSame(errors, ['throws', callback, 'rejects', undefined])
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(queue.size, 0)
})
