import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { MessageData, WebSocketConnection } from './connection.ts'

declare const RAW: unique symbol

/** The messages of a direction without a schema: text and bytes. */
export interface RawMessage {
  readonly [RAW]: never
}

/** Whether messages have no schema; any, never and unknown come from one. */
export type IsRaw<Message> = 0 extends 1 & Message ? false : [Message] extends [never] ? false : [Message] extends [RawMessage] ? true : false

/** What readers get: a string for text, a Buffer for binary, or a value. */
export type Received<Receive> = IsRaw<Receive> extends true ? string | Buffer : Receive

/** What send() takes, apart from prepared messages. */
export type Sendable<Send> = IsRaw<Send> extends true ? MessageData : Send

/** One validation error, in the form of Ajv's. Strings are truncated to a size that can be logged. */
export interface MessageIssue {
  /** The JSON Schema keyword, such as 'type' or 'required'; 'discriminator' if no member of a union has the message's tag. */
  readonly keyword: string
  /** A JSON Pointer into the message; '' for the whole message. */
  readonly instancePath: string
  readonly schemaPath: string
  readonly message: string
  /** Details by keyword: strings, numbers, booleans, null, and lists of those. */
  readonly params: Readonly<Record<string, unknown>>
}

/**
 * A message that `schema.receive` does not allow: not JSON (`FST_WS_JSON`), invalid (`FST_WS_VALIDATION`), or binary (`FST_WS_BINARY`). Logged, it
 * takes less than 2 KiB, whatever was received.
 */
export interface InvalidMessage extends Error {
  readonly code: string
  /** The close code for it: 1007, or 1003 if it was binary. RFC 6455 §7.4.1. */
  readonly closeCode: number
  /** Up to four validation errors, in the order of the validator; absent if validation did not run. */
  readonly validation?: readonly MessageIssue[]
  readonly validationContext: 'message'
  /** The received message. Not enumerable, so that loggers do not print it. */
  readonly data: Buffer
}

/**
 * Gets each message that `schema.receive` does not allow; without it the connection fails. If it returns a promise, the next message waits until
 * that has settled, with backpressure. What it throws or rejects with goes to the errorHandler.
 */
export type InvalidMessageHandler = (
  this: FastifyInstance, error: InvalidMessage, connection: WebSocketConnection<any, any>, request: FastifyRequest
) => unknown
