import { test } from 'tap'
import { formatPosition, isSame, parsePosition } from '../../lib/topics/position.ts'

const HEAD = { epoch: 'a1', number: 12, tag: 'Zz9' }

test('a position is read back as it was written', t => {
  t.equal(formatPosition(HEAD), 'a1.12.Zz9')
  t.strictSame(parsePosition('a1.12.Zz9'), HEAD)
  t.strictSame(parsePosition('a1.0.-'), { epoch: 'a1', number: 0, tag: '-' })
  t.end()
})

test('what a client makes up is no position', t => {
  const invalid = [
    undefined, null, 12, {}, '', 'a1', 'a1.12', 'a1.12.Zz9.x', '.12.Zz9', 'a1..Zz9', 'a1.12.', 'a1.-1.x', 'a1.01.x', 'a1.1.5.x', 'a1.1e3.x', 'a b.1.x',
    `${'a'.repeat(33)}.1.x`, `a.1.${'x'.repeat(33)}`, 'a.9007199254740992.x', 'a.1.--', 'a1.12.Zz9\n'
  ]
  for (const value of invalid) t.equal(parsePosition(value), null, String(value))
  t.end()
})

test('two positions are the same only in all three parts', t => {
  t.ok(isSame(HEAD, { ...HEAD }))
  for (const other of [{ epoch: 'b' }, { number: 13 }, { tag: '-' }]) t.notOk(isSame(HEAD, { ...HEAD, ...other }))
  t.end()
})
