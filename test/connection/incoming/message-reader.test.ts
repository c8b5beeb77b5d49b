// The pull side: for await, receive() and generator handlers, over a real Fastify app.
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import Fastify from 'fastify'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import websocket, { ConnectionClosedError, ProtocolError, ReaderBusyError } from '../../../lib/index.ts'
import { MessageIterator, MessageReader, messageValue } from '../../../lib/connection/incoming/message-reader.ts'
import type { MessageData, WebSocketConnection } from '../../../types/connection.ts'
import type { WebSocketHandler } from '../../../types/fastify.ts'
import { aborted, gate, startApp, startConnection, turn, type LogEntry } from '../../helpers/app.ts'
import { clientFrame } from '../../helpers/frames.ts'
import { binary, close, numbered, openRawClient, text, type RawClient } from '../../helpers/raw-client.ts'

const NEVER = { closeTimeout: 60_000 }
const NOBODY = { onWait () {}, onRelease () {} }

async function echoAll (connection: WebSocketConnection): Promise<void> {
  for await (const message of connection) connection.send(message)
}

/** What `run` rejects with; fails the test if it does not. */
async function rejection (run: Promise<unknown>): Promise<unknown> {
  return run.then(() => { throw new Error('it was expected to reject') }, (error: unknown) => error)
}

/** An app that logs at level debug, with one connection to its route /. */
async function startLogging (t: Test, handler: WebSocketHandler): Promise<{
  client: RawClient, connection: WebSocketConnection, errors: unknown[], debugLogged: Promise<LogEntry>
}> {
  const errors: unknown[] = []
  const logged = gate<LogEntry>()
  const stream = {
    write (line: string) {
      const entry = JSON.parse(line) as LogEntry
      if (entry.msg.startsWith('a WebSocket handler')) logged.open(entry)
    }
  }
  const app = Fastify({ logger: { level: 'debug', stream } })
  await app.register(websocket, { ...NEVER, shutdownTimeout: 1000, errorHandler (error: unknown) { errors.push(error) } })
  const connected = once(app.websocketServer, 'connection') as Promise<[WebSocketConnection]>
  app.get('/', { websocket: true }, handler)
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  const client = await openRawClient(t, (app.server.address() as AddressInfo).port)
  const [connection] = await connected
  return { client, connection, errors, debugLogged: logged.opened }
}

// MessageReader and MessageIterator alone

test('a MessageReader gives messages to its waiters in the order in which they asked, and says each time that one asks', async t => {
  let asked = 0
  const reader = new MessageReader({ onWait () { asked++ }, onRelease () {} })
  t.strictSame([reader.isWaiting, reader.wantsPieces, reader.begin(true)], [false, false, null], 'messages are whole')
  const waiting = [reader.next(), reader.next(), reader.next()]
  t.equal(asked, 3)
  for (const name of ['a', 'b']) reader.deliver({ data: Buffer.from(name), isBinary: false })
  t.equal(reader.isWaiting, true)
  reader.end(null)
  reader.end(new Error('too late'))
  t.equal(reader.isWaiting, false)
  t.strictSame((await Promise.all(waiting)).map(message => message === null ? null : String(message.data)), ['a', 'b', null])
  t.equal(await reader.next(), null)
  t.equal(asked, 3, 'nobody waits after the end')
})

test('a MessageReader that ends with an error rejects who waits and who asks later', async t => {
  const reader = new MessageReader(NOBODY)
  const error = new Error('the end')
  const waiting = [rejection(reader.next()), rejection(reader.next())]
  reader.end(error)
  t.strictSame(await Promise.all(waiting), [error, error])
  t.equal(await rejection(reader.next()), error)
})

test('a MessageIterator is left at most once, is released once, and is its own iterator', async t => {
  const events: string[] = []
  const owner = { onWait () {}, onRelease () { events.push('released') } }
  const onLeave = (): void => { events.push('left') }
  const left = new MessageIterator(new MessageReader(owner), messageValue, onLeave)
  t.equal(left[Symbol.asyncIterator](), left)
  const pending = left.next()
  const done = { done: true, value: undefined }
  t.strictSame(await left.return(), done)
  t.strictSame(await pending, done, 'who waited meanwhile is done')
  t.strictSame(await left.return(), done)
  t.strictSame(await left.next(), done)
  t.strictSame(events.splice(0), ['left', 'released'])

  const reader = new MessageReader(owner)
  const ended = new MessageIterator(reader, messageValue, onLeave)
  reader.end(new Error('the end'))
  await t.rejects(ended.next(), { message: 'the end' })
  t.strictSame(await ended.next(), done, 'it throws once')
  t.strictSame(await ended.return(), done)
  t.strictSame(events, ['released'])
})

