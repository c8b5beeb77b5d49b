import v8 from 'node:v8'
import { runInNewContext } from 'node:vm'
import { test } from 'tap'
import { unmaskedFrame } from '../../../lib/errors.ts'
import { HeldMessages, type HeldEntry } from '../../../lib/connection/incoming/held-messages.ts'

function message (payload: string | Buffer, isBinary = false): HeldEntry {
  return { type: 'message', message: { data: Buffer.from(payload), isBinary } }
}

function drain (inbox: HeldMessages): HeldEntry[] {
  const entries: HeldEntry[] = []
  for (let entry = inbox.peek(); entry !== undefined; entry = inbox.peek()) {
    entries.push(entry)
    inbox.shift()
  }
  return entries
}

test('a new inbox is empty', async t => {
  const inbox = new HeldMessages()
  t.equal(inbox.isEmpty, true)
  t.equal(inbox.bytes, 0)
  t.equal(inbox.peek(), undefined)
})

test('entries of all types come out in the order in which they went in', async t => {
  const entries: HeldEntry[] = [
    message('a'),
    message(Buffer.from([1, 2]), true),
    { type: 'close', close: { code: 1000, reason: Buffer.from('bye') } },
    { type: 'failure', error: unmaskedFrame() },
    { type: 'end' }
  ]
  const inbox = new HeldMessages()
  for (const entry of entries) inbox.add(entry)
  t.equal(inbox.isEmpty, false)
  t.strictSame(drain(inbox), entries)
  t.equal(inbox.isEmpty, true)
})

test('peek() leaves the entry where it is', async t => {
  const inbox = new HeldMessages()
  inbox.add(message('a'))
  t.equal(inbox.peek(), inbox.peek())
  t.equal(inbox.isEmpty, false)
})

test('what is added between two shifts goes behind the rest', async t => {
  const inbox = new HeldMessages()
  inbox.add(message('a'))
  inbox.add(message('b'))
  inbox.shift()
  inbox.add(message('c'))
  t.strictSame(drain(inbox), [message('b'), message('c')])
})

test('bytes counts payloads and an overhead for each entry, so that empty messages are not free', async t => {
  const inbox = new HeldMessages()
  inbox.add(message(''))
  const overhead = inbox.bytes
  t.ok(overhead > 0)
  inbox.add(message('12345'))
  t.equal(inbox.bytes, 2 * overhead + 5)
  inbox.add({ type: 'end' })
  t.equal(inbox.bytes, 3 * overhead + 5)
  inbox.shift()
  t.equal(inbox.bytes, 2 * overhead + 5)
  inbox.shift()
  t.equal(inbox.bytes, overhead)
  inbox.shift()
  t.equal(inbox.bytes, 0)
})

test('clear() drops everything', async t => {
  const inbox = new HeldMessages()
  inbox.add(message('a'))
  inbox.add({ type: 'end' })
  inbox.shift()
  inbox.clear()
  t.equal(inbox.isEmpty, true)
  t.equal(inbox.bytes, 0)
  inbox.add(message('b'))
  t.strictSame(drain(inbox), [message('b')])
})

test('a small message does not keep the chunk alive that it came with', async t => {
  const chunk = Buffer.allocUnsafeSlow(64 * 1024)
  chunk.write('hello', 1000)
  const inbox = new HeldMessages()
  inbox.add({ type: 'message', message: { data: chunk.subarray(1000, 1005), isBinary: true } })
  const [entry] = drain(inbox)
  if (entry?.type !== 'message') throw new Error('a message went in')
  t.strictSame(entry.message, { data: Buffer.from('hello'), isBinary: true })
  t.not(entry.message.data.buffer, chunk.buffer)
})

test('a message that fills its memory is not copied', async t => {
  const chunk = Buffer.allocUnsafeSlow(64 * 1024)
  const data = chunk.subarray(0, 60 * 1024)
  const inbox = new HeldMessages()
  inbox.add({ type: 'message', message: { data, isBinary: true } })
  const [entry] = drain(inbox)
  if (entry?.type !== 'message') throw new Error('a message went in')
  t.equal(entry.message.data, data)
})

test('an inbox that is never empty does not keep what was taken out of it', async t => {
  v8.setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const inbox = new HeldMessages()
  const refs: Array<WeakRef<object>> = []
  for (let i = 0; i < 10_000; i++) {
    inbox.add(message(String(i)))
    if (i < 10) continue // always ten or eleven inside
    const entry = inbox.peek()!
    if (entry.type !== 'message' || String(entry.message.data) !== String(i - 10)) throw new Error(`${i - 10} is missing`)
    refs.push(new WeakRef(entry))
    inbox.shift()
  }
  await new Promise(resolve => { setImmediate(resolve) }) // a WeakRef holds on until the end of the turn
  collectGarbage()
  const kept = refs.filter(ref => ref.deref() !== undefined).length
  t.ok(kept < 2_000, `${kept} of ${refs.length} are still in memory`)
  t.equal(drain(inbox).length, 10)
  t.equal(inbox.bytes, 0)
})
