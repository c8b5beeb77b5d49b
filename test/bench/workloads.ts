// What is measured: values only.

export const KIB = 1024
export const MIB = 1024 * KIB

/** What a WebSocket runs over: TCP where nothing is said. */
export type Carrier = 'tls' | 'http2'

/** How many messages /burst sends to everyone for each that comes. */
export const BURST = 16

export const PEERS = ['ours', 'ws', 'fastify-websocket', 'net', 'bun', 'socket.io', 'http1'] as const
export type Peer = typeof PEERS[number]
export type Rival = Exclude<Peer, 'ours'>
/** Measured beside the others when they are asked for. */
export const ON_REQUEST: readonly Peer[] = ['bun', 'socket.io']

interface Common {
  readonly name: string
  readonly peers: readonly Peer[]
  readonly connections: number
  /** Default: plain TCP and HTTP/1.1. */
  readonly carrier?: Carrier
  /** Whether permessage-deflate is on. */
  readonly deflate?: true
  /** What is aimed at: how many times as much each rival is to cost. */
  readonly goals: Partial<Record<Rival, number>>
  /** The least ratio to `ws` that --guard lets pass, far below the usual one. Absent: not guarded. */
  readonly guard?: number
}

export interface Echo extends Common {
  readonly kind: 'echo'
  /** Bytes of a payload. */
  readonly size: number
  readonly content: 'binary' | 'ascii' | 'utf8' | 'json' | 'value' | 'event'
  /** Messages that each connection has on the way. */
  readonly inFlight: number
  /** Default: 1. */
  readonly fragments?: number
  /** Of our server. Default: /echo. */
  readonly path?: '/iterator' | '/generator' | '/json' | '/typed' | '/union'
  /** Of the others. Default: /echo. */
  readonly rivalPath?: '/json'
}

export interface Broadcast extends Common {
  readonly kind: 'broadcast'
  readonly size: number
  /** What every connection gets for each message that one of them sends. */
  readonly times: 1 | typeof BURST
  /** Of our server; the others have a loop alone. */
  readonly path?: '/topic' | '/topic-burst'
}

/**
 * A message after the other to all `connections`, once the one before has come to all that read; and to those that never do, for which more waits
 * then than a socket takes.
 */
export interface Deliveries extends Common {
  readonly kind: 'deliveries'
  readonly size: number
  /** Of a measurement, for which connections are opened anew. */
  readonly messages: number
  /** How many of the connections never read. */
  readonly stopped: number
  /** Of our server; the others have a loop alone. */
  readonly path: '/topic'
}

/** `connections` that shake hands at a time, and stay until the measurement is over. */
export interface Handshakes extends Common {
  readonly kind: 'handshakes'
}

/** What `connections` hold that do nothing, or have echoed one message. */
export interface Memory extends Common {
  readonly kind: 'memory'
  readonly message: Echo | null
}

export type Workload = Echo | Broadcast | Deliveries | Handshakes | Memory

const ECHOING = PEERS.filter(peer => peer !== 'socket.io' && peer !== 'http1')
const FRAMED = ['ours', 'ws', 'fastify-websocket', 'bun'] as const
const BROADCASTING = [...FRAMED, 'socket.io'] as const
// that answer as `path` says, or by parsing what they send
const IN_NODE = ['ours', 'ws', 'fastify-websocket'] as const

const deflate1KiB: Echo = {
  kind: 'echo',
  name: 'deflate 1 KiB x 1',
  peers: FRAMED,
  connections: 64,
  size: KIB,
  content: 'json',
  inFlight: 1,
  deflate: true,
  goals: { ws: 2.5, 'fastify-websocket': 2.5 }
}

