// What was sent before an end goes out, whoever brings the end about and how.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { duplexPair, Duplex, PassThrough, Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import type { FastifyRequest } from 'fastify'
import { test } from 'tap'
import WebSocket from 'ws'
import { Connection, coreOf } from '../../lib/connection/connection.ts'
import { connect, ConnectionClosedError } from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import { gate, startApp, startConnection, turn } from '../helpers/app.ts'
import { CERTIFICATE } from '../helpers/http.ts'
import { memoryTransport, OWNER, SETTINGS } from '../helpers/memory.ts'
import { binary, close, openRawClient, text } from '../helpers/raw-client.ts'

const NEVER = { closeTimeout: 60_000, shutdownTimeout: 100 }

const ENDS: Record<string, (connection: WebSocketConnection, request: FastifyRequest) => void> = {
  'terminate()': connection => { connection.terminate() },
  'close() and terminate()': connection => {
    connection.close(1008)
    connection.terminate()
  },
  '_socket.destroy()': connection => { connection._socket!.destroy() },
  '_socket.destroySoon()': connection => { (connection._socket as Socket).destroySoon() },
  '_socket.end()': connection => { connection._socket!.end() },
  'request.raw.destroy()': (_connection, request) => { request.raw.destroy() },
  'request.raw.socket.destroy()': (_connection, request) => { request.raw.socket.destroy() },
  'request.socket.end()': (_connection, request) => { request.socket.end() }
}

for (const [name, end] of Object.entries(ENDS)) {
  test(`what is sent in the tick of ${name} goes out: from a handler, a listener, a timer`, async t => {
    const { port } = await startApp(t, NEVER, app => {
      app.get('/handler', { websocket: true }, (connection, request) => {
        connection.send('first')
        connection.send('a reason')
        end(connection, request)
      })
      app.get('/listener', { websocket: true }, (connection, request) => {
        connection.on('message', () => {
          connection.send('first')
          connection.send('a reason')
          end(connection, request)
        })
      })
      app.get('/later', { websocket: true }, (connection, request) => {
        setImmediate(() => {
          connection.send('first')
          connection.send('a reason')
          end(connection, request)
        })
      })
    })
    for (const path of ['/handler', '/listener', '/later']) {
      const client = await openRawClient(t, port, { path })
      if (path === '/listener') client.write(text('go'))
      t.strictSame((await client.rest()).filter(frame => !frame.startsWith('close')), ['text first', 'text a reason'], path)
      client.end()
    }
  })
}

test('so it does when a stream over the connection is destroyed', async t => {
  const { client } = await startConnection(t, NEVER, connection => {
    const stream = connection.toDuplex()
    connection.send('a reason')
    stream.destroy(new Error('the other side has failed'))
    stream.on('error', () => {})
  })
  t.strictSame(await client.rest(), ['text a reason'])
})

