// What a connection is created with.
import type { DeflaterSettings } from '../compression/deflater.ts'
import type { DeflateAgreement } from '../protocol/permessage-deflate.ts'
import type { ClosingSettings } from './closing.ts'
import type { ReceiverSettings } from './incoming/receiver.ts'
import type { LivenessSettings } from './liveness.ts'
import type { MessageWriterSettings } from './outgoing/message-writer.ts'
import type { SubscriptionTable } from './subscriber.ts'

interface DeflateSettings extends DeflaterSettings {
  readonly contextTakeover: boolean
  readonly windowBits: number
}

/** `highWaterMark` applies separately to received bytes that wait for a consumer and to sent bytes that wait for the transport. */
export interface ConnectionSettings extends ReceiverSettings, MessageWriterSettings, LivenessSettings, ClosingSettings {
  readonly perMessageDeflate: DeflateSettings | false
  readonly url?: string
  /** The pattern of the route, such as /room/:id. */
  readonly route?: string
  /** The table for its topic subscriptions. Absent: it has no topics. */
  readonly table?: (() => SubscriptionTable) | undefined
}

/** What the opening handshake negotiated. */
export interface Agreement {
  readonly protocol?: string
  /** The value of Sec-WebSocket-Extensions. */
  readonly extensions?: string
  readonly deflate?: DeflateAgreement | null
}
