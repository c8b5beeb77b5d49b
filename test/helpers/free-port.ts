// A port on which a server that cannot choose one itself may listen, and listen again.
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

// Where systems begin to take ports for those who ask for any, and for connections to others: Linux at 32,768, the rest later. A port from there on
// may be another's by the time that the server comes, or comes back.
const FIRST = 10_000
const END = 32_768

let next = randomInt(FIRST, END) // no port twice, as some are given to servers that listen later; and other processes begin elsewhere

export async function freePort (): Promise<number> {
  for (;;) {
    const port = next
    next = port + 1 === END ? FIRST : port + 1
    if (await isFree(port)) return port
  }
}

const isFree = (port: number): Promise<boolean> => new Promise((resolve, reject) => {
  const server = createServer()
  server.once('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(false)
    else reject(error)
  })
  server.listen(port, '127.0.0.1', () => { server.close(() => { resolve(true) }) })
})
