// messages -> compressed payloads (RFC 7692 §7.2.1)
import type { ZlibOptions } from 'node:zlib'
import { util, zlib } from '../builtins.ts'
import { Limiter } from './limiter.ts'
import { MAX_WINDOW_BITS, type Compression } from '../protocol/permessage-deflate.ts'
import { SlidingWindow } from './sliding-window.ts'

export interface DeflaterSettings {
  /** zlib's compression level. */
  readonly level: number
  /** Maximum memLevel of zlib; small messages are compressed with less. */
  readonly memLevel: number
  /** Minimum size of a message to compress, in bytes. */
  readonly threshold: number
  /** How many messages are compressed in the thread pool at a time, in the whole process. */
  readonly concurrency: number
}

// Larger messages would block the event loop for more than about 0.3 ms.
const SYNC_LENGTH = 32 * 1024
const TRAILER_LENGTH = 4 // 00 00 ff ff: §7.2.1
const EMPTY_MESSAGE = Buffer.from([0]) // §7.2.3.6
const MIN_WINDOW_BITS = 9 // supported by zlib

/**
 * Compresses the messages of one connection, each by a separate call of zlib. With context takeover only the last bytes sent are kept in
 * between.
 */
export class Deflater {
  readonly #settings: DeflaterSettings
  readonly #windowBits: number
  readonly #window: SlidingWindow | null

  constructor ({ contextTakeover, windowBits }: Compression, settings: DeflaterSettings) {
    this.#settings = settings
    this.#windowBits = windowBits
    // zlib has no window of 2^8 and would use 2^9; using the context is optional
    this.#window = contextTakeover && windowBits >= MIN_WINDOW_BITS ? new SlidingWindow(2 ** windowBits) : null
  }

  /** Messages may refer to earlier ones, so the result cannot be shared with other connections. */
  get keepsContext (): boolean { return this.#window !== null }

  /** Deflaters without context and with equal forms compress a message to the same bytes. */
  get form (): string {
    const { level, memLevel } = this.#settings
    return `${level} ${memLevel} ${this.#windowBits}`
  }

  /** Whether a message of `length` bytes is compressed. */
  takes (length: number): boolean {
    if (this.#windowBits < MIN_WINDOW_BITS && length > 2 ** this.#windowBits) return false
    return length >= this.#settings.threshold
  }

  /** Whether to use deflateSync(). */
  isQuick (length: number): boolean {
    return length <= SYNC_LENGTH
  }

  /** @returns null if the message would not get smaller */
  deflateSync (payload: Buffer): Buffer | null {
    if (payload.length === 0) return EMPTY_MESSAGE
    return this.#taken(payload, zlib().deflateRawSync(payload, this.#options(payload.length)))
  }

  /** Must not be called before the previous call has settled. @returns null if the message would not get smaller */
  async deflate (payload: Buffer): Promise<Buffer | null> {
    const deflated = await Limiter.of('deflate', this.#settings.concurrency).run(() => deflateRaw(payload, this.#options(payload.length)))
    return this.#taken(payload, deflated)
  }

  #taken (payload: Buffer, deflated: Buffer): Buffer | null {
    const length = deflated.length - TRAILER_LENGTH
    if (length >= payload.length) return null // sent uncompressed, so it does not enter the windows of either side
    this.#window?.add(payload)
    return deflated.subarray(0, length)
  }

  // Each call pays for the memory that zlib clears: 256 KiB with the usual settings, while a message of 1 KiB needs 12 KiB.
  #options (length: number): ZlibOptions {
    const { level, memLevel } = this.#settings
    const dictionary = this.#window?.bytes
    const bits = Math.ceil(Math.log2(length + (dictionary?.length ?? 0) + 1))
    const windowBits = Math.min(this.#windowBits, MAX_WINDOW_BITS, Math.max(MIN_WINDOW_BITS, bits))
    // zlib's buffer before it writes a block: half a window is enough; the maximum only with the largest window
    const mostMemory = windowBits === MAX_WINDOW_BITS ? 9 : Math.max(1, windowBits - 7)
    return {
      level,
      windowBits: Math.max(MIN_WINDOW_BITS, windowBits),
      memLevel: Math.min(memLevel, mostMemory),
      finishFlush: zlib().constants.Z_SYNC_FLUSH,
      // most messages fit into one chunk
      chunkSize: Math.max(64, Math.min(length + 64, 64 * 1024)),
      ...(dictionary === undefined || dictionary.length === 0 ? {} : { dictionary })
    }
  }
}

let deflateRawAsync: ((input: Buffer, options: ZlibOptions) => Promise<Buffer>) | null = null

function deflateRaw (input: Buffer, options: ZlibOptions): Promise<Buffer> {
  deflateRawAsync ??= util.promisify<Buffer, ZlibOptions, Buffer>(zlib().deflateRaw)
  return deflateRawAsync(input, options)
}
