import type { AddressInfo } from 'node:net'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { connect } from '../../lib/index.ts'
import { CERTIFICATE } from '../helpers/http.ts'
import { contract } from './contract.ts'

const portOf = (app: FastifyInstance): number => (app.server.address() as AddressInfo).port

contract({
  name: 'TLS',
  server: { https: CERTIFICATE } as FastifyServerOptions,
  origin: 'https://app.example',
  async prepare (t, app) {
    t.teardown(() => app.close())
    await app.listen({ port: 0, host: '127.0.0.1' })
  },
  async open (app, path, { headers, ...options } = {}) {
    return connect(`wss://127.0.0.1:${portOf(app)}${path}`, {
      ...options, headers: { host: 'app.example', ...headers }, request: { ca: CERTIFICATE.cert, servername: 'localhost' }
    })
  }
})
