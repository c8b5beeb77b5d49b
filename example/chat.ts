import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import type { Encode, WebSocketConnection } from '../lib/index.ts'

/** Bytes that may wait for one member; more than a short stall of a working line leaves behind. Who is further behind is closed with 1013. */
export const MAX_BEHIND = 256 * 1024
/** What members say is kept for those who come back; where everybody is needs to be known only now. */
export const CHAT_RULES = [{ topic: 'chat', size: 2000, ttl: 600_000 }, { topic: 'here', plain: true }]
const MAX_MEMBERS = 100
/** How often each node repeats who is there, for pages that are connected to another node. */
const HERE_INTERVAL = 2_000 // ms

// RFC 6455 §7.4.1 and the registry of §11.7
const TRY_AGAIN_LATER = 1013

const Id = Type.String({ pattern: '^[\\w-]{1,40}$' })
const Member = Type.Object({ id: Id, name: Type.String() })

const Query = Type.Object({
  id: Id,
  // no control characters, and at least one that can be seen
  name: Type.String({ maxLength: 24, pattern: '^(?=.*\\S)\\P{Cc}+$' }),
  since: Type.Optional(Type.String({ maxLength: 100 }))
})

const Say = Type.Object({ type: Type.Literal('say'), id: Id, text: Type.String({ maxLength: 500, pattern: '\\S' }) })
const Kill = Type.Object({ type: Type.Literal('kill') })

const Welcome = Type.Object({ type: Type.Literal('welcome'), node: Type.String(), nodes: Type.Integer(), recovered: Type.Boolean(), position: Type.String() })
const Here = Type.Object({ type: Type.Literal('here'), node: Type.String(), members: Type.Array(Member) })
const Said = Type.Object({ type: Type.Literal('said'), id: Id, by: Member, text: Type.String(), position: Type.Optional(Type.String()) })

/** Who serves the chat. */
export interface ChatNode {
  name: string
  /** How many there are. */
  count: number
  /** Ends this node at once: a button for those who want to see what becomes of the chat. */
  kill?: () => void
}

/** Each subscriber learns by the message itself where it is in the conversation. Called once for each message, whoever is subscribed. */
const withPosition: Encode = (payload, { position }) => JSON.stringify({ ...JSON.parse(String(payload)), position })

export function chat (app: FastifyInstance, node: ChatNode): void {
  const here = announceMembers(app, node)

  app.withTypeProvider<TypeBoxTypeProvider>().get('/chat', {
    websocket: { maxPayload: 4096 },
    schema: { querystring: Query, receive: Type.Union([Say, Kill]), send: Type.Union([Welcome, Here, Said]) }
  }, async (connection, { query: { id, name, since } }) => {
    if (here.members.size >= MAX_MEMBERS) return connection.close(TRY_AGAIN_LATER, 'the room is full')
    const by = { id, name }
    connection.on('message', message => {
      if (message.type === 'kill') return node.kill?.()
      return app.websocketServer.publish('chat', connection.prepare({ ...message, type: 'said', by }))
    })
    // first all that was said since this page was last here, then what is said from now on
    const { recovered, position } = await connection.subscribe('chat', { since, encode: withPosition })
    connection.send({ type: 'welcome', node: node.name, nodes: node.count, recovered, position: position! })
    await connection.subscribe('here', { slow: 'latest' })
    here.join(connection, by)
  })
}

/** Tells all pages who is connected to this node, whenever that changes and now and then. */
function announceMembers (app: FastifyInstance, { name }: ChatNode) {
  const members = new Map<WebSocketConnection<any, any>, Static<typeof Member>>()
  const announce = (): void => {
    if (app.websocketServer.state === 'closing') return
    void app.websocketServer.publish('here', JSON.stringify({ type: 'here', node: name, members: [...members.values()] }))
  }
  const repeating = setInterval(announce, HERE_INTERVAL)
  app.addHook('onClose', async () => { clearInterval(repeating) })

  return {
    members,
    join (connection: WebSocketConnection<any, any>, member: Static<typeof Member>): void {
      if (connection.readyState !== connection.OPEN) return
      members.set(connection, member)
      connection.on('close', () => {
        members.delete(connection)
        announce()
      })
      announce()
    }
  }
}
