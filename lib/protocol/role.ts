/** Which end of a connection: who sent the opening handshake, or who answered it. RFC 6455 §1.2. */
export type Role = 'client' | 'server'
