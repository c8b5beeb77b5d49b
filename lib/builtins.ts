// Modules of Node as require() gives them. An import of one reads all that it exports, and some of that is made when it is read: behind node:http are
// undici and Web Streams, behind node:util workers. That is 2.5 MB of heap, for which an application that needs none of them would have to pay, and through
// which each major garbage collection walks.
export const http = process.getBuiltinModule('node:http')
export const util = process.getBuiltinModule('node:util')

let loadedZlib: typeof import('node:zlib') | null = null

/** Loaded by the first message that is compressed: most applications compress none, and it is 0.3 to 0.4 MB of heap. */
export function zlib (): typeof import('node:zlib') {
  loadedZlib ??= process.getBuiltinModule('node:zlib')
  return loadedZlib
}
