// What a connection is made with.
import type { DeflaterSettings } from '../compression/deflater.ts'
import type { MessageEncoder } from '../messages/message-encoder.ts'
import type { DeflateAgreement } from '../protocol/permessage-deflate.ts'
import type { ReceiverSettings } from './incoming/receiver.ts'
import type { LivenessSettings } from './liveness.ts'
import type { SubscriptionTable } from './subscriber.ts'

interface DeflateSettings extends DeflaterSettings {
  readonly contextTakeover: boolean
  readonly windowBits: number
}

/** `highWaterMark` counts messages that wait for a consumer, and sends that wait for the transport, each on its own. */
export interface ConnectionSettings extends ReceiverSettings, LivenessSettings {
  /** Unsent bytes of a sender that ignores false, beyond which the connection is closed with 1013. */
  readonly maxBufferedAmount: number
  /** Milliseconds for each step of the ending: the peer's Close, the end of its stream, the messages still held. */
  readonly closeTimeout: number
  readonly perMessageDeflate: DeflateSettings | false
  /** Where a schema says what is sent. */
  readonly encoder?: MessageEncoder
  readonly url?: string
  /** The pattern of the route, such as /room/:id. Absent: there is none. */
  readonly route?: string
  /** What it may subscribe to topics in. Absent: nothing. */
  readonly table?: (() => SubscriptionTable) | undefined
}

/** What the opening handshake has agreed on. */
export interface Agreement {
  readonly protocol?: string
  /** As in the header field. */
  readonly extensions?: string
  readonly deflate?: DeflateAgreement | null
}
