// reconnect() and topics together: a client that is cut off at any moment has every message once.
import type { AddressInfo } from 'node:net'
import type { ServerHttp2Stream } from 'node:http2'
import Fastify, { type FastifyInstance } from 'fastify'
import { test } from 'tap'
import websocket, { reconnect } from '../../lib/index.ts'
import type { Encode } from '../../types/topics.ts'
import { CERTIFICATE, within } from '../helpers/http.ts'
import { integer, random } from '../helpers/random.ts'

const CUTS = 40

const encode: Encode = (payload, { position }) => JSON.stringify({ number: Number(payload), position })

for (const isHttp2 of [false, true]) {
  test(`over HTTP/${isHttp2 ? '2' : '1.1'} a client that is cut off ${CUTS} times, and says where it was, has every message once`, async t => {
    const chance = random(isHttp2 ? 2 : 1)
    const app = Fastify(isHttp2 ? { http2: true, https: { ...CERTIFICATE, allowHTTP1: true } } as object : {}) as FastifyInstance
    await app.register(websocket, { topics: { rules: [{ topic: '*', size: 5_000 }] } })
    const { topics } = app.websocketServer
    const versions = new Set<string>()
    const resumed: Array<Promise<{ recovered: boolean }>> = []
    app.get<{ Querystring: { since?: string } }>('/news', { websocket: true }, async (connection, { query: { since }, raw }) => {
      versions.add(raw.httpVersion)
      const result = connection.subscribe('news', { since, encode })
      if (since !== '') resumed.push(result)
      await result
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    t.teardown(() => app.close())
    const cut = (): void => {
      for (const client of app.websocketServer.clients) {
        const kind = integer(chance, 0, 2)
        if (kind === 0) client.terminate()
        else if (kind === 1) client.close(1012)
        else if (isHttp2) (client._socket as ServerHttp2Stream).session?.destroy()
        else client._socket!.destroy()
      }
    }

    let published = 0
    let cuts = 0
    const over = new AbortController()
    const publishing = (async () => {
      while (!over.signal.aborted) {
        for (let left = integer(chance, 0, 5); left > 0; left--) void topics.publish('news', String(published++))
        await new Promise(resolve => { setImmediate(resolve) })
      }
    })()
    const numbers: number[] = []
    let since = ''
    const url = `${isHttp2 ? 'wss' : 'ws'}://localhost:${(app.server.address() as AddressInfo).port}/news?since=`
    const closed = reconnect(() => url + encodeURIComponent(since), async connection => {
      let left = integer(chance, 1, 30)
      for await (const message of connection) {
        const { number, position } = JSON.parse(message as string)
        numbers.push(number)
        since = position
        if (left-- > 0) continue
        if (cuts++ === CUTS) break
        cut()
        left = Infinity
      }
    }, { retry: outcome => outcome instanceof Error || outcome.sent?.code !== 1000 ? 0 : false, http2: isHttp2, request: { ca: CERTIFICATE.cert, family: 4 } })
    await within(60_000, closed, 'the end')
    over.abort()
    await publishing
    const [first] = numbers
    t.strictSame(numbers, numbers.map((_, index) => first! + index))
    t.ok(resumed.length >= CUTS, 'more where a connection was cut before its first message')
    const results = await Promise.allSettled(resumed) // the last may still be on its way
    t.strictSame(results.filter(result => result.status === 'fulfilled' && !result.value.recovered), [])
    t.strictSame(versions, new Set([isHttp2 ? '2.0' : '1.1']))
  })
}
