import type { FastifyInstance, FastifyRequest } from 'fastify'

type IsDisabled = (request: FastifyRequest) => boolean

/** In Fastify from 5.12 on; applications may extend it. */
interface LogController {
  isLogDisabled: IsDisabled
}

/** Returns the app's own check whether a request is not logged: its logController, or disableRequestLogging (a boolean or a function). */
export function requestLogging (app: FastifyInstance): IsDisabled {
  const controller = findLogController(app)
  if (controller !== undefined) return request => controller.isLogDisabled(request)
  // Fastify 5; in 6 the option belongs to the controller
  const { disableRequestLogging: option } = app.initialConfig as { disableRequestLogging?: unknown }
  return typeof option === 'function' ? option as IsDisabled : () => option === true
}

/** Fastify does not expose its controller, except under a symbol. */
function findLogController (app: object): LogController | undefined {
  for (let instance: object | null = app; instance !== null; instance = Object.getPrototypeOf(instance) as object | null) {
    for (const symbol of Object.getOwnPropertySymbols(instance)) {
      const value: unknown = Reflect.get(instance, symbol)
      if (typeof value === 'object' && value !== null && 'isLogDisabled' in value && typeof value.isLogDisabled === 'function') return value as LogController
    }
  }
  return undefined
}
