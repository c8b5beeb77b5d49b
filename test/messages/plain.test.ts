import fluent from 'fluent-json-schema'
import { test } from 'tap'
import { plain } from '../../lib/messages/plain.ts'

test('what was built with fluent-json-schema becomes a plain object, and all else stays as it is', t => {
  const S = fluent.default ?? fluent
  t.match(plain(S.object().prop('a', S.string())), { type: 'object', properties: { a: { type: 'string' } } })
  for (const schema of [{ type: 'string' }, true, null, undefined, { valueOf: () => 'never' }]) t.equal(plain(schema), schema)
  t.end()
})
