/** What AsyncAPI allows as the key of a component, and what needs no escaping in a JSON Pointer or a URI. */
export function toIdentifier (text: string): string {
  return text.replaceAll(/[^\w.-]+/g, '_').replaceAll(/^_+|_+$/g, '')
}

/** Gives each thing that asks a name that nothing else has: the first gets what it asks for. */
export class Identifiers {
  readonly #taken: Set<string>

  constructor (taken: Iterable<string> = []) {
    this.#taken = new Set(taken)
  }

  /** @param fallback where nothing is left of `wanted` */
  take (wanted: string, fallback: string): string {
    const base = toIdentifier(wanted) || fallback
    let name = base
    for (let i = 2; this.#taken.has(name); i++) name = `${base}-${i}`
    this.#taken.add(name)
    return name
  }
}
