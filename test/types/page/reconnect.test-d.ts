// With the types of the DOM, and none of Node's.
import { expectTypeOf } from 'expect-type'
import { reconnect, type CloseInfo } from '../../../lib/page/reconnect.ts'

interface Said { text: string }
interface Say { say: string }

void reconnect<Said, Say>('/ws', async (connection, { attempt, last }) => {
  expectTypeOf(attempt).toEqualTypeOf<number>()
  expectTypeOf(last).toEqualTypeOf<CloseInfo | Error | null>()
  expectTypeOf(connection.receive()).toEqualTypeOf<Promise<Said | null>>()
  expectTypeOf(connection.send({ say: 'a' })).toEqualTypeOf<boolean>()
  // @ts-expect-error of another type
  connection.send('a')
  for await (const { text } of connection) expectTypeOf(text).toEqualTypeOf<string>()
}, { json: true })
expectTypeOf(reconnect('/ws', async connection => {
  expectTypeOf(connection.receive()).toEqualTypeOf<Promise<string | ArrayBuffer | null>>()
  connection.send(new Uint8Array([1]))
  connection.send(new Blob([]))
})).toEqualTypeOf<Promise<CloseInfo>>()
// @ts-expect-error types of values are those of JSON
void reconnect<Said, Say>('/ws', () => {})
// @ts-expect-error a page has no header fields
void reconnect('/ws', () => {}, { headers: {} })
