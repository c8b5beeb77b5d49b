/** Tells whether `await` would wait for a value: a Promise or anything shaped like one. */
export function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function'
}