// for await

test('for await gets strings for text and Buffers for binary, whatever binaryType is, and ends with a clean close', async t => {
  const types = ['nodebuffer', 'arraybuffer', 'fragments', 'blob'] as const
  for (const binaryType of types) {
    const done = gate<unknown[]>()
    const { client, connection } = await startConnection(t, NEVER, async connection => {
      connection.binaryType = binaryType
      const received: unknown[] = []
      for await (const message of connection) {
        received.push(typeof message === 'string' ? message : [Buffer.isBuffer(message), message.toString()])
        connection.send(message)
      }
      done.open(received)
    })
    client.write(text('žluťoučký'), binary('kůň'), text(''), binary(''), close(1000, 'bye'))
    t.strictSame(await client.rest(), ['text žluťoučký', 'binary kůň', 'text', 'binary', 'close 1000 bye'], binaryType)
    t.strictSame(await done.opened, ['žluťoučký', [true, 'kůň'], '', [true, '']])
    client.end()
    t.match(await connection.closed, { code: 1000, wasClean: true })
  }
})

test('1,000 messages sent at once reach a for await in order, though the handler awaits before the loop and in it', async t => {
  const start = gate()
  const { client } = await startConnection(t, { highWaterMark: 1000 }, async connection => {
    await start.opened
    for await (const message of connection) {
      if (Number(String(message).slice(1)) % 7 === 0) await turn()
      connection.send(message)
      await Promise.resolve()
    }
  }, { early: Buffer.concat([...numbered('m', 1000).map(text), close(1000)]) })
  start.open()
  t.strictSame(await client.rest(), [...numbered('text m', 1000), 'close 1000'])
})

const LEAVE: Array<[string, (connection: WebSocketConnection) => Promise<void>]> = [
  ['break', async connection => {
    for await (const message of connection) if (message === 'a') break
  }],
  ['return', async connection => {
    for await (const message of connection) if (message === 'a') return
  }],
]
for (const [how, leave] of LEAVE) {
  test(`${how} in the loop closes with 1000 in a later turn, so what the handler sends behind the loop still goes out`, async t => {
    const { client, connection, logs } = await startConnection(t, NEVER, async connection => {
      await leave(connection)
      connection.send(`readyState ${connection.readyState}`)
    })
    client.write(text('a'), text('b'))
    t.strictSame(await client.take(2), ['text readyState 1', 'close 1000'])
    client.end(close(1000))
    t.match(await connection.closed, { code: 1000, wasClean: true })
    t.strictSame(logs, [])
  })
}

test('a throw in the loop reaches the errorHandler, and the client gets 1011, not 1000', async t => {
  const { client, connection, logs } = await startConnection(t, NEVER, async connection => {
    for await (const message of connection) if (message === 'a') throw new Error(`cannot do ${message}`)
  })
  client.write(text('a'), text('b'))
  t.strictSame(await client.rest(), ['close 1011'])
  t.strictSame(logs.map(({ err }) => err?.message), ['cannot do a'])
  client.end()
  t.match(await connection.closed, { code: 1006, wasClean: false })
})

test('after break with closeOnReturn: false a listener, receive() or a new iterator goes on without loss', async t => {
  const goOn: Array<[string, (connection: WebSocketConnection) => Promise<void>]> = [
    ['listener', async connection => { connection.on('message', data => { connection.send(String(data)) }) }],
    ['receive()', async connection => {
      for (let message = await connection.receive(); message !== null; message = await connection.receive()) connection.send(message)
    }],
    ['iterator', echoAll],
  ]
  for (const [name, next] of goOn) {
    const { client, connection } = await startConnection(t, NEVER, async connection => {
      let count = 0
      for await (const message of connection.iterator({ closeOnReturn: false })) {
        connection.send(message)
        if (++count === 3) break
      }
      await turn()
      await turn()
      await next(connection)
    })
    client.write(...numbered('m', 10).map(text), close(1000))
    t.strictSame(await client.rest(), [...numbered('text m', 10), 'close 1000'], name)
    client.end()
    t.match(await connection.closed, { wasClean: true }, name)
  }
})

