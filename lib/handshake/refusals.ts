// Who hears of handshakes that were answered otherwise than by a WebSocket.
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

/** What Fastify knows of who asks. */
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

/** For doors that nobody counts at. */
export const PUBLISHER: RefusalListener = { onRefused: publishRefusal }
