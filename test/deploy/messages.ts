import type { DrainOptions } from '../../types/index.ts'

export type Protocol = 'http1' | 'http2'

/** To a node. */
export type Order = { readonly publish: number } | { readonly drain: DrainOptions }

export type FromNode = { readonly port: number } | { readonly drainedAfter: number }

/** To a client: a message of the topic, or where it is and whether it has got all that it missed. */
export type Line =
  { readonly position: string | null, readonly number: number } |
  { readonly position: string | null, readonly node: string, readonly recovered: boolean }
