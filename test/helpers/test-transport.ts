import { Duplex } from 'node:stream'
import type { Transport } from '../../lib/transport/transport.ts'
import { readFrames } from './frames.ts'

type Taken = (error?: Error) => void

/** A transport that says what it was given, and takes it only when it is told to. */
export class TestTransport implements Transport {
  readonly ownsChunks = true
  takesAtOnce = false
  readonly writes: Buffer[] = []
  readonly stream: Duplex
  finished = 0
  /** Whether what is written is taken of its own accord: in a later turn (true), or before write() returns, as the kernel does. */
  takes: boolean | 'at once' = true
  /** Of what is taken at once. */
  error: Error | undefined
  /** Bytes. */
  taken = 0
  #waiting: Taken[] = []

  constructor (highWaterMark = 64 * 1024) {
    const write = (chunks: Buffer[], callback: Taken): void => {
      const bytes = Buffer.concat(chunks)
      this.writes.push(bytes)
      const taken: Taken = error => {
        if (error === undefined) this.taken += bytes.length
        callback(error)
      }
      if (this.takes === 'at once') taken(this.error)
      else if (this.takes) setImmediate(taken)
      else this.#waiting.push(taken)
    }
    this.stream = new Duplex({
      highWaterMark,
      read () {},
      write (chunk: Buffer, _encoding, callback) { write([chunk], callback) },
      writev (chunks, callback) { write(chunks.map(({ chunk }: { chunk: Buffer }) => chunk), callback) }
    })
    this.stream.on('error', () => {})
  }

  tune (): void {}
  keepAlive (): void {}
  finish (): void {
    this.finished++
    this.stream.end()
  }

  abort (): void {
    this.stream.destroy()
  }

  take (error?: Error): void {
    for (const callback of this.#waiting.splice(0)) callback(error)
  }

  get frames (): string[] {
    return readFrames(Buffer.concat(this.writes)).frames.map(({ opcode, fin, payload }) =>
      `${opcode}${fin ? '' : '...'} ${payload.length > 20 ? payload.length : payload}`.trimEnd())
  }
}
