import { AsyncLocalStorage } from 'node:async_hooks'
import { getEventListeners, on, once } from 'node:events'
import { test } from 'tap'
import { Connection } from '../../lib/connection/connection.ts'
import type { CloseEvent, ConnectionEvent, ErrorEvent, MessageEvent } from '../../types/connection.ts'
import { gate, startConnection, turn } from '../helpers/app.ts'
import { SETTINGS } from '../helpers/memory.ts'
import { binary, close, numbered, text } from '../helpers/raw-client.ts'

interface Setup {
  connection: Connection
  /** What the listeners of the connection threw. */
  errors: unknown[]
}

/** A connection without a transport: its events come from emit(). */
function setUp (): Setup {
  const errors: unknown[] = []
  const connection = new Connection(SETTINGS, {
    onError (error) { errors.push(error) },
    onClose () {},
    onWarning () {}
  })
  return { connection, errors }
}

function emitMessage (connection: Connection, data: string): void {
  connection.emit('message', Buffer.from(data), false)
}

test('each event comes to a browser-style listener as an object', async t => {
  const { connection } = setUp()
  const events: ConnectionEvent[] = []
  connection.addEventListener('open', event => { events.push(event) })
  connection.addEventListener('message', event => { events.push(event) })
  connection.addEventListener('error', event => { events.push(event) })
  connection.addEventListener('close', event => { events.push(event) })
  const error = new Error('broken')
  const bytes = Buffer.from([1])
  connection.emit('open')
  connection.emit('message', Buffer.from('tëxt'), false)
  connection.emit('message', bytes, true)
  connection.emit('error', error)
  connection.emit('close', 1000, Buffer.from('bye'))
  connection.emit('close', 1006, Buffer.alloc(0))
  t.strictSame(events.map(({ target }) => target === connection), events.map(() => true))
  t.strictSame(events.map(({ target: _target, ...rest }) => rest), [
    { type: 'open' },
    { type: 'message', data: 'tëxt' },
    { type: 'message', data: bytes },
    { type: 'error', error, message: 'broken' },
    { type: 'close', code: 1000, reason: 'bye', wasClean: true },
    { type: 'close', code: 1006, reason: '', wasClean: false }
  ])
})

test('a browser-style listener is called with the connection as this, an object by its handleEvent as it is at that time', async t => {
  const { connection } = setUp()
  const seen: unknown[] = []
  connection.addEventListener('message', function (this: unknown) { seen.push(this) })
  const object = { handleEvent (_event: MessageEvent) { seen.push(this) } }
  connection.addEventListener('message', object)
  emitMessage(connection, 'a')
  t.equal(seen.length, 2)
  t.equal(seen[0], connection)
  t.equal(seen[1], object)
  object.handleEvent = () => { seen.push('replaced') }
  emitMessage(connection, 'b')
  t.equal(seen[3], 'replaced')
})

test('the same listener added twice is called once, one for two types is called for both', async t => {
  const { connection } = setUp()
  const types: string[] = []
  const listener = ({ type }: ConnectionEvent) => { types.push(type) }
  connection.addEventListener('message', listener)
  connection.addEventListener('message', listener)
  connection.addEventListener('close', listener)
  t.equal(connection.listenerCount('message'), 1)
  emitMessage(connection, 'a')
  connection.emit('close', 1000, Buffer.alloc(0))
  t.strictSame(types, ['message', 'close'])
})

test('removeEventListener() takes off what addEventListener() added, and nothing else', async t => {
  const { connection } = setUp()
  const called: string[] = []
  const listener = () => { called.push('listener') }
  const object = { handleEvent () { called.push('object') } }
  connection.addEventListener('message', listener)
  connection.addEventListener('message', object)
  connection.on('message', listener)
  connection.removeEventListener('close', listener)
  connection.removeEventListener('message', () => {})
  t.equal(connection.listenerCount('message'), 3)
  connection.removeEventListener('message', listener)
  connection.removeEventListener('message', object)
  connection.removeEventListener('message', object)
  t.equal(connection.listenerCount('message'), 1)
  emitMessage(connection, 'a')
  t.strictSame(called, ['listener'], 'the one that on() added')
  connection.off('message', listener)
  t.equal(connection.listenerCount('message'), 0)
})

