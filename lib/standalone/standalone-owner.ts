import type { CloseInfo } from '../../types/connection.ts'
import type { StandaloneErrorHandler } from '../../types/options.ts'
import { isObserved } from '../connection/observability.ts'
import { type Connection, coreOf } from '../connection/connection.ts'
import type { ConnectionOwner } from '../connection/core.ts'
import { isThenable } from '../promises.ts'

/** The owner of a connection without a Fastify request. */
export class StandaloneOwner implements ConnectionOwner {
  readonly request: unknown
  readonly #errorHandler: StandaloneErrorHandler | undefined
  readonly #onLeave: (info: CloseInfo) => void

  constructor (request: unknown, errorHandler: StandaloneErrorHandler | undefined, onLeave: (info: CloseInfo) => void = () => {}) {
    this.request = isObserved() ? request : undefined // only for channels
    this.#errorHandler = errorHandler
    this.#onLeave = onLeave
  }

  onClose (_connection: Connection, info: CloseInfo): void {
    this.#onLeave(info)
  }

  onWarning (message: string): void {
    process.emitWarning(message, 'WebSocketWarning')
  }

  onError (error: unknown, connection: Connection): void {
    const giveUp = (thrown: unknown): void => {
      process.emitWarning(`a WebSocket listener or callback failed: ${describe(thrown)}`, 'WebSocketWarning')
      coreOf(connection).closeFailed()
    }
    if (this.#errorHandler === undefined) {
      giveUp(error)
      return
    }
    try {
      const result = this.#errorHandler(error, connection)
      if (isThenable(result)) result.then(undefined, giveUp)
    } catch (thrown) {
      giveUp(thrown)
    }
  }
}

/** Never throws, even for values that cannot be converted to a string. */
function describe (thrown: unknown): string {
  try {
    return thrown instanceof Error ? String(thrown.stack) : String(thrown)
  } catch {
    return typeof thrown
  }
}
