// A peer may cause errors as fast as it sends. The stack is most of the cost of an error, and says nothing about the peer.

// not writable with --frozen-intrinsics and the like
const isAdjustable = Object.getOwnPropertyDescriptor(Error, 'stackTraceLimit')?.writable === true

/** Calls `callback`; errors created in it have no stack. */
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
