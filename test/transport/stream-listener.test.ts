import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { test, type Test } from 'tap'
import { listen, listenerOf, listenToData, stopListeningToData, unlisten, type StreamListener } from '../../lib/transport/stream-listener.ts'

class Recorder implements StreamListener {
  readonly calls: string[] = []
  onBefore = (): void => {}

  onData (chunk: Buffer): void { this.calls.push(`data ${chunk}`) }
  onStreamEnd (): void { this.calls.push('end') }
  onDrain (): void { this.calls.push('drain') }
  onStreamClose (): void { this.calls.push('close') }
  onBeforeEnd (): void {
    this.calls.push('before the end')
    this.onBefore()
  }
}

/** A stream that keeps what is written. */
class Kept extends Duplex {
  readonly written: string[] = []
  override _read (): void {}
  override _write (chunk: Buffer, _encoding: string, callback: () => void): void {
    this.written.push(String(chunk))
    setImmediate(callback)
  }
}

async function connected (t: Test): Promise<Socket> {
  const server = createServer(socket => { socket.resume().on('error', () => {}) })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => {
    socket.destroy()
    server.close()
  })
  await once(socket, 'connect')
  return socket
}

function setUp<Stream extends Duplex> (stream: Stream): { stream: Stream, listener: Recorder } {
  const listener = new Recorder()
  listen(stream, listener)
  return { stream, listener }
}

const nextTurn = (): Promise<void> => new Promise(resolve => { setImmediate(resolve) })

// once() would reject with an 'error'
const closed = async (stream: Duplex): Promise<void> => { await new Promise(resolve => { stream.once('close', resolve) }) }

test('a listener is told of what happens to the stream, of data only where it wants them', async t => {
  const { stream, listener } = setUp(new Kept({ highWaterMark: 1 }))
  stream.push('early')
  stream.write('full')
  await once(stream, 'drain')
  t.strictSame(listener.calls, ['drain'])
  listenToData(stream)
  stream.push('late')
  stream.push(null)
  await once(stream, 'end')
  stream.destroy()
  await once(stream, 'close')
  t.strictSame(listener.calls, ['drain', 'data early', 'data late', 'end', 'before the end', 'close'])
})

test('an error of the stream ends nothing but the stream', async t => {
  const { stream, listener } = setUp(new Kept())
  stream.destroy(new Error('reset'))
  await closed(stream)
  t.strictSame(listener.calls, ['before the end', 'close'])
})

const WAYS: Array<[title: string, end: (stream: Duplex) => void]> = [
  ['end()', stream => { stream.end() }],
  ['end() with a last chunk', stream => { stream.end('bye') }],
  ['destroy()', stream => { stream.destroy() }]
]
const MAKERS: Array<[title: string, make: (t: Test) => Promise<Duplex>]> = [
  ['a socket', connected],
  ['a Duplex', async () => new Kept()]
]
for (const [title, end] of WAYS) {
  for (const [kind, make] of MAKERS) {
    test(`${title} of ${kind} is announced before it takes effect, and once`, async t => {
      const { stream, listener } = setUp(await make(t))
      const states: boolean[][] = []
      listener.onBefore = () => { states.push([stream.writableEnded, stream.destroyed]) }
      end(stream)
      t.strictSame(states[0], [false, false])
      t.equal(stream.writableEnded || stream.destroyed, true)
      const count = states.length
      if (stream.destroyed) stream.destroy()
      else stream.end()
      t.equal(states.length, count)
      stream.destroy()
    })
  }
}

test('what is written at the announcement goes out before the last chunk', async t => {
  const { stream, listener } = setUp(new Kept())
  listener.onBefore = () => { stream.write('sent') }
  stream.end('bye')
  await once(stream, 'finish')
  t.strictSame(stream.written, ['sent', 'bye'])
})

test('end() passes on what it was given, and both say what they say without a listener', async t => {
  const { stream } = setUp(new Kept())
  const finished = new Promise<void>(resolve => { t.equal(stream.end('YWJj', 'base64', resolve), stream) })
  await finished
  t.strictSame(stream.written, ['abc'])
  const error = new Error('x')
  const failed = once(stream, 'error')
  t.equal(stream.destroy(error), stream)
  t.strictSame(await failed, [error])
})

