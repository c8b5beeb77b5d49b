// What a stream has of a topic: its head, and what was published since another.
import type { Entry, Head, Rule } from '../../../types/topics.ts'
import { brokerAnswer } from '../../errors.ts'
import type { Place } from './layout.ts'
import type { Stored } from './stream.ts'

/** A topic in a stream. */
export interface Shelf {
  readonly epoch: string
  last (): Promise<Stored | null>
  next (from: number): Promise<Stored | null>
  /**
   * Publishes a marker if the newest message is still the one with that number, 0 for none. @param head what it stands for; null: for itself
   */
  mark (newest: number, head: Place | null): Promise<void>
  /** Publishes a marker for the head of a quiet topic, before it is forgotten. Never rejects. */
  renew (newest: Stored): Promise<void>
}

/** Parts of a history that are read at the same time. */
const PARTS = 8
const MAX_ATTEMPTS = 10

/**
 * One question at a time answers what one script does in Redis: a stream drops the oldest of a topic first. So if what was first is still there when
 * all has been read, nothing behind it was dropped meanwhile.
 * @param now milliseconds since 1970
 */
export async function readHistory (shelf: Shelf, since: Head | null, rule: Rule, now: number): Promise<{ head: Head, entries: Entry[] }> {
  const { epoch } = shelf
  const { size, ttl, headTtl } = rule
  const { newest, head: place } = await newestOf(shelf)
  if (now - newest.time > headTtl / 2) await shelf.renew(newest)
  const head = { epoch, ...place }
  if (since === null || size === 0 || since.epoch !== epoch || since.number >= head.number) return { head, entries: [] }
  const stored = [...await between(shelf, since.number + 1, newest.number - 1), newest]
  const oldest = await shelf.next(since.number)
  if (oldest === null) return { head, entries: [] }
  let last: Place | null = oldest.number === since.number || oldest.isMarker ? oldest.head : null
  let time = 0
  const entries: Entry[] = []
  for (const message of stored) {
    if (message.number < oldest.number) continue
    const { number, tag, isMarker, body } = message
    if (isMarker) {
      last ??= message.head // behind what is known it hides nothing
      continue
    }
    // what is before the first is not known: nothing follows it
    entries.push({ head: { epoch, number, tag }, previous: last?.number ?? -1, previousTag: last?.tag ?? '-', body })
    last = { number, tag }
    time = message.time
  }
  return { head, entries: now - time > ttl ? [] : entries }
}

/** What is stored of a topic behind a number. @returns whether that is all there was, as something up to that number is still there, or nothing came */
export async function storedAfter (shelf: Pick<Shelf, 'last' | 'next'>, number: number): Promise<{ stored: Stored[], isAll: boolean }> {
  const newest = await shelf.last()
  if (newest === null || newest.number <= number) return { stored: [], isAll: true }
  const stored = [...await between(shelf, number + 1, newest.number - 1), newest]
  const oldest = await shelf.next(1)
  return { stored, isAll: oldest !== null && oldest.number <= number }
}

/** Makes a head where there is none. */
async function newestOf (shelf: Shelf): Promise<{ newest: Stored, head: Place }> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const newest = await shelf.last()
    if (newest !== null) return { newest, head: isFirst(newest) ? await firstOf(shelf, newest) : newest.head }
    await shelf.mark(0, null)
  }
  throw brokerAnswer('what has been published')
}

/** Whether it is a marker that was made where nothing was. */
function isFirst ({ isMarker, number, head }: Stored): boolean {
  return isMarker && head.number === number
}

/** Several nodes may have made such a marker at the same time, and each finds its own accepted: all agree on the first. */
async function firstOf (shelf: Shelf, newest: Stored): Promise<Place> {
  const oldest = await shelf.next(1)
  if (oldest === null || !isFirst(oldest) || oldest.number >= newest.number) return newest.head
  const others = await between(shelf, oldest.number + 1, newest.number - 1)
  return others.every(isFirst) ? oldest.head : newest.head
}

/** All messages with numbers from one to another, these included. */
async function between (shelf: Pick<Shelf, 'next'>, from: number, to: number): Promise<Stored[]> {
  const length = Math.max(1, Math.ceil((to - from + 1) / PARTS))
  const parts: Array<Promise<Stored[]>> = []
  for (let start = from; start <= to; start += length) parts.push(inTurn(shelf, start, Math.min(start + length - 1, to)))
  return (await Promise.all(parts)).flat()
}

async function inTurn (shelf: Pick<Shelf, 'next'>, from: number, to: number): Promise<Stored[]> {
  const found: Stored[] = []
  for (let at = from; at <= to;) {
    const message = await shelf.next(at)
    if (message === null || message.number > to) break
    found.push(message)
    at = message.number + 1
  }
  return found
}
