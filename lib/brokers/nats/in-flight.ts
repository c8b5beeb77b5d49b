// Messages that were sent to a stream and are not answered. When the connection is back they are looked for, or repeated, or given up.
import type { Head } from '../../../types/topics.ts'
import { brokerDown, brokerUncertain, TopicsError } from '../../errors.ts'
import { randomTag, type Environment } from '../../topics/environment.ts'
import { storedAfter } from './history.ts'
import { headersOf, TAG_FIELD, tokenOf } from './layout.ts'
import { isFinal, Unanswered, Unavailable, type Session } from './session.ts'
import type { Stream } from './stream.ts'

export interface InFlightOwner {
  readonly environment: Environment
  /** Milliseconds after which a message is not repeated any more. */
  readonly timeout: number
  /** Nothing can be sent on the session any more. */
  fail (session: Session, error: Error): void
  /** There will be no further session. */
  isOver (): boolean
}

interface Sent {
  readonly token: string
  readonly stream: Stream
  readonly epoch: string
  /** If it was stored, its number is larger. */
  readonly known: number
  readonly tag: string
  readonly deadline: number
  readonly serverId: string | undefined
  /** To a server that has forgotten its id, or may have, and has not stored it. */
  mayRepeat: boolean
  readonly repeat: (session: Session) => void
  readonly isStored: (number: number) => void
  readonly giveUp: (error: Error) => void
}

export class InFlight {
  readonly #owner: InFlightOwner
  /** The unique name of this process, for the ids of messages. */
  node = ''
  #published = 0
  // in the order in which it was sent
  readonly #sent = new Set<Sent>()

  constructor (owner: InFlightOwner) {
    this.#owner = owner
  }

  /**
   * A message has an id, so that it is safe to repeat it to the same server within two minutes. One that was started again may have forgotten it, and is
   * asked first.
   */
  send (session: Session, topic: string, body: Buffer, stream: Stream): Promise<Head> {
    const { environment, timeout } = this.#owner
    const tag = randomTag(environment.random)
    const token = tokenOf(topic)
    const fields = headersOf({ 'Nats-Msg-Id': `${this.node}:${++this.#published}`, [TAG_FIELD]: tag })
    return new Promise((resolve, reject) => {
      const send = (session: Session): void => {
        stream.publish(session, token, body, fields).then(sent.isStored, (error: Error) => {
          const isAnswer = isFinal(error) || error instanceof TopicsError
          if (!isAnswer) this.#owner.fail(session, error)
          const mayRepeat = !isAnswer && !(error instanceof Unanswered || error instanceof Unavailable) && !this.#owner.isOver()
          if (!mayRepeat) sent.giveUp(error) // else repeat() does, or is not allowed to
        })
      }
      const sent: Sent = {
        token,
        stream,
        epoch: stream.epoch,
        known: stream.known,
        tag,
        deadline: environment.clock() + timeout,
        serverId: session.serverId,
        mayRepeat: false,
        repeat: send,
        isStored: number => {
          this.#sent.delete(sent)
          resolve({ epoch: stream.epoch, number, tag })
        },
        giveUp: error => {
          this.#sent.delete(sent)
          if (error instanceof Unavailable) reject(brokerDown(topic, error.message))
          else reject(isFinal(error) ? error : brokerUncertain(topic, { cause: error }))
        }
      }
      this.#sent.add(sent)
      send(session)
    })
  }

  /** Finds out what of it was stored, by a server that was started again: each topic is asked for once. */
  async lookFor (session: Session): Promise<void> {
    const lost = new Map<string, Sent[]>()
    for (const sent of this.#sent) {
      sent.mayRepeat = sent.serverId !== undefined && sent.serverId === session.serverId
      if (sent.mayRepeat || sent.epoch !== sent.stream.epoch) continue
      const subject = `${sent.stream.size}.${sent.token}`
      lost.set(subject, [...lost.get(subject) ?? [], sent])
    }
    await Promise.all([...lost.values()].map(async all => {
      const { stream, token } = all[0]!
      const shelf = { last: () => stream.last(session, token), next: (from: number) => stream.next(session, token, from) }
      const { stored, isAll } = await storedAfter(shelf, Math.min(...all.map(({ known }) => known)))
      for (const sent of all) {
        const found = stored.find(({ tag }) => tag === sent.tag)
        if (found === undefined) sent.mayRepeat = isAll
        else sent.isStored(found.number)
      }
    }))
  }

  /** Before anything that is published from now on. */
  repeat (session: Session): void {
    const now = this.#owner.environment.clock()
    for (const sent of this.#sent) {
      if (sent.mayRepeat && sent.deadline > now) sent.repeat(session)
      else sent.giveUp(new Error('the connection was lost before it was answered'))
    }
  }

  giveUp (error: Error): void {
    for (const sent of this.#sent) sent.giveUp(error)
  }
}
