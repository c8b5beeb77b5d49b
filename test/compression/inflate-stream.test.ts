import { constants, deflateRawSync } from 'node:zlib'
import { test } from 'tap'
import { WINDOW_SIZE } from '../../lib/compression/inflate-message.ts'
import { InflateStream } from '../../lib/compression/inflate-stream.ts'
import { SlidingWindow } from '../../lib/compression/sliding-window.ts'
import { gate } from '../helpers/app.ts'
import { hex } from '../helpers/frames.ts'

const INVALID = { name: 'ProtocolError', code: 'WS_ERR_INVALID_DEFLATE', closeCode: 1007 }
const deflate = (data: Buffer): Buffer => deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)

function create (window = new SlidingWindow(WINDOW_SIZE)) {
  let ready = gate()
  const stream = new InflateStream(window, () => { ready.open() })
  return {
    stream,
    window,
    /** All that comes out until it wants more, or is done. */
    outputs: async (): Promise<Buffer[]> => {
      const outputs: Buffer[] = []
      for (;;) {
        ready = gate()
        const output = stream.read()
        if (output !== null) outputs.push(output)
        else if (stream.isBusy) await ready.opened
        else return outputs
      }
    }
  }
}

test('what has come of a message comes out before its rest is there', async t => {
  const { stream, outputs, window } = create()
  t.strictSame([stream.isEmpty, stream.isBusy], [true, false])
  const [first, rest] = [deflate(Buffer.from('Hel')), deflate(Buffer.from('lo'))]
  stream.write(Buffer.concat([first, hex('00 00 ff ff')]), false)
  t.equal(stream.isBusy, true)
  t.equal(String(Buffer.concat(await outputs())), 'Hel')
  t.strictSame([stream.isEmpty, stream.isBusy, stream.isDone], [false, false, false])
  stream.write(rest, true)
  t.equal(String(Buffer.concat(await outputs())), 'lo')
  t.equal(stream.isDone, true)
  t.equal(String(window.bytes), 'Hello', 'and the next message may refer to it')
  stream.destroy()
})

test('a message refers back to what its window holds, and goes on behind a last block', async t => {
  const window = new SlidingWindow(WINDOW_SIZE)
  window.add(Buffer.from('Hello'))
  const { stream, outputs } = create(window)
  stream.write(Buffer.concat([deflateRawSync('Hello', { dictionary: Buffer.from('Hello') }), hex('f2 00 11 00 00')]), true)
  t.equal(String(Buffer.concat(await outputs())), 'HelloHello')
  t.equal(stream.isDone, true)
})

test('no more is inflated than is read: 64 KiB at a time', async t => {
  const ready = gate()
  const stream = new InflateStream(new SlidingWindow(WINDOW_SIZE), ready.open)
  stream.write(deflate(Buffer.alloc(2 ** 24)), true)
  await ready.opened
  t.equal(stream.read()?.length, 64 * 1024)
  t.strictSame([stream.isBusy, stream.isDone], [true, false])
  stream.destroy()
})

test('data that are not valid are the peer\'s fault, as are those of more than 256 last blocks', async t => {
  for (const bytes of [hex('ff ff'), hex('f2 48 cd'), Buffer.concat([...Array<Buffer>(257).fill(hex('03 00')), hex('00')])]) {
    const { stream, outputs } = create()
    stream.write(bytes, true)
    await t.rejects(outputs(), INVALID)
    stream.destroy()
  }
  const { stream, outputs } = create()
  stream.write(Buffer.concat([...Array<Buffer>(256).fill(hex('03 00')), hex('00')]), true)
  t.strictSame(await outputs(), [])
  t.equal(stream.isDone, true)
})
