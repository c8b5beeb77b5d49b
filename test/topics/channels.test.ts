import { channel } from 'node:diagnostics_channel'
import { test } from 'tap'
import { CHANNELS } from '../../lib/connection/observability.ts'
import { TOPIC_CHANNELS } from '../../lib/topics/channels.ts'

test('the channels of topics have names that stay, and are none of those for which a connection keeps its request', t => {
  const { gap, skip, state, error, ...rest } = TOPIC_CHANNELS
  const named = ['gap', 'skip', 'topics', 'topics-error'].map(name => channel(`fastify-websocket-stream:${name}`))
  t.strictSame([rest, [gap, skip, state, error].map((own, i) => own === named[i])], [{}, [true, true, true, true]])
  t.notOk(Object.values(CHANNELS).some(own => named.includes(own)))
  t.end()
})
