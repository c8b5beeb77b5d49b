// A connection's listeners: EventEmitter style and browser style (addEventListener, onmessage, ...), both as in `ws`.
// Errors that they throw are caught here.
import { AsyncResource } from 'node:async_hooks'
import { captureRejectionSymbol, EventEmitter } from 'node:events'
import type {
  CloseEvent, ConnectionEvent, ConnectionEventMap, ConnectionEvents, ErrorEvent, ListenerOptions, MessageEvent, WebSocketConnection
} from '../../types/connection.ts'
import { isThenable } from '../promises.ts'

type Type = keyof ConnectionEventMap
type Handler = ((event: never) => unknown) | { handleEvent (event: never): unknown }
type Wrapper = (...args: unknown[]) => unknown
type AnyHandler = (event: any) => any

/** The EventEmitter's arguments of each event -> the object that a browser's listener gets. */
const EVENTS: { [T in Type]: (target: WebSocketConnection, ...args: never[]) => ConnectionEventMap[T] } = {
  open: (target): ConnectionEvent => ({ type: 'open', target }),
  message: (target, data: Buffer, isBinary: boolean): MessageEvent =>
    ({ type: 'message', target, data: isBinary ? data : data.toString() }),
  close: (target, code: number, reason: Buffer): CloseEvent =>
    ({ type: 'close', target, code, reason: reason.toString(), wasClean: code !== 1006 }),
  error: (target, error: Error): ErrorEvent =>
    ({ type: 'error', target, error, message: error.message })
}

/** For routes with a schema for incoming messages. */
const toValueEvent = (target: WebSocketConnection, value: never): MessageEvent => ({ type: 'message', target, data: value })

type Listener = (...args: any[]) => unknown

export abstract class ListenableConnection extends EventEmitter {
  // The async context the connection was created in (that of the request), for all listeners and callbacks.
  readonly #context = new AsyncResource('WebSocketConnection')
  // by event: each listener given to addEventListener(), and its wrapper in the EventEmitter; created on first use
  #wrappers: Map<Type, Map<Handler, Wrapper>> | null = null
  // by wrapper: removes its 'abort' listener from the signal
  #releases: Map<Wrapper, () => void> | null = null
  // by event: what was assigned to its on... property, and the listener added for it
  #handlers: { [T in Type]?: { readonly handler: Handler, readonly listener: Handler } } | null = null

  constructor () {
    super({ captureRejections: true })
  }

  /** 'message' carries a value decoded by a schema. */
  protected abstract readonly decodes: boolean

  /** A 'message' listener was added or removed. @param count the number of listeners now */
  protected abstract onListeners (count: number): void

  /** A listener or callback threw, or its promise rejected. Must not throw. */
  protected abstract onListenerError (error: unknown): void

  /** Calls `callback` in the context of this connection. @internal */
  inContext<Args extends unknown[]> (callback: (...args: Args) => void, ...args: Args): void {
    this.#context.runInAsyncScope(callback, undefined, ...args)
  }

  /** An 'error' without a listener goes to onListenerError(); a plain EventEmitter would throw it. */
  override emit (event: string | symbol, ...args: any[]): boolean {
    if (event !== 'error' || this.listenerCount('error') > 0) return super.emit(event, ...args)
    this.onListenerError(args[0])
    return false
  }

