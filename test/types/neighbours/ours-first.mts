import 'fastify-websocket-stream'
import '@fastify/websocket'
import 'graphql-ws/use/@fastify/websocket'
import './routes.mts'
