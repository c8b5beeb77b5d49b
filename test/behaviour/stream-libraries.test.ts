// Libraries that are given a stream and know nothing of WebSocket.
import { pipeline } from 'node:stream/promises'
import { Aedes } from 'aedes'
import mqtt from 'mqtt'
import split2 from 'split2'
import { test } from 'tap'
import { startApp, startConnection } from '../helpers/app.ts'
import { binary, close, text } from '../helpers/raw-client.ts'

test('aedes serves mqtt.js clients over toDuplex(): messages of all sizes in order, at least once, and a shutdown', async t => {
  const broker = await Aedes.createBroker()
  t.teardown(() => new Promise<void>(resolve => { broker.close(resolve) }))
  const { url, app } = await startApp(t, { protocols: ['mqtt'] }, app => {
    app.get('/', { websocket: true }, connection => { broker.handle(connection.toDuplex()) })
  })
  const connect = (): Promise<mqtt.MqttClient> => mqtt.connectAsync(url, { reconnectPeriod: 0 })
  const [subscriber, publisher] = await Promise.all([connect(), connect()])
  await subscriber.subscribeAsync('numbers', { qos: 1 })

  const count = 1000
  const received: number[] = []
  const all = new Promise<void>(resolve => {
    subscriber.on('message', (_topic, payload) => {
      received.push(payload.readUInt32BE())
      if (received.length === count) resolve()
    })
  })
  await Promise.all(Array.from({ length: count }, (_, i) => {
    const payload = Buffer.alloc(i % 50 === 0 ? 100_000 : 50)
    payload.writeUInt32BE(i)
    return publisher.publishAsync('numbers', payload, { qos: 1 })
  }))
  await all
  t.strictSame(received, Array.from({ length: count }, (_, i) => i))

  await publisher.endAsync()
  const closed = new Promise(resolve => { subscriber.once('close', () => { resolve(undefined) }) })
  await app.close()
  await closed
})

test('split2 makes lines of messages that end anywhere, and the answer to the last goes out before the Close', async t => {
  const { client } = await startConnection(t, { closeTimeout: 60_000 }, async connection => {
    const stream = connection.toDuplex({ binary: false })
    await pipeline(stream, split2((line: string) => `${line.toUpperCase()};`), stream)
  })
  client.write(text('one\ntw'), binary('o\nthr'), text('ee'), close(1000))
  t.strictSame(await client.rest(), ['text ONE;', 'text TWO;', 'text THREE;', 'close 1000'])
})
