// What both doors have in common, with a response that only records.
import { AsyncLocalStorage } from 'node:async_hooks'
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { Duplex } from 'node:stream'
import { test } from 'tap'
import { handshakeTimedOut, wrongVersion } from '../../lib/errors.ts'
import { PendingHandshake, withoutReserved, type SwitchListener } from '../../lib/handshake/pending-handshake.ts'
import { listen } from '../../lib/transport/stream-listener.ts'
import type { Transport } from '../../lib/transport/transport.ts'
import { gate, turn } from '../helpers/app.ts'

class TestHandshake extends PendingHandshake {
  readonly calls: unknown[] = []
  readonly destroyed = gate()
  readonly written = gate()
  readonly request = {} as IncomingMessage
  readonly response: ServerResponse
  headersSent = false
  isSpoiled = false
  readonly mayRead = true

  constructor (stream: Duplex, head: Buffer) {
    super(stream, head)
    const response = {
      getHeaderNames: () => ['x-of-a-hook'],
      removeHeader: (name: string) => { this.calls.push(`without ${name}`) },
      writeHead: (statusCode: number, reason: string, headers: OutgoingHttpHeaders) => {
        if (this.isSpoiled) throw new TypeError('a wrong header field')
        this.calls.push([statusCode, reason, headers])
      },
      end: (body: string) => {
        this.calls.push(JSON.parse(body))
        this.refused()
        this.written.open()
      }
    }
    Object.defineProperty(response, 'headersSent', { get: () => this.headersSent })
    this.response = response as unknown as ServerResponse
  }

  start (): boolean { return true }

  begin (timeout = 0): void {
    this.limit(timeout)
    this.wait()
  }

  destroy (): void {
    this.calls.push('destroyed')
    this.destroyed.open()
  }

  leave (): void { this.letGo() }

  /** What a door does behind its 101. */
  switched (): void {
    this.switchTo({} as Transport)
  }
}

const EVENTS = ['error', 'close', 'end', 'drain', 'data']
const NOBODY: SwitchListener = { onSwitched () {}, onLost () {} }

function setUp (head = '') {
  const stream = new Duplex({ read () {}, write (_chunk, _encoding, callback) { callback() } })
  const handshake = new TestHandshake(stream, Buffer.from(head))
  return { stream, handshake }
}

const ERROR = wrongVersion('8')

test('the fields that hooks may not say of a 101 are left out, whatever their case', async t => {
  t.strictSame(withoutReserved({
    'X-Own': '1', 'set-cookie': ['a=b'], Upgrade: 'h2c', connection: 'close', 'Sec-WebSocket-Accept': 'x', 'Content-Length': 5, 'transfer-encoding': 'chunked', Trailer: 'x'
  }), { 'X-Own': '1', 'set-cookie': ['a=b'] })
})

test('what comes before the answer is kept up to 64 KiB, then the client waits, and all of it is handed over', async t => {
  const { stream, handshake } = setUp('head ')
  handshake.begin()
  stream.push(Buffer.alloc(64 * 1024 - 5, 'x'))
  await turn()
  t.equal(stream.isPaused(), false)
  stream.push('y')
  await turn()
  t.equal(stream.isPaused(), true)
  let given: Buffer | undefined
  const next = { calls: [] as string[], onData () {}, onStreamEnd () {}, onDrain () {}, onStreamClose () { this.calls.push('close') } }
  handshake.accept({}, {
    onSwitched (_transport, head) {
      given = head
      listen(stream, next)
    },
    onLost () { t.fail('it has switched') }
  })
  handshake.switched()
  t.equal(String(given), `head ${'x'.repeat(64 * 1024 - 5)}y`)
  await handshake.over
  t.equal(handshake.isOver, true)
  t.strictSame(EVENTS.map(name => stream.listenerCount(name)), [1, 1, 1, 1, 0], 'who takes the stream on is told in our place, of data only if it asks')
  stream.destroy()
  await turn()
  t.strictSame(next.calls, ['close'])
})

test('a handshake that is answered in the turn in which it came is neither read nor timed', async t => {
  const { stream, handshake } = setUp()
  const timers = t.capture(globalThis, 'setTimeout', setTimeout)
  handshake.begin(12_345)
  handshake.accept({}, NOBODY)
  handshake.switched()
  stream.push('message')
  await turn()
  t.strictSame([stream.readableFlowing, stream.listenerCount('data'), stream.readableLength], [null, 0, 7])
  t.strictSame(timers().filter(({ args: [, delay] }) => delay === 12_345), [])
})

test('a handshake that is answered before it waits does not', async t => {
  const { handshake } = setUp()
  const immediates = t.capture(globalThis, 'setImmediate', setImmediate)
  handshake.accept({}, NOBODY)
  handshake.switched()
  handshake.begin(12_345)
  t.equal(immediates().length, 0)
})

test('who has accepted a client is told if it never switches', async t => {
  const { stream, handshake } = setUp()
  let lost = 0
  handshake.begin()
  handshake.accept({}, { onSwitched () { t.fail('the client is gone') }, onLost () { lost++ } })
  stream.destroy()
  await handshake.over
  t.equal(lost, 1)
})

