// Two ends that do anything in any order, as chance has it: whatever it is, both end, nothing is lost in the middle, and nothing is left behind.
import { once } from 'node:events'
import { createServer, connect as connectTcp, type AddressInfo, type Socket } from 'node:net'
import { duplexPair, type Duplex } from 'node:stream'
import { test } from 'tap'
import { Connection, coreOf } from '../../lib/connection/connection.ts'
import type { ConnectionSettings } from '../../lib/connection/settings.ts'
import { MemorySocket } from '../../lib/transport/memory-socket.ts'
import { SocketTransport } from '../../lib/transport/socket-transport.ts'
import type { Transport } from '../../lib/transport/transport.ts'
import type { CloseInfo } from '../../types/connection.ts'
import { turn } from '../helpers/app.ts'
import { memoryTransport, SETTINGS } from '../helpers/memory.ts'
import { integer, random } from '../helpers/random.ts'

// by hand: PAIRS=10000 FROM=1 node test/behaviour/anything.test.ts
const PAIRS = Number(process.env.PAIRS ?? 600)
const FROM = Number(process.env.FROM ?? 1)
const AT_ONCE = 50
const CLOSE_TIMEOUT = 40
// within which both have ended, on a busy machine too
const LONG = 10_000

const DEFLATE = { server: { contextTakeover: false, windowBits: 15 }, client: { contextTakeover: true, windowBits: 15 } }
const PER_MESSAGE_DEFLATE = { threshold: 20, level: 1, memLevel: 8, concurrency: 2, contextTakeover: false, windowBits: 15 }

// of a stream, which may keep it for a while before it sends it
const UNNUMBERED = 'unnumbered'

type Chance = (probability: number) => boolean

interface Sent {
  id: number
  /** It was taken back before anything of it was sent. */
  isVoid: boolean
}

/** What one end has said and heard. */
class End {
  readonly sent: Sent[] = []
  readonly received: number[] = []
  readonly problems: string[] = []
  calls: number[] = []
  closes = 0
  /** From here on messages may be missing: somebody here has ended it, or has thrown a message away. */
  isLossy = false
  isOver = false
  readonly connection: Connection
  readonly #next: () => number
  readonly #chance: Chance

