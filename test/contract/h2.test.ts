import type { FastifyServerOptions } from 'fastify'
import { CERTIFICATE } from '../helpers/http.ts'
import { openOverHttp2 } from '../helpers/http2.ts'
import { contract } from './contract.ts'

contract({
  name: 'HTTP/2 on TLS',
  server: { http2: true, https: { ...CERTIFICATE, allowHTTP1: true } } as unknown as FastifyServerOptions,
  origin: 'https://app.example',
  async prepare (t, app) {
    t.teardown(() => app.close())
    await app.listen({ port: 0, host: '127.0.0.1' })
  },
  open: openOverHttp2
})
