import type { Encode, Entry, MessageData } from '../../types/index.ts'
import { PreparedMessage, prepare } from '../connection/prepared-message.ts'
import type { Subscriber } from '../connection/subscriber.ts'
import { formatPosition } from './position.ts'

/** A message on its way to the subscribers of this process: framed once for all of them, and once per encode function. */
export class Publication {
  readonly topic: string
  /** The broker's entry; null for a topic without numbers. */
  readonly entry: Entry | null
  readonly message: PreparedMessage
  /** A subscriber that does not get it. */
  readonly except: Subscriber | null
  // null: it threw
  #encoded: Map<Encode, PreparedMessage | null> | null = null

  constructor (topic: string, entry: Entry | null, message: PreparedMessage, except: Subscriber | null) {
    this.topic = topic
    this.entry = entry
    this.message = message
    this.except = except
  }

  get position (): string | null { return this.entry === null ? null : formatPosition(this.entry.head) }

  /** @param onError called once if the function throws @returns null if it threw */
  encodedBy (encode: Encode | null, onError: (error: unknown) => void): PreparedMessage | null {
    if (encode === null) return this.message
    this.#encoded ??= new Map()
    let encoded = this.#encoded.get(encode)
    if (encoded === undefined) {
      encoded = this.#encode(encode, onError)
      this.#encoded.set(encode, encoded)
    }
    return encoded
  }

  #encode (encode: Encode, onError: (error: unknown) => void): PreparedMessage | null {
    const { topic, position, message } = this
    try {
      // a copy, as other subscribers share the bytes
      return toMessage(encode(Buffer.from(message.payload), { topic, position, binary: message.isBinary }), { compress: message.mayCompress })
    } catch (error) {
      onError(error)
      return null
    }
  }
}

/** @throws TypeError for data that cannot be prepared, such as a Blob */
export function toMessage (data: MessageData | PreparedMessage, options?: { binary?: boolean | undefined, compress?: boolean | undefined }): PreparedMessage {
  return data instanceof PreparedMessage ? data : prepare(data, options)
}
