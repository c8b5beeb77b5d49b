import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { MessageData, WebSocketConnection } from './connection.ts'

declare const RAW: unique symbol

/** What a connection receives, or is sent, where no schema says it: text and bytes. */
export interface RawMessage {
  readonly [RAW]: never
}

/** Whether no schema says what a message is. What is any, never or unknown was said by one. */
export type IsRaw<Message> = 0 extends 1 & Message ? false : [Message] extends [never] ? false : [Message] extends [RawMessage] ? true : false

/** What reading gives: a string for text, a Buffer for binary, or a value. */
export type Received<Receive> = IsRaw<Receive> extends true ? string | Buffer : Receive

/** What send() takes beside a prepared message. */
export type Sendable<Send> = IsRaw<Send> extends true ? MessageData : Send

/** What is wrong with a message in one place, in the words of Ajv where that validates. Texts are cut to a size that can be logged. */
export interface MessageIssue {
  /** Of JSON Schema, such as 'type' or 'required'; 'discriminator' where no member of a union has the message's tag. */
  readonly keyword: string
  /** A JSON Pointer into the message; '' for all of it. */
  readonly instancePath: string
  readonly schemaPath: string
  readonly message: string
  /** What the keyword says of it: texts, numbers, true and false, null, and lists of those. */
  readonly params: Readonly<Record<string, unknown>>
}

/**
 * A message that `schema.receive` does not allow: no JSON (`FST_WS_JSON`), invalid (`FST_WS_VALIDATION`), or binary (`FST_WS_BINARY`). What can be
 * logged of it takes less than 2 KiB, whatever came.
 */
export interface InvalidMessage extends Error {
  readonly code: string
  /** What a Close frame says of it: 1007, or 1003 where it was binary. RFC 6455 §7.4.1. */
  readonly closeCode: number
  /** Up to four of what is wrong, in the order in which the validator tells; absent where none was asked. */
  readonly validation?: readonly MessageIssue[]
  readonly validationContext: 'message'
  /** What came. Not enumerable, so that no logger prints it. */
  readonly data: Buffer
}

/**
 * Gets each message that `schema.receive` does not allow, in place of the Close frame that it is answered with otherwise. Until the promise that it
 * may return is settled the next message waits, and then the peer. What it throws or rejects with goes to the errorHandler.
 */
export type InvalidMessageHandler = (
  this: FastifyInstance, error: InvalidMessage, connection: WebSocketConnection<any, any>, request: FastifyRequest
) => unknown
