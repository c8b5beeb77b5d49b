// Client libraries that are given our WebSocket: each says something, is cut off, comes back and says something again. What they want of a server is
// here as far as they want it: a few lines of each protocol.
import { test, type Test } from 'tap'
import { HttpTransportType, HubConnectionBuilder, LogLevel, type IHttpConnectionOptions } from '@microsoft/signalr'
import { Client as StompClient } from '@stomp/stompjs'
import { Centrifuge } from 'centrifuge'
import { WebSocket as PartySocket } from 'partysocket'
import { WebSocket } from '../../lib/index.ts'
import type { WebSocketConnection } from '../../types/connection.ts'
import { deferred, serve, within } from '../helpers/http.ts'
// has no declarations
const { Socket: PhoenixSocket } = await import('phoenix' as string)

/** A server whose connections can all be cut. */
async function start (t: Test, onMessage: (connection: WebSocketConnection, text: string) => void, protocols?: string[]): Promise<{ host: string, cut: () => void }> {
  const { app, site } = await serve(t, app => {
    app.get('/*', { websocket: { protocols } }, connection => {
      connection.on('message', data => { onMessage(connection, String(data)) })
    })
  })
  return { host: `127.0.0.1:${site.port}`, cut: () => { for (const client of app.websocketServer.clients) client.terminate() } }
}

test('partysocket', async t => {
  const { host, cut } = await start(t, (connection, text) => { connection.send(`echo ${text}`) })
  const socket = new PartySocket(`ws://${host}/`, [], { WebSocket, minReconnectionDelay: 1, maxReconnectionDelay: 5 })
  const messages: unknown[] = []
  const done = deferred()
  socket.addEventListener('open', () => { socket.send(String(messages.length)) })
  socket.addEventListener('message', ({ data }) => {
    messages.push(data)
    if (messages.length === 1) cut()
    else done.resolve()
  })
  await within(10_000, done.promise, 'the second echo')
  t.strictSame(messages, ['echo 0', 'echo 1'])
  socket.close()
})

test('phoenix', async t => {
  const { host, cut } = await start(t, (connection, text) => {
    const [joined, ref, topic] = JSON.parse(text)
    connection.send(JSON.stringify([joined, ref, topic, 'phx_reply', { status: 'ok', response: { text } }]))
  })
  const socket = new PhoenixSocket(`ws://${host}/socket`, { transport: WebSocket, reconnectAfterMs: () => 1, rejoinAfterMs: () => 1 })
  socket.connect()
  const channel = socket.channel('room:1')
  const events: string[] = []
  const done = deferred()
  channel.join().receive('ok', () => {
    channel.push('say', {}).receive('ok', ({ text }: { text: string }) => {
      events.push(JSON.parse(text)[3])
      if (events.length === 1) cut()
      else done.resolve()
    })
  })
  await within(10_000, done.promise, 'the second reply')
  t.strictSame(events, ['say', 'say'])
  await new Promise<void>(resolve => { socket.disconnect(resolve) })
})

test('@stomp/stompjs', async t => {
  const { host, cut } = await start(t, (connection, text) => {
    if (text.startsWith('CONNECT')) connection.send('CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0')
    if (text.startsWith('SEND')) connection.send(`MESSAGE\nsubscription:a\nmessage-id:1\ndestination:/topic/a\n\n${text.slice(text.indexOf('\n\n') + 2)}`)
    if (text.startsWith('DISCONNECT')) connection.send(`RECEIPT\nreceipt-id:${/receipt:(.*)/.exec(text)![1]}\n\n\0`)
  }, ['v12.stomp'])
  const bodies: string[] = []
  const done = deferred()
  const client = new StompClient({ webSocketFactory: () => new WebSocket(`ws://${host}/`, ['v12.stomp', 'v11.stomp']) as never, reconnectDelay: 1 })
  client.onConnect = () => {
    client.subscribe('/topic/a', ({ body }) => {
      bodies.push(body)
      if (bodies.length === 1) cut()
      else done.resolve()
    }, { id: 'a' })
    client.publish({ destination: '/topic/a', body: `hello ${bodies.length}` })
  }
  client.activate()
  await within(10_000, done.promise, 'the second message')
  t.strictSame(bodies, ['hello 0', 'hello 1'])
  await client.deactivate()
})

test('centrifuge', async t => {
  const { host, cut } = await start(t, (connection, text) => {
    for (const line of text.split('\n')) {
      const { id, connect, rpc } = JSON.parse(line)
      if (connect !== undefined) connection.send(JSON.stringify({ id, connect: { client: 'a', version: '1' } }))
      if (rpc !== undefined) connection.send(JSON.stringify({ id, rpc: { data: rpc.data } }))
    }
  })
  const client = new Centrifuge([{ transport: 'websocket', endpoint: `ws://${host}/` }], { websocket: WebSocket, minReconnectDelay: 1, maxReconnectDelay: 5 })
  const answers: unknown[] = []
  const done = deferred()
  client.on('connected', () => {
    void client.rpc('echo', { count: answers.length }).then(({ data }) => {
      answers.push(data)
      if (answers.length === 1) cut()
      else done.resolve()
    })
  })
  client.connect()
  await within(10_000, done.promise, 'the second answer')
  t.strictSame(answers, [{ count: 0 }, { count: 1 }])
  client.disconnect()
})

test('@microsoft/signalr', async t => {
  const END = '\u001e'
  const { host, cut } = await start(t, (connection, text) => {
    for (const record of text.split(END).filter(Boolean)) {
      const { protocol, invocationId, arguments: given } = JSON.parse(record)
      if (protocol !== undefined) connection.send(`{}${END}`)
      if (invocationId !== undefined) connection.send(JSON.stringify({ type: 3, invocationId, result: given }) + END)
    }
  })
  // its declarations keep WebSocket to themselves
  const options = { skipNegotiation: true, transport: HttpTransportType.WebSockets, WebSocket } as unknown as IHttpConnectionOptions
  const hub = new HubConnectionBuilder()
    .withUrl(`http://${host}/hub`, options)
    .withAutomaticReconnect([0, 1, 1])
    .configureLogging(LogLevel.None)
    .build()
  const back = deferred()
  hub.onreconnected(() => { back.resolve() })
  await hub.start()
  t.strictSame(await hub.invoke('echo', 1), [1])
  cut()
  await within(10_000, back.promise, 'the reconnection')
  t.strictSame(await hub.invoke('echo', 2), [2])
  await hub.stop()
})
