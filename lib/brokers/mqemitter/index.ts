// What `fastify-websocket-stream/mqemitter` is.
export { mqemitterBroker, type Emitter, type MqemitterBrokerOptions } from './mqemitter-broker.ts'
