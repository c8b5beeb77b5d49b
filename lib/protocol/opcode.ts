// Opcodes: the low four bits of a frame's first byte. RFC 6455 §5.2, §11.8.

export const CONTINUATION = 0x0
export const TEXT = 0x1
export const BINARY = 0x2
export const CLOSE = 0x8
export const PING = 0x9
export const PONG = 0xA

export type DataOpcode = typeof CONTINUATION | typeof TEXT | typeof BINARY
export type ControlOpcode = typeof CLOSE | typeof PING | typeof PONG
export type Opcode = DataOpcode | ControlOpcode

// §5.5: control frames are those whose most significant opcode bit is set.
export function isControlOpcode (opcode: number): opcode is ControlOpcode {
  return (opcode & 0x8) !== 0
}

// §5.2: 0x3-0x7 and 0xB-0xF are reserved; a receiver fails the connection.
export function isKnownOpcode (opcode: number): opcode is Opcode {
  return opcode <= BINARY || (opcode >= CLOSE && opcode <= PONG)
}
