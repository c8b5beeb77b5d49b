import { test } from 'tap'
import { noTraffic } from '../../lib/connection/observability.ts'
import { Tally } from '../../lib/fastify/tally.ts'

test('what has ended is counted by its code, with all that went through it, and nothing waits in it any more', t => {
  const tally = new Tally()
  tally.opened = 3
  const connection = { addTo: (sum: ReturnType<typeof noTraffic>) => { sum.messagesReceived += 2; sum.bytesSent += 7; sum.held += 100; sum.unsent += 5 } }
  tally.onClose(connection, { code: 1006 })
  tally.onClose(connection, { code: 1006 })
  t.equal(tally.open, 1)
  t.strictSame([...tally.closes], [[1006, 2]])
  t.strictSame(tally.past, { ...noTraffic(), messagesReceived: 4, bytesSent: 14 })
  t.end()
})
