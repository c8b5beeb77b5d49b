/** Tells whether `await` would wait for a value: a Promise or anything shaped like one. */
export function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function'
}

/** What Promise.withResolvers() gives from Node 22 on, without its reject(). */
export interface PromiseWithResolver<Value> {
  readonly promise: Promise<Value>
  readonly resolve: (value: Value) => void
}

export function withResolver<Value> (): PromiseWithResolver<Value> {
  let resolve: (value: Value) => void
  const promise = new Promise<Value>(_resolve => { resolve = _resolve })
  return { promise, resolve: resolve! }
}
