// The object an application holds. It has the public members and no others, as applications set properties of their own on it.
import type { Duplex, Writable } from 'node:stream'
import type {
  BinaryType, CloseInfo, ConnectionInfo, ConnectionStats, CreateMessageStreamOptions, IncomingMessageReadable, MessageData, MessageStreamsOptions,
  MessageWebStreams, PreparedMessage as Prepared, PrepareOptions, ReadyState, ReceiveOptions, SendCallback, SendOptions, ToDuplexOptions,
  WebSocketConnection
} from '../../types/connection.ts'
import type { PublishOptions, PublishResult, SubscribeOptions, SubscribeResult } from '../../types/topics.ts'
import { noTopics, notTyped } from '../errors.ts'
import { BINARY, PING, PONG, TEXT } from '../protocol/opcode.ts'
import { ConnectionCore, type ConnectionOwner } from './core.ts'
import { MessageIterator, MessageReader } from './incoming/message-reader.ts'
import { nextWithin } from './incoming/next-within.ts'
import { ListenableConnection } from './listenable-connection.ts'
import { BINARY_TYPES } from './message-data.ts'
import { PreparedMessage } from './prepared-message.ts'
import type { ConnectionSettings } from './settings.ts'
import type { SubscriptionTable } from './subscriber.ts'
import { nextTurn } from './turn-clock.ts'
import { IncomingMessageStreamReader, type IncomingMessageStream } from './views/incoming-message-stream.ts'
import { MessageDuplex } from './views/message-duplex.ts'
import { toWebStreams } from './views/message-web-streams.ts'
import { OutgoingMessageStream } from './views/outgoing-message-stream.ts'

const CONNECTING = 0 as const
const OPEN = 1 as const
const CLOSING = 2 as const
const CLOSED = 3 as const

const NO_TOPICS: ReadonlySet<string> = new Set()

/** The core behind a connection. */
let coreOf: (connection: Connection) => ConnectionCore
/** Like coreOf() for any value: null if it is not a connection. */
let coreIn: (value: unknown) => ConnectionCore | null

type Done = SendCallback | ((error: Error) => void)

export class Connection extends ListenableConnection implements WebSocketConnection {
  static readonly CONNECTING = CONNECTING
  static readonly OPEN = OPEN
  static readonly CLOSING = CLOSING
  static readonly CLOSED = CLOSED
  declare readonly CONNECTING: 0
  declare readonly OPEN: 1
  declare readonly CLOSING: 2
  declare readonly CLOSED: 3

  readonly #core: ConnectionCore

  constructor (settings: ConnectionSettings, owner: ConnectionOwner) {
    super()
    this.#core = new ConnectionCore(settings, owner, this)
  }

  static {
    coreOf = connection => connection.#core
    coreIn = value => typeof value === 'object' && value !== null && #core in value ? value.#core : null
  }

