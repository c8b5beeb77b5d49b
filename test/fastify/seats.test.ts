import { once } from 'node:events'
import { test } from 'tap'
import WebSocket from 'ws'
import { startApp } from '../helpers/app.ts'

function open (url: string): WebSocket {
  const client = new WebSocket(url)
  client.on('error', () => {})
  return client
}

async function status (client: WebSocket): Promise<number> {
  const [, response] = await once(client, 'unexpected-response') as [unknown, { statusCode: number, destroy: () => void }]
  response.destroy()
  return response.statusCode
}

test('maxConnections of the plugin counts the connections of all its routes, and a closed one makes room', async t => {
  const { app, url } = await startApp(t, { maxConnections: 2 }, app => {
    app.get('/a', { websocket: true }, () => {})
    app.get('/b', { websocket: true }, () => {})
  })
  const first = open(`${url}/a`)
  await once(first, 'open')
  await once(open(`${url}/b`), 'open')
  t.equal(await status(open(`${url}/a`)), 503)
  const [connection] = app.websocketServer.clients
  first.close()
  await connection!.closed
  await once(open(`${url}/a`), 'open')
  t.equal(await status(open(`${url}/b`)), 503)
  for (const client of app.websocketServer.clients) client.terminate()
})

test('maxConnections of a route counts the connections of that route alone', async t => {
  const { app, url } = await startApp(t, {}, app => {
    app.get('/one', { websocket: { maxConnections: 1 } }, () => {})
    app.get('/any', { websocket: true }, () => {})
  })
  await once(open(`${url}/any`), 'open')
  await once(open(`${url}/one`), 'open')
  t.equal(await status(open(`${url}/one`)), 503)
  await once(open(`${url}/any`), 'open')
  for (const client of app.websocketServer.clients) client.terminate()
})

test('a handshake that is refused in the end gives its seat back', async t => {
  let refuses = true
  const { app, url } = await startApp(t, { maxConnections: 1 }, app => {
    app.addHook('onSend', async (_request, reply, payload) => {
      if (refuses && reply.statusCode === 101) reply.code(403)
      return payload
    })
    app.get('/', { websocket: true }, () => {})
  })
  t.equal(await status(open(url)), 403)
  t.equal(await status(open(url)), 403)
  refuses = false
  await once(open(url), 'open')
  for (const client of app.websocketServer.clients) client.terminate()
})
