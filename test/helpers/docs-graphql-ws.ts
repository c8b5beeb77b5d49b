// Stands for graphql-ws/use/@fastify/websocket where code of the documentation is compiled: test/types/neighbours has the true one.
import type { WebSocketHandler } from '../../types/index.ts'

export declare function makeHandler (options: object): WebSocketHandler
