import type { FastifyInstance, FastifyRequest } from 'fastify'

type IsDisabled = (request: FastifyRequest) => boolean

/** Of Fastify from 5.12 on, and those that extend it. */
interface LogController {
  isLogDisabled: IsDisabled
}

/** How an app decides that a request is not logged: by its logController, or by disableRequestLogging, which is true, false or a function. */
export function requestLogging (app: FastifyInstance): IsDisabled {
  const controller = findLogController(app)
  if (controller !== undefined) return request => controller.isLogDisabled(request)
  // of Fastify 5; in 6 it is the controller's
  const { disableRequestLogging: option } = app.initialConfig as { disableRequestLogging?: unknown }
  return typeof option === 'function' ? option as IsDisabled : () => option === true
}

/** Fastify shows it to nobody but those who ask the instance for all that it has. */
function findLogController (app: object): LogController | undefined {
  for (let instance: object | null = app; instance !== null; instance = Object.getPrototypeOf(instance) as object | null) {
    for (const symbol of Object.getOwnPropertySymbols(instance)) {
      const value: unknown = Reflect.get(instance, symbol)
      if (typeof value === 'object' && value !== null && 'isLogDisabled' in value && typeof value.isLogDisabled === 'function') return value as LogController
    }
  }
  return undefined
}
