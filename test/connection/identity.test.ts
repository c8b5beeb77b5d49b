import { test } from 'tap'
import { idOf, nextNumber } from '../../lib/connection/identity.ts'

test('ids are of this process, short, and no two are the same', t => {
  const numbers = Array.from({ length: 1000 }, nextNumber)
  const ids = numbers.map(idOf)
  t.equal(new Set(ids).size, 1000)
  for (const id of ids) if (!/^[a-z2-7]{6}-[\da-z]{1,3}$/.test(id)) t.fail(id)
  t.equal(new Set(ids.map(id => id.slice(0, 7))).size, 1)
  t.equal(idOf(numbers[0]!), ids[0], 'the same each time')
  t.ok(numbers.every((number, i) => i === 0 || number === numbers[i - 1]! + 1))
  t.end()
})
