import type { WebSocketConnection } from '../lib/index.ts'

export const MAX_NAME_LENGTH = 24
const MAX_MEMBERS = 100
const MAX_TEXT_LENGTH = 500
// JSON may write any UTF-16 unit as \uXXXX; the rest is for what stands around the text
const MAX_MESSAGE_BYTES = MAX_TEXT_LENGTH * 6 + 64
/** Bytes that may wait for one member; more than a short stall of a working line leaves behind. */
const MAX_UNSENT_BYTES = 256 * 1024

// RFC 6455 §7.4.1 and the registry of §11.7
const UNSUPPORTED_DATA = 1003
const MESSAGE_TOO_BIG = 1009
const TRY_AGAIN_LATER = 1013
// RFC 6455 §7.4.2: 4000 to 4999 are for private use. 1007 would say that the text is not UTF-8, which the plugin says itself.
const BAD_MESSAGE = 4400

interface Person {
  id: number
  name: string
}

interface Member extends Person {
  connection: WebSocketConnection
}

/** What a member may send: one JSON text message each. */
type FromMember =
  | { type: 'say', text: string }

/** What a member receives: one JSON text message each. */
type ToMember =
  | { type: 'members', you: number, members: Person[] }
  | { type: 'joined' | 'left', member: Person }
  | { type: 'said', member: Person, text: string }

type Refusal = { closeCode: number, reason: string }

/** Passes what a member says on to all the others. Two members may have the same name; ids tell them apart. */
export class ChatRoom {
  readonly #members = new Map<number, Member>()
  #lastId = 0

  join (connection: WebSocketConnection, name: string): void {
    if (this.#members.size >= MAX_MEMBERS) {
      connection.close(TRY_AGAIN_LATER, 'the room is full')
      return
    }

    const member: Member = { id: ++this.#lastId, name, connection }
    this.#members.set(member.id, member)
    connection.on('message', (data: Buffer, isBinary: boolean) => { this.#receive(member, data, isBinary) })
    connection.on('close', () => { this.#leave(member) })

    this.#deliver(member, JSON.stringify({ type: 'members', you: member.id, members: [...this.#members.values()].map(person) } satisfies ToMember))
    this.#broadcast(member, { type: 'joined', member: person(member) })
  }

  #receive (member: Member, data: Buffer, isBinary: boolean): void {
    // a member that was shown out may still have messages under way
    if (!this.#members.has(member.id)) return

    const message = parseMessage(data, isBinary)
    if ('closeCode' in message) {
      member.connection.close(message.closeCode, message.reason)
      this.#leave(member)
      return
    }
    this.#broadcast(member, { type: 'said', member: person(member), text: message.text })
  }

  #leave (member: Member): void {
    if (this.#members.delete(member.id)) this.#broadcast(member, { type: 'left', member: person(member) })
  }

  #broadcast (from: Member, message: ToMember): void {
    const text = JSON.stringify(message)
    for (const member of this.#members.values()) {
      if (member !== from) this.#deliver(member, text)
    }
  }

  // A chat cannot wait for its slowest member, and must not store the conversation for it either: `send()` tells by
  // `false` that the line is full, and a member that stays behind has to come back when its line is better.
  #deliver (member: Member, text: string): void {
    const { connection } = member
    if (!connection.send(text) && connection.bufferedAmount > MAX_UNSENT_BYTES) {
      connection.close(TRY_AGAIN_LATER, 'too slow to follow')
      this.#leave(member)
    }
  }
}

function person ({ id, name }: Member): Person {
  return { id, name }
}

function parseMessage (data: Buffer, isBinary: boolean): FromMember | Refusal {
  if (isBinary) return { closeCode: UNSUPPORTED_DATA, reason: 'the chat speaks JSON text' }
  if (data.length > MAX_MESSAGE_BYTES) return { closeCode: MESSAGE_TOO_BIG, reason: `a message has at most ${MAX_MESSAGE_BYTES} bytes` }

  let message: Partial<FromMember> | null
  try {
    message = JSON.parse(data.toString())
  } catch {
    return { closeCode: BAD_MESSAGE, reason: 'malformed JSON' }
  }
  if (message?.type !== 'say' || typeof message.text !== 'string' || message.text.trim() === '') {
    return { closeCode: BAD_MESSAGE, reason: 'expected {"type":"say","text":"..."}' }
  }
  if (message.text.length > MAX_TEXT_LENGTH) {
    return { closeCode: MESSAGE_TOO_BIG, reason: `a text has at most ${MAX_TEXT_LENGTH} characters` }
  }
  return { type: 'say', text: message.text }
}
