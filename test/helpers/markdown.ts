// What the tests of the documentation look at in a page.

export interface Snippet {
  /** Of the fence: ts, js, sh, ... */
  readonly language: string
  /** What stands behind it: the names that the code uses and does not declare, `name` or `name=another` where it is another that is meant. */
  readonly names: readonly string[]
  readonly code: string
  /** Of the first line of the code, from 1 on. */
  readonly line: number
}

export interface Link {
  readonly target: string
  readonly line: number
}

const FENCE = /^```(\S*)[ \t]*(.*)\n([^]*?)^```$/gm

/** The code blocks of a page. */
export function snippetsOf (page: string): Snippet[] {
  return [...page.matchAll(FENCE)].map(({ 1: language, 2: names, 3: code, index }) => ({
    language: language!,
    names: names!.split(' ').filter(name => name !== ''),
    code: code!,
    line: lineAt(page, index) + 1
  }))
}

/** Links and pictures, without those in code. */
export function linksOf (page: string): Link[] {
  const prose = page.replaceAll(FENCE, blank).replaceAll(/`[^`\n]*`/g, blank)
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(({ 1: target, index }) => ({ target: target!, line: lineAt(page, index) }))
}

/** The anchors of all headings, made as GitHub makes them. */
export function anchorsOf (page: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading] of page.replaceAll(FENCE, blank).matchAll(/^#+ (.+)$/gm)) {
    const anchor = heading!.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-')
    let unique = anchor
    for (let i = 1; anchors.has(unique); i++) unique = `${anchor}-${i}`
    anchors.add(unique)
  }
  return anchors
}

/** What stands under a heading, such as '## Options', up to the next of its level or above. @throws Error where there is none */
export function sectionOf (page: string, heading: string): string {
  const start = page.indexOf(`\n${heading}\n`)
  if (start === -1) throw new Error(`there is no heading ${heading}`)
  const body = page.slice(start + heading.length + 1)
  const level = heading.indexOf(' ')
  const end = body.search(new RegExp(`^#{1,${level}} `, 'm'))
  return end === -1 ? body : body.slice(0, end)
}

/** The cells of each row of all tables, without the rows of headings. */
export function rowsOf (page: string): string[][] {
  const lines = page.replaceAll(FENCE, blank).split('\n')
  return lines.flatMap((line, index) => {
    const isHead = line.startsWith('| ---') || lines[index + 1]?.startsWith('| ---') === true
    if (!line.startsWith('| ') || isHead) return []
    return [line.slice(1).replace(/\|\s*$/, '').split(/(?<!\\)\|/).map(cell => cell.trim())]
  })
}

/** The names that a cell begins its pieces of code with: of `send(data)`, `a`, `b` these are send, a and b. */
export function namesIn (cell: string): string[] {
  return [...cell.matchAll(/`'?([\w$:/.-]+)[^`]*`/g)].map(([, name]) => name!)
}

function lineAt (page: string, index: number): number {
  return page.slice(0, index).split('\n').length
}

/** As many lines, and nothing in them. */
function blank (text: string): string {
  return text.replaceAll(/[^\n]/g, ' ')
}
