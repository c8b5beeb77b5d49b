// Bun's own server, which is native: what is possible outside of Node.
import { BURST } from '../workloads.ts'
import { serve } from './probe.ts'

interface BunWebSocket {
  readonly data: { readonly path: string }
  send (data: string | Uint8Array, compress: boolean): number
  subscribe (topic: string): void
}

interface BunServer {
  readonly port: number
  upgrade (request: Request, options: object): boolean
  publish (topic: string, data: string | Uint8Array): number
}

// of Bun 1.4, whose types would extend Node's
declare const Bun: { serve (options: object): BunServer, gc (force: boolean): void }

// what the probe asks for
Object.assign(globalThis, { gc: () => { Bun.gc(true) } })

const deflates = process.argv.includes('deflate')

await serve(async () => {
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch (request: Request, { upgrade }: BunServer) {
      const path = new URL(request.url).pathname
      return upgrade.call(server, request, { data: { path } }) ? undefined : new Response('', { status: 426 })
    },
    websocket: {
      perMessageDeflate: deflates,
      open (webSocket: BunWebSocket) {
        const { path } = webSocket.data
        if (path !== '/echo') webSocket.subscribe(path)
      },
      message (webSocket: BunWebSocket, data: string | Uint8Array) {
        const { path } = webSocket.data
        if (path === '/echo') {
          webSocket.send(data, deflates)
          return
        }
        const times = path === '/burst' ? BURST : 1
        for (let i = 0; i < times; i++) server.publish(path, data)
      }
    }
  })
  return server.port
})