  constructor (settings: ConnectionSettings, next: () => number) {
    this.#next = next
    this.#chance = probability => next() < probability
    this.connection = new Connection(settings, {
      onError: (_error, connection) => {
        if (!this.#chance(0.5)) return
        this.isLossy = true
        coreOf(connection).closeFailed()
      },
      onClose () {},
      onWarning () {}
    })
    const { connection } = this
    connection.on('close', () => {
      this.closes++
      this.#mayThrow(0.1)
    })
    const events = ['drain', 'ping', 'pong', 'error', 'slow'] as const
    for (const event of events) connection.on(event, () => { this.#act(0.1) })
    if (this.#chance(0.5)) connection.signal.addEventListener('abort', () => { if (this.#chance(0.3)) this.#say() })
  }

  /** Does things until there is no point any more. */
  async live (steps: number): Promise<void> {
    void this.#read()
    for (let step = 0; step < steps && this.connection.readyState < 2; step++) {
      this.#act(1)
      const pause = this.#next()
      if (pause < 0.5) await turn()
      else if (pause < 0.75) await Promise.resolve()
    }
    if (this.connection.readyState < 2) {
      this.isLossy = true
      this.connection.close(1000)
    }
  }

  check (other: End): void {
    const { sent } = other
    let expected = 0
    for (const id of this.received) {
      if (id < expected) this.problems.push(`message ${id} out of order or twice`)
      for (; expected < id; expected++) if (!sent[expected]!.isVoid && !this.isLossy && !other.isLossy) this.problems.push(`message ${expected} is missing before ${id}`)
      expected = id + 1
    }
    this.calls.forEach((calls, index) => { if (calls !== 1) this.problems.push(`callback ${index} was called ${calls} times`) })
    if (this.closes !== 1) this.problems.push(`${this.closes} times 'close'`)
    if (this.connection.bufferedAmount !== 0) this.problems.push(`${this.connection.bufferedAmount} bytes are buffered`)
  }

  #mayThrow (probability: number): void {
    if (this.#chance(probability)) throw new Error('a listener fails')
  }

  /** What a listener or anybody else does. */
  #act (probability: number): void {
    const { connection } = this
    if (!this.#chance(probability)) return
    if (connection.bufferedAmount < 0) this.problems.push('less than nothing is buffered')
    const what = this.#next()
    if (what < 0.5) this.#say()
    else if (what < 0.6) connection.ping('p', undefined, this.#callback())
    else if (what < 0.65) connection.flush()
    else if (what < 0.7) void connection.drained()
    else if (what < 0.75) this.#pause()
    else if (what < 0.8) this.#stream()
    else if (what < 0.804) this.#lose(() => { if (this.#chance(0.5)) connection.close(1000, 'bye'); else connection.close() })
    else if (what < 0.806) this.#lose(() => { connection.terminate() })
    else if (what < 0.808) this.#lose(() => { connection._socket?.destroy(this.#chance(0.5) ? new Error('broken') : undefined) })
    else if (what < 0.809) this.#lose(() => { connection._socket?.end() })
    else if (what < 0.811) this.#lose(() => { coreOf(connection).handlerFailed(new Error('the handler fails')); coreOf(connection).closeFailed() })
    else if (what < 0.812) this.#lose(() => { coreOf(connection).shutDown(1001) })
    else if (what < 0.813) this.#lose(() => { connection._socket?.write(Buffer.from([0xff, 0xff, 0xff])) })
    else if (what < 0.83 && probability < 1) throw new Error('a listener fails')
  }

  #lose (how: () => void): void {
    this.isLossy = true
    how()
  }

  #callback (): () => void {
    const index = this.calls.push(0) - 1
    return () => {
      this.calls[index]!++
      this.#act(0.1)
    }
  }

  #pause (): void {
    const { connection } = this
    connection.pause()
    const goOn = (): void => { connection.resume() }
    if (this.#chance(0.5)) setImmediate(goOn)
    else process.nextTick(goOn)
  }

  /** A message as `id:` and filling. */
  #message (): { id: number, data: string, entry: Sent } {
    const id = this.sent.length
    const entry = { id, isVoid: false }
    if (this.connection.readyState === 1) this.sent.push(entry)
    const length = this.#chance(0.05) ? 70_000 : integer(this.#next, 0, 200)
    return { id, entry, data: `${id}:${'x'.repeat(length)}` }
  }

  #say (): void {
    const { connection } = this
    const { data } = this.#message()
    const callback = this.#callback()
    const how = this.#next()
    if (how < 0.4) {
      connection.send(data, callback)
    } else if (how < 0.6) {
      connection.send(Buffer.from(data), { compress: how < 0.5 }, callback)
    } else if (how < 0.7) {
      connection.send(new Blob([data]), callback)
    } else {
      const cut = integer(this.#next, 0, data.length)
      connection.send(data.slice(0, cut), { fin: false }, callback)
      connection.send(data.slice(cut), { fin: true }, this.#callback())
    }
  }

  #stream (): void {
    const { connection } = this
    const { data, entry } = this.#message()
    const stream = connection.createMessageStream({ binary: this.#chance(0.5), highWaterMark: integer(this.#next, 0, 300) })
    if (this.#chance(0.5)) stream.on('error', () => { this.#mayThrow(0) })
    const cut = integer(this.#next, 0, data.length)
    stream.write(data.slice(0, cut))
    const goOn = (): void => {
      if (this.#chance(0.1)) {
        entry.isVoid = this.isLossy = true
        stream.destroy(this.#chance(0.5) ? new Error('given up') : undefined)
      } else {
        stream.end(data.slice(cut))
      }
    }
    if (this.#chance(0.5)) setImmediate(goOn)
    else goOn()
  }

  #heard (data: unknown, mayBeLate = false): void {
    if (this.isOver && !mayBeLate) this.problems.push('a message after the end')
    if (String(data) !== UNNUMBERED) this.received.push(Number.parseInt(String(data), 10))
  }

  /** Takes messages in one way after another. */
  async #read (): Promise<void> {
    const { connection } = this
    while (connection.readyState < 3) {
      const how = this.#next()
      try {
        if (how < 0.25) await this.#listen()
        else if (how < 0.5) await this.#receive()
        else if (how < 0.7) await this.#iterate()
        else if (how < 0.9) await this.#readStreams()
        else if (how < 0.93) await this.#readDuplex()
        else if (how < 0.96) await this.#readWeb()
        else await turn()
      } catch {} // of a connection that broke
    }
  }

  async #listen (): Promise<void> {
    const { connection } = this
    let count = integer(this.#next, 1, 20)
    await new Promise<void>(resolve => {
      const listener = (data: Buffer): void => {
        this.#heard(data)
        if (--count === 0) {
          connection.off('message', listener)
          resolve()
        }
        this.#act(0.3)
      }
      connection.on('message', listener)
      connection.once('close', () => { resolve() })
    })
  }

  async #receive (): Promise<void> {
    const limits = [undefined, { timeout: integer(this.#next, 0, 3) }, { signal: AbortSignal.timeout(integer(this.#next, 0, 3)) }]
    const message = await this.connection.receive(limits[integer(this.#next, 0, 2)])
    if (message !== null) this.#heard(message)
    this.#act(0.3)
  }

  async #iterate (): Promise<void> {
    let count = integer(this.#next, 1, 20)
    const closeOnReturn = this.#chance(0.02)
    if (closeOnReturn) this.isLossy = true // by an error in the loop too
    for await (const message of this.connection.iterator({ closeOnReturn })) {
      this.#heard(message)
      if (this.#chance(0.3)) await turn()
      this.#act(0.3)
      if (--count === 0) break
    }
  }

  async #readStreams (): Promise<void> {
    let count = integer(this.#next, 1, 10)
    const closeOnReturn = this.#chance(0.02)
    if (closeOnReturn) this.isLossy = true // by an error in the loop too
    for await (const stream of this.connection.messageStreams({ closeOnReturn })) {
      if (this.#chance(0.1)) {
        this.isLossy = true // whatever it was
        if (this.#chance(0.5)) stream.destroy(this.#chance(0.5) ? new Error('enough') : undefined)
      } else {
        const chunks: Buffer[] = []
        for await (const chunk of stream as AsyncIterable<Buffer>) {
          chunks.push(chunk)
          if (this.#chance(0.2)) await turn()
        }
        this.#heard(Buffer.concat(chunks), true) // one that came whole stays readable
      }
      this.#act(0.3)
      if (--count === 0) break
    }
  }

  async #readDuplex (): Promise<void> {
    const stream = this.connection.toDuplex({ objectMode: true })
    void this.connection.closed.then(() => { this.isLossy = true })
    for await (const message of stream as AsyncIterable<string | Buffer>) {
      this.#heard(message, true)
      if (this.#chance(0.2)) stream.write(UNNUMBERED)
      this.#act(0.3)
      if (this.#chance(0.02)) break
    }
  }

  async #readWeb (): Promise<void> {
    const { readable, writable } = this.connection.toWeb()
    void this.connection.closed.then(() => { this.isLossy = true }) // who leaves the loop, by an error too, has given up the rest
    const writer = writable.getWriter()
    writer.closed.catch(() => {})
    writer.ready.catch(() => {})
    for await (const message of readable) {
      this.#heard(message, true)
      if (this.#chance(0.2)) void writer.write(UNNUMBERED).catch(() => {})
      this.#act(0.3)
      if (this.#chance(0.02)) break
    }
  }
}

type Line = [Transport, Transport]

/** As TCP does it. */
function coupled ([here, there]: [Duplex, Duplex]): [Duplex, Duplex] {
  here.on('close', () => { there.destroy() })
  there.on('close', () => { here.destroy() })
  return [here, there]
}

async function run (seed: number, tcp: () => Promise<[Socket, Socket]>): Promise<string[]> {
  const next = random(seed)
  const kind = seed % 3
  const line: Line = kind === 0
    ? coupled(duplexPair({ highWaterMark: integer(next, 1, 2000) })).map(memoryTransport) as Line
    : kind === 1
      ? coupled(MemorySocket.pair()).map(socket => new SocketTransport(socket)) as unknown as Line
      : (await tcp()).map(socket => new SocketTransport(socket)) as unknown as Line
  const deflates = next() < 0.3
  const settings = (role: 'server' | 'client'): ConnectionSettings => ({
    ...SETTINGS,
    role,
    hasHandler: false,
    maxPayload: 100_000,
    maxBufferedAmount: 10_000_000,
    highWaterMark: integer(next, 1, 5000),
    messageConcurrency: next() < 0.3 ? integer(next, 1, 3) : Infinity,
    closeTimeout: CLOSE_TIMEOUT,
    perMessageDeflate: deflates ? PER_MESSAGE_DEFLATE : false
  })
  const ends = [new End(settings('server'), next), new End(settings('client'), next)] as const
  ends.forEach(({ connection }, index) => { coreOf(connection).open(line[index]!, Buffer.alloc(0), deflates ? { deflate: DEFLATE } : {}) })
  const steps = integer(next, 1, 200)
  await Promise.all(ends.map(async end => { await end.live(steps) }))
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<null>(resolve => { timer = setTimeout(resolve, LONG, null) })
  const infos: Array<CloseInfo | null> = await Promise.all(ends.map(({ connection }) => Promise.race([connection.closed, late])))
  clearTimeout(timer)
  for (let i = 0; i < 3; i++) await turn()
  for (const end of ends) end.isOver = true
  for (let i = 0; i < 3; i++) await turn()
  infos.forEach((info, index) => {
    const end = ends[index]!
    if (info === null) end.problems.push(`did not end, readyState ${end.connection.readyState}`)
    else if (info.wasClean && (info.sent === null || info.code === 1006)) end.problems.push(`a clean end without both Close frames: ${JSON.stringify(info)}`)
    end.check(ends[1 - index]!)
  })
  return ends.flatMap(({ problems }, index) => problems.map(problem => `seed ${seed}, ${index === 0 ? 'server' : 'client'}: ${problem}`))
}

test('whatever two ends do, in any order: both end, messages keep their order, callbacks and close come once, and nothing is left', async t => {
  t.setTimeout(30_000 + 100 * PAIRS)
  const uncaught: unknown[] = []
  for (const event of ['uncaughtException', 'unhandledRejection'] as Array<'uncaughtException'>) { // the types tell their listeners apart
    const listener = (error: unknown): void => { uncaught.push(error) }
    process.prependListener(event, listener)
    t.teardown(() => { process.off(event, listener) })
  }
  const accepted: Array<(socket: Socket) => void> = []
  const server = createServer({ allowHalfOpen: true }, socket => { accepted.shift()!(socket) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  let connecting: Promise<unknown> = Promise.resolve()
  const tcp = (): Promise<[Socket, Socket]> => {
    const pair = connecting.then(async () => {
      const here = new Promise<Socket>(resolve => { accepted.push(resolve) })
      const there = connectTcp({ port, host: '127.0.0.1' })
      return [await here, there] satisfies [Socket, Socket]
    })
    connecting = pair
    return pair
  }
  let seed = FROM
  const problems: string[] = []
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (seed < FROM + PAIRS) problems.push(...await run(seed++, tcp))
  }))
  server.close()
  await once(server, 'close')
  await turn()
  t.strictSame(problems, [])
  t.strictSame(uncaught, [])
  t.strictSame(process.getActiveResourcesInfo().filter(name => name === 'Timeout' || name === 'TCPSocketWrap'), [])
})
