// What an HTTP/2 peer may send before it has to wait.
import { once } from 'node:events'
import { connect, createServer, type Http2Server, type Http2Session, type ServerHttp2Session } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { SESSION_WINDOW, STREAM_WINDOW, widenWindows } from '../../lib/transport/session-windows.ts'

/** Both sides of a session whose settings are acknowledged. */
async function open (t: Test, server: Http2Server = createServer()) {
  server.listen(0, '127.0.0.1')
  t.teardown(() => { server.close() })
  await once(server, 'listening')
  const accepted = once(server, 'session') as Promise<[ServerHttp2Session]>
  const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.teardown(() => { client.destroy() })
  const [[session]] = await Promise.all([accepted, once(client, 'remoteSettings')])
  /** By its answer each side has what the other has sent before. */
  const ping = (): Promise<void> => new Promise((resolve, reject) => {
    client.ping((error) => {
      if (error === null) resolve()
      else reject(error)
    })
  })
  for (let i = 0; i < 3; i++) await ping()
  return { client, session, ping }
}

test('a session that has the windows with which HTTP/2 begins gets wider ones', async t => {
  const { client, session, ping } = await open(t)
  t.match([client.state.remoteWindowSize, client.remoteSettings.initialWindowSize], [65_535, 65_535])
  widenWindows(session)
  for (let i = 0; i < 3; i++) await ping()
  t.match([client.state.remoteWindowSize, client.remoteSettings.initialWindowSize], [SESSION_WINDOW, STREAM_WINDOW])
})

test('what the application has set stays, larger or smaller', async t => {
  for (const size of [40_000, 2 ** 24]) {
    const { client, session, ping } = await open(t, createServer({ settings: { initialWindowSize: size } }))
    session.setLocalWindowSize(Math.max(size, 70_000))
    await ping()
    widenWindows(session)
    for (let i = 0; i < 3; i++) await ping()
    t.match([client.state.remoteWindowSize, client.remoteSettings.initialWindowSize], [Math.max(size, 70_000), size])
  }
})

test('a stream that fills the window of a session does not keep the others waiting for what it sends next', async t => {
  const { client, session, ping } = await open(t)
  widenWindows(session)
  for (let i = 0; i < 3; i++) await ping()
  let received = 0
  session.on('stream', (stream) => { // nobody reads the first
    stream.on('error', () => {}) // cut off with its session
    if (received++ > 0) stream.respond()
  })
  const unread = client.request({ ':method': 'POST' })
  unread.write(Buffer.alloc(2 * STREAM_WINDOW))
  const read = client.request({ ':method': 'POST' })
  read.end(Buffer.alloc(STREAM_WINDOW))
  await once(read, 'response')
  t.equal(received, 2)
})

test('a session that is gone is left alone', t => {
  t.doesNotThrow(() => { widenWindows({ destroyed: true } as Http2Session) }, 'its methods would throw')
  t.end()
})
