import type { Duplex } from 'node:stream'

/** What is told of the events of a stream. */
export interface StreamListener {
  onData (chunk: Buffer): void
  onStreamEnd (): void
  onDrain (): void
  /** Somebody is about to end or destroy the stream: whatever has to go out first must be written now. */
  onBeforeEnd (): void
  onStreamClose (): void
}

// The same functions listen to every stream, and find their listener here: closures would cost each connection 0.3 KiB.
const LISTENER = Symbol('listener')
type ListenedStream = Duplex & { [LISTENER]?: StreamListener }

function onData (this: ListenedStream, chunk: Buffer): void { this[LISTENER]!.onData(chunk) }
function onEnd (this: ListenedStream): void { this[LISTENER]!.onStreamEnd() }
function onDrain (this: ListenedStream): void { this[LISTENER]!.onDrain() }
function onClose (this: ListenedStream): void { this[LISTENER]!.onStreamClose() }
function ignore (): void {} // 'close' follows an 'error'

/** Tells `listener`, one for each stream, of everything but data. */
export function listen (stream: ListenedStream, listener: StreamListener): void {
  stream[LISTENER] = listener
  stream.on('error', ignore)
  stream.on('close', onClose)
  stream.on('end', onEnd)
  stream.on('drain', onDrain)
  announceEnd(stream)
}

/** Tells the listener of data too, which makes the stream flow. */
export function listenToData (stream: ListenedStream): void {
  stream.on('data', onData)
}

/** The two ways to end a stream, of whatever class. */
interface Ends {
  readonly end: (...given: unknown[]) => unknown
  readonly destroy: (error?: Error) => unknown
}

// by class of stream, the replacements of its two methods: shared by all its streams, so that none costs a closure
const ENDS = new WeakMap<object, Ends>()

/**
 * Anybody who holds the stream may end it (`request.raw.destroy()`, `connection._socket.end()`) in the same turn in which something was
 * sent, which must not be lost. No event comes before that.
 */
function announceEnd (stream: ListenedStream): void {
  const isOwn = Object.hasOwn(stream, 'end') || Object.hasOwn(stream, 'destroy') // somebody else has replaced them too
  const original: object = isOwn ? { end: stream.end.bind(stream), destroy: stream.destroy.bind(stream) } : Object.getPrototypeOf(stream)
  let ends = ENDS.get(original)
  if (ends === undefined) {
    const { end, destroy } = original as Ends
    ends = {
      end: function (this: ListenedStream, ...given) {
        if (!this.writableEnded) this[LISTENER]?.onBeforeEnd()
        return Reflect.apply(end, this, given)
      },
      destroy: function (this: ListenedStream, error) {
        if (!this.destroyed) this[LISTENER]?.onBeforeEnd()
        return Reflect.apply(destroy, this, [error])
      }
    }
    ENDS.set(original, ends)
  }
  Object.assign(stream, ends)
}

/** Stops telling the listener. @returns that listener */
export function unlisten (stream: ListenedStream): StreamListener | undefined {
  stream.off('close', onClose).off('end', onEnd).off('drain', onDrain).off('data', onData)
  const listener = stream[LISTENER]
  delete stream[LISTENER]
  return listener
}
