import { EventEmitter, getEventListeners } from 'node:events'
import { test } from 'tap'
import { EventualRequest } from '../../lib/client/eventual-request.ts'
import type { HandshakeRequest } from '../../lib/client/exchange.ts'
import { deferred } from '../helpers/http.ts'

class FakeRequest extends EventEmitter implements HandshakeRequest {
  readonly calls: unknown[] = []
  end (): void { this.calls.push('end') }
  destroy (error?: Error): void { this.calls.push(error ?? 'destroy') }
  left (info: unknown): void { this.calls.push(info) }
}

/** What a request emits, from now on. */
function record (request: EventEmitter): unknown[][] {
  const events: unknown[][] = []
  for (const event of ['upgrade', 'response', 'error', 'close']) request.on(event, (...args) => { events.push([event, ...args]) })
  return events
}

test('it emits what the request emits that was made, and hands on what it is told', async t => {
  const made = new FakeRequest()
  const { signal } = new AbortController()
  const request = new EventualRequest(signal, async () => made)
  const events = record(request)
  request.end()
  t.equal(getEventListeners(signal, 'abort').length, 1)
  await Promise.resolve().then(() => {})
  made.emit('upgrade', 1, 2, 3)
  made.emit('error', 4)
  made.emit('close')
  t.strictSame(events, [['upgrade', 1, 2, 3], ['error', 4], ['close']])
  request.destroy(new Error('x'))
  request.left({ code: 1000 } as never)
  t.match(made.calls, ['end', { message: 'x' }, { code: 1000 }])
  t.equal(getEventListeners(signal, 'abort').length, 0)
})

test('what it cannot be made for is an error, and the end', async t => {
  const request = new EventualRequest(undefined, async () => { throw new Error('no tunnel') })
  const events = record(request)
  request.end()
  await new Promise(resolve => { setImmediate(resolve) })
  t.match(events, [['error', { message: 'no tunnel' }], ['close']])
  request.left({} as never)
})

test('given up while it is made: at once, by whoever does that, and what comes then is dropped', async t => {
  for (const giveUp of ['destroy', 'abort']) {
    const controller = new AbortController()
    const { promise, resolve } = deferred<HandshakeRequest>()
    let inner: AbortSignal
    const request = new EventualRequest(controller.signal, signal => {
      inner = signal
      return promise
    })
    const events = record(request)
    request.end()
    const reason = new Error('enough')
    if (giveUp === 'abort') controller.abort(reason)
    else request.destroy(reason)
    t.strictSame(events, [['error', reason], ['close']])
    t.equal(inner!.reason, reason)
    request.destroy(new Error('again'))
    const made = new FakeRequest()
    resolve(made)
    await new Promise(resolve => { setImmediate(resolve) })
    t.strictSame(made.calls, ['destroy'])
    t.equal(events.length, 2)
    t.equal(getEventListeners(controller.signal, 'abort').length, 0)
  }
  const request = new EventualRequest(undefined, () => new Promise(() => {}))
  const events = record(request)
  request.end()
  request.destroy()
  t.strictSame(events, [['close']])
})
