// Packages that the documentation imports and nothing here needs.
declare module 'close-with-grace'
declare module 'prom-client'
