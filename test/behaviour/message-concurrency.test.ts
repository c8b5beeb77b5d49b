// messageConcurrency: 'message' listeners whose promises are awaited before the next message.
import { once } from 'node:events'
import { test, type Test } from 'tap'
import type { WebSocketConnection } from '../../types/connection.ts'
import type { WebSocketPluginOptions } from '../../types/options.ts'
import { gate, startConnection, turn, type Gate, type StartedConnection } from '../helpers/app.ts'
import { binary, close, numbered, ping, text } from '../helpers/raw-client.ts'

interface Work {
  message: string
  /** Resolves with what the listener sends, or rejects with an Error. */
  done: Gate<string | Error>
}

interface Working extends StartedConnection {
  /** What the listener is at work on, in the order in which it began. */
  works: Work[]
  /** Resolves when it has begun with `count` messages. */
  begun: (count: number) => Promise<void>
}

/** A connection whose listener begins a work with each message, and sends what comes of it. */
async function startWorking (t: Test, options: WebSocketPluginOptions): Promise<Working> {
  const works: Work[] = []
  const started = await startConnection(t, { closeTimeout: 60_000, ...options }, connection => {
    connection.on('message', async data => {
      const done = gate<string | Error>()
      works.push({ message: String(data), done })
      const answer = await done.opened
      if (answer instanceof Error) throw answer
      connection.send(answer)
    })
  })
  const begun = async (count: number): Promise<void> => {
    while (works.length < count) await turn()
  }
  return { ...started, works, begun }
}

const messages = (works: Work[]): string[] => works.map(({ message }) => message)

test('with messageConcurrency 1 the next message comes when the promise of the listener is settled', async t => {
  const { client, works, begun } = await startWorking(t, { messageConcurrency: 1 })
  client.write(text('a'), text('b'), text('c'))
  await begun(1)
  await client.roundTrip()
  t.strictSame(messages(works), ['a'])
  works[0]!.done.open('after a')
  await begun(2)
  t.strictSame(await client.take(1), ['text after a'])
  await client.roundTrip()
  t.strictSame(messages(works), ['a', 'b'])
  works[1]!.done.open('after b')
  await begun(3)
  works[2]!.done.open('after c')
  t.strictSame(await client.take(2), ['text after b', 'text after c'])
})

test('with messageConcurrency 3 there are never more than three messages at work, whichever is done first', async t => {
  const { client, works, begun } = await startWorking(t, { messageConcurrency: 3 })
  client.write(...numbered('m', 6).map(text))
  await begun(3)
  await client.roundTrip()
  t.strictSame(messages(works), ['m0', 'm1', 'm2'])
  works[2]!.done.open('2')
  await begun(4)
  works[0]!.done.open('0')
  await begun(5)
  t.strictSame(await client.take(2), ['text 2', 'text 0'])
  await client.roundTrip()
  t.strictSame(messages(works), ['m0', 'm1', 'm2', 'm3', 'm4'])
})

test('1,000 messages at once to an async listener: one after the other, all, in order', async t => {
  let running = 0
  let most = 0
  const { client } = await startConnection(t, { messageConcurrency: 1 }, connection => {
    connection.on('message', async data => {
      most = Math.max(most, ++running)
      await turn()
      running--
      connection.send(String(data))
    })
  })
  const sent = numbered('m', 1000)
  client.write(...sent.map(text))
  t.strictSame(await client.take(1000), sent.map(message => `text ${message}`))
  t.equal(most, 1)
})

test('while a listener is at work the peer has to wait, and what it sent before it knew costs no more than highWaterMark', async t => {
  const { client, connection, works, begun } = await startWorking(t, { messageConcurrency: 1, highWaterMark: 1000 })
  client.write(text('first'))
  await begun(1)
  const stream = connection._socket!
  t.equal(stream.isPaused(), false)
  client.write(...numbered('m', 100).map(name => binary(name.padEnd(100))))
  while (!stream.isPaused()) await turn()
  client.write(ping('unseen'))
  works[0]!.done.open('done')
  t.strictSame(await client.take(1), ['text done'])
  t.equal(works.length, 2, 'the Ping waits behind what is not parsed')
  for (let i = 1; i <= 100; i++) {
    await begun(i + 1)
    works[i]!.done.open(`done ${i}`)
  }
  t.strictSame((await client.take(101)).filter(frame => frame.startsWith('text')), numbered('text done ', 101).slice(1))
})

