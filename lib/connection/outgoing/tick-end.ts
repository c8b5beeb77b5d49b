// What is added in one tick is written at its end. All connections share one callback of Node for that: one for each would cost a broadcast as much as
// putting its message into their buffers.

export interface TickEndListener {
  onTickEnd (): void
}

let listeners: TickEndListener[] = []

/** Calls `listener` once, after the code that runs now. */
export function tellAtTickEnd (listener: TickEndListener): void {
  if (listeners.push(listener) === 1) process.nextTick(tellAll)
}

function tellAll (): void {
  const told = listeners
  listeners = []
  tellFrom(told, 0)
}

/** If one throws, the others are told in the next tick. */
function tellFrom (told: TickEndListener[], first: number): void {
  let i = first
  try {
    for (; i < told.length; i++) told[i]!.onTickEnd()
  } finally {
    if (i < told.length) process.nextTick(tellFrom, told, i + 1)
  }
}
