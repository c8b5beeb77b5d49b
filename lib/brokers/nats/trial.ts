// Everything that is needed later, tried at the start: missing permissions are known before messages are lost.
import type { NatsConnection } from '@nats-io/transport-node'
import { brokerRefused } from '../../errors.ts'
import { randomTag, type Environment } from '../../topics/environment.ts'
import { fieldOf, headersOf, TAG_FIELD, TRIAL_TOKEN, type Layout } from './layout.ts'
import { Refusal, type Session } from './session.ts'
import type { Stream } from './stream.ts'

export interface TrialOptions {
  readonly connection: NatsConnection
  readonly layout: Layout
  readonly streams: readonly Stream[]
  /** There are topics without numbers. */
  readonly hasPlain: boolean
  /** Milliseconds. */
  readonly timeout: number
  readonly environment: Environment
}

const NOTHING = Buffer.alloc(0)

/** Publishes a message in each way, and waits until it comes. */
export async function tryAll (session: Session, options: TrialOptions): Promise<void> {
  const { connection, layout, streams, hasPlain, environment } = options
  const subject = layout.live('*', TRIAL_TOKEN)
  const tag = randomTag(environment.random)
  const awaited = new Map<string, () => void>()
  let refused: Error | null = null
  const subscription = connection.subscribe(subject, {
    callback: (error, message) => {
      refused ??= error
      if (error === null && fieldOf(message, TAG_FIELD) === tag) awaited.get(message.subject)?.()
    }
  })
  const comes = async (live: string, publish: () => Promise<unknown>): Promise<void> => {
    let cancel: () => void
    const hasCome = new Promise<boolean>(resolve => {
      awaited.set(live, () => { resolve(true) })
      cancel = environment.schedule(() => { resolve(false) }, options.timeout, true)
    })
    try {
      await publish()
      if (!await hasCome) throw brokerRefused('a trial', new Error(`what was published did not come on ${live}`))
    } finally {
      cancel!()
    }
  }
  try {
    await session.flush()
    if (refused !== null) throw brokerRefused(`a subscription to ${subject}`, refused)
    for (const stream of streams) {
      try {
        await comes(layout.live(stream.size, TRIAL_TOKEN), async () => {
          await stream.publish(session, TRIAL_TOKEN, NOTHING, headersOf({ [TAG_FIELD]: tag }))
          await stream.last(session, TRIAL_TOKEN)
        })
      } catch (error) {
        throw error instanceof Refusal ? brokerRefused(`a trial of the stream ${stream.name}`, error) : error
      }
    }
    if (!hasPlain) return
    const plain = layout.live('plain', TRIAL_TOKEN)
    await comes(plain, async () => { connection.publish(plain, NOTHING, { headers: headersOf({ [TAG_FIELD]: tag }) }) })
  } finally {
    subscription.unsubscribe()
  }
}