test('concurrent calls of next() get consecutive messages, and all of them learn of the end', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const iterator = connection.iterator()
  const calls = Array.from({ length: 5 }, () => iterator.next())
  client.write(...numbered('m', 3).map(text), close(1000))
  t.strictSame(await Promise.all(calls), [
    { done: false, value: 'm0' }, { done: false, value: 'm1' }, { done: false, value: 'm2' },
    { done: true, value: undefined }, { done: true, value: undefined },
  ])
  client.end()
  await connection.closed
  t.strictSame(await iterator.next(), { done: true, value: undefined })
})

test('concurrent calls of next() all reject when the connection breaks', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const iterator = connection.iterator()
  const calls = [iterator.next(), iterator.next()].map(rejection)
  client.reset()
  for (const error of await Promise.all(calls)) t.ok(error instanceof ConnectionClosedError)
  t.strictSame(await iterator.next(), { done: true, value: undefined })
})

// Ends

test('the loop ends after a closing handshake that the server began', async t => {
  const ended = gate<string[]>()
  const { client, connection } = await startConnection(t, NEVER, async connection => {
    const received: string[] = []
    for await (const message of connection) received.push(String(message))
    ended.open(received)
  })
  connection.close(4000, 'enough')
  t.strictSame(await client.take(1), ['close 4000 enough'])
  client.write(text('in between'))
  client.end(close(4000))
  t.strictSame(await ended.opened, ['in between'])
  t.match(await connection.closed, { code: 4000, wasClean: true })
})

test('a local close() inside the loop lets it end with the handshake', async t => {
  const ended = gate<string>()
  const { client, connection, logs } = await startConnection(t, NEVER, async connection => {
    let first = ''
    for await (const message of connection) {
      first ||= String(message)
      connection.close(1000, 'heard')
    }
    ended.open(first)
  })
  client.write(...numbered('m', 5).map(text))
  t.strictSame(await client.take(1), ['close 1000 heard'])
  client.end(close(1000))
  t.equal(await ended.opened, 'm0')
  t.match(await connection.closed, { wasClean: true })
  t.strictSame(logs, [])
})

const BREAKS: Array<[string, (client: RawClient, connection: WebSocketConnection) => void, RegExp]> = [
  ['a RST', client => { client.reset() }, /1006/],
  ['a FIN without a Close', client => { client.end() }, /1006/],
  ['terminate()', (_client, connection) => { connection.terminate() }, /1006/],
  ['a protocol error', client => { client.write(clientFrame({ opcode: 0x1, payload: 'a', rsv: 2 })) }, /1006/],
]
for (const [name, end, expected] of BREAKS) {
  test(`${name} makes the loop throw a ConnectionClosedError, which only the debug log sees if the handler lets it through`, async t => {
    const caught = gate<unknown>()
    const { client, connection, errors, debugLogged } = await startLogging(t, async connection => {
      try {
        await echoAll(connection)
      } catch (error) {
        caught.open(error)
        throw error
      }
    })
    client.write(text('a'))
    t.strictSame(await client.take(1), ['text a'])
    end(client, connection)
    client.ended.then(() => { client.end() }, () => {})
    const error = await caught.opened
    t.ok(error instanceof ConnectionClosedError)
    t.match((error as Error).message, expected)
    t.equal((error as Error).cause instanceof ProtocolError, name === 'a protocol error')
    const { msg, err } = await debugLogged
    t.match(msg, /ended with its connection/)
    t.equal(err?.type, 'ConnectionClosedError')
    await connection.closed
    await turn()
    t.strictSame(errors, [])
  })
}

