// RFC 6455 §7.4.1 and the registry of §11.7.

export const NORMAL_CLOSURE = 1000
export const GOING_AWAY = 1001
export const PROTOCOL_ERROR = 1002
export const UNSUPPORTED_DATA = 1003
/** Never sent: the peer's Close frame had no code. */
export const NO_STATUS_RECEIVED = 1005
/** Never sent: the connection ended without a Close frame from the peer. */
export const ABNORMAL_CLOSURE = 1006
export const INVALID_PAYLOAD = 1007
export const POLICY_VIOLATION = 1008
export const MESSAGE_TOO_BIG = 1009
export const INTERNAL_ERROR = 1011
export const SERVICE_RESTART = 1012
export const TRY_AGAIN_LATER = 1013

/**
 * Whether a code may be sent in a Close frame. 1004 is reserved; 1005, 1006 and 1015 are only reported locally; 1016 to 2999 are
 * reserved for future revisions; 3000 to 4999 are for libraries and applications. RFC 6455 §7.4.
 */
export function isWireCloseCode (code: number): boolean {
  return Number.isInteger(code) && (
    (code >= 1000 && code <= 1003) ||
    (code >= 1007 && code <= 1014) ||
    (code >= 3000 && code <= 4999))
}

/** Whether a code reports a failure, so that earlier data may be incomplete. 1000, 1001, 1005 and application codes do not. */
export function isFailureCode (code: number): boolean {
  return code >= 1002 && code <= 1015 && code !== NO_STATUS_RECEIVED
}
