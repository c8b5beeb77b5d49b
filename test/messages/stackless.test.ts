import { execFileSync } from 'node:child_process'
import { test } from 'tap'
import { withoutStacks } from '../../lib/messages/stackless.ts'

test('errors that are made meanwhile have no stacks, those before and after have', async t => {
  const limit = Error.stackTraceLimit
  const make = (message: string): Error => new Error(message)
  t.equal(withoutStacks(make, 'inside').stack, 'Error: inside')
  t.match(make('after').stack, /\n {4}at make /)
  t.throws(() => withoutStacks(JSON.parse, '{'), SyntaxError)
  t.equal(Error.stackTraceLimit, limit)
})

test('where the limit cannot be set, the callback is called all the same', async t => {
  const path = JSON.stringify(new URL('../../lib/messages/stackless.ts', import.meta.url).href)
  const script = `Object.freeze(Error)
    const { withoutStacks } = await import(${path})
    console.log(withoutStacks(value => value + 1, 1))`
  t.equal(execFileSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '--experimental-strip-types --no-warnings' } }), '2\n')
})
