import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server } from 'node:net'

/** Passes connections on to one server after the other, byte by byte: clients need not be sticky. */
export class Balancer {
  readonly #ports: number[] = []
  readonly #server: Server

  constructor () {
    this.#server = createServer(socket => {
      const port = this.#ports.shift()
      if (port === undefined) {
        socket.destroy()
        return
      }
      this.#ports.push(port)
      const upstream = connect(port, '127.0.0.1')
      socket.pipe(upstream).pipe(socket)
      for (const [end, other] of [[socket, upstream], [upstream, socket]] as const) {
        end.on('error', () => {}).on('close', () => { other.destroy() })
      }
    })
  }

  get port (): number { return (this.#server.address() as AddressInfo).port }

  async listen (options: { host: string, port: number }): Promise<void> {
    this.#server.listen(options)
    await once(this.#server, 'listening')
  }

  add (port: number): void { this.#ports.push(port) }

  remove (port: number): void {
    const index = this.#ports.indexOf(port)
    if (index !== -1) this.#ports.splice(index, 1)
  }

  /** No more connections are taken; those that there are end with their servers. */
  close (): void { this.#server.close() }
}
