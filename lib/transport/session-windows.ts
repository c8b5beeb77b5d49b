// What an HTTP/2 peer may send before it has to wait for us: the flow-control windows of a session and of its streams. RFC 9113 §5.2.
import type { Http2Session } from 'node:http2'

// Bytes, as every session and stream begins. RFC 9113 §6.9.2.
const BEGINNING = 65_535

/** Bytes of a stream. As much may wait in memory, beyond highWaterMark, for a consumer that takes its time. */
export const STREAM_WINDOW = 256 * 1024

/** Bytes of a session. It costs no memory, as Node gives back what has arrived, whether its stream is read or not. */
export const SESSION_WINDOW = 2 * 1024 * 1024

/**
 * Widens the windows, but for those that the application has chosen. With 64 KiB for all streams of a session they could take in no more than that in
 * a round trip, 1.3 MB/s at 50 ms, and a client that has filled the window with one stream leaves the others to wait. Call it once the peer has
 * acknowledged all settings.
 */
export function widenWindows (session: Http2Session): void {
  if (session.destroyed) return
  if (session.state.effectiveLocalWindowSize === BEGINNING) session.setLocalWindowSize(SESSION_WINDOW)
  if (session.localSettings.initialWindowSize === BEGINNING) session.settings({ initialWindowSize: STREAM_WINDOW })
}
