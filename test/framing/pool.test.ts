import { test } from 'tap'
import { Pool } from '../../lib/framing/pool.ts'

test('a thing that was given back is taken again, and is nobody else\'s meanwhile', async t => {
  let made = 0
  const pool = new Pool(() => ({ number: ++made }))
  const [a, b] = [pool.take(), pool.take()]
  t.not(a, b)
  pool.giveBack(a)
  t.equal(pool.take(), a)
  t.equal(pool.take().number, 3)
})

test('a pool keeps no more than 1,024 things', async t => {
  let made = 0
  const pool = new Pool(() => ({ number: ++made }))
  const taken = Array.from({ length: 3000 }, () => pool.take())
  for (const item of taken) pool.giveBack(item)
  for (let i = 0; i < 3000; i++) pool.take()
  t.equal(made, 3000 + 3000 - 1024)
})
