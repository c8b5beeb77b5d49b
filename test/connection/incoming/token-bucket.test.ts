import { test } from 'tap'
import { TokenBucket } from '../../../lib/connection/incoming/token-bucket.ts'

test('what was not used may be used at once, up to a burst, and comes back at the rate', t => {
  const bucket = new TokenBucket(10, 2, 1000)
  t.equal(bucket.wait(20, 1000), 0)
  bucket.take(20, 1000)
  t.equal(bucket.wait(1, 1000), 100)
  t.equal(bucket.wait(1, 1060), 40)
  t.equal(bucket.wait(1, 1100), 0)
  bucket.take(1, 1100)
  t.equal(bucket.wait(20, 1_000_000), 0, 'never more than that')
  bucket.take(20, 1_000_000)
  t.equal(bucket.wait(1, 1_000_000), 100)
  t.end()
})

test('more than there is is a debt', t => {
  const bucket = new TokenBucket(100, 1, 0)
  bucket.take(350, 0)
  t.equal(bucket.wait(0, 0), 2500)
  t.equal(bucket.wait(1, 0), 2510)
  t.equal(bucket.wait(-50, 0), 2000, 'all but 50 of it')
  t.equal(bucket.wait(0, 2500), 0)
  t.end()
})

test('where there can never be as many, all there can be are enough', t => {
  const bucket = new TokenBucket(0.5, 1, 0)
  t.equal(bucket.wait(1, 0), 0)
  bucket.take(1, 0)
  t.equal(bucket.wait(1, 0), 2000)
  t.end()
})