test('methods that somebody has put in place of the stream\'s own are called behind the announcement', async t => {
  const stream = new Kept()
  const listener = new Recorder()
  const { end, destroy } = Kept.prototype as unknown as Record<'end' | 'destroy', (...given: unknown[]) => unknown>
  Object.assign(stream, {
    end (...given: unknown[]) {
      listener.calls.push(`their end ${String(given)}`)
      return Reflect.apply(end, stream, given)
    },
    destroy (error?: Error) {
      listener.calls.push('their destroy')
      return Reflect.apply(destroy, stream, [error])
    }
  })
  listen(stream, listener)
  stream.end('bye')
  await once(stream, 'finish')
  stream.destroy()
  await once(stream, 'close')
  t.strictSame(listener.calls, ['before the end', 'their end bye', 'before the end', 'their destroy', 'close'])
})

test('streams of one class have the same methods: none costs a closure', async t => {
  const [one, two] = [setUp(new Kept()), setUp(new Kept())]
  for (const name of ['end', 'destroy'] as const) t.equal(one.stream[name], two.stream[name])
  two.stream.destroy()
  t.strictSame([one.listener.calls, two.listener.calls], [[], ['before the end']])
})

test('who has been taken off is told nothing more, and the stream goes on as it was', async t => {
  const { stream, listener } = setUp(new Kept())
  listenToData(stream)
  t.equal(unlisten(stream), listener)
  t.equal(unlisten(stream), undefined)
  stream.push('data')
  stream.push(null)
  stream.resume()
  stream.end('bye')
  await once(stream, 'end')
  stream.destroy(new Error('nobody listens for it'))
  await closed(stream)
  t.strictSame([listener.calls, stream.written], [[], ['bye']])
})

test('who listens next takes the place of who listened before, and is told of the end only if it wants that', async t => {
  const { stream, listener } = setUp(new Kept())
  const calls: string[] = []
  listen(stream, {
    onData () {},
    onStreamEnd () {},
    onDrain () { calls.push('drain') },
    onStreamError () { calls.push('error') },
    onStreamClose () { calls.push('close') }
  })
  t.strictSame(['error', 'close', 'end', 'drain', 'data'].map(name => stream.listenerCount(name)), [1, 1, 1, 1, 0])
  stream.destroy(new Error('reset'))
  await closed(stream)
  t.strictSame([listener.calls, calls], [[], ['error', 'close']])
})

test('data is passed on in the tick in which it comes, ahead of all others who listen', async t => {
  for (const isHeard of [false, true]) {
    const { stream, listener } = setUp(new Kept())
    const others: number[] = []
    // neither of them makes the stream flow
    if (isHeard) stream.prependListener('data', () => { others.push(listener.calls.length) })
    listenToData(stream)
    stream.push('one')
    await nextTurn() // once() would listen by on()
    stream.push('two')
    if (!isHeard) t.strictSame(listener.calls, ['data one', 'data two'])
    await nextTurn()
    stream.on('data', () => { others.push(listener.calls.length) })
    stream.push('three')
    await nextTurn()
    t.strictSame(others, isHeard ? [1, 2, 3, 3] : [3])
    stream.destroy()
  }
})

test('a stream that was paused is not made to flow', async t => {
  for (const isHeard of [false, true]) {
    const { stream, listener } = setUp(new Kept())
    stream.pause()
    if (isHeard) stream.on('data', () => {})
    listenToData(stream)
    stream.push('one')
    await nextTurn()
    t.strictSame(listener.calls, [])
    stream.resume()
    await once(stream, 'data')
    t.strictSame(listener.calls, ['data one'])
    stream.destroy()
  }
})

test('who has enough of data is told the rest', async t => {
  const { stream, listener } = setUp(new Kept())
  listenToData(stream)
  stream.push('one')
  await once(stream, 'data')
  stopListeningToData(stream)
  stream.push('two')
  stream.push(null)
  await once(stream, 'end')
  t.strictSame(listener.calls, ['data one', 'end'])
  stream.destroy()
})

test('who takes the place of another hears all, even if somebody has removed listeners of the stream meanwhile', async t => {
  const { stream } = setUp(new Kept({ highWaterMark: 1 }))
  for (const event of ['error', 'close', 'end', 'drain']) stream.removeAllListeners(event)
  const next = new Recorder()
  listen(stream, next)
  t.equal(listenerOf(stream), next)
  stream.write('full')
  await once(stream, 'drain')
  stream.push(null)
  stream.resume()
  await once(stream, 'end')
  stream.destroy(new Error('reset'))
  await closed(stream)
  t.strictSame(next.calls, ['drain', 'end', 'before the end', 'close'])
})
