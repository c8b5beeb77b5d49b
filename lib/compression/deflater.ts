// messages -> compressed payloads (RFC 7692 §7.2.1)
import { constants, deflateRaw, deflateRawSync, type ZlibOptions } from 'node:zlib'
import { promisify } from 'node:util'
import { Limiter } from './limiter.ts'
import { MAX_WINDOW_BITS, type Compression } from '../protocol/permessage-deflate.ts'
import { SlidingWindow } from './sliding-window.ts'

const deflateRawAsync = promisify<Buffer, ZlibOptions, Buffer>(deflateRaw)

export interface DeflaterSettings {
  /** Of zlib. */
  readonly level: number
  /** Of zlib, at most: a small message is compressed with less. */
  readonly memLevel: number
  /** The smallest message that is compressed, in bytes. */
  readonly threshold: number
  /** How many messages are compressed beside the event loop at a time, in the whole process. */
  readonly concurrency: number
}

// Above this many bytes compressing would hold up the event loop: some 0.3 ms.
const SYNC_LENGTH = 32 * 1024
const TRAILER_LENGTH = 4 // 00 00 ff ff: §7.2.1
const EMPTY_MESSAGE = Buffer.from([0]) // §7.2.3.6
const MIN_WINDOW_BITS = 9 // of zlib

/**
 * Compresses the messages of one connection, each by a call of its own. Nothing is kept in between, except for the last bytes that
 * were sent, with context takeover.
 */
export class Deflater {
  readonly #settings: DeflaterSettings
  readonly #windowBits: number
  readonly #window: SlidingWindow | null

  constructor ({ contextTakeover, windowBits }: Compression, settings: DeflaterSettings) {
    this.#settings = settings
    this.#windowBits = windowBits
    // zlib has no window of 2^8, it would use 2^9; and using the context is optional
    this.#window = contextTakeover && windowBits >= MIN_WINDOW_BITS ? new SlidingWindow(2 ** windowBits) : null
  }

  /** A message may refer to those before it, so it cannot be shared with other connections. */
  get keepsContext (): boolean { return this.#window !== null }

  /** Deflaters without a context and with the same form compress a message to the same bytes. */
  get form (): string {
    const { level, memLevel } = this.#settings
    return `${level} ${memLevel} ${this.#windowBits}`
  }

  /** Whether a message of `length` bytes is compressed. */
  takes (length: number): boolean {
    if (this.#windowBits < MIN_WINDOW_BITS && length > 2 ** this.#windowBits) return false
    return length >= this.#settings.threshold
  }

  /** Whether it is done by deflateSync(). */
  isQuick (length: number): boolean {
    return length <= SYNC_LENGTH
  }

  /** @returns null when it would not get smaller */
  deflateSync (payload: Buffer): Buffer | null {
    if (payload.length === 0) return EMPTY_MESSAGE
    return this.#taken(payload, deflateRawSync(payload, this.#options(payload.length)))
  }

  /** One at a time. @returns null when it would not get smaller */
  async deflate (payload: Buffer): Promise<Buffer | null> {
    const deflated = await Limiter.of('deflate', this.#settings.concurrency).run(() => deflateRawAsync(payload, this.#options(payload.length)))
    return this.#taken(payload, deflated)
  }

  #taken (payload: Buffer, deflated: Buffer): Buffer | null {
    const length = deflated.length - TRAILER_LENGTH
    if (length >= payload.length) return null // and the message does not enter the window, as it does not enter the peer's
    this.#window?.add(payload)
    return deflated.subarray(0, length)
  }

  // Each call pays for the memory that zlib clears: 256 KiB with the usual settings, of which a message of 1 KiB needs 12.
  #options (length: number): ZlibOptions {
    const { level, memLevel } = this.#settings
    const dictionary = this.#window?.bytes
    const bits = Math.ceil(Math.log2(length + (dictionary?.length ?? 0) + 1))
    const windowBits = Math.min(this.#windowBits, MAX_WINDOW_BITS, Math.max(MIN_WINDOW_BITS, bits))
    // of what zlib keeps before it writes a block: half a window, but for who asks for all there is
    const mostMemory = windowBits === MAX_WINDOW_BITS ? 9 : Math.max(1, windowBits - 7)
    return {
      level,
      windowBits: Math.max(MIN_WINDOW_BITS, windowBits),
      memLevel: Math.min(memLevel, mostMemory),
      finishFlush: constants.Z_SYNC_FLUSH,
      // at once where it fits, as most do
      chunkSize: Math.max(64, Math.min(length + 64, 64 * 1024)),
      ...(dictionary === undefined || dictionary.length === 0 ? {} : { dictionary })
    }
  }
}
