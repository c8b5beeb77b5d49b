/** What fluent-json-schema has built is a schema once it is asked for its value. */
export function plain (schema: unknown): unknown {
  const { isFluentSchema, isFluentJSONSchema } = Object(schema) as { isFluentSchema?: unknown, isFluentJSONSchema?: unknown }
  return isFluentSchema === true || isFluentJSONSchema === true ? Object(schema).valueOf() : schema
}
