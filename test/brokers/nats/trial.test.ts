// What is tried at the start, where what is published gets lost. What is refused is in jetstream-broker.test.ts.
import { headers, type Msg, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node'
import { test } from 'tap'
import { Layout } from '../../../lib/brokers/nats/layout.ts'
import type { Session } from '../../../lib/brokers/nats/session.ts'
import type { Stream } from '../../../lib/brokers/nats/stream.ts'
import { tryAll } from '../../../lib/brokers/nats/trial.ts'
import { NODE } from '../../../lib/topics/environment.ts'
import { turn } from '../../helpers/app.ts'

function start (): { trial: Promise<void>, come: (subject: string, fields?: MsgHdrs) => void, expire: () => void, ended: () => boolean, published: MsgHdrs[] } {
  let [callback, isEnded, expire] = [(_error: null, _message: Msg): void => {}, false, (): void => {}]
  const published: MsgHdrs[] = []
  const connection = {
    subscribe: (_subject: string, options: { callback: typeof callback }) => {
      callback = options.callback
      return { unsubscribe: () => { isEnded = true } }
    },
    publish: (_subject: string, _payload: Buffer, { headers }: { headers: MsgHdrs }) => { published.push(headers) }
  } as unknown as NatsConnection
  const stream = {
    size: 5,
    publish: async (_session: Session, _token: string, _body: Buffer, fields: MsgHdrs) => { published.push(fields) },
    last: async () => null
  } as unknown as Stream
  const environment = {
    ...NODE,
    schedule: (callback: () => void) => {
      expire = callback
      return () => {}
    }
  }
  const session = { flush: async () => {} } as unknown as Session
  const trial = tryAll(session, { connection, layout: new Layout('ws1'), streams: [stream], hasPlain: true, timeout: 1, environment })
  return {
    trial,
    published,
    come: (subject, headers) => { callback(null, { subject, headers } as unknown as Msg) },
    expire: () => { expire() },
    ended: () => isEnded
  }
}

test('each way is tried, and only what comes of that counts', async t => {
  const { trial, come, expire, published, ended } = start()
  await turn()
  come('ws1.live.5.-', headers())
  come('ws1.live.7.-', published[0])
  come('ws1.live.5.-')
  await turn()
  t.equal(published.length, 1)
  come('ws1.live.5.-', published[0])
  await turn()
  t.equal(published.length, 2)
  t.equal(ended(), false)
  come('ws1.live.plain.-', published[1])
  await trial
  t.ok(ended())
  expire()
})

test('what does not come in time is a refusal, which names where', async t => {
  const { trial, expire, ended } = start()
  await turn()
  expire()
  await t.rejects(trial, { code: 'FST_WS_TOPICS_REFUSED', message: /what was published did not come on ws1\.live\.5\.-/ })
  t.ok(ended())
})
