import type { Duplex } from 'node:stream'

/** Gets the events of a stream. */
export interface StreamListener {
  onData (chunk: Buffer): void
  onStreamEnd (): void
  onDrain (): void
  /** If present, end() and destroy() of the stream call it first: pending data must be written now. */
  onBeforeEnd? (): void
  /** 'close' follows, but for streams that do not destroy themselves. */
  onStreamError? (): void
  onStreamClose (): void
}

// All streams share the same event listeners, which find their StreamListener here: closures would cost 0.3 KiB per connection.
const LISTENER = Symbol('listener')
type ListenedStream = Duplex & { [LISTENER]?: StreamListener }

function onData (this: ListenedStream, chunk: Buffer): void { this[LISTENER]?.onData(chunk) }
function onEnd (this: ListenedStream): void { this[LISTENER]?.onStreamEnd() }
function onDrain (this: ListenedStream): void { this[LISTENER]?.onDrain() }
function onError (this: ListenedStream): void { this[LISTENER]?.onStreamError?.() } // stays, as an error without a listener would end the process
function onClose (this: ListenedStream): void { this[LISTENER]?.onStreamClose() }

/** The listener that a stream has. */
export function listenerOf (stream: ListenedStream): StreamListener | undefined {
  return stream[LISTENER]
}

/** Passes all events except data to `listener`, of which a stream has one: it takes the place of an earlier one. */
export function listen (stream: ListenedStream, listener: StreamListener): void {
  const previous = stream[LISTENER]
  const isFirst = previous === undefined
  stream[LISTENER] = listener
  if (listener.onBeforeEnd !== undefined && previous?.onBeforeEnd === undefined) announceEnd(stream)
  // a hook may have removed all listeners of an event since then
  if (isFirst || stream.listenerCount('error', onError) === 0) stream.on('error', onError)
  if (isFirst || stream.listenerCount('close', onClose) === 0) stream.on('close', onClose)
  if (isFirst || stream.listenerCount('end', onEnd) === 0) stream.on('end', onEnd)
  if (isFirst || stream.listenerCount('drain', onDrain) === 0) stream.on('drain', onDrain)
}

/** Passes data to the listener too, ahead of all others who listen to it, which makes the stream flow. */
export function listenToData (stream: ListenedStream): void {
  if (stream.listenerCount('data') === 0) {
    // only on() tells Node of a listener: a stream without one buffers each chunk, and passes it on in a later tick
    stream.on('data', onData)
    return
  }
  stream.prependListener('data', onData)
  if (stream.readableFlowing !== false) stream.resume() // as on() does
}

export function stopListeningToData (stream: ListenedStream): void {
  stream.off('data', onData)
}

/** The two methods that end a stream. */
interface Ends {
  readonly end: (...given: unknown[]) => unknown
  readonly destroy: (error?: Error) => unknown
}

// by class of stream: the replacements of the two methods, shared by all its streams to save closures
const ENDS = new WeakMap<object, Ends>()

/**
 * Wraps end() and destroy(). Applications may call them (`request.raw.destroy()`, `connection._socket.end()`) right after sending, and the
 * message must not be lost. No event precedes that.
 */
function announceEnd (stream: ListenedStream): void {
  const isOwn = Object.hasOwn(stream, 'end') || Object.hasOwn(stream, 'destroy') // already replaced by other code
  const original: object = isOwn ? { end: stream.end.bind(stream), destroy: stream.destroy.bind(stream) } : Object.getPrototypeOf(stream)
  let ends = ENDS.get(original)
  if (ends === undefined) {
    const { end, destroy } = original as Ends
    ends = {
      end: function (this: ListenedStream, ...given) {
        if (!this.writableEnded) this[LISTENER]?.onBeforeEnd?.()
        return Reflect.apply(end, this, given)
      },
      destroy: function (this: ListenedStream, error) {
        if (!this.destroyed) this[LISTENER]?.onBeforeEnd?.()
        return Reflect.apply(destroy, this, [error])
      }
    }
    ENDS.set(original, ends)
  }
  stream.end = ends.end as Duplex['end']
  stream.destroy = ends.destroy as Duplex['destroy']
}

/** Detaches the listener. @returns it */
export function unlisten (stream: ListenedStream): StreamListener | undefined {
  stream.off('close', onClose).off('end', onEnd).off('drain', onDrain).off('data', onData)
  const listener = stream[LISTENER]
  delete stream[LISTENER]
  return listener
}
