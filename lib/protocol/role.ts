/** The side of a connection: a client sends the opening handshake, a server answers it. RFC 6455 §1.2. */
export type Role = 'client' | 'server'
