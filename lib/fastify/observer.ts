import type { CloseInfo } from '../../types/connection.ts'
import type { RefusalListener } from '../handshake/refusals.ts'

/** Is notified about the connections of all registrations of a server. */
export interface ServerObserver extends RefusalListener {
  /** @param route the route's pattern @param milliseconds how long it was open */
  onClosed (route: string, info: CloseInfo, milliseconds: number): void
  onRoundTrip (route: string, milliseconds: number): void
}
