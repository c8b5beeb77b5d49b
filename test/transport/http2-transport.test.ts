// A stream of HTTP/2 as a connection's transport: how it ends, as its client sees it.
import { once } from 'node:events'
import { connect, constants, createServer, type ClientHttp2Stream, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { Http2Transport } from '../../lib/transport/http2-transport.ts'
import { listen, listenToData } from '../../lib/transport/stream-listener.ts'
import { within } from '../helpers/http.ts'

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = constants

interface Ends {
  transport: Http2Transport
  server: ServerHttp2Stream
  client: ClientHttp2Stream
}

/** Both ends of a stream that is answered and open both ways. */
async function open (t: Test, settings: { initialWindowSize?: number } = {}): Promise<Ends> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, { settings })
  t.teardown(() => {
    session.destroy()
    server.close()
  })
  const accepted = once(server, 'stream') as Promise<[ServerHttp2Stream]>
  const client = session.request({ ':method': 'POST' }, { endStream: false })
  client.on('error', () => {})
  const [stream] = await accepted
  const transport = new Http2Transport(stream)
  transport.tune()
  stream.respond({ ':status': 200 })
  await once(client, 'response')
  return { transport, server: stream, client }
}

/** All that comes until the stream is closed, and the code of that. */
async function rest (client: ClientHttp2Stream): Promise<{ length: number, code: number | undefined }> {
  let length = 0
  client.on('data', (chunk: Buffer) => { length += chunk.length })
  await within(5000, once(client, 'close'), 'the end of the stream')
  return { length, code: client.rstCode }
}

test('abort() resets the stream, behind what was written in the same turn', async t => {
  const { transport, server, client } = await open(t)
  server.write('x'.repeat(1000))
  transport.abort()
  t.strictSame(await rest(client), { length: 1000, code: NGHTTP2_CANCEL })
})

test('abort() resets a stream without anything to write, or whose client has no room for it', async t => {
  for (const length of [0, 1000]) {
    const { transport, server, client } = await open(t, { initialWindowSize: 0 })
    if (length > 0) server.write('x'.repeat(length))
    const closed = once(server, 'close')
    transport.abort()
    t.strictSame(await rest(client), { length: 0, code: NGHTTP2_CANCEL })
    await closed
  }
})

test('finish() ends a stream properly whose client leaves its side open', async t => {
  const { transport, server, client } = await open(t)
  const ended = once(client, 'end')
  server.write('x'.repeat(1000))
  transport.finish(true)
  t.strictSame(await rest(client), { length: 1000, code: NGHTTP2_NO_ERROR })
  await ended
})

test('finish() leaves the stream open to a peer that has more to say', async t => {
  const { transport, server, client } = await open(t)
  const answer = once(server, 'data') as Promise<[Buffer]>
  transport.finish(false)
  client.resume()
  await once(client, 'end')
  client.write('answer')
  const [chunk] = await within(5000, answer, 'the answer')
  t.equal(chunk.toString(), 'answer')
  t.equal(client.closed, false)
})

/** Tells of a stream what its listener is told. */
function listenTo (stream: ServerHttp2Stream): string[] {
  const told: string[] = []
  listen(stream, {
    onData () { told.push('data') }, onStreamEnd () { told.push('end') }, onDrain () { told.push('drain') }, onBeforeEnd () { told.push('before the end') }, onStreamClose () { told.push('close') }
  })
  listenToData(stream)
  return told
}

test('leave() ends our side and gives the client time to read it all and to answer', async t => {
  const { transport, server, client } = await open(t)
  const told = listenTo(server)
  server.write('x'.repeat(1000))
  transport.leave()
  t.strictSame(told, [])
  await new Promise(resolve => { setImmediate(resolve) })
  t.strictSame(told, ['close'], 'who listened is told of the end')
  for (let i = 0; i < 3; i++) await new Promise(resolve => { client.session!.ping(resolve) })
  t.equal(client.closed, false)
  const all = rest(client)
  await within(5000, once(client, 'end'), 'END_STREAM')
  client.write('answer')
  await within(5000, once(server, 'data'), 'the answer')
  client.end()
  t.strictSame(await all, { length: 1000, code: NGHTTP2_NO_ERROR })
  t.strictSame(told, ['close'], 'and of nothing else')
})

test('after leave() a client that has said something and does not end its side is reset a second later', async t => {
  const { transport, server, client } = await open(t)
  transport.leave()
  client.write('answer')
  client.write('and more')
  t.strictSame(await rest(client), { length: 0, code: NGHTTP2_NO_ERROR })
  t.equal(server.destroyed, true)
})

test('leave() of a stream whose side has ended before, and of one that nobody listens to', async t => {
  const { transport, server, client } = await open(t)
  transport.finish(false)
  await once(server, 'finish')
  transport.leave()
  client.end()
  t.strictSame(await rest(client), { length: 0, code: NGHTTP2_NO_ERROR })
})

test('a write after the client has reset the stream closes it', async t => {
  const { transport, server, client } = await open(t)
  server.pause()
  const closed = once(server, 'close')
  client.close(NGHTTP2_NO_ERROR)
  await within(5000, once(server, 'aborted'), 'the reset')
  server.write('x')
  await within(5000, closed, 'the end')
  t.equal(transport.stream.destroyed, true)
})

test('takeTurn() of a stream that is gone lets it write', async t => {
  const { transport, server } = await open(t)
  server.destroy()
  await once(server, 'close')
  let turns = 0
  transport.takeTurn(() => { turns++ })
  t.equal(turns, 1)
  transport.keepAlive() // nothing
})
