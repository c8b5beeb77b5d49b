/**
 * The `count` heaviest elements, heaviest first. A single pass with almost no allocation: there may be 100,000.
 * @param weigh returns bytes; elements with 0 are left out
 */
export function heaviest<Element> (elements: Iterable<Element>, count: number, weigh: (element: Element) => number): Element[] {
  const found: Array<{ readonly element: Element, readonly weight: number }> = []
  let least = 0
  for (const element of elements) {
    const weight = weigh(element)
    if (weight <= least) continue
    const place = found.findIndex(other => other.weight < weight)
    found.splice(place === -1 ? found.length : place, 0, { element, weight })
    if (found.length > count) found.pop()
    if (found.length === count) least = found.at(-1)!.weight
  }
  return found.map(({ element }) => element)
}