test('the answers to the messages before a Close go out before ours', async t => {
  const { client, works, begun, connection } = await startWorking(t, { messageConcurrency: 1 })
  client.write(text('a'), text('b'), close(1000))
  await begun(1)
  works[0]!.done.open('after a')
  await begun(2)
  t.equal(connection.readyState, 1, 'the Close waits for the last answer too')
  works[1]!.done.open('after b')
  t.strictSame(await client.rest(), ['text after a', 'text after b', 'close 1000'])
})

test('without messageConcurrency nobody waits for a listener: its Close is answered at once', async t => {
  const { client, works, begun } = await startWorking(t, {})
  client.write(text('a'), text('b'), close(1000))
  await begun(2)
  t.strictSame(await client.rest(), ['close 1000'])
  for (const { done } of works) done.open('too late')
})

test('a listener that never settles does not hold up a Close for longer than closeTimeout', async t => {
  const { client, connection, works } = await startWorking(t, { messageConcurrency: 1, closeTimeout: 50 })
  client.write(text('a'), text('b'), close(1000))
  t.strictSame(await client.rest(), ['close 1000'])
  client.end()
  await connection.closed
  t.strictSame(messages(works), ['a'])
})

test('after a local close() the messages that still come go to the listener one by one, and the peer\'s Close waits for no answer', async t => {
  const { client, connection, works, begun } = await startWorking(t, { messageConcurrency: 1 })
  client.write(text('a'), text('b'))
  await begun(1)
  connection.close(1000)
  t.strictSame(await client.take(1), ['close 1000'])
  t.strictSame(messages(works), ['a'])
  works[0]!.done.open('not sent any more')
  await begun(2)
  client.end(close(1000))
  t.match(await connection.closed, { code: 1000, reason: '', wasClean: true })
  t.strictSame(messages(works), ['a', 'b'])
})

test('what a listener rejects with goes to the errorHandler, and the next message comes', async t => {
  const errors: unknown[] = []
  const { client, works, begun } = await startWorking(t, { messageConcurrency: 1, errorHandler (error) { errors.push(error) } })
  client.write(text('a'), text('b'))
  await begun(1)
  const error = new Error('the work failed')
  works[0]!.done.open(error)
  await begun(2)
  t.strictSame(errors, [error])
  works[1]!.done.open('done')
  t.strictSame(await client.take(1), ['text done'])
})

test('what a listener throws goes to the errorHandler, the listeners behind it are skipped, and the next message comes', async t => {
  const errors: unknown[] = []
  const seen: string[] = []
  const { client } = await startConnection(t, { messageConcurrency: 1, errorHandler (error) { errors.push(error) } }, connection => {
    connection.once('message', () => { throw new Error('thrown') })
    connection.on('message', data => {
      seen.push(String(data))
      connection.send('seen')
    })
  })
  client.write(text('a'), text('b'))
  t.strictSame(await client.take(1), ['text seen'])
  t.match(errors, [{ message: 'thrown' }])
  t.strictSame(seen, ['b'])
})

test('all promises of all listeners are waited for, those of browser-style ones too', async t => {
  const gates = [gate(), gate(), gate()]
  const seen: string[] = []
  const { client } = await startConnection(t, { messageConcurrency: 1 }, connection => {
    connection.once('message', async () => gates[0]!.opened)
    connection.addEventListener('message', async () => gates[1]!.opened, { once: true })
    connection.onmessage = async event => {
      seen.push(String(event.data))
      await gates[2]!.opened
    }
  })
  client.write(text('a'), text('b'))
  for (const { open } of gates) {
    await client.roundTrip()
    t.strictSame(seen, ['a'])
    open()
  }
  while (seen.length < 2) await turn()
  t.strictSame(seen, ['a', 'b'])
})

test('a listener that returns nothing holds up nobody', async t => {
  const seen: string[] = []
  const { client } = await startConnection(t, { messageConcurrency: 1 }, connection => {
    connection.on('message', data => { seen.push(String(data)) })
  })
  client.write(text('a'), text('b'), text('c'))
  await client.roundTrip()
  t.strictSame(seen, ['a', 'b', 'c'])
})

test('beside a pull reader the listeners observe: what they return is not waited for', async t => {
  const seen: string[] = []
  const { client, connection } = await startConnection(t, { messageConcurrency: 1 }, async (connection: WebSocketConnection) => {
    connection.on('message', async data => {
      seen.push(String(data))
      await once(connection, 'close')
    })
    for await (const message of connection) connection.send(message)
  })
  client.write(text('a'), text('b'), close(1000))
  t.strictSame(await client.rest(), ['text a', 'text b', 'close 1000'])
  t.strictSame(seen, ['a', 'b'])
  t.equal(connection.readyState, 2)
})
