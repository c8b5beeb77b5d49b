// Modules of Node as require() gives them. An import of one reads all that it exports, and some of that is made when it is read: behind node:http are
// undici and Web Streams, behind node:util workers, 2.5 MB of heap together, which an application that needs none of them would have to pay for, and which
// each major garbage collection walks through.
export const http = process.getBuiltinModule('node:http')
export const util = process.getBuiltinModule('node:util')
