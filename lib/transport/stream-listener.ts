import type { Duplex } from 'node:stream'

/** Who wants to know what becomes of a stream. */
export interface StreamListener {
  onData (chunk: Buffer): void
  onStreamEnd (): void
  onDrain (): void
  onStreamClose (): void
}

// The same functions listen to every stream, and find by this whom to tell: closures would cost each connection 0.3 KiB.
const LISTENER = Symbol('listener')
type ListenedStream = Duplex & { [LISTENER]?: StreamListener }

function onData (this: ListenedStream, chunk: Buffer): void { this[LISTENER]!.onData(chunk) }
function onEnd (this: ListenedStream): void { this[LISTENER]!.onStreamEnd() }
function onDrain (this: ListenedStream): void { this[LISTENER]!.onDrain() }
function onClose (this: ListenedStream): void { this[LISTENER]!.onStreamClose() }
function ignore (): void {} // 'close' follows an 'error'

/** Tells `listener`, one for each stream, of all but the data. */
export function listen (stream: ListenedStream, listener: StreamListener): void {
  stream[LISTENER] = listener
  stream.on('error', ignore)
  stream.on('close', onClose)
  stream.on('end', onEnd)
  stream.on('drain', onDrain)
}

/** Tells the listener of the data too, which makes it flow. */
export function listenToData (stream: ListenedStream): void {
  stream.on('data', onData)
}

/** Whoever listened is told no more. @returns who that was */
export function unlisten (stream: ListenedStream): StreamListener | undefined {
  stream.off('close', onClose).off('end', onEnd).off('drain', onDrain).off('data', onData)
  const listener = stream[LISTENER]
  delete stream[LISTENER]
  return listener
}