test('messages that came before a RST or a protocol error are still iterated, then the loop throws', async t => {
  for (const [name, bytes] of [['RST', null], ['protocol error', clientFrame({ opcode: 0x1, payload: 'a', rsv: 2 })]] as const) {
    const start = gate()
    const ended = gate<[string[], unknown]>()
    const { client, connection } = await startConnection(t, NEVER, async connection => {
      await start.opened
      const received: string[] = []
      try {
        for await (const message of connection) {
          received.push(String(message))
          await turn()
        }
      } catch (error) {
        ended.open([received, error])
      }
    })
    client.write(...numbered('m', 20).map(text))
    await client.roundTrip()
    const transportClosed = new Promise(resolve => { connection._socket!.once('close', resolve) })
    if (bytes === null) {
      client.reset()
      await transportClosed
    } else {
      client.end(bytes)
      await aborted(connection)
    }
    start.open()
    const [received, error] = await ended.opened
    t.strictSame(received, numbered('m', 20), name)
    t.ok(error instanceof ConnectionClosedError, name)
  }
})

test('a reader on a closed connection ends at once: cleanly after a handshake, with the error after a break', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  client.end(close(1000))
  await connection.closed
  t.equal(await connection.receive(), null)
  t.equal(await connection.receive(), null, 'and again')
  t.strictSame(await connection.iterator().next(), { done: true, value: undefined })
  for await (const message of connection) t.fail(String(message))

  const broken = await startConnection(t, NEVER, () => {})
  broken.client.reset()
  await broken.connection.closed
  t.equal(await broken.connection.receive(), null)
  const iterator = broken.connection.iterator()
  t.ok(await rejection(iterator.next()) instanceof ConnectionClosedError)
  t.strictSame(await iterator.next(), { done: true, value: undefined })
})

// receive()

test('receive() takes the auth message, and then listeners get the rest in order', async t => {
  const { client } = await startConnection(t, NEVER, async connection => {
    const token = await connection.receive()
    await turn() // look it up
    await turn()
    connection.send(`hello ${String(token)}`)
    connection.on('message', data => { connection.send(String(data)) })
  }, { early: Buffer.concat(['secret', ...numbered('m', 50)].map(text)) })
  t.strictSame(await client.take(51), ['text hello secret', ...numbered('text m', 50)])
})

test('receive() keeps type and order, and loses nothing between two calls', async t => {
  const { client, connection } = await startConnection(t, NEVER, async connection => {
    for (;;) {
      const message = await connection.receive()
      if (message === null) break
      await turn()
      connection.send(message)
    }
  })
  const messages = numbered('m', 100)
  client.write(...messages.map((name, i) => i % 2 === 0 ? text(name) : binary(name)))
  t.strictSame(await client.take(100), messages.map((name, i) => `${i % 2 === 0 ? 'text' : 'binary'} ${name}`))
  client.end(close(1000))
  t.match(await connection.closed, { wasClean: true })
})

for (const [when, handler] of [
  ['after the handler has returned', () => {}],
  ['by a handler that returns while it waits', (connection: WebSocketConnection) => { void connection.receive() }],
] as const) {
  test(`once somebody pulls, ${when}, what comes between two receive() is held`, async t => {
    const { client, connection } = await startConnection(t, NEVER, handler)
    await client.roundTrip()
    const observed = gate()
    connection.once('message', () => { observed.open() })
    const messages = numbered('m', 5)
    const first = handler.length === 0 ? connection.receive() : observed.opened.then(() => 'm0')
    client.write(...messages.map(text))
    const received: unknown[] = [await first]
    while (received.length < messages.length) {
      await client.roundTrip()
      await turn()
      received.push(await connection.receive())
    }
    t.strictSame(received, messages)
  })
}

const ENDS: typeof BREAKS = [
  ...BREAKS,
  ['a Close from the client', client => { client.end(close(1000)) }, /./],
  ['a Close from the server', (client, connection) => {
    connection.close(1000)
    client.end(close(1000))
  }, /./],
]
for (const [name, end] of ENDS) {
  test(`receive() resolves with null on ${name}`, async t => {
    const { client, connection } = await startConnection(t, NEVER, () => {})
    const received = connection.receive()
    end(client, connection)
    client.ended.then(() => { client.end() }, () => {})
    t.equal(await received, null)
    await connection.closed
    t.equal(await connection.receive(), null)
  })
}

// One at a time

test('a second reader is a ReaderBusyError, and the first goes on', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const busy = { name: 'ReaderBusyError', code: 'WS_ERR_READER_BUSY' }
  const first = connection.receive()
  await t.rejects(connection.receive(), busy)
  t.throws(() => connection.iterator(), busy)
  t.ok(await rejection(connection.receive()) instanceof ReaderBusyError)
  client.write(text('a'), text('b'))
  t.equal(await first, 'a')
  const iterator = connection.iterator()
  t.throws(() => connection[Symbol.asyncIterator](), busy)
  await t.rejects(connection.receive(), busy)
  t.strictSame(await iterator.next(), { done: false, value: 'b' })
})