test('a once listener is called once, even when it emits again itself, and can be added anew', async t => {
  const { connection } = setUp()
  const seen: unknown[] = []
  const listener = ({ data }: MessageEvent) => {
    seen.push(data)
    if (data === 'a') emitMessage(connection, 'b')
  }
  connection.addEventListener('message', listener, { once: true })
  emitMessage(connection, 'a')
  t.strictSame(seen, ['a'])
  t.equal(connection.listenerCount('message'), 0)
  connection.addEventListener('message', listener, { once: true })
  emitMessage(connection, 'c')
  t.strictSame(seen, ['a', 'c'])
})

test('a once listener can be removed before its event', async t => {
  const { connection } = setUp()
  let calls = 0
  const listener = () => { calls++ }
  connection.addEventListener('message', listener, { once: true })
  connection.removeEventListener('message', listener)
  emitMessage(connection, 'a')
  t.equal(calls, 0)
})

test('after removeAllListeners() the same listener and handler can be added again', async t => {
  const { connection } = setUp()
  let calls = 0
  const listener = () => { calls++ }
  connection.addEventListener('message', listener)
  connection.onmessage = listener
  connection.removeAllListeners('message')
  emitMessage(connection, 'a')
  t.equal(calls, 0)
  connection.addEventListener('message', listener)
  connection.onmessage = listener
  t.equal(connection.listenerCount('message'), 2)
  emitMessage(connection, 'b')
  t.equal(calls, 2)
  connection.removeEventListener('message', listener)
  connection.onmessage = null
  t.equal(connection.listenerCount('message'), 0)
})

test('an unknown type is ignored, also one that every object inherits', async t => {
  const { connection } = setUp()
  for (const type of ['drain', 'toString', '__proto__', 'constructor']) {
    connection.addEventListener(type as 'message', () => {})
    t.equal(connection.listenerCount(type), 0, type)
    connection.removeEventListener(type as 'message', () => {})
  }
  t.strictSame(connection.eventNames(), [])
})

test('the on... properties are null at first, read back what was assigned, replace it, and are cleared by null', async t => {
  const { connection } = setUp()
  for (const name of ['onopen', 'onmessage', 'onclose', 'onerror'] as const) {
    const type = name.slice(2)
    const first = () => {}
    const second = () => {}
    t.equal(connection[name], null)
    connection[name] = first
    t.equal(connection[name], first)
    connection[name] = second
    t.equal(connection[name], second)
    t.equal(connection.listenerCount(type), 1)
    connection[name] = null
    t.equal(connection[name], null)
    t.equal(connection.listenerCount(type), 0)
    connection[name] = 'no function' as never
    t.equal(connection[name], null)
    t.equal(connection.listenerCount(type), 0)
  }
})

test('an on... handler gets the event, with the connection as this', async t => {
  const { connection } = setUp()
  const seen: unknown[] = []
  connection.onmessage = function (this: unknown, { data }: MessageEvent) { seen.push(this === connection, data) }
  connection.onclose = ({ code, reason, wasClean }: CloseEvent) => { seen.push(code, reason, wasClean) }
  connection.onerror = ({ message }: ErrorEvent) => { seen.push(message) }
  connection.onopen = ({ type }) => { seen.push(type) }
  emitMessage(connection, 'a')
  connection.emit('close', 1001, Buffer.from('away'))
  connection.emit('error', new Error('broken'))
  connection.emit('open')
  t.strictSame(seen, [true, 'a', 1001, 'away', true, 'broken', 'open'])
})

test('a listener with a signal listens until that is aborted', async t => {
  const { connection } = await startConnection(t, {}, () => {})
  const controller = new AbortController()
  const { signal } = controller
  const seen: unknown[] = []
  const listener = ({ data }: { data: unknown }): void => { seen.push(data) }
  connection.addEventListener('message', listener, { signal })
  connection.emit('message', Buffer.from('a'), false)
  controller.abort()
  connection.emit('message', Buffer.from('b'), false)
  t.strictSame(seen, ['a'])
  t.equal(connection.listenerCount('message'), 0)
  connection.addEventListener('message', listener, { signal })
  t.equal(connection.listenerCount('message'), 0, 'and not at all when it is already')
  connection.addEventListener('message', listener, null as never)
  connection.addEventListener('close', () => {}, true as never)
  t.equal(connection.listenerCount('message'), 1, 'what is no object of options says nothing')
})

test('a signal holds no listener of a listener that is gone, nor of a connection that is closed', async t => {
  const { connection } = await startConnection(t, {}, () => {})
  const { signal } = new AbortController()
  const listener = (): void => {}
  const held = (): number => getEventListeners(signal, 'abort').length
  connection.addEventListener('message', listener, { signal })
  connection.removeEventListener('message', listener)
  t.equal(held(), 0)
  connection.addEventListener('message', listener, { signal, once: true })
  t.equal(held(), 1)
  connection.emit('message', Buffer.from('a'), false)
  t.equal(held(), 0)
  connection.addEventListener('message', listener, { signal })
  connection.addEventListener('close', listener, { signal })
  t.equal(held(), 2)
  connection.terminate()
  await connection.closed
  t.equal(held(), 0)
})

