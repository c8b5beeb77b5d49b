// A connection by itself: without Fastify and without a network.
import type { Duplex } from 'node:stream'
import type { ConnectionOwner } from '../../lib/connection/core.ts'
import type { ConnectionSettings } from '../../lib/connection/settings.ts'
import type { Transport } from '../../lib/transport/transport.ts'

export const SETTINGS: ConnectionSettings = {
  role: 'server',
  maxPayload: 1000,
  highWaterMark: 1000,
  messageConcurrency: Infinity,
  maxBufferedAmount: 100_000,
  closeTimeout: 1000,
  heartbeat: false,
  stallTimeout: 60_000,
  holdTimeout: Infinity,
  perMessageDeflate: false
}

export const OWNER: ConnectionOwner = { onError (error) { throw error }, onClose () {}, onWarning (message) { throw new Error(message) } }

export function memoryTransport (stream: Duplex): Transport {
  return {
    stream,
    ownsChunks: false,
    tune () {},
    keepAlive () {},
    finish () { stream.end() },
    abort () { stream.destroy() }
  }
}
