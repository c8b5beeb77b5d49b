/** Whether `await` would wait for a value: a Promise or any other thenable. */
export function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function'
}

/** The result of Promise.withResolvers() (Node 22 and later), without reject(). */
export interface PromiseWithResolver<Value> {
  readonly promise: Promise<Value>
  readonly resolve: (value: Value) => void
}

export function withResolver<Value> (): PromiseWithResolver<Value> {
  let resolve: (value: Value) => void
  const promise = new Promise<Value>(_resolve => { resolve = _resolve })
  return { promise, resolve: resolve! }
}
