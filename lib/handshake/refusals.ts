// Notification of refused handshakes.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { FACTS } from '../connection/observability.ts'

/** What is known of a refused handshake. */
export interface Refusal {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** FST_WS_... for a refusal of ours; 'other' for one of a hook, or of Fastify. */
  readonly refusalCode: string
  readonly asker: Asker | null
}

/** The Fastify request of a handshake, as far as needed. */
export interface Asker {
  readonly ip: string | undefined
  readonly routeOptions: { readonly url?: string | undefined }
}

export interface RefusalListener {
  onRefused (refusal: Refusal): void
}

export function publishRefusal ({ request, response: { statusCode }, refusalCode: code, asker }: Refusal): void {
  if (!FACTS.refused.hasSubscribers) return
  const ip = asker === null ? request.socket.remoteAddress : asker.ip
  FACTS.refused.publish({ info: { route: asker?.routeOptions.url ?? '', ip, httpVersion: request.httpVersion }, code, statusCode })
}

/** Only publishes: for handshakes without statistics. */
export const PUBLISHER: RefusalListener = { onRefused: publishRefusal }
