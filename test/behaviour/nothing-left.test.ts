// However connections end, nothing of them is left, and nothing is lost without a reason.
import { duplexPair } from 'node:stream'
import { test } from 'tap'
import { Connection, coreOf } from '../../lib/connection/connection.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import { gate, startApp, turn } from '../helpers/app.ts'
import { NEVER } from '../helpers/endings.ts'
import { readFrames } from '../helpers/frames.ts'
import { memoryTransport, SETTINGS } from '../helpers/memory.ts'
import { cuts, integer, random } from '../helpers/random.ts'
import { close, numbered, openRawClient, ping, text, type RawClient } from '../helpers/raw-client.ts'

/** The timers that keep the process alive. */
function timers (): number {
  return process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
}

test('after 200 connections that ended in 10 ways there is no client, no timer and no socket left', async t => {
  const ways: Array<(client: RawClient, connection: WebSocketConnection) => void> = [
    client => { client.end(close(1000)) },
    client => { client.end() },
    client => { client.reset() },
    client => { client.end(Buffer.from([0xff, 0xff])) },
    client => { client.end(text('terminate')) },
    client => { client.end(text('throw')) },
    client => { client.end(text('a'), text('close'), close(1000)) },
    (client, connection) => {
      connection.terminate()
      client.end()
    },
    (client, connection) => {
      connection.close(1000)
      client.end(close(1000))
    },
    (client, connection) => {
      connection.send(Buffer.alloc(10_000_000))
      connection.pause()
      client.write(text('held'), close(1000))
      client.reset()
      connection.terminate()
    }
  ]
  const connections: WebSocketConnection[] = []
  const { app, port } = await startApp(t, NEVER, app => {
    app.get('/', { websocket: true }, connection => {
      connections.push(connection)
      connection.on('message', data => {
        if (String(data) === 'terminate') connection.terminate()
        if (String(data) === 'throw') throw new Error('thrown')
        if (String(data) === 'close') connection.close(1000)
        connection.send(data)
      })
    })
  })
  const before = timers()
  for (let i = 0; i < 20; i++) {
    for (const end of ways) {
      const client = await openRawClient(t, port)
      end(client, connections.at(-1)!)
      await client.rest()
      client.destroy()
    }
  }
  t.equal(connections.length, 200)
  const infos = await Promise.all(connections.map(({ closed }) => closed))
  t.strictSame(new Set(infos.map(({ code }) => code)), new Set([1000, 1006]))
  await turn()
  t.equal(app.websocketServer.clients.size, 0)
  const sockets = await new Promise<number>((resolve, reject) => {
    app.server.getConnections((error, count) => { if (error) reject(error); else resolve(count) })
  })
  t.equal(sockets, 0)
  t.ok(timers() <= before, `${timers()} timers, ${before} before`)
})

test('a connection that its handler terminates at once delivers nothing and leaves no timer', async t => {
  const terminated = gate<WebSocketConnection>()
  const { port } = await startApp(t, NEVER, app => {
    app.get('/', { websocket: true }, connection => {
      connection.on('message', () => { t.fail('it is terminated') })
      connection.terminate()
      terminated.open(connection)
    })
  })
  const before = timers()
  openRawClient(t, port, { early: text('early') }).catch(() => {}) // the 101 may be lost with the socket
  const connection = await terminated.opened
  t.match(await connection.closed, { code: 1006 })
  await turn()
  await turn()
  t.ok(timers() <= before, `${timers()} timers, ${before} before`)
})

// Anything, in any order

interface Run {
  received: string[]
  events: string[]
  echoed: string[]
  callbacks: number
  sends: number
  failed: boolean
  timersLeft: number
}

/** One connection over memory, to which a peer sends `count` messages and Close, while chance pauses, ends and breaks things. */
async function runAtRandom (seed: number, count: number): Promise<Run> {
  const next = random(seed)
  const chance = (probability: number): boolean => next() < probability
  const before = timers()
  const run: Run = { received: [], events: [], echoed: [], callbacks: 0, sends: 0, failed: false, timersLeft: 0 }
  const [here, there] = duplexPair({ highWaterMark: integer(next, 1, 2000) })
  // as TCP does it
  here.on('close', () => { there.destroy() })
  there.on('close', () => { here.destroy() })
  const chunks: Buffer[] = []
  there.on('data', (chunk: Buffer) => { chunks.push(chunk) })
  const connection = new Connection({ ...SETTINGS, highWaterMark: integer(next, 1, 2000), closeTimeout: 60_000 }, {
    onError () { if (chance(0.3)) fail(() => { coreOf(connection).closeFailed() }) },
    onClose () { run.events.push('removed') },
    onWarning () {}
  })
  const fail = (how: () => void): void => {
    run.failed = true
    how()
  }
  const act = (): void => {
    if (chance(0.05)) {
      connection.pause()
      setImmediate(() => { connection.resume() })
    }
    if (chance(0.001)) fail(() => { connection.terminate() })
    if (chance(0.001)) fail(() => { here.destroy() })
    if (chance(0.001)) fail(() => { there.destroy() })
    if (chance(0.002) && connection.listenerCount('message') > 0) connection.close(1000)
    if (chance(0.01)) throw new Error('a listener fails')
  }
  const send = (data: string | Blob): void => {
    run.sends++
    connection.send(data, () => {
      run.callbacks++
      act()
    })
  }
  connection.on('ping', act)
  connection.on('close', () => { run.events.push('close') })
  coreOf(connection).open(memoryTransport(here), Buffer.alloc(0))
  const listen = (): void => {
    connection.on('message', data => {
      run.received.push(String(data))
      if (run.events.length > 0) run.events.push('message after the end')
      send(chance(0.1) ? new Blob([data]) : String(data))
      act()
    })
  }
  if (chance(0.5)) listen()
  else setImmediate(listen)

  const frames = numbered('m', count).flatMap(data => chance(0.2) ? [text(data), ping(data)] : [text(data)])
  for (const piece of cuts(Buffer.concat([...frames, close(1000)]), next)) {
    if (there.destroyed) break
    if (!there.write(piece)) await turn()
    if (chance(0.1)) await turn()
  }
  there.end()
  there.once('end', () => { there.end() })
  await connection.closed
  for (let i = 0; i < 3; i++) await turn()
  run.echoed = readFrames(Buffer.concat(chunks)).frames.filter(({ opcode }) => opcode < 3).map(({ payload }) => String(payload))
  run.timersLeft = timers() - before
  return run
}

test('whatever happens in whatever order: messages come in order and once, none is lost without a reason, callbacks and close come once', async t => {
  const count = 60
  const sent = numbered('m', count)
  let unharmed = 0
  for (let seed = 1; seed <= 400; seed++) {
    const { received, events, echoed, callbacks, sends, failed, timersLeft } = await runAtRandom(seed, count)
    const problems = [
      received.every((data, i) => data === sent[i]) ? '' : 'messages out of order',
      echoed.every((data, i) => data === received[i]) ? '' : 'echoes out of order',
      failed || received.length === count ? '' : `${received.length} messages`,
      callbacks === sends ? '' : `${callbacks} callbacks of ${sends}`,
      events.join() === 'removed,close' ? '' : events.join(),
      timersLeft <= 0 ? '' : `${timersLeft} timers`
    ].filter(Boolean)
    if (problems.length > 0) t.fail(`seed ${seed}: ${problems.join('; ')}`)
    if (!failed) unharmed++
  }
  t.ok(unharmed > 100 && unharmed < 300, `${unharmed} runs went to the end`)
})
