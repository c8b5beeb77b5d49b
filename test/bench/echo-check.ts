import { strict as assert } from 'node:assert'
import { constants, inflateRawSync } from 'node:zlib'
import { readFrames, type WireFrame } from '../helpers/frames.ts'
import { FrameCounter } from './frame-counter.ts'
import { open, type Opening } from './load-generator.ts'
import { MessageRing } from './message-ring.ts'
import { Unavailable } from './server-process.ts'
import type { Broadcast, Deliveries, Echo, Peer } from './workloads.ts'

const WINDOW = 32 * 1024

/**
 * Checks that a server answers with what was sent, byte by byte, before it is measured: each message once (from /broadcast and
 * /burst `times`), whole and of its kind, and compressed if that was agreed.
 * @returns the messages, compressed as the server wants them
 * @throws AssertionError when it does not; Unavailable when it does not agree to compress
 */
export async function checkedMessages (peer: Peer, port: number, workload: Echo, opening: Opening, times = 1): Promise<MessageRing> {
  const { deflate } = opening
  const [connection] = await open(port, opening, 1)
  const agreed = /^sec-websocket-extensions: (.*)$/im.exec(connection!.head)?.[1]
  if (deflate && agreed === undefined) throw new Unavailable('the handshake did not agree on permessage-deflate')
  const ring = new MessageRing(workload, Number(/client_max_window_bits=(\d+)/.exec(agreed ?? '')?.[1] ?? 15))
  const expected = ring.payloads.flatMap(payload => Array.from({ length: times }, () => payload))

  const chunks: Buffer[] = []
  const counter = new FrameCounter()
  let missing = expected.length
  await new Promise<void>(resolve => {
    connection!.takeBytes(bytes => {
      chunks.push(Buffer.from(bytes))
      missing -= counter.push(bytes)
      if (missing <= 0) resolve()
    })
    connection!.write(ring.slice(0, ring.length))
  })
  connection!.destroy()

  const { frames, rest } = readFrames(Buffer.concat(chunks))
  assert.equal(rest.length, 0, 'bytes behind the last echo')
  const messages = joined(frames)
  let before: Buffer = Buffer.alloc(0)
  assert.equal(messages.length, expected.length)
  messages.forEach(({ first, data }, i) => {
    assert.equal(first.opcode, workload.content === 'binary' ? 2 : 1, 'the kind of an echo')
    assert.equal(first.mask !== null, peer === 'net', 'whether an echo is masked')
    assert.equal(first.rsv, deflate ? 4 : 0, 'whether an echo is compressed')
    const payload = deflate ? inflate(data, before) : data
    if (deflate) before = Buffer.concat([before, payload]).subarray(-WINDOW)
    assert.ok(payload.equals(expected[i]!), `echo ${i} differs from what was sent`)
  })
  return ring
}

/** Of a broadcast, whose sender is among those who get it: a message that echoes. */
export function broadcastMessage (peer: Peer, { name, peers, connections, goals, size }: Broadcast | Deliveries): Echo {
  return { kind: 'echo', name, peers, connections, goals, size, content: peer === 'socket.io' ? 'event' : 'binary', inFlight: 1 }
}

/** Messages with their first frame, which says what they are. */
function joined (frames: readonly WireFrame[]): Array<{ first: WireFrame, data: Buffer }> {
  const messages: Array<{ first: WireFrame, data: Buffer }> = []
  let begun: WireFrame[] = []
  for (const frame of frames) {
    begun.push(frame)
    if (!frame.fin) continue
    messages.push({ first: begun[0]!, data: Buffer.concat(begun.map(({ payload }) => payload)) })
    begun = []
  }
  return messages
}

/** §7.2.2 of RFC 7692. `before`: what the server's window holds if it takes its context over, and harmless if it does not. */
function inflate (data: Buffer, before: Buffer): Buffer {
  const tail = Buffer.from([0x00, 0x00, 0xff, 0xff])
  return inflateRawSync(Buffer.concat([data, tail]), { finishFlush: constants.Z_SYNC_FLUSH, dictionary: before })
}
