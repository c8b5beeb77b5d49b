import { buildApp } from './app.ts'

const host = process.env['HOST'] ?? '127.0.0.1'
const port = Number(process.env['PORT'] ?? 8000)

const app = await buildApp({ logger: true })

// `once`: a second signal finds no listener and ends the process at once
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    app.log.info(`${signal}: closing`)
    app.close().then(
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
  console.log(`Open ${address}/ in a browser or two. Ctrl+C ends it.`)
} catch (error) {
  app.log.error(error)
  process.exitCode = 1
}