test('a message listener beside a reader observes each message as it is taken, and never pulls one', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const observed: string[] = []
  const iterator = connection.iterator()
  connection.on('message', (data, isBinary) => { observed.push(`${String(data)} ${isBinary}`) })
  client.write(text('a'), binary('b'), text('c'))
  await client.roundTrip()
  await turn()
  t.strictSame(observed, [], 'held for the reader')
  t.strictSame((await iterator.next()).value, 'a')
  t.strictSame(observed, ['a false'])
  await turn()
  t.strictSame(String((await iterator.next()).value), 'b')
  await client.roundTrip()
  t.strictSame(observed, ['a false', 'b true'])
})

test('a listener that throws beside a reader costs the reader nothing of that message', async t => {
  const errors: unknown[] = []
  const options = { ...NEVER, errorHandler (error: unknown) { errors.push(String(error)) } }
  const { client, connection } = await startConnection(t, options, connection => {
    connection.on('message', data => { throw new Error(String(data)) })
    return echoAll(connection)
  })
  client.write(text('a'), text('b'), close(1000))
  t.strictSame(await client.rest(), ['text a', 'text b', 'close 1000'])
  t.strictSame(errors, ['Error: a', 'Error: b'])
  client.end()
  await connection.closed
})

test('pause() holds a reader too, until resume()', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const iterator = connection.iterator()
  connection.pause()
  let taken = 0
  const first = iterator.next().then(result => { taken++; return result })
  client.write(...numbered('m', 3).map(text))
  await client.roundTrip()
  await turn()
  t.equal(taken, 0)
  connection.resume()
  t.strictSame(await first, { done: false, value: 'm0' })
  t.strictSame(await iterator.next(), { done: false, value: 'm1' })
  connection.pause()
  const last = iterator.next()
  connection.resume()
  t.strictSame(await last, { done: false, value: 'm2' })
})

// Close's place

test('two messages and a Close in one chunk: an async iterator echoes both, then the Close is answered', async t => {
  const { client, connection } = await startConnection(t, NEVER, async connection => {
    for await (const message of connection) {
      await turn()
      await turn()
      connection.send(message)
    }
  })
  client.end(text('a'), text('b'), close(1000, 'c'))
  t.strictSame(await client.rest(), ['text a', 'text b', 'close 1000 c'])
  t.match(await connection.closed, { code: 1000, reason: 'c', wasClean: true })
})

test('a Close in a later chunk than the message that is worked on waits for its echo too', async t => {
  const go = gate()
  const { client } = await startConnection(t, NEVER, async connection => {
    for await (const message of connection) {
      await go.opened
      connection.send(message)
    }
  })
  client.write(text('a'))
  await client.roundTrip()
  client.write(close(1000))
  client.write(binary('never looked at')) // behind a Close
  await turn()
  go.open()
  t.strictSame(await client.rest(), ['text a', 'close 1000'])
})

test('a reader that never asks again: the Close is answered after closeTimeout', async t => {
  const { client, connection } = await startConnection(t, { closeTimeout: 30 }, () => {})
  const iterator = connection.iterator()
  const start = performance.now() // before the Close, as the time begins to run with it, whenever the message gets here
  client.write(text('a'), text('b'), close(1000))
  t.strictSame(await iterator.next(), { done: false, value: 'a' })
  t.strictSame(await client.rest(), ['close 1000'])
  t.ok(performance.now() - start >= 29)
  client.end()
  t.match(await connection.closed, { code: 1000, wasClean: true })
  t.strictSame(await iterator.next(), { done: true, value: undefined })
})

