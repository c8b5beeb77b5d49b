// The scripts in a real Redis do what the model of the simulation does, command by command.
import { Redis as Ioredis } from 'ioredis'
import { test } from 'tap'
import { Layout, parseEntry } from '../../../lib/brokers/redis/layout.ts'
import { publishCommand, readAnswer, readCommand } from '../../../lib/brokers/redis/scripts.ts'
import type { Entry, Head, Rule } from '../../../types/topics.ts'
import { integer, random } from '../../helpers/random.ts'
import { RedisServer, withoutRedis } from '../../helpers/redis-server.ts'
import { VirtualServer } from '../../helpers/virtual-broker.ts'

const SEQUENCES = 1_000
const COMMANDS = 12

type Answer = Head | { head: Head, entries: Entry[] }

/** Epochs and tags by when they were seen first: both sides make their own. */
class Names {
  readonly #names = new Map<string, string>([['-', '-']])

  of (answer: Answer): unknown {
    if (!('entries' in answer)) return this.#head(answer)
    return {
      head: this.#head(answer.head),
      entries: answer.entries.map(({ head, previous, previousTag, body }) => [this.#head(head), previous, this.#name(previousTag!), body.toString()])
    }
  }

  #head ({ epoch, number, tag }: Head): string { return `${this.#name(epoch)} ${number} ${this.#name(tag)}` }

  #name (id: string): string {
    const name = this.#names.get(id) ?? `#${this.#names.size}`
    this.#names.set(id, name)
    return name
  }
}

const rules: Rule[] = [0, 1, 3, 10].map(size => ({ size, ttl: 600_000, headTtl: 600_000, plain: false }))

test('a thousand random sequences are answered alike by a real server and by the model', { skip: withoutRedis }, async t => {
  const server = await RedisServer.start()
  const client = new Ioredis({ port: server.port, host: '127.0.0.1' })
  t.teardown(async () => {
    client.disconnect()
    await server.remove()
  })
  const layout = new Layout('ws1')
  const chance = random(20)
  const call = (command: Array<string | Buffer>): Promise<unknown> => client.callBuffer(String(command[0]), ...command.slice(1))
  let different = 0
  for (let sequence = 0; sequence < SEQUENCES; sequence++) {
    const model = new VirtualServer(chance)
    const topic = `t${sequence}`
    const keys = { head: layout.headKey(topic), list: layout.listKey(topic) }
    const rule = rules[integer(chance, 0, rules.length - 1)]!
    const expected: Answer[] = []
    // what was answered so far, of each side: since when is asked by its own
    const real: Array<Promise<Answer>> = []
    for (let i = 0; i < COMMANDS; i++) {
      const kind = chance()
      if (kind < 0.55) {
        const body = Buffer.from(`{"t":"${topic}"}\n${i}`)
        expected.push(model.publish(topic, body, rule)!)
        const command = publishCommand(keys, { channel: layout.channel(0), command: 'PUBLISH' }, { epoch: model.tag(), tag: model.tag() }, body, rule)
        real.push(call(command).then(reply => readAnswer([reply])!.head))
      } else if (kind < 0.9) {
        const at = integer(chance, -1, expected.length - 1)
        const headOf = (answer: Answer | undefined): Head | null => answer === undefined ? null : 'entries' in answer ? answer.head : answer
        const head = model.head(topic)
        const since = headOf(expected[at])
        expected.push({ head, entries: model.entries(topic, head, since) })
        const before = at < 0 ? Promise.resolve(null) : real[at]!.then(headOf)
        real.push(before.then(async since => {
          const { head, entries } = readAnswer(await call(readCommand(keys, model.tag(), since, rule)))!
          return { head, entries: entries.map(entry => parseEntry(entry) as Entry) }
        }))
      } else if (kind < 0.95) {
        model.evict(topic)
        void call(['DEL', keys.head])
      } else {
        model.evictEntries(topic)
        void call(['DEL', keys.list])
      }
      await real.at(-1) // one after the other
    }
    const [ofModel, ofServer] = [new Names(), new Names()]
    const answers = await Promise.all(real)
    for (const [i, answer] of answers.entries()) {
      const [actual, wanted] = [ofServer.of(answer), ofModel.of(expected[i]!)]
      if (JSON.stringify(actual) === JSON.stringify(wanted)) continue
      if (different++ === 0) t.strictSame(actual, wanted, `sequence ${sequence}, answer ${i}, size ${rule.size}`)
    }
  }
  t.equal(different, 0)
})

test('numbers beyond 1e15 stay numbers, and no time to live is too long', { skip: withoutRedis }, async t => {
  const server = await RedisServer.start()
  const client = new Ioredis({ port: server.port, host: '127.0.0.1' })
  t.teardown(async () => {
    client.disconnect()
    await server.remove()
  })
  const rule: Rule = { size: 5_000, ttl: Number.MAX_SAFE_INTEGER, headTtl: Number.MAX_SAFE_INTEGER, plain: false }
  const layout = new Layout('ws1')
  const keys = { head: layout.headKey('a'), list: layout.listKey('a') }
  await client.set(keys.head, 'e 1999999999999999 t')
  const call = (command: Array<string | Buffer>): Promise<unknown> => client.callBuffer(String(command[0]), ...command.slice(1))
  t.strictSame(String(await call(publishCommand(keys, { channel: 'c', command: 'PUBLISH' }, { epoch: 'x', tag: 'y' }, Buffer.from('b'), rule))), 'e 2000000000000000 y')
  // as many at once as a list may have
  for (let i = 0; i < 6_000; i += 1_000) await client.rpush(keys.list, ...Array.from({ length: 1_000 }, (_, j) => `e ${i + j + 1} t t\n`))
  const { entries } = readAnswer(await call(readCommand(keys, 'x', { epoch: 'e', number: 1, tag: 't' }, rule)))!
  t.equal(entries.length, 5_501)
})
