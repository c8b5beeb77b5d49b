import type { WebSocketConnection } from '../lib/index.ts'

export const MAX_NAME_LENGTH = 24
/** Bytes that may wait for one member; more than a short stall of a working line leaves behind. Who is further behind is closed with 1013. */
export const MAX_BEHIND = 256 * 1024
const MAX_MEMBERS = 100
const MAX_TEXT_LENGTH = 500
// JSON may write any UTF-16 unit as \uXXXX; the rest is for what stands around the text
const MAX_MESSAGE_BYTES = MAX_TEXT_LENGTH * 6 + 64
const ROOM = 'chat'

// RFC 6455 §7.4.1 and the registry of §11.7; 4000 to 4999 are for private use (§7.4.2)
const [UNSUPPORTED_DATA, MESSAGE_TOO_BIG, TRY_AGAIN_LATER, BAD_MESSAGE] = [1003, 1009, 1013, 4400]

/** Passes what a member says on to all the others. Two members may have the same name; ids tell them apart. */
export class ChatRoom {
  readonly #members = new Map<WebSocketConnection, { id: number, name: string }>()
  #lastId = 0

  join (connection: WebSocketConnection, name: string): void {
    if (this.#members.size >= MAX_MEMBERS) return connection.close(TRY_AGAIN_LATER, 'the room is full')
    const member = { id: ++this.#lastId, name }
    this.#members.set(connection, member)
    const tell = (message: object): void => { void connection.publish(ROOM, JSON.stringify(message)) }
    connection.on('message', (data, isBinary) => {
      if (connection.readyState !== connection.OPEN) return // shown out, with messages under way
      const said = readMessage(data, isBinary)
      if (typeof said === 'string') tell({ type: 'said', member, text: said })
      else connection.close(...said)
    })
    connection.on('close', () => {
      this.#members.delete(connection)
      tell({ type: 'left', member })
    })
    connection.send(JSON.stringify({ type: 'members', you: member.id, members: [...this.#members.values()] }))
    void connection.subscribe(ROOM)
    tell({ type: 'joined', member })
  }
}

/** What a member says by `{"type":"say","text":"..."}`, or how to close its connection. */
function readMessage (data: Buffer, isBinary: boolean): string | [closeCode: number, reason: string] {
  if (isBinary) return [UNSUPPORTED_DATA, 'the chat speaks JSON text']
  if (data.length > MAX_MESSAGE_BYTES) return [MESSAGE_TOO_BIG, `a message has at most ${MAX_MESSAGE_BYTES} bytes`]
  try {
    const { type, text } = JSON.parse(data.toString()) ?? {}
    if (type !== 'say' || typeof text !== 'string' || text.trim() === '') return [BAD_MESSAGE, 'expected {"type":"say","text":"..."}']
    return text.length > MAX_TEXT_LENGTH ? [MESSAGE_TOO_BIG, `a text has at most ${MAX_TEXT_LENGTH} characters`] : text
  } catch {
    return [BAD_MESSAGE, 'malformed JSON']
  }
}