export const WORKLOADS: readonly Workload[] = [
  echo({ name: '16 B x 1', size: 16, inFlight: 1, goals: { ws: 1.15, 'fastify-websocket': 1.3, net: 0.85 } }),
  echo({ name: '16 B x 16', size: 16, inFlight: 16, goals: { ws: 6, 'fastify-websocket': 6, net: 0.7 }, guard: 2 }),
  echo({ name: '125 B text x 16', size: 125, content: 'ascii', inFlight: 16, goals: { ws: 4.5, 'fastify-websocket': 4, net: 0.45 } }),
  echo({ name: '1 KiB x 16', size: KIB, inFlight: 16, goals: { ws: 4.5, 'fastify-websocket': 5, net: 0.6 }, guard: 0.9 }),
  echo({ name: '1 KiB UTF-8 x 16', size: KIB, content: 'utf8', inFlight: 16, goals: {} }),
  echo({ name: '16 KiB x 1', size: 16 * KIB, inFlight: 1, goals: { ws: 2.7, 'fastify-websocket': 4, net: 0.9 } }),
  echo({ name: '64 KiB x 1', size: 64 * KIB, inFlight: 1, goals: { ws: 5, 'fastify-websocket': 5.5, net: 0.95 }, guard: 0.2 }),
  echo({ name: '1 MiB x 1', size: MIB, connections: 16, inFlight: 1, goals: { ws: 5.5, 'fastify-websocket': 6, net: 0.65 } }),
  echo({
    name: '1 KiB in 4 fragments x 16',
    size: KIB,
    inFlight: 16,
    fragments: 4,
    goals: { ws: 4.5, 'fastify-websocket': 4.5, net: 0.3 }
  }),
  deflate1KiB,
  { ...deflate1KiB, name: 'deflate 16 KiB x 1', size: 16 * KIB, goals: { ws: 1.7, 'fastify-websocket': 1.7 } },
  tls({ name: '1 KiB x 16 over TLS', size: KIB, inFlight: 16 }),
  tls({ name: '64 KiB x 1 over TLS', size: 64 * KIB, inFlight: 1 }),
  http2({ name: '16 B x 1 over HTTP/2', size: 16, inFlight: 1 }),
  http2({ name: '1 KiB x 16 over HTTP/2', size: KIB, inFlight: 16 }),
  http2({ name: '64 KiB x 1 over HTTP/2', size: 64 * KIB, inFlight: 1 }),
  pull('iterator'),
  pull('generator'),
  values('JSON by hand x 16', '/json'),
  values('JSON by schema x 16', '/typed'),
  values('JSON by schema, union of 8 x 16', '/union'),
  broadcast({ name: 'broadcast to 1,000', times: 1, goals: { ws: 1, 'fastify-websocket': 1.05 } }),
  broadcast({ name: 'broadcast of 16 to 1,000', times: BURST, goals: { ws: 12, 'fastify-websocket': 11 } }),
  topic({ name: 'topic of 1,000', times: 1, path: '/topic', goals: { ws: 1, 'fastify-websocket': 1.05 } }),
  topic({ name: 'topic of 1,000, 16 at a time', times: BURST, path: '/topic-burst', goals: { ws: 9, 'fastify-websocket': 9 } }),
  deliveries('topic of 1,000, 16 KiB', 0),
  deliveries('topic of 1,000, 16 KiB, 10 do not read', 10),
  { kind: 'handshakes', name: 'handshakes', peers: ECHOING, connections: 64, goals: { ws: 0.95, 'fastify-websocket': 1.1 } },
  { kind: 'memory', name: 'memory, idle', peers: ECHOING, connections: 10_000, message: null, goals: { ws: 1, 'fastify-websocket': 1.33 } },
  // 248 KiB of ws against 10
  { kind: 'memory', name: 'memory, after a deflated message', peers: FRAMED, connections: 10_000, message: deflate1KiB, deflate: true, goals: { ws: 25 } }
]

/** 64 connections and binary messages, where nothing else is said. */
export function echo (fields: Pick<Echo, 'name' | 'size' | 'inFlight' | 'goals'> & Partial<Echo>): Echo {
  return { kind: 'echo', peers: ECHOING, connections: 64, content: 'binary', ...fields }
}

/** Who ends TLS in Node pays that. */
function tls (fields: Pick<Echo, 'name' | 'size' | 'inFlight'>): Echo {
  return echo({ ...fields, carrier: 'tls', peers: ['ours', 'ws', 'fastify-websocket', 'net'], goals: {} })
}

/** All connections over one session; beside them ours over HTTP/1.1, as nobody else has this. */
function http2 (fields: Pick<Echo, 'name' | 'size' | 'inFlight'>): Echo {
  return echo({ ...fields, carrier: 'http2', peers: ['ours', 'http1'], goals: {} })
}

/** Ours reads and answers by a loop, the others by their listener. */
function pull (way: 'iterator' | 'generator'): Echo {
  const goals = { ws: 2.5, 'fastify-websocket': 2.5 }
  return echo({ name: `${way} 125 B text x 16`, size: 125, content: 'ascii', inFlight: 16, path: `/${way}`, peers: FRAMED, goals })
}

/** Values, parsed and serialized: by ours as `path` says, by the others by hand, without looking at them. */
function values (name: string, path: '/json' | '/typed' | '/union'): Echo {
  return echo({ name, size: 107, content: 'value', inFlight: 16, path, rivalPath: '/json', peers: IN_NODE, goals: {} })
}

/** 4 MiB for each, of which the kernel takes up to 2.5 for who does not read. */
function deliveries (name: string, stopped: number): Deliveries {
  return { kind: 'deliveries', name, peers: BROADCASTING, connections: 1_000, size: 16 * KIB, messages: 256, stopped, path: '/topic', goals: {} }
}

/** Ours publishes, the others send to all in a loop. */
function topic (fields: Pick<Broadcast, 'name' | 'times' | 'goals'> & Required<Pick<Broadcast, 'path'>>): Broadcast {
  return { kind: 'broadcast', peers: BROADCASTING, connections: 1_000, size: 128, ...fields }
}

function broadcast (fields: Pick<Broadcast, 'name' | 'times' | 'goals'>): Broadcast {
  return { kind: 'broadcast', peers: BROADCASTING, connections: 1_000, size: 128, ...fields }
}
