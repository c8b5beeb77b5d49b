/** Converts text to a key that AsyncAPI allows for components, and that needs no escaping in a JSON Pointer or a URI. */
export function toIdentifier (text: string): string {
  return text.replaceAll(/[^\w.-]+/g, '_').replaceAll(/^_+|_+$/g, '')
}

/** Assigns unique names: the first to ask for a name gets it, others get a number appended. */
export class Identifiers {
  readonly #taken: Set<string>

  constructor (taken: Iterable<string> = []) {
    this.#taken = new Set(taken)
  }

  /** @param fallback used if no allowed character is left of `wanted` */
  take (wanted: string, fallback: string): string {
    const base = toIdentifier(wanted) || fallback
    let name = base
    for (let i = 2; this.#taken.has(name); i++) name = `${base}-${i}`
    this.#taken.add(name)
    return name
  }
}