  /** Passes what a listener throws to onListenerError(). @internal */
  emitSafely<Event extends keyof ConnectionEvents> (event: Event, ...args: ConnectionEvents[Event]): void {
    try {
      this.emit(event, ...args)
    } catch (error) {
      this.onListenerError(error)
    }
    // 'close' is the last event: a signal that outlives the connection must not keep it in memory
    if (event === 'close') for (const release of this.#releases?.values() ?? []) release()
  }

  /** Like emitSafely(). Resolves when all promises returned by listeners have settled; null if there are none. @internal */
  emitAndSettle<Event extends keyof ConnectionEvents> (event: Event, ...args: ConnectionEvents[Event]): Promise<unknown> | null {
    const settled: Array<Promise<unknown>> = []
    try {
      for (const listener of this.rawListeners(event)) {
        const result: unknown = Reflect.apply(listener, this, args)
        if (isThenable(result)) settled.push(Promise.resolve(result).catch(error => { this.onListenerError(error) }))
      }
    } catch (error) {
      this.onListenerError(error)
    }
    return settled.length === 0 ? null : Promise.all(settled)
  }

  /** Calls `callback` in the context of this connection and passes what it throws to onListenerError(). @internal */
  callSafely<Args extends unknown[]> (callback: (...args: Args) => unknown, ...args: Args): void {
    this.inContext(() => { this.#callHere(callback, args) })
  }

  #callHere<Args extends unknown[]> (callback: (...args: Args) => unknown, args: Args): void {
    try {
      const result = callback(...args)
      if (isThenable(result)) result.then(undefined, error => { this.onListenerError(error) })
    } catch (error) {
      this.onListenerError(error)
    }
  }

  /** Called by the EventEmitter when an async listener's promise rejects. */
  override [captureRejectionSymbol] (error: unknown, ..._event: unknown[]): void {
    this.onListenerError(error)
  }

  // Every way to add or remove a listener ends in one of these.
  override on (event: string | symbol, listener: Listener): this {
    return this.#changed(super.on(event, listener), event)
  }

  override addListener (event: string | symbol, listener: Listener): this {
    return this.#changed(super.addListener(event, listener), event)
  }

  override prependListener (event: string | symbol, listener: Listener): this {
    return this.#changed(super.prependListener(event, listener), event)
  }

  override off (event: string | symbol, listener: Listener): this {
    return this.#changed(super.off(event, listener), event)
  }

  override removeListener (event: string | symbol, listener: Listener): this {
    return this.#changed(super.removeListener(event, listener), event)
  }

  override removeAllListeners (event?: string | symbol): this {
    return this.#changed(super.removeAllListeners(...(event === undefined ? [] : [event])), event ?? 'message')
  }

  #changed (self: this, event: string | symbol): this {
    if (event === 'message') this.onListeners(this.listenerCount('message'))
    return self
  }

  // a boolean for options is accepted, as in browsers, and ignored
  addEventListener (type: Type, handler: Handler, options: ListenerOptions | boolean | null = {}): void {
    const { once = false, signal } = typeof options === 'object' && options !== null ? options : {}
    if (signal?.aborted === true || !Object.hasOwn(EVENTS, type) || this.#wrapperOf(type, handler) !== undefined) return
    const toEvent = (type === 'message' && this.decodes ? toValueEvent : EVENTS[type]) as unknown as (target: this, ...args: unknown[]) => ConnectionEvent
    const wrapper: Wrapper = (...args) => {
      if (once) this.removeEventListener(type, handler)
      const event = toEvent(this, ...args) as never
      return typeof handler === 'function' ? handler.call(this as never, event) : handler.handleEvent(event)
    }
    this.#wrappers ??= new Map()
    const wrappers = this.#wrappers.get(type) ?? new Map<Handler, Wrapper>()
    this.#wrappers.set(type, wrappers.set(handler, wrapper))
    if (signal !== undefined) this.#listenUntil(signal, wrapper, () => { this.removeEventListener(type, handler) })
    this.on(type, wrapper)
  }

  removeEventListener (type: Type, handler: Handler): void {
    const wrapper = this.#wrapperOf(type, handler)
    if (wrapper === undefined) return
    this.#wrappers!.get(type)!.delete(handler)
    this.#releases?.get(wrapper)?.()
    this.off(type, wrapper)
  }

  #listenUntil (signal: AbortSignal, wrapper: Wrapper, onAbort: () => void): void {
    this.#releases ??= new Map()
    this.#releases.set(wrapper, () => {
      this.#releases!.delete(wrapper)
      signal.removeEventListener('abort', onAbort)
    })
    signal.addEventListener('abort', onAbort)
  }

  get onopen (): AnyHandler | null { return this.#handler('open') }
  set onopen (handler: ((event: ConnectionEvent) => unknown) | null) { this.#setHandler('open', handler) }
  get onmessage (): AnyHandler | null { return this.#handler('message') }
  set onmessage (handler: ((event: MessageEvent) => unknown) | null) { this.#setHandler('message', handler) }
  get onclose (): AnyHandler | null { return this.#handler('close') }
  set onclose (handler: ((event: CloseEvent) => unknown) | null) { this.#setHandler('close', handler) }
  get onerror (): AnyHandler | null { return this.#handler('error') }
  set onerror (handler: ((event: ErrorEvent) => unknown) | null) { this.#setHandler('error', handler) }

  /** Only if the listener is still there: removeAllListeners() does not update this map. */
  #wrapperOf (type: Type, handler: Handler): Wrapper | undefined {
    const wrapper = this.#wrappers?.get(type)?.get(handler)
    return wrapper !== undefined && this.listeners(type).includes(wrapper) ? wrapper : undefined
  }

  #handler<Handler> (type: Type): Handler | null {
    return (this.#handlers?.[type]?.handler ?? null) as Handler | null
  }

  #setHandler (type: Type, handler: ((event: never) => unknown) | null): void {
    this.#handlers ??= {}
    const previous = this.#handlers[type]
    if (previous !== undefined) this.removeEventListener(type, previous.listener)
    delete this.#handlers[type]
    if (typeof handler !== 'function') return
    // a new function: the same handler may also be passed to addEventListener()
    const listener = (event: never): unknown => handler.call(this as never, event)
    this.#handlers[type] = { handler, listener }
    this.addEventListener(type, listener)
  }
}
