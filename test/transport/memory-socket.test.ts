import { once } from 'node:events'
import { finished, pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { test } from 'tap'
import { MemorySocket } from '../../lib/transport/memory-socket.ts'
import { turn } from '../helpers/app.ts'

test('what is written at one end is read at the other, in a copy', async t => {
  const [a, b] = MemorySocket.pair()
  const bytes = Buffer.from('hello')
  a.write(bytes)
  const [chunk] = await once(b, 'data') as [Buffer]
  bytes.fill(0)
  t.equal(String(chunk), 'hello')
  b.end('bye')
  t.equal(String((await once(a, 'data'))[0]), 'bye')
})

test('a write is done when the other end has read it', async t => {
  const [a, b] = MemorySocket.pair()
  const written: number[] = []
  for (let i = 0; i < 10; i++) a.write(Buffer.alloc(100_000), () => { written.push(i) })
  await turn()
  t.ok(written.length < 10, `${written.length} are done`)
  b.resume()
  while (written.length < 10) await turn()
  t.equal(a.writableLength, 0)
})

test('it goes through pipelines, both ways', async t => {
  const [a, b] = MemorySocket.pair()
  void pipeline(b, b)
  const sent = Buffer.alloc(1_000_000, 'x')
  const received: Buffer[] = []
  a.on('data', (chunk: Buffer) => { received.push(chunk) })
  await pipeline(Readable.from([sent]), a, { end: true })
  await finished(a)
  t.ok(Buffer.concat(received).equals(sent))
})

test('an end that is destroyed is an end for the other, and what that writes fails', async t => {
  const [a, b] = MemorySocket.pair()
  a.destroy()
  b.resume()
  await once(b, 'end')
  const failed = once(b, 'error') as Promise<[NodeJS.ErrnoException]>
  b.write('nobody is there')
  t.equal((await failed)[0].code, 'EPIPE')
})

test('a write that waits is over when the other end is destroyed', async t => {
  const [a, b] = MemorySocket.pair()
  const written = new Promise<void>(resolve => { a.write(Buffer.alloc(1_000_000), () => { resolve() }) })
  b.destroy()
  await written
  b.destroy()
  a.destroy()
})

test('what HTTP calls on a socket is there', async t => {
  const [a] = MemorySocket.pair({ encrypted: true })
  t.equal(a.setTimeout().setNoDelay().setKeepAlive().ref().unref(), a)
  t.strictSame([a.encrypted, a.remoteAddress, a.remoteFamily, a.remotePort], [true, '127.0.0.1', 'IPv4', 0])
  t.equal(MemorySocket.pair()[0].encrypted, false)
})
