import type { GapReason } from '../../types/index.ts'

export type FromClient =
  { readonly kind: 'subscribe', readonly topic: string, readonly since: string | null } |
  { readonly kind: 'publish', readonly topic: string, readonly id: number, readonly text: string }

export type Message = { readonly kind: 'message', readonly topic: string, readonly position: string, readonly parent: string | null, readonly text: string }
export type Subscribed = { readonly kind: 'subscribed', readonly topic: string, readonly recovered: boolean, readonly position: string | null }
export type Gap = { readonly kind: 'gap', readonly topic: string, readonly from: string | null, readonly to: string | null, readonly reason: GapReason }

export type FromNode = Message | Subscribed | Gap | { readonly kind: 'published', readonly id: number, readonly position: string | null, readonly code?: string }