test('one function given both ways, as onmessage and to addEventListener(), is called for both', async t => {
  const { connection } = setUp()
  let calls = 0
  const listener = () => { calls++ }
  connection.addEventListener('message', listener)
  connection.onmessage = listener
  emitMessage(connection, 'a')
  t.equal(calls, 2)
  connection.removeEventListener('message', listener)
  emitMessage(connection, 'b')
  t.equal(calls, 3)
  t.equal(connection.onmessage, listener)
  connection.onmessage = null
  emitMessage(connection, 'c')
  t.equal(calls, 3)
})

test('the public emit() reaches every kind of listener, and isBinary may be missing', async t => {
  const { connection } = setUp()
  const seen: unknown[] = []
  connection.on('message', (data, isBinary) => { seen.push('on', String(data), isBinary) })
  connection.once('message', data => { seen.push('once', String(data)) })
  connection.addEventListener('message', ({ data }) => { seen.push('addEventListener', data) })
  connection.onmessage = ({ data }) => { seen.push('onmessage', data) }
  t.equal(connection.emit('message' as string, Buffer.from('a')), true)
  t.strictSame(seen, ['on', 'a', undefined, 'once', 'a', 'addEventListener', 'a', 'onmessage', 'a'])
  t.equal(connection.emit('no such event'), false)
})

test('a listener that throws is the business of whoever called emit()', async t => {
  const { connection, errors } = setUp()
  connection.on('message', () => { throw new Error('thrown') })
  t.throws(() => { emitMessage(connection, 'a') }, { message: 'thrown' })
  t.strictSame(errors, [])
})

test('a listener that rejects ends at the owner of the connection, in whatever way it was added', async t => {
  const { connection, errors } = setUp()
  const rejecting = (name: string) => async () => { throw new Error(name) }
  connection.on('message', rejecting('on'))
  connection.once('message', rejecting('once'))
  connection.prependListener('message', rejecting('prependListener'))
  connection.addEventListener('message', rejecting('addEventListener'))
  connection.addEventListener('message', { handleEvent: rejecting('handleEvent') })
  connection.onmessage = rejecting('onmessage')
  connection.on('error', rejecting('error'))
  emitMessage(connection, 'a')
  connection.emit('error', new Error('for the listener'))
  await turn()
  t.strictSame(errors.map(error => (error as Error).message).sort(),
    ['addEventListener', 'error', 'handleEvent', 'on', 'once', 'onmessage', 'prependListener'])
})

test('a rejection leaves the context of its listener as it was', async t => {
  const storage = new AsyncLocalStorage<string>()
  const stores: unknown[] = []
  const connection = storage.run('request', () => new Connection(SETTINGS, {
    onError () { stores.push(storage.getStore()) },
    onClose () { stores.push(storage.getStore()) },
    onWarning () {}
  }))
  connection.on('close', async () => {
    stores.push(storage.getStore())
    throw new Error('rejected')
  })
  connection.terminate()
  await connection.closed
  await turn()
  t.strictSame(stores.slice(1), ['request', 'request'])
})

test('what a callback throws or rejects with is told in the context of its connection, whoever calls it', async t => {
  const storage = new AsyncLocalStorage<string>()
  const stores: unknown[] = []
  const connection = storage.run('request', () => new Connection(SETTINGS, {
    onError (error) { stores.push([(error as Error).message, storage.getStore()]) },
    onClose () {},
    onWarning () {}
  }))
  await storage.run('another', async () => {
    connection.callSafely(() => { throw new Error('thrown') })
    connection.callSafely(async () => { throw new Error('rejected') })
    await turn()
  })
  t.strictSame(stores, [['thrown', 'request'], ['rejected', 'request']])
  connection.terminate()
})

for (const method of ['on', 'addListener', 'once', 'prependListener', 'prependOnceListener'] as const) {
  test(`${method}() makes a consumer of held messages`, async t => {
    const start = gate()
    const { client } = await startConnection(t, {}, async connection => {
      await start.opened
      await new Promise<void>(resolve => {
        t.equal(connection[method]('message', data => {
          connection.send(String(data))
          resolve()
        }), connection)
      })
    })
    client.write(text('held'))
    await client.roundTrip()
    start.open()
    t.strictSame(await client.take(1), ['text held'])
  })
}