test('app.close() ends iterators that wait, work or are generators, within the closing handshake', async t => {
  const ends: string[] = []
  const go = gate()
  const { app, port } = await startApp(t, { ...NEVER, shutdownTimeout: 10_000 }, app => {
    app.get('/waits', { websocket: true }, async connection => {
      await echoAll(connection)
      ends.push('waits')
    })
    app.get('/works', { websocket: true }, async connection => {
      for await (const message of connection) {
        connection.send(message)
        await go.opened
      }
      ends.push('works')
    })
    app.get('/generates', { websocket: true }, async function * (connection) {
      yield * connection
      ends.push('generates')
    })
  })
  const clients = await Promise.all(['/waits', '/works', '/generates'].map(path => openRawClient(t, port, { path })))
  for (const client of clients) {
    client.write(text('a'))
    t.strictSame(await client.take(1), ['text a'])
  }
  const closed = app.close()
  for (const client of clients) {
    t.strictSame(await client.take(1), ['close 1001'])
    client.end(close(1001))
  }
  await closed
  go.open()
  await turn()
  t.strictSame(ends.sort(), ['generates', 'waits', 'works'])
})

// Generator handlers

test('every yield of a generator handler is sent in order, as its type says, and its return closes with 1000', async t => {
  const { client, connection } = await startConnection(t, NEVER, async function * () {
    yield 'text'
    await turn()
    yield Buffer.from('bytes')
    yield 7
    for (const name of numbered('m', 100)) yield name
    return 'not sent'
  })
  const frames = ['text text', 'binary bytes', 'text 7', ...numbered('text m', 100), 'close 1000']
  t.strictSame(await client.take(104), frames)
  client.end(close(1000))
  t.match(await connection.closed, { code: 1000, wasClean: true })
})

test('a generator that reads with for await and yields echoes: all go out before the Close', async t => {
  const { client, connection } = await startConnection(t, NEVER, async function * (connection) {
    for await (const message of connection) yield message
  })
  client.end(...numbered('m', 1000).map(text), binary('b'), close(3000))
  t.strictSame(await client.rest(), [...numbered('text m', 1000), 'binary b', 'close 3000'])
  t.match(await connection.closed, { code: 3000, wasClean: true })
})

test('an end of the stream that comes while messages still wait, some not parsed yet, has its turn behind them', async t => {
  const { client } = await startConnection(t, { ...NEVER, highWaterMark: 1000 }, async connection => {
    for await (const message of connection) {
      await delay(1)
      connection.send(message)
    }
  })
  const messages = numbered('m', 100)
  client.end(...messages.map(text), close(1000))
  t.strictSame(await client.rest(), [...messages.map(message => `text ${message}`), 'close 1000'])
})

test('a generator handler that delegates with yield * echoes too', async t => {
  const { client } = await startConnection(t, NEVER, async function * (connection) { yield * connection })
  client.end(text('a'), text('b'), close(1000))
  t.strictSame(await client.rest(), ['text a', 'text b', 'close 1000'])
})

test('a yield waits for drain: with a client that does not read, a generator stops with a bounded bufferedAmount', async t => {
  let yielded = 0
  let most = 0
  const stalled = gate()
  const count = 400
  const { client, connection } = await startConnection(t, NEVER, async function * (connection) {
    for (; yielded < count; yielded++) {
      most = Math.max(most, connection.bufferedAmount)
      yield Buffer.alloc(64 * 1024, yielded)
    }
  })
  client.pause()
  const check = (last: number): void => {
    if (yielded === last && connection.bufferedAmount > 0) stalled.open()
    else setImmediate(check, yielded)
  }
  check(-1)
  await stalled.opened
  t.ok(most <= 64 * 1024 + 10, `${most} bytes`)
  client.resume()
  const frames = []
  for (let i = 0; i < count; i++) frames.push(await client.next())
  t.ok(frames.every(({ payload }, i) => payload.length === 64 * 1024 && payload[0] === i % 256), 'in order')
  t.strictSame(await client.take(1), ['close 1000'])
  t.ok(most <= 64 * 1024 + 10, `${most} bytes`)
})

test('a throw in a generator reaches the errorHandler, and the client gets what was yielded before and 1011', async t => {
  const { client, logs } = await startConnection(t, NEVER, async function * () {
    yield 'before'
    throw new Error('broken')
  })
  t.strictSame(await client.rest(), ['text before', 'close 1011'])
  t.strictSame(logs.map(({ err }) => err?.message), ['broken'])
})

