// Items kept; the rest is garbage-collected: after a broadcast there may be one for each connection.
const MAX = 1024

/** Keeps short-lived objects for reuse. */
export class Pool<Item> {
  readonly #create: () => Item
  readonly #items: Item[] = []

  constructor (create: () => Item) {
    this.#create = create
  }

  take (): Item {
    return this.#items.pop() ?? this.#create()
  }

  /** @param item in the same state as a new one */
  giveBack (item: Item): void {
    if (this.#items.length < MAX) this.#items.push(item)
  }
}
