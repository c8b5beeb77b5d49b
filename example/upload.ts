// There: message -> counted and hashed -> temporary file. Back: temporary file -> message.
// Between the two, and while the first is under way, small text messages say how far it is.
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { IncomingMessageReadable, WebSocketConnection } from '../lib/index.ts'

/** How many files there may be at a time; with MAX_FILE_BYTES it bounds what the disk has to hold. */
export const MAX_UPLOADS = 4
const MAX_FILE_BYTES = 8 * 1024 ** 3
const PROGRESS_INTERVAL = 100 // ms

// RFC 6455 §7.4.1
const UNSUPPORTED_DATA = 1003

/** What a client receives beside its file: JSON text messages. */
type Report =
  | { type: 'ready', id: string, maxBytes: number }
  | { type: 'progress', bytes: number }
  | { type: 'stored', bytes: number, sha256: string }

/** Keeps each client's file for as long as it takes to send it back. */
export class Uploads {
  readonly #folder: string
  readonly #connections = new Map<string, WebSocketConnection>()
  readonly #underWay = new Set<Promise<void>>()

  /** @param folder where the temporary files are */
  constructor (folder = tmpdir()) {
    this.#folder = folder
  }

  /** Sends each message back when all of it is there. Rejects when it cannot, or when the client is lost; no file stays behind. */
  serve (connection: WebSocketConnection): Promise<void> {
    const served = this.#serve(connection)
    this.#underWay.add(served)
    const forget = () => { this.#underWay.delete(served) }
    served.then(forget, forget)
    return served
  }

  /**
   * Drops the connection that was told this id. A client's own Close would wait behind the whole of its file.
   * @returns whether there is such a connection
   */
  cancel (id: string): boolean {
    const connection = this.#connections.get(id)
    connection?.terminate()
    return connection !== undefined
  }

  /** Resolves when no file is left of the uploads that are under way. */
  async settled (): Promise<void> {
    await Promise.allSettled(this.#underWay)
  }

  async #serve (connection: WebSocketConnection): Promise<void> {
    const id = randomUUID()
    const folder = await mkdtemp(join(this.#folder, 'upload-'))
    this.#connections.set(id, connection)
    try {
      await sendBack(connection, join(folder, 'message'), id)
    } finally {
      this.#connections.delete(id)
      await rm(folder, { recursive: true })
    }
  }
}

async function sendBack (connection: WebSocketConnection, file: string, id: string): Promise<void> {
  report(connection, { type: 'ready', id, maxBytes: MAX_FILE_BYTES })

  // not the connection's maxPayload, which is for messages in memory
  for await (const message of connection.messageStreams({ maxPayload: MAX_FILE_BYTES })) {
    if (!message.isBinary) {
      connection.close(UNSUPPORTED_DATA, 'expected a file as one binary message')
      return
    }
    report(connection, { type: 'stored', ...await store(connection, message, file) })
    await pipeline(createReadStream(file), connection.createMessageStream())
  }
}

async function store (connection: WebSocketConnection, message: IncomingMessageReadable, file: string): Promise<{ bytes: number, sha256: string }> {
  const hash = createHash('sha256')
  let bytes = 0
  let reported = 0
  // a client that has not taken one report gets no second
  const progress = setInterval(() => {
    if (bytes === reported || connection.bufferedAmount > 0) return
    reported = bytes
    report(connection, { type: 'progress', bytes })
  }, PROGRESS_INTERVAL)

  try {
    await pipeline(message, async function * (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk)
        bytes += chunk.length
        yield chunk
      }
    }, createWriteStream(file))
  } finally {
    clearInterval(progress)
  }
  return { bytes, sha256: hash.digest('hex') }
}

function report (connection: WebSocketConnection, report: Report): void {
  connection.send(JSON.stringify(report))
}
