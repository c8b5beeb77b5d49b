import type { Head } from '../../types/topics.ts'

/** epoch.number.tag; opaque to applications. */
export function formatPosition ({ epoch, number, tag }: Head): string {
  return `${epoch}.${number}.${tag}`
}

const POSITION = /^([A-Za-z0-9]{1,32})\.(0|[1-9]\d{0,15})\.([A-Za-z0-9]{1,32}|-)$/

/** Null for anything invalid: positions come from clients. */
export function parsePosition (value: unknown): Head | null {
  const parts = typeof value === 'string' ? POSITION.exec(value) : null
  if (parts === null) return null
  const number = Number(parts[2])
  return Number.isSafeInteger(number) ? { epoch: parts[1]!, number, tag: parts[3]! } : null
}

export function isSame (a: Head, b: Head): boolean {
  return a.number === b.number && a.tag === b.tag && a.epoch === b.epoch
}
