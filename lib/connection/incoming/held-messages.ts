import type { Close } from '../../protocol/close.ts'
import type { ProtocolError } from '../../errors.ts'
import { Fifo } from '../../framing/fifo.ts'
import type { Message } from '../../framing/message-assembler.ts'

/** What came from the peer and waits for its turn: events keep the order in which their bytes came. */
export type HeldEntry =
  | { readonly type: 'message', readonly message: Message }
  | { readonly type: 'close', readonly close: Close }
  | { readonly type: 'failure', readonly error: ProtocolError }
  /** The peer's end of the stream. */
  | { readonly type: 'end' }

// what an entry costs beside its payload: the Buffer, the Message and the place in the queue
const ENTRY_OVERHEAD = 256

/** A queue of what was received and not delivered yet, that knows what it holds in bytes. */
export class HeldMessages {
  #entries: Fifo<HeldEntry> | null = null // as long as nothing has to wait
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

/** A small message is a view into the chunk it came with and would keep all of that in memory for as long as it waits. */
function detach (message: Message): Message {
  const { data, isBinary } = message
  return data.buffer.byteLength > 2 * data.length + ENTRY_OVERHEAD ? { data: Buffer.from(data), isBinary } : message
}
