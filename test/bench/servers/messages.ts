// Values by schema, as an application would say it: what message-ring.ts makes as 'value'.

const properties = { text: { type: 'string' }, room: { type: 'integer' }, isUrgent: { type: 'boolean' }, at: { type: 'string' } }

function say (type: object): object {
  const all = { type, ...properties }
  return { type: 'object', properties: all, required: Object.keys(all), additionalProperties: false }
}

export const SINGLE: object = say({ type: 'string' })
/** Of 8 members. */
export const UNION: object = { anyOf: Array.from({ length: 8 }, (_, i) => say({ type: 'string', const: `say${i}` })) }
