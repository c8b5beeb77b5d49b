import 'graphql-ws/use/@fastify/websocket'
import '@fastify/websocket'
import 'fastify-websocket-stream'
import './routes.mts'
