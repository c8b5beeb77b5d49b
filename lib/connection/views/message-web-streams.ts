// messages -> ReadableStream, WritableStream -> messages: a connection as WHATWG Streams.
import type { MessageData, MessageWebStreams } from '../../../types/connection.ts'
import { SchemaError } from '../../errors.ts'
import { INTERNAL_ERROR, isFailureCode, NORMAL_CLOSURE } from '../../protocol/close-code.ts'
import type { MessageReader } from '../incoming/message-reader.ts'
import type { Viewed } from './viewed.ts'

export function toWebStreams (viewed: Viewed, reader: MessageReader): MessageWebStreams {
  const { connection } = viewed
  let isCloseDue = false
  let isWritten = false // closed or aborted
  // written through getWriter(), not by a pipe
  let isManual = false
  let isReadManually = false
  reader.keepsMessages = true
  // a pipe or a loop keeps reading
  reader.isRead = () => readable.locked && !isReadManually
  // what is piped into the writable may still answer
  reader.defersClose = () => {
    isCloseDue = reader.hasAsked && writable.locked && !isManual && !isWritten && connection.readyState === connection.OPEN
    if (isCloseDue) setImmediate(releaseUnlocked)
    return isCloseDue
  }
  // a pipe with preventClose ends without closing
  const releaseUnlocked = (): void => { if (isCloseDue && !writable.locked) reader.release() }

  const readable = new ReadableStream<string | Buffer>({
    async pull (controller) {
      const message = await reader.next() // a rejection errors the stream
      if (message !== null) controller.enqueue(viewed.messageValue(message))
      else controller.close()
    },
    cancel (reason) {
      reader.end(null)
      reader.release()
      connection.close(reason instanceof Error ? INTERNAL_ERROR : NORMAL_CLOSURE)
    }
  }, { highWaterMark: 0 }) // the connection itself reads ahead

  const writable = new WritableStream<MessageData>({
    start (controller) {
      void connection.closed.then(() => { if (!isWritten) controller.error(viewed.closedError('the connection is closed')) })
    },
    async write (chunk) {
      let isOut: boolean
      try {
        // wait until it is out: then the writer may reuse the memory
        isOut = await new Promise<boolean>(resolve => { connection.send(chunk, error => { resolve(error === undefined) }) })
      } catch (error) {
        if (error instanceof SchemaError) viewed.closeFailed() // the stream is errored and can write no more
        throw error
      }
      setImmediate(releaseUnlocked)
      if (!isOut) throw viewed.closedError('the connection was closed before all was written')
    },
    async close () {
      isWritten = true
      if (isCloseDue) reader.release()
      else connection.close(NORMAL_CLOSURE)
      const { wasClean, code } = await connection.closed
      if (!wasClean || isFailureCode(code)) throw viewed.closedError('the connection was closed before all was written')
    },
    abort () {
      isWritten = true
      connection.close(INTERNAL_ERROR)
    }
  })

  // called by applications, but not by a pipe
  writable.getWriter = () => {
    isManual = true
    return WritableStream.prototype.getWriter.call(writable)
  }
  readable.getReader = ((...options: []) => {
    isReadManually = true
    return ReadableStream.prototype.getReader.apply(readable, options)
  }) as typeof readable.getReader
  return { readable, writable, closed: connection.closed }
}
