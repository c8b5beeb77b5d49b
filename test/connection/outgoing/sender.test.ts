import { once } from 'node:events'
import { openAsBlob } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { Sender, type SenderOwner } from '../../../lib/connection/outgoing/sender.ts'
import { BINARY, CLOSE, CONTINUATION, PING, TEXT } from '../../../lib/protocol/opcode.ts'
import type { SendCallback } from '../../../types/connection.ts'
import { TestTransport } from '../../helpers/test-transport.ts'

interface Setup {
  sender: Sender
  transport: TestTransport
  /** What the owner was told. */
  events: string[]
  unreadable: Promise<Error>
}

function setUp (t: Test): Setup {
  const transport = new TestTransport()
  const events: string[] = []
  let fail: (error: Error) => void
  const unreadable = new Promise<Error>(resolve => { fail = resolve })
  const owner: SenderOwner = {
    onWritten (callbacks) {
      events.push('written')
      for (const callback of callbacks) callback()
    },
    onUnsendable (error) { fail(error) }
  }
  const sender = new Sender(transport, 'server', null, owner)
  transport.stream.on('drain', () => { sender.flush() })
  t.teardown(() => { transport.stream.destroy() })
  return { sender, transport, events, unreadable }
}

function sent (sender: Sender, opcode: typeof TEXT | typeof BINARY, payload: string | Buffer | Blob): Promise<void> {
  return new Promise((resolve, reject) => {
    sender.add(opcode, true, payload, error => { if (error === undefined) resolve(); else reject(error) })
  })
}

test('end() ends the transport behind everything that was added before', async t => {
  const { sender, transport } = setUp(t)
  sender.add(TEXT, true, 'a')
  sender.add(CLOSE, true, Buffer.alloc(0))
  sender.end()
  t.equal(transport.finished, 1)
  sender.end()
  t.equal(transport.finished, 1, 'once')
  await once(transport.stream, 'finish')
  t.strictSame(transport.frames, ['1 a', '8'])
})

test('frames behind a Blob keep their order, a Ping may overtake it', async t => {
  const { sender, transport } = setUp(t)
  sender.add(TEXT, true, 'before')
  sender.add(BINARY, true, new Blob(['blob 1']))
  sender.add(TEXT, false, 'between')
  sender.add(CONTINUATION, true, new Blob(['blob 2']))
  sender.addControl(PING, Buffer.from('overtakes'))
  t.ok(sender.bufferedAmount >= 'beforeblob 1betweenblob 2overtakes'.length)
  const last = sent(sender, BINARY, Buffer.from('last'))
  sender.add(CLOSE, true, Buffer.alloc(0))
  sender.end()
  t.equal(transport.finished, 0)
  await last
  if (!transport.stream.writableFinished) await once(transport.stream, 'finish')
  t.strictSame(transport.frames, ['1 before', '9 overtakes', '2 blob 1', '1... between', '0 blob 2', '2 last', '8'])
  t.equal(sender.bufferedAmount, 0)
  t.equal(transport.finished, 1)
})

test('after a Blob is out, what is added is not deferred', async t => {
  const { sender, transport } = setUp(t)
  await sent(sender, BINARY, new Blob(['blob']))
  sender.add(TEXT, true, 'next')
  sender.flush()
  t.strictSame(transport.frames, ['2 blob', '1 next'])
})

test('destroy() gives back the callbacks of everything that was not sent, in order, and counts nothing any more', async t => {
  const { sender, transport } = setUp(t)
  transport.takes = false
  const called: string[] = []
  const note = (name: string): SendCallback => error => { called.push(`${name} ${error?.message}`) }
  sender.add(BINARY, true, Buffer.alloc(300_000), note('in part'))
  sender.add(TEXT, true, 'a', note('a'))
  sender.add(TEXT, true, 'no callback')
  sender.add(BINARY, true, new Blob(['b']), note('blob'))
  sender.add(TEXT, true, 'no callback')
  sender.add(TEXT, true, 'c', note('c'))
  sender.flush()
  t.ok(sender.bufferedAmount > 300_000)
  const callbacks = sender.destroy()
  t.equal(sender.bufferedAmount, 0)
  t.strictSame(called, [], 'the owner calls them')
  for (const callback of callbacks) callback(new Error('gone'))
  t.strictSame(called, ['in part gone', 'a gone', 'blob gone', 'c gone'])
})

test('after destroy() nothing is written and no callback comes twice', async t => {
  const { sender, transport, events } = setUp(t)
  transport.takes = false
  let calls = 0
  sender.add(TEXT, true, 'a', () => { calls++ })
  sender.flush()
  sender.add(BINARY, true, new Blob(['b']))
  sender.destroy()
  transport.take()
  sender.flush()
  sender.end()
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(calls, 0)
  t.strictSame(events, [])
  t.strictSame(transport.frames, ['1 a'])
  t.equal(transport.finished, 0)
})

test('what is added after destroy() is not counted as waiting', async t => {
  const { sender } = setUp(t)
  sender.destroy()
  sender.add(CLOSE, true, Buffer.alloc(2))
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(sender.bufferedAmount, 0)
})

test('a Blob that cannot be read is reported', async t => {
  const { sender, unreadable } = setUp(t)
  const path = join(t.testdir({ file: 'abc' }), 'file')
  const blob = await openAsBlob(path)
  await writeFile(path, 'changed since')
  sender.add(BINARY, true, blob)
  t.match(await unreadable, { name: 'NotReadableError' })
})

test('a Blob that cannot be read does not hold up the end', async t => {
  const { sender, transport, unreadable } = setUp(t)
  const path = join(t.testdir({ file: 'before' }), 'file')
  const blob = await openAsBlob(path)
  await writeFile(path, 'changed, and longer')
  const closed = new Promise(resolve => { transport.stream.on('finish', resolve) })
  sender.add(BINARY, true, blob)
  sender.end()
  t.equal(transport.finished, 0)
  await unreadable
  await closed
  t.equal(transport.finished, 1)
})

test('a message that waits and then cannot be serialized does not hold up what is behind it, nor the end', async t => {
  const { sender, transport, unreadable } = setUp(t)
  const allocate = Buffer.allocUnsafe.bind(Buffer)
  const failing = t.intercept(Buffer, 'allocUnsafe', {
    value (size: number) {
      if (size > 100_000) throw new RangeError('Array buffer allocation failed')
      return allocate(size)
    }
  })
  const finished = once(transport.stream, 'finish')
  sender.add(BINARY, true, new Blob(['blob']))
  sender.add(TEXT, true, 'a'.repeat(100_000))
  sender.end()
  t.equal((await unreadable).name, 'RangeError')
  await finished
  failing.restore()
  t.strictSame(transport.frames, ['2 blob'])
  t.equal(sender.bufferedAmount, 0)
})
