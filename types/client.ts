import type { OutgoingHttpHeaders } from 'node:http'
import type { CloseInfo, WebSocketConnection } from './connection.ts'
import type { ConnectOptions } from './options.ts'

/** How an attempt ended: the error that connecting, `url` or `headers` failed with, or how the connection that it opened was closed. */
export type ReconnectOutcome = Error | CloseInfo

/** Which attempt it is. */
export interface ReconnectAttempt {
  /** From 1 on; anew behind a connection that was open for `stableAfter`. */
  readonly attempt: number
  /** How the attempt before ended; null for the first. */
  readonly last: ReconnectOutcome | null
}

/** What functions for `url` and `headers` get. */
export interface ReconnectContext extends ReconnectAttempt {
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal
}

/** The time between two attempts, in milliseconds: `random() * min(max, min * factor ** n)`, where n counts the attempts in vain. */
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
 * reconnect() resolves or rejects. `outcome` is what the state follows from.
 */
export interface ReconnectState {
  readonly state: 'connecting' | 'open' | 'waiting' | 'ended'
  readonly attempt: number
  readonly delay?: number
  readonly outcome?: ReconnectOutcome
}

/**
 * As a handler of a server: plain, async, or an async generator whose yields are sent and whose return closes with 1000. That its connection
 * ended it may let through; anything else that it or a listener throws closes with 1011 and is what reconnect() rejects with.
 */
export type ReconnectHandler = (connection: WebSocketConnection, attempt: ReconnectAttempt) => unknown

export interface ReconnectOptions extends Omit<ConnectOptions, 'headers'> {
  /** Header fields of the request, or what makes those of each attempt, within `handshakeTimeout`. */
  headers?: OutgoingHttpHeaders | ((context: ReconnectContext) => OutgoingHttpHeaders | Promise<OutgoingHttpHeaders>) | undefined
  backoff?: ReconnectBackoff | undefined
  /** Milliseconds after which an open connection counts as one that worked: the next attempt is the first again. Default: 10 000. */
  stableAfter?: number | undefined
  /**
   * Decides whether another attempt follows; a number: in so many milliseconds. What it throws reconnect() rejects with. Default: after what passes,
   * as the table in docs/client.md has it.
   */
  retry?: ((outcome: ReconnectOutcome, attempt: ReconnectAttempt) => boolean | number) | undefined
  /** Ends it: at once while it waits or connects, an open connection with 1001. reconnect() rejects with the signal's reason. */
  signal?: AbortSignal | undefined
  /** What it throws is what the handler would have thrown. */
  onState?: ((state: ReconnectState) => void) | undefined
  /** False: a process that has nothing else to do ends instead of waiting for the next attempt. Default: true. */
  ref?: boolean | undefined
}

/** A WebSocket URL, or what tells that of each attempt, within `handshakeTimeout`. */
export type ReconnectUrl = string | URL | ((context: ReconnectContext) => string | URL | Promise<string | URL>)
