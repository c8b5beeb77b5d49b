const assert = require('node:assert')
const Fastify = require('fastify')
const websocket = require('fastify-websocket-stream')

process.on('warning', warning => { throw warning })
async function main () {
  assert.strictEqual(typeof websocket, 'function')
  assert.strictEqual(websocket.default, websocket)
  assert.strictEqual(websocket.fastifyWebsocket, websocket)
  assert.strictEqual(typeof websocket.FrameParser, 'function')
  for (const plugin of [websocket, { default: websocket }, import('fastify-websocket-stream')]) {
    const app = Fastify()
    app.register(plugin)
    await app.ready()
    assert.strictEqual(app.websocketServer.clients.size, 0)
    await app.close()
  }
}
main()
