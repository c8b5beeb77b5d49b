import { runInNewContext } from 'node:vm'
import { test } from 'tap'
import { convertBinary, toPayload } from '../../lib/connection/message-data.ts'
import type { MessageData } from '../../types/connection.ts'

const BYTES = Buffer.from([1, 2, 3, 4])

test('a string stays a string', async t => {
  t.equal(toPayload('héllo'), 'héllo')
  t.equal(toPayload(''), '')
})

test('a number is sent as text', async t => {
  t.equal(toPayload(42), '42')
  t.equal(toPayload(0), '0')
  t.equal(toPayload(NaN), 'NaN')
})

test('a Buffer is taken as it is', async t => {
  t.equal(toPayload(BYTES), BYTES)
})

test('views and array buffers become a Buffer over the same memory', async t => {
  const memory = new ArrayBuffer(8)
  new Uint8Array(memory).set([0, 0, 1, 2, 3, 4, 0, 0])
  const shared = new SharedArrayBuffer(4)
  new Uint8Array(shared).set(BYTES)
  const cases: Array<[string, Exclude<MessageData, string | number | Blob | readonly Uint8Array[]>, Buffer, ArrayBufferLike]> = [
    ['Uint8Array', new Uint8Array(memory, 2, 4), BYTES, memory],
    ['Uint16Array', new Uint16Array(memory, 2, 2), BYTES, memory],
    ['Float64Array', new Float64Array(memory), Buffer.from(memory), memory],
    ['DataView', new DataView(memory, 2, 4), BYTES, memory],
    ['ArrayBuffer', memory, Buffer.from(memory), memory],
    ['SharedArrayBuffer', shared, BYTES, shared]
  ]
  for (const [name, data, expected, backing] of cases) {
    const payload = toPayload(data)
    if (!Buffer.isBuffer(payload)) {
      t.fail(`${name} became no Buffer`)
      continue
    }
    t.strictSame(payload, expected, name)
    t.equal(payload.buffer, backing, `${name}: nothing is copied`)
  }
})

test('an array buffer or view of another realm is taken too, as it comes from under Jest or node:vm', async t => {
  t.strictSame(toPayload(runInNewContext('new Uint8Array([1, 2, 3, 4])') as Uint8Array), BYTES)
  t.strictSame(toPayload(runInNewContext('new Uint8Array([1, 2, 3, 4]).buffer') as ArrayBuffer), BYTES)
})

test('a Blob is handed on, as its bytes can only be read later', async t => {
  const blob = new Blob(['a'])
  t.equal(toPayload(blob), blob)
})

test('a list of Buffers, as binaryType fragments gives, is one message', async t => {
  t.strictSame(toPayload([BYTES.subarray(0, 1), BYTES.subarray(1)]), BYTES)
  t.strictSame(toPayload([new Uint8Array(BYTES)]), BYTES)
})

test('anything else throws a TypeError that says what it is', async t => {
  for (const [value, name] of [[undefined, 'undefined'], [null, 'null'], [{}, 'object'], [true, 'boolean'], [1n, 'bigint'], [() => 1, 'function'],
    [[1, 2], 'another array'], [[], 'another array'], [[BYTES, 'a'], 'another array']] as const) {
    t.throws(() => toPayload(value as never), { name: 'TypeError', message: new RegExp(`not ${name}$`) })
  }
})

test('binary data is converted as binaryType says', async t => {
  const chunk = Buffer.from([9, 1, 2, 3, 4, 9])
  const data = chunk.subarray(1, 5)
  t.equal(convertBinary(data, 'nodebuffer'), data)
  t.strictSame(convertBinary(data, 'fragments'), [data])

  const arrayBuffer = convertBinary(data, 'arraybuffer')
  t.ok(arrayBuffer instanceof ArrayBuffer)
  t.strictSame(Buffer.from(arrayBuffer as ArrayBuffer), BYTES, 'nothing of the chunk around it')

  const blob = convertBinary(data, 'blob')
  t.ok(blob instanceof Blob)
  t.strictSame(Buffer.from(await (blob as Blob).arrayBuffer()), BYTES)
})
