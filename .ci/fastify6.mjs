// For `node --import`: 'fastify' is Fastify 6, which is installed as fastify6, for whoever imports or requires it.
import { registerHooks } from 'node:module'

registerHooks({
  resolve (specifier, context, nextResolve) {
    return nextResolve(specifier.replace(/^fastify(?=$|\/)/, 'fastify6'), context)
  }
})
