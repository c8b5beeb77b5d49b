// `fastify-websocket-stream/mqemitter`
export { mqemitterBroker, type Emitter, type MqemitterBrokerOptions } from './mqemitter-broker.ts'