test('a yield of what cannot be sent is a TypeError for the errorHandler, and the generator is returned', async t => {
  for (const value of [undefined, null, {}, Symbol('s'), true]) {
    const finished = gate()
    const { client, logs } = await startConnection(t, NEVER, async function * () {
      try {
        yield 'before'
        yield value as unknown as MessageData
        t.fail('it goes on')
      } finally {
        finished.open()
      }
    })
    t.strictSame(await client.rest(), ['text before', 'close 1011'])
    t.match(logs, [{ err: { type: 'TypeError' } }])
    client.end()
    await finished.opened
  }
})

for (const [name, end] of ENDS.filter(([name]) => name !== 'a Close from the server')) {
  test(`on ${name} a generator that stands at a yield is returned`, async t => {
    const finished = gate()
    const { client, connection, logs } = await startConnection(t, NEVER, async function * () {
      try {
        for (;;) yield Buffer.alloc(256 * 1024)
      } finally {
        finished.open()
      }
    })
    await client.next()
    end(client, connection)
    client.ended.then(() => { client.end() }, () => {})
    await finished.opened
    await connection.closed
    await turn()
    t.strictSame(logs, [])
  })
}

test('what a generator yields after the close is not sent any more, and its finally block runs to the end', async t => {
  const finished = gate()
  const { client, connection, logs } = await startConnection(t, NEVER, async function * (connection) {
    try {
      yield 'first'
      await connection.closed
      yield 'second'
      t.fail('it goes on')
    } finally {
      await turn()
      finished.open()
    }
  })
  t.strictSame(await client.take(1), ['text first'])
  client.end(close(1000))
  t.strictSame(await client.rest(), ['close 1000'])
  await connection.closed
  await finished.opened
  t.strictSame(logs, [])
})

test('a ticker that sleeps with connection.signal ends with the connection, and the Close of its peer is answered at once', async t => {
  const finished = gate()
  const { client, connection, logs } = await startConnection(t, NEVER, async function * (connection) {
    try {
      for (;;) {
        yield 'tick'
        await delay(3_600_000, undefined, { signal: connection.signal }).catch(() => {})
      }
    } finally {
      finished.open()
    }
  })
  t.strictSame(await client.take(1), ['text tick'])
  client.end(close(1000))
  t.strictSame(await client.rest(), ['close 1000'])
  t.match(await connection.closed, { wasClean: true })
  await finished.opened
  t.strictSame(logs, [])
})

test('a generator whose last await rejects after the close is no unhandled rejection', async t => {
  const go = gate()
  const errors: unknown[] = []
  const called = gate()
  const options = { ...NEVER, errorHandler (error: unknown) { errors.push(String(error)); called.open() } }
  const { client, connection } = await startConnection(t, options, async function * () {
    yield 'first'
    await go.opened
    throw new Error('late')
  })
  t.strictSame(await client.take(1), ['text first'])
  client.end(close(1000))
  await connection.closed
  go.open()
  await called.opened
  t.strictSame(errors, ['Error: late'])
})

test('a ConnectionClosedError of another connection is a failure of the handler: it reaches the errorHandler', async t => {
  const upstream = gate<WebSocketConnection>()
  const errors: unknown[] = []
  const errorHandler = (error: unknown, connection: WebSocketConnection): void => {
    errors.push(error)
    connection.close(1011)
  }
  const { port } = await startApp(t, { ...NEVER, errorHandler }, app => {
    app.get('/up', { websocket: true }, connection => { upstream.open(connection) })
    app.get('/down', { websocket: true }, async connection => {
      for await (const message of await upstream.opened) connection.send(message)
    })
  })
  const source = await openRawClient(t, port, { path: '/up' })
  const client = await openRawClient(t, port, { path: '/down' })
  source.write(text('a'))
  t.strictSame(await client.take(1), ['text a'])
  source.reset()
  t.strictSame(await client.take(1), ['close 1011'])
  t.ok(errors[0] instanceof ConnectionClosedError)
})

test('the AbortError of an await that connection.signal ended is the end of the connection, not a failure of the handler', async t => {
  const finished = gate()
  const { client, connection, errors } = await startLogging(t, async function * (connection) {
    try {
      for (;;) {
        yield 'tick'
        await delay(3_600_000, undefined, { signal: connection.signal })
      }
    } finally {
      finished.open()
    }
  })
  t.strictSame(await client.take(1), ['text tick'])
  client.end(close(1000))
  await connection.closed
  await finished.opened
  await turn()
  t.strictSame(errors, [])
})

