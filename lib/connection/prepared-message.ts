// A message for many connections: encoded once, and compressed once for all that negotiated the same parameters.
import type { MessageData, PrepareOptions, PreparedMessage as Prepared } from '../../types/connection.ts'
import type { Deflater } from '../compression/deflater.ts'
import { FrameRun } from '../framing/frame-run.ts'
import { encodeFrameHeader, frameHeaderLength } from '../protocol/frame.ts'
import { toPayload } from './message-data.ts'
import { BINARY, TEXT } from '../protocol/opcode.ts'

type Deflated = FrameRun | null

/**
 * Prepares a message for send() on many connections. It is encoded once, and compressed once for all that negotiated the same
 * parameters without context takeover. Its bytes are copied.
 * @throws TypeError for a Blob and for data that cannot be sent
 */
export function prepare (data: MessageData, { binary, compress = true }: PrepareOptions = {}): PreparedMessage {
  const payload = toPayload(data)
  if (payload instanceof Blob) throw new TypeError('a Blob cannot be prepared: its bytes are not there yet')
  const isText = binary === undefined ? typeof payload === 'string' : !binary
  return new PreparedMessage(isText ? TEXT : BINARY, Buffer.from(payload), compress)
}

export class PreparedMessage implements Prepared {
  readonly opcode: typeof TEXT | typeof BINARY
  readonly payload: Buffer
  readonly mayCompress: boolean
  #frame: FrameRun | null = null
  // whole frames, by Deflater.form; null if compression does not make the message smaller
  readonly #deflated = new Map<string, Deflated | Promise<Deflated>>()

  constructor (opcode: typeof TEXT | typeof BINARY, payload: Buffer, mayCompress: boolean) {
    this.opcode = opcode
    this.payload = payload
    this.mayCompress = mayCompress
  }

  get length (): number { return this.payload.length }
  get isBinary (): boolean { return this.opcode === BINARY }
  get [Symbol.toStringTag] (): 'PreparedMessage' { return 'PreparedMessage' }

  /** The uncompressed, unmasked frame that a server sends. */
  get frame (): FrameRun {
    this.#frame ??= this.#encode(this.payload, false)
    return this.#frame
  }

  /** The frame compressed by `deflater`, which must keep no context; a promise while compression is running. */
  deflatedBy (deflater: Deflater): Deflated | Promise<Deflated> {
    const known = this.#deflated.get(deflater.form)
    if (known !== undefined) return known
    const made = deflater.isQuick(this.length) ? this.#take(deflater, deflater.deflateSync(this.payload)) : this.#deflateLater(deflater)
    this.#deflated.set(deflater.form, made)
    return made
  }

  async #deflateLater (deflater: Deflater): Promise<Deflated> {
    // if the compression fails, the message still goes out
    return this.#take(deflater, await deflater.deflate(this.payload).catch(() => null))
  }

  #take (deflater: Deflater, deflated: Buffer | null): Deflated {
    const frame = deflated === null ? null : this.#encode(deflated, true)
    this.#deflated.set(deflater.form, frame)
    return frame
  }

  #encode (payload: Buffer, rsv1: boolean): FrameRun {
    const frame = Buffer.allocUnsafeSlow(frameHeaderLength(payload.length, false) + payload.length)
    payload.copy(frame, encodeFrameHeader(frame, 0, this.opcode, true, rsv1, payload.length, null))
    return FrameRun.of(frame)
  }
}
