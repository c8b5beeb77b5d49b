import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { connect } from '../../lib/index.ts'
import { contract } from './contract.ts'

const portOf = (app: FastifyInstance): number => (app.server.address() as AddressInfo).port

contract({
  name: 'HTTP/1.1',
  server: {},
  origin: 'http://app.example',
  async prepare (t, app) {
    t.teardown(() => app.close())
    await app.listen({ port: 0, host: '127.0.0.1' })
  },
  async open (app, path, { headers, ...options } = {}) {
    return connect(`ws://127.0.0.1:${portOf(app)}${path}`, { ...options, headers: { host: 'app.example', ...headers } })
  }
})
