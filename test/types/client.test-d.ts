import { expectTypeOf } from 'expect-type'
import { HandshakeError, reconnect, WebSocket } from '../../lib/index.ts'
import type { CloseInfo, ReconnectHandler, ReconnectOptions, ReconnectOutcome, ReconnectState, WebSocketConnection } from '../../lib/index.ts'

expectTypeOf(reconnect('ws://a', connection => { expectTypeOf(connection).toEqualTypeOf<WebSocketConnection>() })).toEqualTypeOf<Promise<CloseInfo>>()
void reconnect(new URL('ws://a'), async function * (connection, { attempt, last }) {
  expectTypeOf(attempt).toEqualTypeOf<number>()
  expectTypeOf(last).toEqualTypeOf<Error | CloseInfo | null>()
  for await (const message of connection) yield message
})
void reconnect(async ({ attempt, last, signal }) => {
  expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
  return last === null ? new URL('ws://a') : `ws://b/${attempt}`
}, () => {}, {
  headers: async () => ({ authorization: 'x' }),
  backoff: { max: 5 },
  retry: (outcome, { attempt }) => {
    expectTypeOf(outcome).toEqualTypeOf<ReconnectOutcome>()
    return outcome instanceof HandshakeError ? 1_000 : attempt < 5
  },
  onState: state => { expectTypeOf(state).toEqualTypeOf<ReconnectState>() },
  http2: 'auto',
  proxy: 'env',
  ref: false
})
expectTypeOf<ReconnectHandler>().toBeCallableWith({} as WebSocketConnection, { attempt: 1, last: null })
expectTypeOf<ReconnectOptions['http2']>().toEqualTypeOf<boolean | 'auto' | undefined>()
// @ts-expect-error a handler is needed
void reconnect('ws://a')
// @ts-expect-error there is no such option
void reconnect('ws://a', () => {}, { maxAttempts: 5 })

const socket = new WebSocket('ws://a', ['b'], { headers: { c: 'd' } })
expectTypeOf(socket).toEqualTypeOf<WebSocketConnection>()
expectTypeOf<WebSocket>().toEqualTypeOf<WebSocketConnection>()
expectTypeOf(WebSocket.OPEN).toEqualTypeOf<1>()
// @ts-expect-error subprotocols have a place of their own
void new WebSocket('ws://a', [], { protocols: ['b'] })
