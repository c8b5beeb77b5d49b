import { test } from 'tap'
import { heaviest } from '../../lib/fastify/heaviest.ts'
import { integer, random as randomOf } from '../helpers/random.ts'

test('the heaviest come first, at most so many, and nothing that weighs nothing', t => {
  const weigh = (weight: number): number => weight
  t.strictSame(heaviest([3, 0, 9, 1, 9, 7], 3, weigh), [9, 9, 7])
  t.strictSame(heaviest([3, 0, 1], 5, weigh), [3, 1])
  t.strictSame(heaviest([], 5, weigh), [])
  const random = randomOf(5)
  for (let round = 0; round < 100; round++) {
    const weights = Array.from({ length: integer(random, 0, 50) }, () => integer(random, 0, 30))
    const count = integer(random, 1, 20)
    t.strictSame(heaviest(weights, count, weigh), weights.filter(weight => weight > 0).sort((a, b) => b - a).slice(0, count))
  }
  t.end()
})

test('of those that weigh the same the first come first', t => {
  const elements = ['a', 'b', 'c', 'd']
  t.strictSame(heaviest(elements, 3, () => 5), ['a', 'b', 'c'])
  t.end()
})
