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
