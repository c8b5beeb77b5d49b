// A peer may make errors as fast as it sends. What a stack of ten frames costs is most of what an error costs, and it tells nothing of the peer.

// with --frozen-intrinsics and the like it may not be set
const isAdjustable = Object.getOwnPropertyDescriptor(Error, 'stackTraceLimit')?.writable === true

/** Calls `callback`; the errors that are made meanwhile have no stacks. */
export function withoutStacks<Argument, Result> (callback: (argument: Argument) => Result, argument: Argument): Result {
  if (!isAdjustable) return callback(argument)
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return callback(argument)
  } finally {
    Error.stackTraceLimit = limit
  }
}
