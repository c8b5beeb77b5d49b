export type * from './connection.ts'
export type * from './options.ts'
export type * from './fastify.ts'
