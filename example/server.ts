import type { FastifyInstance } from 'fastify'
import { buildApp, newTopics } from './app.ts'
import { makeCertificate } from './certificate.ts'

const host = process.env['HOST'] ?? '127.0.0.1'
const port = Number(process.env['PORT'] ?? 8000)
const securePort = Number(process.env['HTTPS_PORT'] ?? 8443)

const topics = newTopics()
const secure = { port: null as number | null }
const app = await buildApp({ logger: true, topics, secure, node: { name: 'http', count: 1 } })
const apps = [app]

// `once`: a second signal finds no listener and ends the process at once
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    app.log.info(`${signal}: closing`)
    Promise.all(apps.map(app => app.close())).then(
      () => { process.exit() },
      (error) => {
        app.log.error(error)
        process.exit(1)
      }
    )
  })
}

try {
  const address = await app.listen({ host, port })
  const isSecure = await listenSecurely()
  console.log(`Open ${address}/ in a browser or two${isSecure ? `, or https://localhost:${securePort}/ for HTTP/2` : ''}. Ctrl+C ends it.`)
} catch (error) {
  app.log.error(error)
  process.exitCode = 1
}

/** The same over HTTP/2, where there is what it needs. */
async function listenSecurely (): Promise<boolean> {
  try {
    const app: FastifyInstance = await buildApp({
      logger: true, topics, secure, node: { name: 'https', count: 1 }, certificate: await makeCertificate()
    })
    await app.listen({ host, port: securePort })
    secure.port = securePort
    apps.push(app)
    return true
  } catch (error) {
    app.log.warn(error, 'not served over HTTP/2')
    return false
  }
}
