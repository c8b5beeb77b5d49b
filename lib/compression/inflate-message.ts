// a whole compressed message -> the original, by one-shot calls of zlib (RFC 7692 §7.2.2)
import { constants } from 'node:buffer'
import type { ZlibOptions } from 'node:zlib'
import { util, zlib } from '../builtins.ts'
import { invalidDeflate } from '../errors.ts'
import { MAX_WINDOW_BITS } from '../protocol/permessage-deflate.ts'
import { SlidingWindow } from './sliding-window.ts'

export const MAX_CHUNK = 64 * 1024
/** The largest window: no peer can refer back further, whatever was negotiated. */
export const WINDOW_SIZE = 2 ** MAX_WINDOW_BITS

/**
 * Appended to a message. §7.2.2: 00 00 ff ff, which its sender has removed. Then an empty final block, so that zlib can tell a complete
 * message from a truncated one.
 */
export const TRAILER = Buffer.from([0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff])
// §7.2.3.4: a message may contain final blocks. Each costs a call of zlib, and a peer can fit one into two bytes.
export const MAX_LAST_BLOCKS = 256
const SYNC_LAST_BLOCKS = 3

const EMPTY: Buffer = Buffer.alloc(0)

interface Step {
  readonly input: Buffer
  readonly options: ZlibOptions
}

interface Inflated {
  readonly buffer: Buffer
  readonly engine: { readonly bytesWritten: number }
}

/** Inflates synchronously. @returns null for more than `maxLength` bytes, or too many final blocks to do it at once */
export function inflateNow (data: Buffer, window: Buffer | undefined, maxLength: number): Buffer | null {
  try {
    const run = steps(data, window, maxLength)
    let step = run.next()
    for (let calls = 0; !step.done; calls++) {
      if (calls > SYNC_LAST_BLOCKS) return null
      step = run.next(zlib().inflateRawSync(step.value.input, step.value.options) as unknown as Inflated)
    }
    return step.value
  } catch (error) {
    return tooLarge(error)
  }
}

/** Inflates in the thread pool. @returns null for more than `maxLength` bytes */
export async function inflateLater (data: Buffer, window: Buffer | undefined, maxLength: number): Promise<Buffer | null> {
  try {
    const run = steps(data, window, maxLength)
    let step = run.next()
    while (!step.done) step = run.next(await inflateRaw(step.value.input, step.value.options) as unknown as Inflated)
    return step.value
  } catch (error) {
    return tooLarge(error)
  }
}

function tooLarge (error: unknown): null {
  if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return null
  throw toProtocolError(error)
}

export function toProtocolError (error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException
  return code === 'Z_DATA_ERROR' || code === 'Z_BUF_ERROR' ? invalidDeflate() : error
}

/** Yields calls of zlib, one for each final block. */
function * steps (data: Buffer, window: Buffer | undefined, maxLength: number): Generator<Step, Buffer | null, Inflated> {
  const outputs: Buffer[] = []
  let length = 0
  let input = Buffer.concat([data, TRAILER])
  let dictionary = window
  for (let calls = 0; calls <= MAX_LAST_BLOCKS; calls++) {
    const chunkSize = Math.max(1024, Math.min(input.length * 4, MAX_CHUNK))
    const maxOutputLength = Math.max(1, Math.min(maxLength - length, constants.MAX_LENGTH))
    const { buffer, engine } = yield { input, options: { info: true, chunkSize, maxOutputLength, ...withDictionary(dictionary) } }
    outputs.push(buffer)
    length += buffer.length
    if (length > maxLength) return null
    if (engine.bytesWritten === input.length) return outputs.length === 1 ? buffer : Buffer.concat(outputs)
    input = input.subarray(engine.bytesWritten)
    const seen = new SlidingWindow(WINDOW_SIZE)
    for (const bytes of [dictionary ?? EMPTY, buffer]) seen.add(bytes)
    dictionary = seen.bytes
  }
  throw invalidDeflate()
}

export function withDictionary (dictionary: Buffer | undefined): ZlibOptions {
  return dictionary === undefined || dictionary.length === 0 ? {} : { dictionary }
}

let inflateRawAsync: ((input: Buffer, options: ZlibOptions) => Promise<Buffer>) | null = null

function inflateRaw (input: Buffer, options: ZlibOptions): Promise<Buffer> {
  inflateRawAsync ??= util.promisify<Buffer, ZlibOptions, Buffer>(zlib().inflateRaw)
  return inflateRawAsync(input, options)
}