test('addEventListener() and onmessage make a consumer of held messages', async t => {
  for (const way of ['addEventListener', 'onmessage'] as const) {
    const start = gate()
    const { client } = await startConnection(t, {}, async connection => {
      await start.opened
      await new Promise<void>(resolve => {
        const listener = ({ data }: MessageEvent) => {
          connection.send(`${way} ${data}`)
          resolve()
        }
        if (way === 'onmessage') connection.onmessage = listener
        else connection.addEventListener('message', listener, { once: true })
      })
    })
    client.write(text('held'))
    await client.roundTrip()
    start.open()
    t.strictSame(await client.take(1), [`text ${way} held`])
  }
})

test('text arrives as a string at addEventListener(), binary data as binaryType says', async t => {
  const { client, connection } = await startConnection(t, {}, connection => {
    connection.onmessage = async ({ data }) => {
      const kind = Buffer.isBuffer(data) ? 'Buffer' : Array.isArray(data) ? `[${data.map(part => part.constructor.name)}]` : data.constructor.name
      const bytes = data instanceof Blob ? Buffer.from(await data.arrayBuffer()) : Array.isArray(data) ? Buffer.concat(data) : data
      connection.send(`${kind} ${typeof bytes === 'string' ? bytes : Buffer.from(bytes as ArrayBuffer)}`)
    }
  })
  t.equal(connection.binaryType, 'nodebuffer')
  for (const [binaryType, kind] of [
    ['nodebuffer', 'Buffer'], ['arraybuffer', 'ArrayBuffer'], ['fragments', '[Buffer]'], ['blob', 'Blob']
  ] as const) {
    connection.binaryType = binaryType
    t.equal(connection.binaryType, binaryType)
    client.write(binary('bytes'), text('text'))
    t.strictSame((await client.take(2)).sort(), [`text ${kind} bytes`, 'text String text'].sort())
  }
})

test('on(message) gets text as a Buffer with every binaryType', async t => {
  const { client, connection } = await startConnection(t, {}, connection => {
    connection.on('message', (data, isBinary) => {
      connection.send(`${Buffer.isBuffer(data) ? 'Buffer' : (data as object).constructor.name} ${isBinary}`)
    })
  })
  for (const binaryType of ['nodebuffer', 'arraybuffer', 'fragments', 'blob'] as const) {
    connection.binaryType = binaryType
    client.write(text('text'))
    t.strictSame(await client.take(1), ['text Buffer false'])
  }
  client.write(binary('bytes'))
  t.strictSame(await client.take(1), ['text Blob true'])
})

test('an unknown binaryType is ignored, as with ws', async t => {
  const { connection } = setUp()
  connection.binaryType = 'arraybuffer'
  connection.binaryType = 'text' as 'blob'
  t.equal(connection.binaryType, 'arraybuffer')
})

test('events.once() in a loop of an async handler loses nothing, whatever comes at once', async t => {
  const { client } = await startConnection(t, {}, async connection => {
    for (;;) {
      const [data] = await once(connection, 'message') as [Buffer]
      connection.send(`echo ${data}`)
      await turn()
    }
  })
  client.write(...numbered('m', 100).map(text))
  t.strictSame(await client.take(100), numbered('text echo m', 100))
})

test('events.once() rejects when the peer breaks the protocol first', async t => {
  const { client } = await startConnection(t, {}, async connection => {
    await t.rejects(once(connection, 'close'), { name: 'ProtocolError' })
  })
  client.write(Buffer.from([0x81, 0x00]))
  t.match(await client.rest(), [/^close 1002/])
})

test('events.on() reads all messages of a connection until it closes', async t => {
  const { client } = await startConnection(t, {}, async connection => {
    for await (const [data] of on(connection, 'message', { close: ['close'] })) connection.send(`echo ${data}`)
  })
  client.write(...numbered('m', 100).map(text))
  t.strictSame(await client.take(100), numbered('text echo m', 100))
  client.write(close(1000))
  t.strictSame(await client.rest(), ['close 1000'])
})

test('an error that somebody emits and nobody listens for goes where those of listeners go', async t => {
  const { connection, errors } = setUp()
  const error = new Error('of a library')
  t.equal(connection.emit('error', error), false)
  t.strictSame(errors, [error])
  const heard: unknown[] = []
  connection.on('error', given => { heard.push(given) })
  t.equal(connection.emit('error', error), true)
  t.strictSame([errors.length, heard], [1, [error]])
})
