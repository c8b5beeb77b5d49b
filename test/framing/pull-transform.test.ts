import { once } from 'node:events'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'tap'
import { PullTransform } from '../../lib/framing/pull-transform.ts'
import { integer, random } from '../helpers/random.ts'

/** Counts down: 3 -> 3, 2, 1. Refuses to take in a number below 0, and fails at 5000. */
class Countdown extends PullTransform<number, number> {
  /** How often next() was called. */
  calls = 0
  #numbers: number[] = []

  constructor (readableHighWaterMark = 1) {
    super({ objectMode: true, readableHighWaterMark })
  }

  override feed (number: number): void {
    if (number < 0) throw new RangeError(`${number} is below 0`)
    this.#numbers.push(number)
  }

  override next (): number | null {
    this.calls++
    while (this.#numbers[0] === 0) this.#numbers.shift()
    if (this.#numbers[0] === undefined) return null
    if (this.#numbers[0] === 5000) throw new Error('5000')
    return this.#numbers[0]--
  }
}

const down = (from: number): number[] => Array.from({ length: from }, (_, i) => from - i)

/** Takes what is there, without waiting. */
function readAll (countdown: Countdown): number[] {
  const numbers: number[] = []
  for (let number = countdown.read(); number !== null; number = countdown.read()) numbers.push(number)
  return numbers
}

test('what goes in comes out in order, and the end after it', async t => {
  const countdown = new Countdown()
  for (const number of [3, 0, 1, 2]) countdown.write(number)
  countdown.end()
  t.strictSame(await countdown.toArray(), [3, 2, 1, 1, 2, 1])
})

test('the results of one chunk are made as they are read, and its callback comes behind the last', async t => {
  const countdown = new Countdown()
  let isWritten = false
  countdown.write(1000, () => { isWritten = true })
  await turn()
  t.equal(countdown.calls, 1, 'the first waits')
  for (const number of down(1000)) {
    if (isWritten) t.fail(`${number} is not out yet`)
    if (countdown.read() !== number) t.fail(`${number} is missing`)
    if (countdown.readableLength > 1) t.fail(`${countdown.readableLength} wait`)
  }
  await turn()
  t.equal(isWritten, true)
  t.equal(countdown.calls, 1001)
})

test('as many results wait as the high-water mark asks for', async t => {
  const countdown = new Countdown(10)
  countdown.write(1000)
  await turn()
  t.equal(countdown.readableLength, 10)
  t.equal(countdown.calls, 10)
  t.strictSame([countdown.read(), countdown.read()], [1000, 999])
  t.ok(countdown.readableLength <= 10)
})

test('later chunks wait until the results of the first are out', async t => {
  const countdown = new Countdown()
  const written: number[] = []
  for (const number of [2, 1, 1]) countdown.write(number, () => { written.push(number) })
  await turn()
  t.strictSame(written, [])
  t.equal(countdown.read(), 2)
  t.equal(countdown.read(), 1)
  await turn()
  t.strictSame(written, [2])
  t.strictSame(readAll(countdown), [1, 1])
  await turn()
  t.strictSame(written, [2, 1, 1])
})

test('pause() in a data listener stops it within one result', async t => {
  for (const isFlowing of [false, true]) {
    const countdown = new Countdown()
    const found: number[] = []
    countdown.on('data', (number: number) => {
      found.push(number)
      if (number === 90) countdown.pause()
    })
    if (isFlowing) await turn()
    countdown.write(100)
    await turn()
    t.strictSame(found, down(100).slice(0, 11))
    t.ok(countdown.calls <= 12, `${countdown.calls} calls`)
    countdown.resume()
    await turn()
    t.strictSame(found, down(100))
  }
})

test('a pipe to a slow Writable makes one result after the other', async t => {
  const countdown = new Countdown()
  const found: number[] = []
  const slow = new Writable({
    objectMode: true,
    highWaterMark: 1,
    write (number: number, _encoding, callback) {
      found.push(number)
      if (countdown.calls > found.length + 3) t.fail(`${countdown.calls} calls for ${found.length} results`)
      setImmediate(callback)
    }
  })
  countdown.end(200)
  await pipeline(countdown, slow)
  t.strictSame(found, down(200))
})

test('no chunk is left waiting, whatever the sizes of the chunks and the pace of the reader', async t => {
  const next = random(6)
  for (let round = 0; round < 200; round++) {
    const countdown = new Countdown(integer(next, 1, 4))
    const numbers = Array.from({ length: 20 }, () => integer(next, 0, 5))
    let written = 0
    const writing = (async () => {
      for (const number of numbers) {
        countdown.write(number, () => { written++ })
        if (next() < 0.3) await turn()
      }
      countdown.end()
    })()
    const found: number[] = []
    for await (const number of countdown) {
      found.push(number)
      if (next() < 0.3) await turn()
    }
    await writing
    t.strictSame(found, numbers.flatMap(down))
    t.equal(written, numbers.length)
  }
})

test('an error of next() comes behind every result before it', async t => {
  const expected = [...down(2), ...down(5007).slice(0, 7)]

  await t.test('for a data listener that pauses', async t => {
    const countdown = new Countdown()
    const found: number[] = []
    countdown.on('data', (number: number) => {
      found.push(number)
      t.equal(countdown.destroyed, false, 'the listener finds the stream alive')
      countdown.pause()
      setImmediate(() => countdown.resume())
    })
    countdown.write(2)
    countdown.write(5007)
    const [error] = await once(countdown, 'error')
    t.match(error, { message: '5000' })
    t.strictSame(found, expected)
  })

  await t.test('for a slow for await', async t => {
    const countdown = new Countdown()
    const found: number[] = []
    countdown.write(2)
    countdown.write(5007)
    await t.rejects(async () => {
      for await (const number of countdown) {
        found.push(number)
        await turn()
      }
    }, { message: '5000' })
    t.strictSame(found, expected)
  })

  await t.test('for read()', async t => {
    const countdown = new Countdown()
    countdown.write(2)
    countdown.write(5007)
    const failed = once(countdown, 'error')
    t.strictSame(readAll(countdown), expected)
    t.equal(countdown.destroyed, false, 'the error has its turn afterwards')
    t.match((await failed)[0], { message: '5000' })
  })
})

test('an error of feed() fails the write, behind the results of the chunks before it', async t => {
  for (const isSlow of [false, true]) {
    const countdown = new Countdown()
    const found: number[] = []
    let failure: unknown
    countdown.write(3)
    countdown.write(-1, error => { failure = error })
    await t.rejects(async () => {
      for await (const number of countdown) {
        found.push(number)
        if (isSlow) await turn()
      }
    }, { name: 'RangeError', message: '-1 is below 0' })
    t.strictSame(found, [3, 2, 1])
    t.match(failure, { message: '-1 is below 0' })
  }
})

test('destroy() in a data listener is the end: nothing comes after it', async t => {
  for (const isFlowing of [false, true]) {
    const countdown = new Countdown()
    const found: number[] = []
    countdown.on('data', (number: number) => {
      found.push(number)
      if (number === 8) countdown.destroy()
    })
    if (isFlowing) await turn()
    countdown.write(10)
    await once(countdown, 'close')
    t.strictSame(found, [10, 9, 8])
  }
})

test('feed() and next() take turns with write() and read()', async t => {
  const next = random(7)
  const countdown = new Countdown()
  const found: number[] = []
  const numbers = Array.from({ length: 200 }, () => integer(next, 0, 5))
  for (const number of numbers) {
    if (next() < 0.5) {
      countdown.feed(number)
      for (let result = countdown.next(); result !== null; result = countdown.next()) found.push(result)
    } else {
      countdown.write(number)
      found.push(...readAll(countdown))
    }
  }
  t.strictSame(found, numbers.flatMap(down))
  countdown.end()
  t.strictSame(await countdown.toArray(), [], 'nothing is left in the stream')
})

test('what was fed and not taken out comes before what is written', async t => {
  const countdown = new Countdown()
  countdown.feed(2)
  t.equal(countdown.next(), 2)
  countdown.write(3)
  t.strictSame(readAll(countdown), [1, 3, 2, 1])
})

test('what a listener throws goes to who wrote, and is no error of the stream', async t => {
  const countdown = new Countdown()
  countdown.once('data', () => { throw new Error('of the listener') })
  await turn() // flowing
  t.throws(() => countdown.write(3), { message: 'of the listener' })
  t.equal(countdown.destroyed, false)
  t.equal(countdown.errored, null)
})
