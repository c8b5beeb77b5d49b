import Fastify from 'fastify'
import websocket, { fastifyWebsocket } from 'fastify-websocket-stream'

const app = Fastify()
app.register(websocket, { maxPayload: 1 })
app.register(fastifyWebsocket)
app.get('/x', { websocket: true }, (connection, request) => { connection.send(request.url) })
