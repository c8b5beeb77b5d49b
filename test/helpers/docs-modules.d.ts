// Packages that the documentation imports and nothing here needs.
declare module '@y/websocket-server/utils'
