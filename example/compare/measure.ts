// The three measurements. Each has a server process of its own, warmed up the same way, and the machine to itself.
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { Bystander } from './bystander.ts'
import { type Comparison, type DeliveryRun, LOAD, type MemoryRun, MIB, summarize } from './comparison.ts'
import { clientFrame, onPayload, openSocket } from './raw-client.ts'
import type { ServerSample } from './server.ts'
import { ServerProcess } from './server-process.ts'

const WARM_UP_BYTES = 32 * MIB
/** ms between two samples of memory. */
const SAMPLE_INTERVAL = 100
/** ms for a server to come to rest after the warm-up. */
const REST = 500

/** Fills in `comparison`, one run after the other. */
export async function measureAll ({ neverReading, listeningLate, pushing }: Comparison): Promise<void> {
  for (const run of neverReading) await measureMemory(run, sendAndNeverRead, ({ received }) => received)
  for (const run of listeningLate) await measureDelivery(run)
  for (const run of pushing) {
    const path = run.variant === null ? '/push' : '/push-awaiting'
    await measureMemory(run, (port, signal) => readSlowly(port, path, signal), ({ pushed }) => pushed)
  }
}

/** Puts one server under `load` until `LOAD.duration` is over or its memory has grown by `LOAD.growthLimit`. */
async function measureMemory (
  run: MemoryRun,
  load: (port: number, signal: AbortSignal) => Promise<void>,
  bytesOf: (sample: ServerSample) => number
): Promise<void> {
  const server = await ServerProcess.start(run.library)
  const ended = new AbortController()
  let bystander: Bystander | undefined
  try {
    await warmUp(server)
    bystander = await Bystander.start(server.port)
    await setTimeout(REST)
    const before = await server.sample()
    bystander.latencies.length = 0
    run.state = 'running'
    run.samples.push({ at: 0, rss: before.rss })
    const started = performance.now()
    const loading = load(server.port, ended.signal)
    const sampling = (async () => {
      for (let at = 0; at < LOAD.duration && !run.isStopped;) {
        await setTimeout(SAMPLE_INTERVAL)
        const sample = await server.sample()
        at = performance.now() - started
        run.samples.push({ at: at / 1000, rss: sample.rss })
        run.bytes = bytesOf(sample) - bytesOf(before)
        run.latency = summarize(bystander.latencies)
        run.isStopped = sample.rss - before.rss > LOAD.growthLimit
      }
    })()
    // a load that is done does not end the measurement, one that fails does
    await Promise.race([sampling, loading.then(() => sampling)])
  } finally {
    ended.abort()
    bystander?.stop()
    await server.stop()
  }
  run.latency = summarize(bystander.latencies)
  run.state = 'done'
}

/** Sends as much through the echo as makes its code compiled and its heap grown, and reads it all. */
async function warmUp (server: ServerProcess): Promise<void> {
  const socket = await openSocket(server.port, '/echo')
  const frame = clientFrame(Buffer.alloc(LOAD.messageSize))
  const count = WARM_UP_BYTES / LOAD.messageSize
  const echoed = new Promise<void>((resolve, reject) => {
    let echoes = 0
    onPayload(socket, () => { if (++echoes === count) resolve() })
    socket.once('close', () => { reject(new Error(`the server closed after ${echoes} echoes`)) })
  })
  for (let i = 0; i < count; i++) if (!socket.write(frame)) await once(socket, 'drain')
  await Promise.race([echoed, server.died])
  socket.removeAllListeners('close').destroy()
}

/** Sends messages to the echo at `LOAD.rate`, or at what the server lets through, and reads nothing. */
async function sendAndNeverRead (port: number, signal: AbortSignal): Promise<void> {
  const socket = destroyedBy(signal, await openSocket(port, '/echo'))
  const frame = clientFrame(Buffer.alloc(LOAD.messageSize))
  const started = performance.now()
  let offered = 0
  while (offered < LOAD.offered && !signal.aborted) {
    const due = Math.min(LOAD.offered, (performance.now() - started) / 1000 * LOAD.rate)
    while (offered < due) {
      offered += LOAD.messageSize
      // the socket is destroyed in the end, which is all that can wake up a sender that is not let through
      if (!socket.write(frame)) await Promise.race([once(socket, 'drain'), once(socket, 'close')])
      if (socket.destroyed) return
    }
    await setTimeout(10)
  }
}

/** Reads at `LOAD.readRate` what a handler pushes. */
async function readSlowly (port: number, path: string, signal: AbortSignal): Promise<void> {
  const socket = destroyedBy(signal, await openSocket(port, path))
  socket.on('data', (chunk: Buffer) => {
    socket.pause()
    void setTimeout(chunk.length / LOAD.readRate * 1000).then(() => { socket.resume() })
  })
  socket.resume()
}

function destroyedBy (signal: AbortSignal, socket: Socket): Socket {
  signal.addEventListener('abort', () => { socket.destroy() })
  socket.on('error', () => {}) // 'close' follows
  return socket
}

/** Sends messages as soon as the handshake is answered, and counts those whose answers come before that to a much later one. */
async function measureDelivery (run: DeliveryRun): Promise<void> {
  const server = await ServerProcess.start(run.library)
  try {
    await warmUp(server)
    run.state = 'running'
    const socket = await openSocket(server.port, '/late')
    const answered = new Promise<void>(resolve => {
      onPayload(socket, payload => {
        if (payload.toString() === 'last') resolve()
        else run.delivered++
      })
    })
    for (; run.sent < LOAD.earlyMessages; run.sent++) socket.write(clientFrame(`message ${run.sent}`))
    await setTimeout(LOAD.lateBy * 10) // the handler listens by now
    socket.write(clientFrame('last'))
    await Promise.race([answered, server.died])
    socket.destroy()
  } finally {
    await server.stop()
  }
  run.state = 'done'
}
