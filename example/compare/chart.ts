// The parts that a chart is made of, as values and SVG text. Runs in Node and in browsers.

/** Maps a value to a coordinate. */
export type Scale = (value: number) => number

export function linearScale (domain: readonly [number, number], range: readonly [number, number]): Scale {
  const factor = (range[1] - range[0]) / (domain[1] - domain[0])
  return value => range[0] + (value - domain[0]) * factor
}

/** Returns round numbers in equal steps from 0 to the first that is not below `max`, which is positive: `steps` of them at most behind the 0. */
export function ticks (max: number, steps: number): number[] {
  const step = roundUp(max / steps)
  return Array.from({ length: Math.ceil(max / step) + 1 }, (_, index) => index * step)
}

/** The next of 1, 2, 5, 10, 20, 50, ... */
function roundUp (value: number): number {
  const magnitude = 10 ** Math.floor(Math.log10(value))
  const factor = [1, 2, 5, 10].find(factor => factor * magnitude >= value) ?? 10
  return factor * magnitude
}

/** Returns the `d` of a path through all points; empty without any. */
export function linePath (points: ReadonlyArray<readonly [x: number, y: number]>): string {
  return points.map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${round(x)} ${round(y)}`).join('')
}

/** Escapes text for the inside of an element or of a quoted attribute. */
export function escapeText (text: string): string {
  return text.replace(/[&<>"]/g, character => `&#${character.charCodeAt(0)};`)
}

type Attributes = Record<string, string | number>

/** Writes an element. Strings among `children` are SVG; text goes through `text()`. */
export function element (name: string, attributes: Attributes, ...children: string[]): string {
  const written = Object.entries(attributes)
    .map(([key, value]) => ` ${key}="${typeof value === 'number' ? round(value) : escapeText(value)}"`)
    .join('')
  return children.length === 0 ? `<${name}${written}/>` : `<${name}${written}>${children.join('')}</${name}>`
}

export function text (x: number, y: number, content: string, attributes: Attributes = {}): string {
  return element('text', { x, y, ...attributes }, escapeText(content))
}

/** A tenth of a pixel is as much as can be seen, and keeps the file small. */
function round (value: number): number {
  return Math.round(value * 10) / 10
}