test('who accepts a client that has left is told at once', async t => {
  const { stream, handshake } = setUp()
  stream.destroy()
  await handshake.over
  let lost = 0
  handshake.accept({}, { onSwitched () { t.fail('the client is gone') }, onLost () { lost++ } })
  t.equal(lost, 1)
})

test('the second handshake on a stream leaves it to the first', async t => {
  const { stream, handshake } = setUp()
  const other = new TestHandshake(stream, Buffer.alloc(0))
  t.strictSame([handshake.hasStream, other.hasStream], [true, false])
  other.leave()
  await other.over
  t.equal(handshake.hasStream, true)
  stream.destroy()
  await handshake.over
  t.equal(handshake.isOver, true)
})

test('a list holds a handshake until it is over', async t => {
  const { stream, handshake } = setUp()
  const list = new Set<PendingHandshake>()
  handshake.join(list)
  t.strictSame([...list], [handshake])
  stream.destroy()
  await handshake.over
  handshake.join(list)
  t.equal(list.size, 0)
})

test('a refusal is written in the form of Fastify\'s errors, without what hooks had to say, and once', async t => {
  const { handshake } = setUp()
  handshake.begin()
  handshake.refuse(ERROR)
  t.match(handshake.calls, [
    'without x-of-a-hook',
    [426, 'Upgrade Required', { 'content-type': 'application/json; charset=utf-8', 'sec-websocket-version': '13' }],
    { statusCode: 426, code: 'FST_WS_VERSION', error: 'Upgrade Required', message: ERROR.message }
  ])
  t.strictSame([handshake.isOver, handshake.isDecided], [true, true])
  handshake.refuse(ERROR)
  t.equal(handshake.calls.length, 3)
})

test('a refuser is asked in place of that, and is done without when it fails or when the handshake was accepted', async t => {
  const asked = setUp().handshake
  asked.onRefusal(error => { asked.calls.push(error.code) })
  asked.refuse(ERROR)
  t.strictSame([asked.calls, asked.isOver, asked.isDecided], [['FST_WS_VERSION'], false, true])
  asked.refuse(ERROR)
  t.match(asked.calls[3], { statusCode: 426 })

  const failing = setUp().handshake
  failing.onRefusal(() => { throw new Error('no') })
  failing.refuse(ERROR)
  t.match(failing.calls[2], { statusCode: 426 })

  const accepted = setUp().handshake
  accepted.onRefusal(() => { t.fail('who has accepted is not asked to refuse') })
  accepted.accept({}, NOBODY)
  accepted.refuse(ERROR)
  t.match(accepted.calls[2], { statusCode: 426 })
})

test('a refuser that does not answer is done without after a second', async t => {
  const { handshake } = setUp()
  handshake.onRefusal(() => { handshake.calls.push('asked') })
  handshake.refuse(ERROR)
  t.strictSame(handshake.calls, ['asked'])
  await handshake.written.opened
  t.match(handshake.calls[3], { statusCode: 426 })
})

test('a refusal that cannot be written drops the client', async t => {
  const { handshake } = setUp()
  handshake.isSpoiled = true
  handshake.refuse(ERROR)
  t.strictSame(handshake.calls, ['without x-of-a-hook', 'destroyed'])
})

test('the time-out refuses with 503, and then drops a client that does not read the refusal', async t => {
  const { handshake } = setUp()
  handshake.begin(5)
  await handshake.written.opened
  t.match(handshake.calls[2], { statusCode: 503, code: 'FST_WS_HANDSHAKE_TIMEOUT', message: handshakeTimedOut(5).message })
  await handshake.destroyed.opened
})

test('each handshake of a turn is timed in its own async context', async t => {
  const context = new AsyncLocalStorage<string>()
  const seen: Array<string | undefined> = []
  const handshakes = ['a', 'b'].map(name => context.run(name, () => {
    const { handshake } = setUp()
    handshake.onRefusal(() => { seen.push(context.getStore()) })
    handshake.begin(5)
    return handshake
  }))
  await Promise.all(handshakes.map(async handshake => await handshake.written.opened)) // as nobody has answered a second later
  t.strictSame(seen, ['a', 'b'])
})

test('an answer that has begun and does not come to its end is dropped after the time-out', async t => {
  const { handshake } = setUp()
  handshake.begin(5)
  handshake.headersSent = true
  await handshake.destroyed.opened
  t.strictSame(handshake.calls, ['destroyed'])
})

for (const [title, leave] of [
  ['ends its side', stream => { stream.push(null) }],
  ['is gone', stream => { stream.destroy() }],
  ['is gone with an error', stream => { stream.destroy(new Error('reset')) }]
] as Array<[title: string, leave: (stream: Duplex) => void]>) {
  test(`a client that ${title} before the answer has nobody to be answered`, async t => {
    const { stream, handshake } = setUp()
    handshake.begin()
    leave(stream)
    await turn()
    t.equal(handshake.isOver, true)
    handshake.refuse(ERROR)
    t.strictSame(handshake.calls, [])
    stream.destroy()
    await handshake.over
  })
}
