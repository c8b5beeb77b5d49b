export type * from '../../types/asyncapi.ts'
export { asyncapi, asyncapi as default } from './plugin.ts'
