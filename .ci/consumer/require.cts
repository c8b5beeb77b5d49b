import Fastify = require('fastify')
import websocket = require('fastify-websocket-stream')

const app = Fastify()
app.register(websocket, { maxPayload: 1 })
app.register(websocket.fastifyWebsocket)
app.register(websocket.default)
app.get('/x', { websocket: true }, (connection, request) => { connection.send(request.url) })
