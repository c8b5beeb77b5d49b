/** A schema built with fluent-json-schema becomes a plain object by valueOf(). */
export function plain (schema: unknown): unknown {
  const { isFluentSchema, isFluentJSONSchema } = Object(schema) as { isFluentSchema?: unknown, isFluentJSONSchema?: unknown }
  return isFluentSchema === true || isFluentJSONSchema === true ? Object(schema).valueOf() : schema
}
