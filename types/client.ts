import type { OutgoingHttpHeaders } from 'node:http'
import type { CloseInfo, WebSocketConnection } from './connection.ts'
import type { ConnectOptions } from './options.ts'

/** How an attempt ended: the error of connecting, `url` or `headers`, or how the connection that it opened was closed. */
export type ReconnectOutcome = Error | CloseInfo

/** Information about an attempt. */
export interface ReconnectAttempt {
  /** Counts from 1, and starts again after a connection that was open for `stableAfter`. */
  readonly attempt: number
  /** How the previous attempt ended; null for the first. */
  readonly last: ReconnectOutcome | null
}

/** The argument of functions for `url` and `headers`. */
export interface ReconnectContext extends ReconnectAttempt {
  /** Aborted when the result is no longer needed. */
  readonly signal: AbortSignal
}

/** The delay before the next attempt, in milliseconds: `random() * min(max, min * factor ** n)`, where n counts failed attempts. */
export interface ReconnectBackoff {
  /** Default: 1 000. */
  readonly min?: number | undefined
  /** At most 600 000. Default: 30 000. */
  readonly max?: number | undefined
  /** Default: 2. */
  readonly factor?: number | undefined
}

/**
 * `connecting`: an attempt begins. `open`: the handler gets the connection. `waiting`: the next attempt begins in `delay` milliseconds. `ended`:
 * reconnect() resolves or rejects. `outcome`: what led to the state.
 */
export interface ReconnectState {
  readonly state: 'connecting' | 'open' | 'waiting' | 'ended'
  readonly attempt: number
  readonly delay?: number
  readonly outcome?: ReconnectOutcome
}

/**
 * Like a server's handler: a plain or async function, or an async generator whose yields are sent and whose return closes with 1000. Errors that
 * only report the end of the connection need not be caught; any other error of it or a listener closes with 1011 and rejects reconnect().
 */
export type ReconnectHandler = (connection: WebSocketConnection, attempt: ReconnectAttempt) => unknown

export interface ReconnectOptions extends Omit<ConnectOptions, 'headers'> {
  /** Header fields of the request, or a function that returns those of each attempt within `handshakeTimeout`. */
  headers?: OutgoingHttpHeaders | ((context: ReconnectContext) => OutgoingHttpHeaders | Promise<OutgoingHttpHeaders>) | undefined
  backoff?: ReconnectBackoff | undefined
  /** Milliseconds after which an open connection counts as successful: attempts and backoff then start again. Default: 10 000. */
  stableAfter?: number | undefined
  /**
   * Decides whether to try again; a number: in this many milliseconds. If it throws, reconnect() rejects with that. Default: retries after temporary
   * failures, by the table in docs/client.md.
   */
  retry?: ((outcome: ReconnectOutcome, attempt: ReconnectAttempt) => boolean | number) | undefined
  /** Ends reconnect(), which rejects with its reason: at once while waiting or connecting; an open connection is closed with 1001. */
  signal?: AbortSignal | undefined
  /** Called at each change of state. An error that it throws ends reconnect() like one of the handler. */
  onState?: ((state: ReconnectState) => void) | undefined
  /** False: waiting for the next attempt does not keep the process alive. Default: true. */
  ref?: boolean | undefined
}

/** A WebSocket URL, or a function that returns that of each attempt within `handshakeTimeout`. */
export type ReconnectUrl = string | URL | ((context: ReconnectContext) => string | URL | Promise<string | URL>)
