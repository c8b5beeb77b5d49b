import type { FastifyServerOptions } from 'fastify'
import { openOverHttp2 } from '../helpers/http2.ts'
import { contract } from './contract.ts'

contract({
  name: 'HTTP/2 in cleartext',
  server: { http2: true } as unknown as FastifyServerOptions,
  origin: 'http://app.example',
  async prepare (t, app) {
    t.teardown(() => app.close())
    await app.listen({ port: 0, host: '127.0.0.1' })
  },
  open: openOverHttp2
})
