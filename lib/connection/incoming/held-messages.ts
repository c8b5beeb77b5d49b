import type { Close } from '../../protocol/close-payload.ts'
import type { ProtocolError } from '../../errors.ts'
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
// how many entries that were taken out may stay behind before the queue is copied
const COMPACT_FROM = 32

const NONE: HeldEntry[] = []

/** A queue of what was received and not delivered yet, that knows what it holds in bytes. */
export class HeldMessages {
  #entries: HeldEntry[] = NONE // as long as nothing has to wait
  #next = 0
  #bytes = 0

  get isEmpty (): boolean { return this.#next === this.#entries.length }
  /** Of memory, overhead included. */
  get bytes (): number { return this.#bytes }

  add (entry: HeldEntry): void {
    const held = entry.type === 'message' ? { type: entry.type, message: detach(entry.message) } : entry
    if (this.#entries === NONE) this.#entries = []
    this.#entries.push(held)
    this.#bytes += sizeOf(held)
  }

  peek (): HeldEntry | undefined {
    return this.#entries[this.#next]
  }

  shift (): void {
    this.#bytes -= sizeOf(this.#entries[this.#next]!)
    this.#next++
    if (this.isEmpty) {
      this.clear()
    } else if (this.#next >= COMPACT_FROM && this.#next * 2 >= this.#entries.length) {
      this.#entries = this.#entries.slice(this.#next)
      this.#next = 0
    }
  }

  clear (): void {
    this.#entries = NONE
    this.#next = 0
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
