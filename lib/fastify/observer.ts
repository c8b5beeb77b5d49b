import type { CloseInfo } from '../../types/connection.ts'
import type { RefusalListener } from '../handshake/refusals.ts'

/** Who hears of what happens to the connections of all registrations of a server. */
export interface ServerObserver extends RefusalListener {
  /** @param route its pattern @param milliseconds that it was open */
  onClosed (route: string, info: CloseInfo, milliseconds: number): void
  onRoundTrip (route: string, milliseconds: number): void
}