  get readyState (): ReadyState { return this.#core.readyState }
  get protocol (): string { return this.#core.protocol }
  get extensions (): string { return this.#core.extensions }
  get url (): string { return this.#core.settings.url ?? '' }
  get bufferedAmount (): number { return this.#core.bufferedAmount }
  get rtt (): number | null { return this.#core.rtt }
  get isPaused (): boolean { return this.#core.receiver.delivery.isPaused }
  // the type matches ws, which has no 'blob'
  get binaryType (): Exclude<BinaryType, 'blob'> { return this.#core.binaryType as Exclude<BinaryType, 'blob'> }
  // other values are ignored, as in ws and browsers
  set binaryType (type: BinaryType) { if (BINARY_TYPES.has(type)) this.#core.binaryType = type }
  get _socket (): Duplex | null { return this.#core.transport?.stream ?? null }
  get info (): ConnectionInfo { return this.#core.info }
  stats (): ConnectionStats { return this.#core.stats() }

  // Reading

  pause (): void {
    if (this.readyState === OPEN) this.#core.receiver.delivery.pause()
  }

  resume (): void {
    this.#core.receiver.delivery.resume()
  }

  #claim (): MessageReader {
    return this.#core.claimReader(owner => new MessageReader(owner))
  }

  /** Releases the reader if `create` throws, as for invalid options. */
  #view<View> (create: (reader: MessageReader) => View): View {
    const reader = this.#claim()
    try {
      return create(reader)
    } catch (error) {
      reader.release()
      throw error
    }
  }

  async receive (options?: ReceiveOptions): Promise<string | Buffer | null> {
    const reader = this.#claim()
    let isLast = false
    try {
      const message = await (options === undefined ? reader.next().catch(() => null) : nextWithin(reader, options))
      isLast = message === null // whether or not it ended cleanly
      if (message !== null) return this.#core.messageValue(message)
      await nextTurn() // a caller that loops despite null must not block the event loop
      return null
    } finally {
      reader.release(!isLast)
    }
  }

  iterator ({ closeOnReturn = true }: { closeOnReturn?: boolean } = {}): AsyncIterableIterator<string | Buffer, undefined> {
    return new MessageIterator(this.#claim(), this.#core.messageValue, () => { if (closeOnReturn) this.#core.closeSoon() })
  }

  [Symbol.asyncIterator] (): AsyncIterableIterator<string | Buffer, undefined> {
    return this.iterator()
  }

  messageStreams ({ maxPayload = Infinity, closeOnReturn = true }: MessageStreamsOptions = {}): AsyncIterableIterator<IncomingMessageReadable, undefined> {
    const core = this.#core
    if (core.decodes) throw notTyped('messageStreams()', 'receive')
    const reader = core.claimReader(owner => new IncomingMessageStreamReader(owner, core, maxPayload, core.settings.highWaterMark))
    return new MessageIterator<IncomingMessageStream, IncomingMessageReadable>(reader, message => message, () => {
      reader.leave()
      if (closeOnReturn) core.closeSoon()
    })
  }

  toDuplex (options?: ToDuplexOptions): Duplex {
    if (this.#core.decodes && options?.objectMode !== true) throw notTyped('toDuplex() without objectMode', 'receive')
    return this.#view(reader => new MessageDuplex(this.#core, reader, options))
  }

  toWeb (): MessageWebStreams {
    return this.#view(reader => toWebStreams(this.#core, reader))
  }

  // Writing

  send (data: MessageData | Prepared, options?: SendOptions | SendCallback, callback?: SendCallback): boolean {
    if (typeof options === 'function') return this.#core.writer.send(data, undefined, options)
    return this.#core.writer.send(data, options, callback ?? undefined)
  }

  prepare (data: MessageData, options?: PrepareOptions): Prepared {
    return this.#core.writer.prepare(data, options)
  }

  createMessageStream ({ binary = true, highWaterMark = this.#core.settings.highWaterMark }: CreateMessageStreamOptions = {}): Writable {
    const { writer } = this.#core
    if (writer.encodes) throw notTyped('createMessageStream()', 'send')
    const slot = writer.begin(binary ? BINARY : TEXT)
    return new OutgoingMessageStream(this.#core, slot, { highWaterMark }).once('finish', () => { writer.onSlotSent() })
  }

  drained (): Promise<boolean> {
    return this.#core.writer.drained()
  }

  flush (): void {
    this.#core.writer.flush()
  }

  // `mask` keeps its position from `ws` and is ignored: the role decides
  ping (data?: MessageData | SendCallback, mask?: boolean | SendCallback, callback?: Done): void {
    this.#core.writer.sendControl(PING, ...payloadAndCallback(data, mask, callback))
  }

  pong (data?: MessageData | SendCallback, mask?: boolean | SendCallback, callback?: Done): void {
    this.#core.writer.sendControl(PONG, ...payloadAndCallback(data, mask, callback))
  }

  // Topics

  get topics (): ReadonlySet<string> { return this.#core.subscriptions?.names ?? NO_TOPICS }
  // an application may assign its own `topics`, like any other property
  set topics (value: unknown) { Object.defineProperty(this, 'topics', { value, writable: true, enumerable: true, configurable: true }) }

  subscribe (topic: string, options?: SubscribeOptions): Promise<SubscribeResult> {
    return this.#table.subscribe(this.#core, topic, options)
  }

  unsubscribe (topic: string): boolean {
    return this.#table.unsubscribe(this.#core, topic)
  }

  publish (topic: string, data: Exclude<MessageData, Blob> | Prepared, options?: Omit<PublishOptions, 'except'>): Promise<PublishResult> {
    const message = data instanceof PreparedMessage ? data : this.#core.writer.encode(data as MessageData, options) as Exclude<MessageData, Blob>
    return this.#table.publishFrom(this.#core, topic, message, options)
  }

  get #table (): SubscriptionTable {
    const { table } = this.#core
    if (table === null) throw noTopics()
    return table
  }

  // Ending

  get closed (): Promise<CloseInfo> { return this.#core.closed }
  get signal (): AbortSignal { return this.#core.closing.signal }

  close (code?: number, reason?: string | Uint8Array): void {
    this.#core.close(code, reason)
  }

  terminate (): void {
    this.#core.terminate()
  }

  // Listeners

  protected override get decodes (): boolean { return this.#core.decodes }

  protected override onListeners (count: number): void {
    this.#core.receiver.delivery.onListeners(count > 0)
  }

  protected override onListenerError (error: unknown): void {
    this.#core.report(error)
  }
}

for (const [name, value] of Object.entries({ CONNECTING, OPEN, CLOSING, CLOSED })) {
  Object.defineProperty(Connection.prototype, name, { value, enumerable: true })
}

export { coreIn, coreOf }

/** The arguments of ping() and pong(): the callback may be in any position. */
function payloadAndCallback (...given: Array<MessageData | boolean | Done | undefined>): [MessageData | undefined, SendCallback | undefined] {
  const callback = given.find(argument => typeof argument === 'function') as SendCallback | undefined
  return [given[0] as MessageData | undefined, callback]
}
