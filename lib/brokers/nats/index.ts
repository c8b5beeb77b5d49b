// `fastify-websocket-stream/nats`
export { natsBroker, type NatsBrokerOptions } from './nats-broker.ts'
