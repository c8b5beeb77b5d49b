// number of empty places at the front from which the array is compacted
const COMPACT_FROM = 32

/** A queue whose first item is removed in constant time; `Array.shift()` moves all items after it. */
export class Fifo<Item> {
  #items: Array<Item | undefined> = []
  #first = 0

  get length (): number { return this.#items.length - this.#first }
  get isEmpty (): boolean { return this.#first === this.#items.length }

  /** The item that shift() would return; undefined if empty. */
  peek (): Item | undefined {
    return this.#items[this.#first]
  }

  push (item: Item): void {
    this.#items.push(item)
  }

  shift (): Item | undefined {
    if (this.isEmpty) return undefined
    const item = this.#items[this.#first]
    this.#items[this.#first++] = undefined // releases the item
    if (this.#first >= COMPACT_FROM && this.#first * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#first)
      this.#first = 0
    }
    return item
  }

  /** Removes and returns the item at `index`, counted from the next one, and all after it. Default: all. */
  cut (index = 0): Item[] {
    const cut = this.#items.splice(this.#first + index) as Item[]
    if (this.isEmpty) this.#reset()
    return cut
  }

  #reset (): void {
    this.#items = []
    this.#first = 0
  }

  * [Symbol.iterator] (): Generator<Item, void> {
    for (let i = this.#first; i < this.#items.length; i++) yield this.#items[i]!
  }
}
