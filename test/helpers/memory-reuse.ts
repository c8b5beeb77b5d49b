import type { Writable } from 'node:stream'
import { turn } from './app.ts'
import type { RawClient } from './raw-client.ts'

/**
 * Writes the same memory again and again, each time with other bytes and as soon as the write before is done, to a client that does not read
 * until no write is done any more; then lets it read.
 * @returns for each write whether its bytes came as they were written, in however many frames
 */
export async function writeFromOneMemory (stream: Writable, client: RawClient, size: number): Promise<boolean[]> {
  client.pause()
  const memory = Buffer.alloc(size)
  const contentOf = (i: number): number => i % 251
  let count = 0
  let done: Promise<true>
  do {
    memory.fill(contentOf(count++))
    done = new Promise(resolve => { stream.write(memory, () => { resolve(true) }) })
  } while (await Promise.race([done, turns(20)]))
  client.resume()
  await done
  memory.fill(255)
  const results: boolean[] = []
  let received = Buffer.alloc(0)
  while (results.length < count) {
    received = Buffer.concat([received, (await client.next()).payload])
    for (; received.length >= size && results.length < count; received = received.subarray(size)) {
      results.push(received.subarray(0, size).equals(Buffer.alloc(size, contentOf(results.length))))
    }
  }
  return results
}

async function turns (count: number): Promise<false> {
  for (let i = 0; i < count; i++) await turn()
  return false
}
