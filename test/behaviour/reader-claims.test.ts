// What each way to read a connection claims, and when it gives that back.
import { test } from 'tap'
import { Connection, coreOf } from '../../lib/connection/connection.ts'
import type { MessageReader, MessageReaderOwner } from '../../lib/connection/incoming/message-reader.ts'
import { ReaderBusyError } from '../../lib/errors.ts'
import { OWNER, SETTINGS } from '../helpers/memory.ts'

class TestConnection extends Connection {
  readonly calls: string[] = []
  reader: MessageReader<any> | null = null

  constructor () {
    super(SETTINGS, OWNER)
    Object.assign(coreOf(this), { claimReader: this.#claim.bind(this), closeSoon: () => { this.calls.push('close') } })
  }

  /** Gives a message to the reader that waits. */
  deliver (text: string): void {
    this.reader!.deliver({ data: Buffer.from(text), isBinary: false })
  }

  #claim<Reader extends MessageReader<any>> (create: (owner: MessageReaderOwner) => Reader): Reader {
    if (this.reader !== null) throw new ReaderBusyError('busy')
    const reader = create({
      onWait () {},
      onRelease: expectsNext => {
        this.reader = null
        this.calls.push(`released${expectsNext ? ', expects another' : ''}`)
      }
    })
    this.reader = reader
    this.calls.push('claimed')
    return reader
  }
}

const create = (): TestConnection => new TestConnection()

test('receive() has a reader for one message, and another call is expected unless it was the last', async t => {
  const connection = create()
  const received = connection.receive()
  await t.rejects(connection.receive(), { code: 'WS_ERR_READER_BUSY' })
  connection.deliver('a')
  t.equal(await received, 'a')
  t.strictSame(connection.calls, ['claimed', 'released, expects another'])
  for (const error of [null, new Error('x')]) {
    const last = connection.receive()
    connection.reader!.end(error)
    t.equal(await last, null)
    t.strictSame(connection.calls.splice(0).slice(-2), ['claimed', 'released'])
  }
})

test('receive() that is given up releases its reader, and another call is expected', async t => {
  const connection = create()
  await t.rejects(connection.receive({ signal: AbortSignal.abort(new Error('enough')) }), { message: 'enough' })
  t.strictSame(connection.calls, ['claimed', 'released, expects another'])
})

test('a loop that is left closes the connection, unless it says otherwise', async t => {
  for (const [closeOnReturn, expected] of [[undefined, ['claimed', 'close', 'released']], [true, ['claimed', 'close', 'released']], [false, ['claimed', 'released']]] as const) {
    const connection = create()
    const iterator = connection.iterator(closeOnReturn === undefined ? {} : { closeOnReturn })
    const next = iterator.next()
    connection.deliver('a')
    t.match(await next, { value: 'a', done: false })
    await iterator.return!()
    t.strictSame(connection.calls, expected)
  }
})

test('a loop that comes to its end releases its reader and closes nothing', async t => {
  const connection = create()
  const loop = (async () => { for await (const message of connection) t.fail(String(message)) })()
  connection.reader!.end(null)
  await loop
  t.strictSame(connection.calls, ['claimed', 'released'])
})

test('streams with wrong options leave no reader behind', async t => {
  const connection = create() as any
  t.throws(() => connection.toDuplex({ messageSize: 0 }), RangeError)
  t.strictSame(connection.calls, ['claimed', 'released'])
})
