/**
 * The `count` elements that weigh most, the heaviest first. One walk, in which next to nothing is allocated: there may be 100,000.
 * @param weigh bytes; what weighs nothing is left out
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
