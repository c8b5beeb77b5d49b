// Nobody who sends has the event loop to himself: not one with an endless source and a peer that takes all, nor one that sends on when
// there is nobody left to send to.
import { once } from 'node:events'
import { Duplex, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ReadableStream } from 'node:stream/web'
import { test, type Test } from 'tap'
import { Connection, coreOf } from '../../lib/connection/connection.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketHandler } from '../../types/fastify.ts'
import { gate, startConnection, turn } from '../helpers/app.ts'
import { memoryTransport, OWNER, SETTINGS } from '../helpers/memory.ts'
import { close, text } from '../helpers/raw-client.ts'

const ROW = 'ten bytes.'
// Beyond so many rows, some seconds of work, somebody is taken to have the loop to himself.
const MANY = 1_000_000
const TURNS = 5
const NEVER = { closeTimeout: 60_000, shutdownTimeout: 100 }

/** Counts the turns of the event loop until `enough` of them have passed. */
function countTurns (t: Test): { enough: () => boolean } {
  let turns = 0
  let immediate = setImmediate(function count () {
    turns++
    immediate = setImmediate(count)
  })
  t.teardown(() => { clearImmediate(immediate) })
  return { enough: () => turns >= TURNS }
}

/** A connection to a peer that takes all at once, as the kernel does for a fast reader. */
function openToFastReader (t: Test): Connection {
  const connection = new Connection({ ...SETTINGS, highWaterMark: 64 * 1024, maxBufferedAmount: 2 ** 30 }, OWNER)
  coreOf(connection).open(memoryTransport(new Duplex({ read () {}, write (_chunk, _encoding, callback) { callback() } })), Buffer.alloc(0))
  t.teardown(() => { connection.terminate() })
  return connection
}

/** Rows until `enough()`; their number says whether that came in time. */
function rows (enough: () => boolean): { next: () => string | null, count: () => number } {
  let count = 0
  return { next: () => enough() || count >= MANY ? null : (count++, ROW), count: () => count }
}

const WAYS: Record<string, (connection: Connection, next: () => string | null) => Promise<unknown>> = {
  'send() and drained()': async (connection, next) => {
    for (let row = next(); row !== null; row = next()) if (!connection.send(row) && !await connection.drained()) break
  },
  'drained() after each': async (connection, next) => {
    for (let row = next(); row !== null; row = next()) {
      connection.send(row)
      await connection.drained()
    }
  },
  "'drain'": (connection, next) => new Promise<void>(resolve => {
    const write = (): void => {
      let row = next()
      while (row !== null && connection.send(row)) row = next()
      if (row === null) resolve()
    }
    connection.on('drain', write)
    write()
  }),
  'the callback of send()': (connection, next) => new Promise<void>(resolve => {
    const write = (): void => {
      const row = next()
      if (row === null) resolve()
      else connection.send(row, write)
    }
    write()
  }),
  'toDuplex()': (connection, next) => pipeline(Readable.from(generate(next)), connection.toDuplex()).catch(() => {}),
  'toDuplex() in objectMode': (connection, next) =>
    pipeline(Readable.from(generate(next)), connection.toDuplex({ objectMode: true })).catch(() => {}),
  'toWeb()': (connection, next) => new ReadableStream<string>({
    pull (controller) {
      const row = next()
      if (row === null) controller.close()
      else controller.enqueue(row)
    }
  }).pipeTo(connection.toWeb().writable, { preventClose: true }),
  'createMessageStream()': (connection, next) => pipeline(Readable.from(generate(next)), connection.createMessageStream())
}

function * generate (next: () => string | null): Generator<string> {
  for (let row = next(); row !== null; row = next()) yield row
}

for (const [name, send] of Object.entries(WAYS)) {
  test(`an endless source in memory and a fast reader, by ${name}: the event loop goes on`, async t => {
    const connection = openToFastReader(t)
    const { next, count } = rows(countTurns(t).enough)
    const done = send(connection, next)
    // toDuplex() ends with the connection
    await Promise.race([done, (async () => { while (next() !== null) await turn() })()])
    t.ok(count() < MANY, `${count()} rows in ${TURNS} turns`)
  })
}

test('a generator handler with an endless source of small rows leaves the event loop to others', async t => {
  const { enough } = countTurns(t)
  const { next, count } = rows(enough)
  const done = gate()
  await startConnection(t, NEVER, async function * (connection) {
    connection.resume()
    yield * generate(next)
    done.open()
  })
  await done.opened
  t.ok(count() < MANY / 4, `${count()} rows in ${TURNS} turns`) // the kernel alone takes some 400,000 at once
})

test('a generator whose rows are a lot of work has a turn of a few of them', async t => {
  const { enough } = countTurns(t)
  const done = gate()
  let count = 0
  await startConnection(t, NEVER, async function * (connection) {
    connection.resume()
    for (; !enough() && count < 1000; count++) {
      for (const end = performance.now() + 1; performance.now() < end;);
      yield ROW
    }
    done.open()
  })
  await done.opened
  t.ok(count < 200, `${count} rows of 1 ms in ${TURNS} turns`)
})

