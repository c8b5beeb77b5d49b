import { test } from 'tap'
import { isThenable, withResolver } from '../lib/promises.ts'

const shaped = (object: object, then: unknown = () => {}): object => Reflect.set(object, 'then', then) ? object : {}

test('whatever await would wait for is thenable, and nothing else', async t => {
  for (const value of [Promise.resolve(), shaped({}), shaped(() => {})]) t.equal(isThenable(value), true)
  for (const value of [undefined, null, 0, 'then', {}, shaped({}, true), () => {}, Symbol('then')]) t.equal(isThenable(value), false, String(value))
})

test('a promise is resolved from outside, once', async t => {
  const { promise, resolve } = withResolver<number>()
  resolve(1)
  resolve(2)
  t.equal(await promise, 1)
})