test('so it does over TLS', async t => {
  const { default: Fastify } = await import('fastify')
  const { default: websocket } = await import('../../lib/index.ts')
  const app = Fastify({ https: CERTIFICATE })
  await app.register(websocket)
  app.get('/terminate', { websocket: true }, connection => {
    connection.send('a reason')
    connection.terminate()
  })
  app.get('/destroy', { websocket: true }, async connection => {
    await connection.receive()
    connection.send('a reason')
    connection._socket!.destroy()
  })
  app.get('/later', { websocket: true }, connection => {
    connection.on('message', () => {
      connection.send('a reason')
      connection.terminate()
    })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  const { port } = app.server.address() as AddressInfo
  for (const path of ['/terminate', '/destroy', '/later']) {
    const client = await connect(`wss://localhost:${port}${path}`, { request: { ca: CERTIFICATE.cert, host: '127.0.0.1' } })
    client.send('go')
    t.equal(await client.receive(), 'a reason', path)
    t.match(await client.closed, { code: 1006 })
  }
})

test('so it does from a client', async t => {
  const got = gate<string>()
  const { url } = await startApp(t, NEVER, app => {
    app.get('/', { websocket: true }, connection => { connection.on('message', data => { got.open(String(data)) }) })
  })
  const client = await connect(url)
  client.send('a reason')
  client.terminate()
  t.equal(await got.opened, 'a reason')
})

const script = fileURLToPath(new URL('../helpers/exit-server.ts', import.meta.url))

test('so it does when the process exits in that tick', async t => {
  const child = fork(script)
  t.teardown(() => child.kill('SIGKILL'))
  const [port] = await once(child, 'message') as [number]
  const idle = await openRawClient(t, port, { path: '/all' })
  const client = await openRawClient(t, port, { path: '/all' })
  client.write(text('exit'))
  t.strictSame(await client.rest(), ['text the process ends'])
  t.strictSame(await idle.rest(), ['text the process ends'], 'to others too')
  await once(child, 'exit')
})

test('flush() hands over at once what would leave at the end of the tick', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const socket = connection._socket as Socket
  const before = socket.bytesWritten
  connection.send('progress')
  t.equal(socket.bytesWritten, before, 'not yet')
  connection.flush()
  t.equal(socket.bytesWritten, before + 10)
  t.strictSame(await client.take(1), ['text progress'])
  connection.flush()
  connection.terminate()
  await connection.closed
  t.doesNotThrow(() => { connection.flush() })
  t.doesNotThrow(() => { new Connection(SETTINGS, OWNER).flush() })
})

test('flush() works in a listener too, where what is sent otherwise waits for the end of the chunk', async t => {
  const written: number[] = []
  const { client } = await startConnection(t, NEVER, connection => {
    const socket = connection._socket as Socket
    connection.on('message', () => {
      written.push(socket.bytesWritten)
      connection.send('a')
      connection.flush()
      written.push(socket.bytesWritten)
    })
  })
  client.write(text('1'))
  t.strictSame(await client.take(1), ['text a'])
  t.equal(written[1]! - written[0]!, 3)
})

// Streams

test('a write to a stream of bytes may be of any size: it is sent as messages that the peer takes', async t => {
  const bytes = Buffer.from(Array.from({ length: 3 * 1024 * 1024 }, (_, i) => i * 7 % 251))
  const { url } = await startApp(t, NEVER, app => {
    app.get('/', { websocket: true }, async connection => {
      const stream = connection.toDuplex()
      stream.write(bytes)
      stream.end(bytes)
    })
  })
  const client = await connect(url, { maxPayload: 1024 * 1024 })
  const received: Buffer[] = []
  for await (const message of client) received.push(message as Buffer)
  t.ok(Buffer.concat(received).equals(Buffer.concat([bytes, bytes])))
  t.equal(Math.max(...received.map(({ length }) => length)), 64 * 1024)
})

test('messageSize says how large they are, and text is not cut in the middle of a character', async t => {
  const { url } = await startApp(t, NEVER, app => {
    app.get('/:size', { websocket: true }, async (connection, request) => {
      const stream = connection.toDuplex({ binary: false, messageSize: Number((request.params as { size: string }).size) })
      stream.end('aé€😀'.repeat(5))
    })
  })
  for (const size of [1, 2, 3, 4, 5, 7, 64]) {
    const client = new WebSocket(`${url}/${size}`) // which fails at text that is not UTF-8
    const received: string[] = []
    client.on('message', data => { received.push(String(data)) })
    const [code] = await once(client, 'close') as [number]
    t.equal(code, 1000, `${size}`)
    t.equal(received.join(''), 'aé€😀'.repeat(5), `${size}`)
    t.ok(received.every(part => Buffer.byteLength(part) <= size + 3), `${size}`)
  }
  const { connection } = await startConnection(t, NEVER, () => {})
  for (const messageSize of [0, -1, 1.5, NaN, '5' as never]) {
    t.throws(() => connection.toDuplex({ messageSize }), { name: 'RangeError', message: /messageSize/ })
  }
})

test('of a pipeline between two connections both end when one breaks', async t => {
  const pairs = [0, 1].map(() => {
    const [here, there] = duplexPair()
    const connection = new Connection({ ...SETTINGS, closeTimeout: 60_000 }, OWNER)
    coreOf(connection).open(memoryTransport(here), Buffer.alloc(0))
    return { connection, there: there as Duplex }
  })
  const [a, b] = pairs.map(({ connection }) => connection.toDuplex())
  const done = Promise.allSettled([pipeline(a!, b!), pipeline(b!, a!)])
  pairs[0]!.there.resume()
  pairs[1]!.there.resume()
  pairs[0]!.connection._socket!.destroy()
  await done
  t.match(await pairs[0]!.connection.closed, { code: 1006, cause: 'transport' })
  t.match(await pairs[1]!.connection.closed, { code: 1006 })
})

const FAILURES = [1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]
const ENDINGS = [undefined, 1000, 1001, 3000, 4999]

for (const code of [...FAILURES, ...ENDINGS]) {
  const isFailure = FAILURES.includes(code!)
  test(`to a stream a Close with ${code ?? 'no code'} is ${isFailure ? 'an error' : 'an end'}, behind the data`, async t => {
    const results: string[] = []
    const finished = gate()
    const note = (name: string, data: unknown[], error: unknown): void => {
      results.push(`${name} ${data.join('')} ${error instanceof ConnectionClosedError ? `error ${error.closeCode}` : String(error)}`)
      if (results.length === 3) finished.open()
    }
    const { port } = await startApp(t, NEVER, app => {
      for (const objectMode of [false, true]) {
        app.get(objectMode ? '/objects' : '/bytes', { websocket: true }, async connection => {
          const data: string[] = []
          const sink = new Writable({ objectMode, write (chunk, _encoding, callback) { data.push(String(chunk)); callback() } })
          const error = await pipeline(connection.toDuplex({ objectMode }), sink).then(() => null, (error: unknown) => error)
          note(objectMode ? 'objects' : 'bytes', data, error)
        })
      }
      app.get('/web', { websocket: true }, async connection => {
        const data: string[] = []
        let error: unknown = null
        try {
          for await (const message of connection.toWeb().readable) data.push(String(message))
        } catch (thrown) {
          error = thrown
        }
        note('web', data, error)
      })
    })
    for (const path of ['/bytes', '/objects', '/web']) {
      const client = await openRawClient(t, port, { path })
      client.end(text('a'), binary('b'), close(code))
      t.strictSame((await client.rest()).length, 1, 'the Close is answered')
    }
    await finished.opened
    const end = isFailure ? `error ${code}` : 'null'
    t.strictSame(results.sort(), [`bytes ab ${end}`, `objects ab ${end}`, `web ab ${end}`])
  })
}

test('what is written to a stream whose end the peer answers with a failure has failed', async t => {
  const done = gate<unknown>()
  const { client } = await startConnection(t, NEVER, connection => {
    pipeline(Readable.from([Buffer.from('data')]), connection.toDuplex()).then(() => { done.open(null) }, done.open)
  })
  t.strictSame(await client.take(2), ['binary data', 'close 1000'])
  client.end(close(1011))
  t.match(await done.opened, { name: 'ConnectionClosedError', closeCode: 1011 })
})

test('a stream that has been ended, and is destroyed with an error of another connection, drops its own', async t => {
  const { connection } = await startConnection(t, NEVER, () => {})
  const stream = connection.toDuplex()
  new PassThrough().pipe(stream)
  stream.on('error', () => {})
  stream.destroy(new ConnectionClosedError('of another'))
  t.match(await connection.closed, { code: 1006, cause: 'local' })
  await turn()
})
