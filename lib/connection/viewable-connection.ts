// The ways to read and write a connection without events: pull readers, and streams over both directions.
import type { Duplex } from 'node:stream'
import type {
  IncomingMessageReadable, MessageStreamsOptions, MessageWebStreams, ReceiveOptions, ToDuplexOptions
} from '../../types/connection.ts'
import { notTyped } from '../errors.ts'
import type { Message } from '../framing/message-assembler.ts'
import { decodedValue } from '../messages/message-decoder.ts'
import { MessageIterator, MessageReader, messageValue, type MessageReaderOwner } from './incoming/message-reader.ts'
import { nextWithin } from './incoming/next-within.ts'
import { ListenableConnection } from './listenable-connection.ts'
import { nextTurn } from './turn-clock.ts'
import { IncomingMessageStreamReader, type IncomingMessageStream } from './views/incoming-message-stream.ts'
import { MessageDuplex } from './views/message-duplex.ts'
import { toWebStreams } from './views/message-web-streams.ts'
import type { ViewedConnection } from './views/viewed-connection.ts'

export abstract class ViewableConnection extends ListenableConnection {
  /** @throws ReaderBusyError while there is another */
  protected abstract claimReader<Reader extends MessageReader<any>> (create: (owner: MessageReaderOwner) => Reader): Reader
  /** The handler has left its loop early. */
  protected abstract closeSoon (): void
  protected abstract readonly highWaterMark: number

  /** What is internal is not in the declarations that are published, so that no class can say there that it has it. */
  get #viewed (): ViewedConnection { return this as unknown as ViewedConnection }

  #claim (): MessageReader {
    return this.claimReader(owner => new MessageReader(owner))
  }

  /** Wrong options must not leave a reader behind. */
  #view<View> (create: (reader: MessageReader) => View): View {
    const reader = this.#claim()
    try {
      return create(reader)
    } catch (error) {
      reader.release()
      throw error
    }
  }

  /** How what a reader gets is given out. @internal */
  get messageValue (): (message: Message) => any {
    return this.decodes ? decodedValue : messageValue
  }

  /** @internal */
  viewFailed (error: Error): void {
    this.emitSafely('error', error)
  }

  async receive (options?: ReceiveOptions): Promise<string | Buffer | null> {
    const reader = this.#claim()
    let isLast = false
    try {
      const message = await (options === undefined ? reader.next().catch(() => null) : nextWithin(reader, options))
      isLast = message === null // however it ended
      if (message !== null) return this.messageValue(message)
      await nextTurn() // a caller that ignores it must not block the event loop
      return null
    } finally {
      reader.release(!isLast)
    }
  }

  iterator ({ closeOnReturn = true }: { closeOnReturn?: boolean } = {}): AsyncIterableIterator<string | Buffer, undefined> {
    return new MessageIterator(this.#claim(), this.messageValue, () => { if (closeOnReturn) this.closeSoon() })
  }

  [Symbol.asyncIterator] (): AsyncIterableIterator<string | Buffer, undefined> {
    return this.iterator()
  }

  messageStreams ({ maxPayload = Infinity, closeOnReturn = true }: MessageStreamsOptions = {}): AsyncIterableIterator<IncomingMessageReadable, undefined> {
    if (this.decodes) throw notTyped('messageStreams()', 'receive')
    const reader = this.claimReader(owner => new IncomingMessageStreamReader(owner, this.#viewed, maxPayload, this.highWaterMark))
    return new MessageIterator<IncomingMessageStream, IncomingMessageReadable>(reader, message => message, () => {
      reader.leave()
      if (closeOnReturn) this.closeSoon()
    })
  }

  toDuplex (options?: ToDuplexOptions): Duplex {
    if (this.decodes && options?.objectMode !== true) throw notTyped('toDuplex() without objectMode', 'receive')
    return this.#view(reader => new MessageDuplex(this.#viewed, reader, options))
  }

  toWeb (): MessageWebStreams {
    return this.#view(reader => toWebStreams(this.#viewed, reader))
  }
}