// Ways to go on for as long as it seems to make sense, or longer.
const LOOPS: Record<string, (connection: WebSocketConnection) => Promise<void>> = {
  'until the signal': async connection => { while (!connection.signal.aborted) if (!connection.send(ROW)) await connection.drained() },
  'until drained() says so': async connection => { for (;;) if (!connection.send(ROW) && !await connection.drained()) return },
  'until it is closed': async connection => { while (connection.readyState !== connection.CLOSED) if (!connection.send(ROW)) await connection.drained() },
  'by its callback': connection => new Promise(resolve => {
    const sendOn = (): void => {
      if (connection.readyState === connection.CLOSED) resolve()
      else connection.send(ROW, sendOn)
    }
    sendOn()
  }),
  'and takes every null of receive() for a message': async connection => {
    connection.send(ROW)
    while (connection.readyState !== connection.CLOSED) await connection.receive()
  },
  'for a while after the end': async connection => {
    for (let ended = 0; ended < 100;) {
      if (!connection.send(ROW)) await connection.drained()
      if (connection.readyState === connection.CLOSED) ended++
    }
  }
}

for (const [name, loop] of Object.entries(LOOPS)) {
  for (const who of ['the peer', 'the handler', 'the transport']) {
    test(`a sender that goes on ${name} ends with the connection that ${who} ends`, async t => {
      const ended = gate()
      const { client, connection } = await startConnection(t, NEVER, async connection => {
        connection.resume()
        await loop(connection)
        ended.open()
      })
      await client.take(1)
      if (who === 'the handler') connection.close(1000)
      if (who === 'the transport') client.reset()
      else client.end(close(1000))
      if (who !== 'the transport') client.resume()
      await ended.opened
      await connection.closed
      t.not(connection.readyState, connection.OPEN)
    })
  }
}

test('drained() is false once the peer has said Close, and while our own waits for the answer it waits too', async t => {
  const { client, connection } = await startConnection(t, NEVER, connection => { connection.resume() })
  t.equal(await connection.drained(), true)
  connection.close(4000)
  let said: boolean | null = null
  const drained = connection.drained().then(mayGoOn => { said = mayGoOn })
  t.strictSame(await client.take(1), ['close 4000'])
  await turn()
  t.equal(said, null)
  client.end(close(4000))
  await drained
  t.equal(said, false)
  t.equal(connection.readyState, connection.CLOSED)
})

test('whoever waits for room when the end begins is told at once', async t => {
  const { client, connection } = await startConnection(t, NEVER, connection => { connection.resume() })
  client.pause()
  t.equal(connection.send(Buffer.alloc(16 * 1024 * 1024)), false)
  const drained = connection.drained()
  client.write(close(1000))
  t.equal(await drained, false)
  t.equal(connection.readyState, connection.CLOSING)
})

test('before it is open drained() waits for that', async t => {
  const connection = new Connection(SETTINGS, OWNER)
  const drained = connection.drained()
  coreOf(connection).open(memoryTransport(new Duplex({ read () {}, write (_chunk, _encoding, callback) { callback() } })), Buffer.alloc(0))
  t.equal(await drained, true)
  connection.terminate()
  const failed = new Connection(SETTINGS, OWNER)
  const waiting = failed.drained()
  failed.terminate()
  t.equal(await waiting, false)
})

// What waits behind a message that has not ended, or is at work

test('empty messages behind a message stream are told to wait too, and leave over many turns of the event loop', async t => {
  const connection = openToFastReader(t)
  const message = connection.createMessageStream()
  let obeyed = 0
  while (connection.send('')) obeyed++
  t.ok(obeyed < 1000, `after ${obeyed} messages of nothing`)
  const count = 200_000
  const done = new Promise<void>(resolve => {
    for (let i = 0; i < count; i++) connection.send('', i === count - 1 ? () => { resolve() } : undefined)
  })
  let turns = 0
  let immediate = setImmediate(function next () {
    turns++
    immediate = setImmediate(next)
  })
  message.end()
  await done
  clearImmediate(immediate)
  t.ok(turns > 3, `${turns} turns for ${count} messages`)
  t.equal(connection.bufferedAmount, 0)
})

test('a peer cannot pile up empty answers behind one that is being compressed', async t => {
  const handler: WebSocketHandler = connection => {
    connection.on('message', (data, isBinary) => { connection.send(data, { binary: isBinary }) })
  }
  const { client, connection } = await startConnection(t, { ...NEVER, perMessageDeflate: { threshold: 0 } }, handler, {
    headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' }
  })
  const most = gate<number>()
  let highest = 0
  connection.on('message', () => { highest = Math.max(highest, connection.bufferedAmount) })
  const large = 'x'.repeat(512 * 1024)
  client.write(text(large), ...Array.from({ length: 50_000 }, () => text('')), text('last'))
  void (async () => {
    for (let frame = await client.next(); ; frame = await client.next()) {
      if (frame.payload.length < 40 && frame.payload.length > 2) most.open(highest)
    }
  })().catch(() => {})
  t.ok(await most.opened < 2 * 1024 * 1024, `${highest} bytes waited`)
})

test('an event of node:events in a loop of sends works as before', async t => {
  const connection = openToFastReader(t)
  for (let i = 0; i < 20; i++) {
    if (!connection.send(Buffer.alloc(128 * 1024))) await once(connection, 'drain')
  }
  t.equal(connection.bufferedAmount, 0)
})
