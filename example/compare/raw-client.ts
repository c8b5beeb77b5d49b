// A client of as little code as possible over bare TCP, so that neither of the two libraries is measured against itself.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

const TEXT = 1
const BINARY = 2

/** Builds a whole message in one masked frame, as a client has to send it. RFC 6455 §5.2, §5.3. */
export function clientFrame (payload: string | Buffer): Buffer {
  const bytes = Buffer.from(payload)
  const maskingKey = randomBytes(4)
  const frame = Buffer.concat([
    Buffer.from([0x80 | (typeof payload === 'string' ? TEXT : BINARY)]),
    lengthField(bytes.length),
    maskingKey,
    bytes
  ])
  for (let i = 0, at = frame.length - bytes.length; i < bytes.length; i++) frame[at + i]! ^= maskingKey[i % 4]!
  return frame
}

function lengthField (length: number): Buffer {
  const IS_MASKED = 0x80
  if (length < 126) return Buffer.from([IS_MASKED | length])
  if (length > 0xffff) throw new RangeError(`a payload of ${length} bytes is not needed here`)
  return Buffer.from([IS_MASKED | 126, length >> 8, length & 0xff])
}

/** Takes the unmasked frames of a server apart. Returns their payloads, and the bytes of a frame that is not complete. */
export function splitFrames (bytes: Buffer): { payloads: Buffer[], rest: Buffer } {
  const payloads: Buffer[] = []
  let at = 0
  while (bytes.length - at >= 2) {
    const short = bytes[at + 1]!
    const headerLength = short < 126 ? 2 : short === 126 ? 4 : 10
    if (bytes.length - at < headerLength) break
    const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
    const end = at + headerLength + length
    if (bytes.length < end) break
    payloads.push(bytes.subarray(at + headerLength, end))
    at = end
  }
  return { payloads, rest: bytes.subarray(at) }
}

/** Opens a WebSocket and resolves with its socket, which is paused: nobody has read what follows the 101. */
export async function openSocket (port: number, path: string): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`)
  let answer = Buffer.alloc(0)
  let end: number
  while ((end = answer.indexOf('\r\n\r\n')) === -1) {
    const [chunk] = await once(socket, 'data') as [Buffer]
    socket.pause()
    answer = Buffer.concat([answer, chunk])
    if (!answer.includes('\r\n\r\n')) socket.resume()
  }
  const [statusLine] = answer.toString('latin1').split('\r\n')
  if (!statusLine!.startsWith('HTTP/1.1 101 ')) throw new Error(`the server answers ${statusLine}`)
  if (answer.length > end + 4) socket.unshift(answer.subarray(end + 4))
  return socket
}

/** Calls `listener` with the payload of each frame that comes, and starts to read. */
export function onPayload (socket: Socket, listener: (payload: Buffer) => void): void {
  let rest = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    const split = splitFrames(rest.length === 0 ? chunk : Buffer.concat([rest, chunk]))
    rest = Buffer.from(split.rest)
    for (const payload of split.payloads) listener(payload)
  })
  socket.resume()
}
