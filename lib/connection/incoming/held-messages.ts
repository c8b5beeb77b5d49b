import type { Close } from '../../protocol/close.ts'
import type { ProtocolError } from '../../errors.ts'
import { Fifo } from '../../framing/fifo.ts'
import type { Message } from '../../framing/message-assembler.ts'

/** What was received and waits for its turn, in order of arrival. */
export type HeldEntry =
  | { readonly type: 'message', readonly message: Message }
  | { readonly type: 'close', readonly close: Close }
  | { readonly type: 'failure', readonly error: ProtocolError }
  /** The peer's end of the stream. */
  | { readonly type: 'end' }

// bytes an entry takes besides its payload: the Buffer, the Message and the place in the queue
const ENTRY_OVERHEAD = 256

/** A queue of what was received and not yet delivered, which tracks its size in bytes. */
export class HeldMessages {
  #entries: Fifo<HeldEntry> | null = null // while nothing has to wait
  #bytes = 0

  get isEmpty (): boolean { return this.#entries === null }
  /** Of memory, overhead included. */
  get bytes (): number { return this.#bytes }

  add (entry: HeldEntry): void {
    const held = entry.type === 'message' ? { type: entry.type, message: detach(entry.message) } : entry
    this.#entries ??= new Fifo()
    this.#entries.push(held)
    this.#bytes += sizeOf(held)
  }

  peek (): HeldEntry | undefined {
    return this.#entries?.peek()
  }

  shift (): void {
    const entries = this.#entries!
    this.#bytes -= sizeOf(entries.shift()!)
    if (entries.isEmpty) this.#entries = null
  }

  clear (): void {
    this.#entries = null
    this.#bytes = 0
  }
}

function sizeOf (entry: HeldEntry): number {
  return ENTRY_OVERHEAD + (entry.type === 'message' ? entry.message.data.length : 0)
}

/** Copies a small message: as a view it would keep the whole chunk it came in alive. */
function detach (message: Message): Message {
  const { data, isBinary } = message
  return data.buffer.byteLength > 2 * data.length + ENTRY_OVERHEAD ? { data: Buffer.from(data), isBinary } : message
}
