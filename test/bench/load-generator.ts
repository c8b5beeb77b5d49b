import { ClientConnection, type BenchClient } from './client-connection.ts'
import { EngineIoClient } from './engine-io-client.ts'
import { Http2Client } from './http2-client.ts'
import type { MessageRing } from './message-ring.ts'
import type { Carrier } from './workloads.ts'

/** What came out of a load. */
export interface Load {
  /** Messages, deliveries or handshakes. */
  readonly count: number
  /** Milliseconds from the first byte that went out to the last that came in. */
  readonly elapsed: number
  /** Milliseconds of each round trip, or delivery; empty unless one message was in flight. */
  readonly roundTrips: readonly number[]
}

// §1.3: the key of the example, which nobody remembers
const REQUEST_HEADERS = 'Host: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
// as browsers offer it
const DEFLATE_HEADER = 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n'

/** How a connection is opened. */
export interface Opening {
  readonly path: string
  readonly deflate: boolean
  readonly carrier?: Carrier | undefined
  /** Over the transport of socket.io, where the path is a room. */
  readonly engineIo?: boolean
}

async function openOne (port: number, { path, deflate, carrier, engineIo = false }: Opening): Promise<BenchClient> {
  if (carrier === 'http2') return await Http2Client.open(port, path)
  const target = engineIo ? EngineIoClient.path(path) : path
  const connection = await ClientConnection.open(port, `GET ${target} HTTP/1.1\r\n${REQUEST_HEADERS}${deflate ? DEFLATE_HEADER : ''}\r\n`, carrier === 'tls')
  return engineIo ? await EngineIoClient.connect(connection) : connection
}

/** Opens `count` connections, some at a time, until that many are open or `deadline` (of performance.now()) has passed. */
export async function open (
  port: number, opening: Opening, count: number, { atATime = 64, deadline = Infinity } = {}
): Promise<BenchClient[]> {
  const connections: BenchClient[] = []
  let begun = 0
  const openNext = async (): Promise<void> => {
    while (begun < count && performance.now() < deadline) {
      begun++
      connections.push(await openOne(port, opening))
    }
  }
  await Promise.all(Array.from({ length: atATime }, openNext))
  return connections
}

/**
 * Sends messages and waits for their echoes, `inFlight` on each connection all the time, for `duration` ms; then waits for what is
 * on the way, so that the count is exact.
 */
export function echo (connections: readonly BenchClient[], ring: MessageRing, inFlight: number, duration: number): Promise<Load> {
  const { promise, resolve } = withResolvers<Load>()
  const roundTrips: number[] = []
  const started = performance.now()
  const deadline = started + duration
  let count = 0
  let onTheWay = 0
  for (const connection of connections) {
    let next = 0
    let sentAt = 0
    const send = (messages: number, now: number): void => {
      sentAt = now
      onTheWay += messages
      connection.write(ring.slice(next, messages))
      next = (next + messages) % ring.length
    }
    connection.countMessages(messages => {
      const now = performance.now()
      if (inFlight === 1) roundTrips.push(now - sentAt)
      count += messages
      onTheWay -= messages
      if (now < deadline) send(messages, now)
      else if (onTheWay === 0) resolve({ count, elapsed: now - started, roundTrips })
    })
    send(inFlight, started)
  }
  return promise
}

/** Sends one message on the first connection and waits until all have got it `times`, again and again for `duration` ms. */
export function broadcast (connections: readonly BenchClient[], ring: MessageRing, times: number, duration: number): Promise<Load> {
  const { promise, resolve } = withResolvers<Load>()
  const sender = connections[0]!
  const message = ring.slice(0, 1)
  const roundTrips: number[] = []
  const started = performance.now()
  const deadline = started + duration
  let count = 0
  let missing = 0
  let sentAt = 0
  const send = (now: number): void => {
    sentAt = now
    missing = times * connections.length
    sender.write(message)
  }
  const onMessages = (messages: number): void => {
    count += messages
    missing -= messages
    if (missing > 0) return
    const now = performance.now()
    if (times === 1) roundTrips.push(now - sentAt)
    if (now < deadline) send(now)
    else resolve({ count, elapsed: now - started, roundTrips })
  }
  for (const connection of connections) connection.countMessages(onMessages)
  send(started)
  return promise
}

/** Sends `count` messages on the last connection, each when the one before has come to all but the first `stopped`, which read nothing. */
export function deliver (connections: readonly BenchClient[], ring: MessageRing, count: number, stopped: number): Promise<Load> {
  const { promise, resolve } = withResolvers<Load>()
  for (const connection of connections.slice(0, stopped)) connection.stopReading()
  const readers = connections.slice(stopped)
  const message = ring.slice(0, 1)
  const roundTrips: number[] = []
  const started = performance.now()
  let left = count
  let missing = 0
  let sentAt = 0
  const send = (): void => {
    left--
    missing = readers.length
    sentAt = performance.now()
    readers.at(-1)!.write(message)
  }
  const onMessage = (): void => {
    roundTrips.push(performance.now() - sentAt)
    if (--missing > 0) return
    if (left > 0) send()
    else resolve({ count: count * readers.length, elapsed: performance.now() - started, roundTrips })
  }
  for (const reader of readers) reader.countMessages(onMessage)
  send()
  return promise
}

function withResolvers<Value> (): { promise: Promise<Value>, resolve: (value: Value) => void } {
  let resolve!: (value: Value) => void
  const promise = new Promise<Value>(_resolve => { resolve = _resolve })
  return { promise, resolve }
}
