import { test } from 'tap'
import { FrameParser } from '../../lib/framing/frame-parser.ts'
import { LonePiece } from '../../lib/framing/lone-piece.ts'
import type { Frame } from '../../lib/protocol/frame.ts'
import type { Role } from '../../lib/protocol/role.ts'
import { clientFrame, serverFrame } from '../helpers/frames.ts'

test('a piece that is all that anybody has of a chunk is known by its class', async t => {
  /** Memory of its own for a chunk, however small. */
  const alone = (...parts: Buffer[]): Buffer => {
    const bytes = Buffer.concat(parts)
    const chunk = Buffer.allocUnsafeSlow(bytes.length)
    bytes.copy(chunk)
    return chunk
  }
  const begun = (role: Role): Buffer => (role === 'server' ? clientFrame : serverFrame)({ opcode: 0x2, payload: 'abc', length: 9 })
  const whole = (role: Role, payload: string, opcode = 0x2): Buffer => (role === 'server' ? clientFrame : serverFrame)({ opcode, payload })

  for (const role of ['server', 'client'] as const) {
    for (const [title, chunks, expected] of [
      ['the beginning, the middle and the end of a frame', [alone(begun(role)), alone(Buffer.from('def')), alone(Buffer.from('ghi'))], [true, true, true]],
      ['after the rest of a cut header', [alone(begun(role).subarray(0, 1)), alone(begun(role).subarray(1))], [true]],
      ['a whole frame', [alone(whole(role, 'abc'))], [false]],
      ['after another frame', [alone(whole(role, 'abc'), begun(role))], [false, false]],
      ['after an empty frame', [alone(whole(role, ''), begun(role))], [false, false]],
      ['after a Ping', [alone(whole(role, '', 0x9), begun(role))], [false, false]],
      ['before another frame', [alone(begun(role)), alone(Buffer.from('defghi'), whole(role, 'abc'))], [true, false, false]],
      ['before the beginning of a header', [alone(begun(role)), alone(Buffer.from('defghi'), whole(role, 'abc').subarray(0, 1))], [true, false]],
      ['in memory that holds more', [alone(Buffer.alloc(1), begun(role)).subarray(1), alone(Buffer.from('def ')).subarray(0, 3)], [false, false]]
    ] as const) {
      for (const isLone of [true, false]) {
        const parser = new FrameParser({ role, ownsChunks: true })
        const found: Frame[] = []
        for (const chunk of chunks) {
          parser.feed(chunk, isLone)
          for (let frame = parser.next(); frame !== null; frame = parser.next()) found.push(frame)
        }
        t.strictSame(found.map(frame => frame instanceof LonePiece), expected.map(is => is && isLone), `${title}, as a ${role}`)
      }
    }
  }
})
