// What a connection is made with, and by whom.
import type { CloseInfo } from '../../types/connection.ts'
import type { DeflaterSettings } from '../compression/deflater.ts'
import type { DeflateAgreement } from '../protocol/permessage-deflate.ts'
import type { Connection } from './connection.ts'
import type { ReceiverSettings } from './incoming/receiver.ts'
import type { LivenessSettings } from './liveness.ts'
import type { SubscriptionTable } from './subscribing-connection.ts'

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
  readonly url?: string
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

/** Who answers for a connection: gets what its listeners throw, and takes it off the list before 'close'. */
export interface ConnectionOwner {
  /** What the connection came from, where somebody observed when it was accepted. */
  readonly request?: unknown
  onError (error: unknown, connection: Connection): void
  onClose (connection: Connection, info: CloseInfo): void
  /** Something that whoever wrote the handler should know of. */
  onWarning (message: string): void
}
