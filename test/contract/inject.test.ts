import type { FastifyServerOptions } from 'fastify'
import { CERTIFICATE } from '../helpers/http.ts'
import { contract } from './contract.ts'

for (const [name, server, origin] of [
  ['injectWS()', {}, 'http://localhost'],
  ['injectWS() into an app on TLS', { https: CERTIFICATE } as FastifyServerOptions, 'https://localhost'],
  ['injectWS() into an app on HTTP/2', { http2: true } as unknown as FastifyServerOptions, 'http://localhost'],
  ['injectWS() into an app on HTTP/2 and TLS', { http2: true, https: CERTIFICATE } as unknown as FastifyServerOptions, 'https://localhost']
] as Array<[string, FastifyServerOptions, string]>) {
  contract({
    name,
    server,
    origin,
    async prepare (t, app) {
      t.teardown(() => app.close())
    },
    async open (app, path, options) {
      return app.injectWS(path, options)
    }
  })
}
