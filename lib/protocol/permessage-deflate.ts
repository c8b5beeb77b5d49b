// Negotiation of permessage-deflate: the parameters of RFC 7692 §7.1. Pure.
import type { Extension } from './header-field.ts'

const NAME = 'permessage-deflate'
/** The largest LZ77 window, as base-2 logarithm. */
export const MAX_WINDOW_BITS = 15

/** How one direction is compressed. */
export interface Compression {
  /** Messages may refer to earlier ones. */
  readonly contextTakeover: boolean
  /** The sender's window size, as base-2 logarithm. */
  readonly windowBits: number
}

export interface DeflateAgreement {
  readonly server: Compression
  readonly client: Compression
}

/** The preferences of one side. */
export interface DeflateWishes {
  readonly contextTakeover: boolean
  readonly windowBits: number
}

interface Parameters {
  readonly serverNoContextTakeover: boolean
  readonly clientNoContextTakeover: boolean
  /** Null: absent. */
  readonly serverMaxWindowBits: number | null
  /** True: present without a value. Null: absent. */
  readonly clientMaxWindowBits: number | true | null
}

/**
 * Chooses, on a server, the first acceptable offer. §5.1, §7.1.
 * @returns null for none, which is not an error: the connection is then uncompressed
 */
export function acceptOffer (
  offers: readonly Extension[], { contextTakeover, windowBits }: DeflateWishes
): { agreement: DeflateAgreement, answer: Extension } | null {
  for (const offer of offers) {
    const parameters = offer.name === NAME ? readParameters(offer) : null
    if (parameters === null) continue
    const { serverNoContextTakeover, clientNoContextTakeover, serverMaxWindowBits, clientMaxWindowBits } = parameters
    const agreement = {
      server: {
        contextTakeover: contextTakeover && !serverNoContextTakeover,
        windowBits: Math.min(windowBits, serverMaxWindowBits ?? MAX_WINDOW_BITS)
      },
      client: {
        contextTakeover: contextTakeover && !clientNoContextTakeover,
        // §7.1.2.2: a client that did not mention it may not understand it
        windowBits: clientMaxWindowBits === null ? MAX_WINDOW_BITS : Math.min(windowBits, clientMaxWindowBits === true ? MAX_WINDOW_BITS : clientMaxWindowBits)
      }
    }
    return { agreement, answer: describe(agreement, serverMaxWindowBits !== null, false) }
  }
  return null
}

/** Creates the client's offer. */
export function createOffer ({ contextTakeover, windowBits }: DeflateWishes): Extension {
  const compression = { contextTakeover, windowBits }
  return describe({ server: compression, client: compression }, false, true)
}

/**
 * Reads the server's answer to createOffer(wishes). §7.1.
 * @returns null if it does not match that offer: the client must fail the connection
 */
export function readAnswer (answers: readonly Extension[], wishes: DeflateWishes): DeflateAgreement | null {
  const [answer] = answers
  if (answer === undefined || answers.length > 1 || answer.name !== NAME) return null
  const parameters = readParameters(answer)
  if (parameters === null) return null
  const { serverNoContextTakeover, clientNoContextTakeover, serverMaxWindowBits, clientMaxWindowBits } = parameters
  if (clientMaxWindowBits === true) return null
  const server = { contextTakeover: !serverNoContextTakeover, windowBits: serverMaxWindowBits ?? MAX_WINDOW_BITS }
  // the answer must include what the offer requires of the server
  if (server.windowBits > wishes.windowBits || (server.contextTakeover && !wishes.contextTakeover)) return null
  const client = {
    contextTakeover: wishes.contextTakeover && !clientNoContextTakeover,
    windowBits: Math.min(wishes.windowBits, clientMaxWindowBits ?? MAX_WINDOW_BITS)
  }
  return { server, client }
}

function describe ({ server, client }: DeflateAgreement, namesServerBits: boolean, isOffer: boolean): Extension {
  const parameters: Array<readonly [string, string | true]> = []
  if (!server.contextTakeover) parameters.push(['server_no_context_takeover', true])
  if (!client.contextTakeover) parameters.push(['client_no_context_takeover', true])
  if (namesServerBits || server.windowBits < MAX_WINDOW_BITS) parameters.push(['server_max_window_bits', String(server.windowBits)])
  if (client.windowBits < MAX_WINDOW_BITS) parameters.push(['client_max_window_bits', String(client.windowBits)])
  else if (isOffer) parameters.push(['client_max_window_bits', true])
  return { name: NAME, parameters }
}

/** @returns null if a parameter is unknown or repeated, or has an invalid value */
function readParameters ({ parameters }: Extension): Parameters | null {
  const values = new Map(parameters)
  if (values.size < parameters.length) return null
  for (const [name, value] of values) {
    switch (name) {
      case 'server_no_context_takeover':
      case 'client_no_context_takeover':
        if (value !== true) return null
        break
      case 'server_max_window_bits':
        if (value === true || !isWindowBits(value)) return null
        break
      case 'client_max_window_bits':
        if (value !== true && !isWindowBits(value)) return null
        break
      default:
        return null
    }
  }
  const serverBits = values.get('server_max_window_bits')
  const clientBits = values.get('client_max_window_bits')
  return {
    serverNoContextTakeover: values.has('server_no_context_takeover'),
    clientNoContextTakeover: values.has('client_no_context_takeover'),
    serverMaxWindowBits: serverBits === undefined ? null : Number(serverBits),
    clientMaxWindowBits: clientBits === undefined ? null : clientBits === true ? true : Number(clientBits)
  }
}

/** §7.1.2: a decimal integer from 8 to 15 without leading zeros. */
function isWindowBits (value: string): boolean {
  return /^(?:8|9|1[0-5])$/.test(value)
}