test('a receive() after a local close() takes one message, and the rest is discarded, so that the Close behind it is seen', async t => {
  const { client, connection } = await startConnection(t, NEVER, async connection => {
    connection.close(1000)
    const last = connection.receive()
    t.equal(await last, 'a')
    await connection.closed
  })
  t.strictSame(await client.take(1), ['close 1000'])
  client.end(text('a'), text('b'), close(1000))
  t.match(await connection.closed, { wasClean: true })
})

test('an iterator that was begun after a local close() and stands still does not hold up the Close of the peer', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  connection.close(1000)
  connection.iterator()
  client.end(text('a'), text('b'), close(1000))
  t.match(await connection.closed, { wasClean: true })
})

test('an iterator that was given up without return() does not make receive() on the closed connection reject', async t => {
  const { client, connection } = await startConnection(t, NEVER, () => {})
  const iterator = connection.iterator()
  client.write(text('a'))
  await iterator.next()
  client.reset()
  await connection.closed
  t.equal(await connection.receive(), null)
})

test('the finally block of a generator that is returned goes on behind a yield in it', async t => {
  const finished = gate()
  const { client } = await startConnection(t, NEVER, async function * (connection) {
    try {
      yield 'first'
      await connection.closed
      yield 'second'
    } finally {
      yield 'third'
      finished.open()
    }
  })
  t.strictSame(await client.take(1), ['text first'])
  client.end(close(1000))
  await finished.opened
})

test('a generator is returned at once after a yield that cannot be sent, though the errorHandler leaves the connection open', async t => {
  const finished = gate()
  const { client } = await startConnection(t, { ...NEVER, errorHandler () {} }, async function * () {
    try {
      yield {} as unknown as MessageData
    } finally {
      finished.open()
    }
  })
  await client.roundTrip()
  await finished.opened
})

test('a generator that only sends and has called resume() discards what its client says, whose Close is answered at once', async t => {
  const { client } = await startConnection(t, NEVER, async function * (connection) {
    connection.resume()
    yield 'tick'
    await connection.closed
  })
  t.strictSame(await client.take(1), ['text tick'])
  client.end(text('a'), close(1000))
  t.strictSame(await client.rest(), ['close 1000'])
})

test('a throw in the loop is 1011 even when an async errorHandler closes in a later turn', async t => {
  const errorHandler = async (_error: unknown, connection: WebSocketConnection): Promise<void> => {
    await turn()
    await turn()
    connection.close(1011)
  }
  const { client } = await startConnection(t, { ...NEVER, errorHandler }, async connection => {
    for await (const message of connection) if (message === 'a') throw new Error('a')
  })
  client.write(text('a'))
  t.strictSame(await client.take(1), ['close 1011'])
})

test('a local close() in the loop does not drop part of what was held before it', async t => {
  const ended = gate<string[]>()
  const { client } = await startConnection(t, NEVER, async connection => {
    const received: string[] = []
    for await (const message of connection) {
      received.push(String(message))
      if (received.length === 1) connection.close(1000)
    }
    ended.open(received)
  })
  client.end(text('a'), text('b'), text('c'), text('d'), close(1000))
  t.strictSame(await ended.opened, ['a', 'b', 'c', 'd'])
})

test('a loop of receive() that awaits before it echoes: the Close behind the last message is answered behind its echo', async t => {
  const { client } = await startConnection(t, NEVER, async connection => {
    for (let message = await connection.receive(); message !== null; message = await connection.receive()) {
      await turn()
      await turn()
      connection.send(message)
    }
  })
  client.end(text('a'), text('b'), close(1000))
  t.strictSame(await client.rest(), ['text a', 'text b', 'close 1000'])
})

test('the echoes of an async iterator to many messages at once leave in a few writes', async t => {
  const { client, connection } = await startConnection(t, NEVER, echoAll)
  const socket = connection._socket as unknown as Record<'_write' | '_writev', (...args: unknown[]) => void>
  let writes = 0
  for (const method of ['_write', '_writev'] as const) {
    const original = socket[method]
    socket[method] = function (...args) {
      writes++
      original.apply(this, args)
    }
  }
  client.write(...numbered('m', 1000).map(text))
  await client.take(1000)
  t.ok(writes < 100, `${writes} writes`)
})
