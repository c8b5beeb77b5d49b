import { once } from 'node:events'
import { connect, createServer, Socket, type AddressInfo } from 'node:net'
import { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { test, type Test } from 'tap'
import { SocketTransport } from '../../lib/transport/socket-transport.ts'
import { turn } from '../helpers/app.ts'

async function pair (t: Test): Promise<{ socket: Socket, client: Socket, transport: SocketTransport }> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = await accepted
  t.teardown(() => {
    client.destroy()
    socket.destroy()
    server.close()
  })
  return { socket, client, transport: new SocketTransport(socket) }
}

async function rest (client: Socket): Promise<string> {
  let text = ''
  client.on('data', chunk => { text += String(chunk) })
  await once(client, 'close')
  return text
}

test('small frames may be laid together where write() is Node\'s own', async t => {
  class Other extends Socket {}
  const wrapped = new Socket()
  const transport = new SocketTransport(wrapped)
  t.ok(transport.slab)
  wrapped.write = () => true
  t.equal(transport.slab, undefined, 'and no longer when somebody has put another in its place')
  t.equal(new SocketTransport(new Other()).slab, undefined)
  t.equal(new SocketTransport(new Duplex()).slab, undefined)
})

test('what is in the place of Node\'s own on all sockets may keep what it sees', async t => {
  const socket = new Socket()
  const transport = new SocketTransport(socket)
  t.equal(transport.takesAtOnce, true)
  t.equal(transport.isReadByOthers, false)
  for (const name of ['write', 'push', 'emit'] as const) {
    Object.assign(Socket.prototype, { [name]: () => true })
    try {
      t.equal(transport.takesAtOnce, name !== 'write', name)
      t.equal(transport.slab === undefined, name === 'write', name)
      t.equal(transport.isReadByOthers, name !== 'write', name)
    } finally {
      delete (Socket.prototype as Partial<Socket>)[name]
    }
  }
})

test('memory is lent for writes where write() is that of Node\'s TLS', async t => {
  class Other extends TLSSocket {}
  const socket = new TLSSocket(new Socket())
  t.teardown(() => { socket.destroy() })
  const transport = new SocketTransport(socket)
  t.ok(transport.loans)
  socket.write = () => true
  t.equal(transport.loans, undefined, 'and no longer when somebody has put another in its place')
  t.strictSame([new Other(new Socket()), new Socket(), new Duplex()].map((stream) => new SocketTransport(stream).loans), [undefined, undefined, undefined])
})

test('the chunks of a socket are ours, those of another stream may be seen by others', async t => {
  class Other extends Socket {}
  t.strictSame([new Socket(), new Other(), new Duplex()].map(stream => new SocketTransport(stream).ownsChunks), [true, true, false])
})

test('others may read a stream that has more listeners, or is more than a socket', async t => {
  class Other extends Socket {}
  const ignore = (): void => {}
  const one = <Stream extends Duplex>(stream: Stream): Stream => stream.on('data', ignore)
  for (const [title, stream, expected] of [
    ['ours alone', one(new Socket()), false],
    ['another listener', one(new Socket()).on('data', ignore), true],
    ['one that comes for a single chunk', one(new Socket()).once('data', ignore), true],
    ['one that reads', one(new Socket()).on('readable', ignore), true],
    ['what listens to all events', Object.assign(one(new Socket()), { emit: () => true }), true],
    ['what sees all chunks', Object.assign(one(new Socket()), { push: () => true }), true],
    ['a class that may do anything', one(new Other()), true],
    ['TLS', one(new TLSSocket(new Socket())), true],
    ['another stream', one(new Duplex({ read () {} })), true]
  ] as const) t.equal(new SocketTransport(stream).isReadByOthers, expected, title)
})

test('a socket is tuned once it is ours; a stream that has nothing to tune is left alone', async t => {
  const calls: unknown[] = []
  const record = (name: string) => (value: unknown): void => { calls.push([name, value]) }
  const socket = Object.assign(new Duplex(), {
    setTimeout: record('setTimeout'), setNoDelay: record('setNoDelay'), setKeepAlive: record('setKeepAlive')
  })
  const transport = new SocketTransport(socket as unknown as SocketTransport['stream'])
  transport.tune()
  t.strictSame(calls, [['setTimeout', 0], ['setNoDelay', true]])
  transport.keepAlive()
  t.strictSame(calls.at(-1), ['setKeepAlive', true])
  const plain = new SocketTransport(new Duplex())
  t.doesNotThrow(() => {
    plain.tune()
    plain.keepAlive()
  })
})

test('finish() sends what was written and ends our side alone', async t => {
  const { socket, client, transport } = await pair(t)
  socket.write('last words')
  transport.finish()
  t.equal(socket.destroyed, false)
  t.equal(await rest(client), 'last words')
})

test('abort() drops a socket at once when nothing is on its way', async t => {
  const { socket, client, transport } = await pair(t)
  transport.abort()
  t.equal(socket.destroyed, true)
  t.equal(await rest(client), '')
})

test('abort() drops a socket at once that its peer does not read', async t => {
  const { socket, client, transport } = await pair(t)
  client.pause()
  while (socket.write(Buffer.alloc(2 ** 20)));
  transport.abort()
  t.equal(socket.destroyed, true)
})

test('abort() lets out what waits for an earlier write to be done', async t => {
  // TLS tells in a later turn that a write is out
  const written: string[] = []
  const stream = new Duplex({
    read () {},
    write (chunk, _encoding, callback) {
      written.push(String(chunk))
      setImmediate(() => { setImmediate(callback) })
    }
  })
  stream.write('101')
  stream.write('frame')
  new SocketTransport(stream).abort()
  t.strictSame([written, stream.destroyed], [['101'], false])
  for (let turns = 0; turns < 3; turns++) await turn()
  t.strictSame([written, stream.destroyed], [['101', 'frame'], true])
})
