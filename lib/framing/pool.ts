// How many are kept. The rest is left to the garbage collector: after a broadcast there is one for every connection.
const MAX = 1024

/** Things that are used for a moment only, kept for whoever needs one next. */
export class Pool<Item> {
  readonly #create: () => Item
  readonly #items: Item[] = []

  constructor (create: () => Item) {
    this.#create = create
  }

  take (): Item {
    return this.#items.pop() ?? this.#create()
  }

  /** @param item in the state in which create() makes it */
  giveBack (item: Item): void {
    if (this.#items.length < MAX) this.#items.push(item)
  }
}
