import type { Duplex } from 'node:stream'

/** Who wants to know what becomes of a stream. */
export interface StreamListener {
  onData (chunk: Buffer): void
  onStreamEnd (): void
  onDrain (): void
  /** Somebody is about to end or destroy the stream: what has to go out before must be written now. */
  onBeforeEnd (): void
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
  announceEnd(stream)
}

/** Tells the listener of the data too, which makes it flow. */
export function listenToData (stream: ListenedStream): void {
  stream.on('data', onData)
}

/** The two ways to end a stream, whoever it is that offers them. */
interface Ends {
  readonly end: (...given: unknown[]) => unknown
  readonly destroy: (error?: Error) => unknown
}

// by class of streams, what stands in place of its two methods: the same for all of them, so that none costs a closure
const ENDS = new WeakMap<object, Ends>()

/**
 * Whoever has the stream in hand may end it (`request.raw.destroy()`, `connection._socket.end()`) in the turn in which something was sent:
 * that must not be lost. There is no event before it.
 */
function announceEnd (stream: ListenedStream): void {
  const isOwn = Object.hasOwn(stream, 'end') || Object.hasOwn(stream, 'destroy') // somebody else had the same idea
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

/** Whoever listened is told no more. @returns who that was */
export function unlisten (stream: ListenedStream): StreamListener | undefined {
  stream.off('close', onClose).off('end', onEnd).off('drain', onDrain).off('data', onData)
  const listener = stream[LISTENER]
  delete stream[LISTENER]
  return listener
}
