// The path of a route (find-my-way) -> the address of a channel (AsyncAPI): /room/:id(^\d+$)/* -> /room/{id}/{wildcard}

export interface PathParameter {
  /** Name in the address: letters, digits, _ and -, as AsyncAPI requires. */
  readonly name: string
  /** Name in `request.params`. */
  readonly key: string
  /** The regular expression that it has to match. */
  readonly pattern?: string
  /** The path also exists without it. */
  readonly isOptional?: true
}

export interface Address {
  readonly address: string
  readonly parameters: readonly PathParameter[]
}

const END_OF_NAME = /[-./(]/

/** @param path of an existing route, already accepted by find-my-way */
export function toAddress (path: string): Address {
  if (path === '*') return toAddress('/*')
  const parameters: PathParameter[] = []
  let address = ''
  for (let i = 0; i < path.length;) {
    if (path.startsWith('::', i)) {
      address += ':'
      i += 2
    } else if (path[i] === ':') {
      const start = i + 1
      const length = path.slice(start).search(END_OF_NAME)
      i = length < 0 ? path.length : start + length
      let key = path.slice(start, i)
      const isOptional = key.endsWith('?')
      if (isOptional) key = key.slice(0, -1)
      const end = path[i] === '(' ? closingParenthesis(path, i) : i
      const pattern = path.slice(i + 1, Math.max(end - 1, i))
      i = end
      const name = key.replaceAll(/[^\w-]/g, '_')
      parameters.push({ name, key, ...(pattern === '' ? {} : { pattern }), ...(isOptional ? { isOptional } : {}) })
      address += `{${name}}`
    } else if (path[i] === '*') {
      parameters.push({ name: 'wildcard', key: '*' })
      address += '{wildcard}'
      i++
    } else {
      address += path[i] === '{' ? '%7B' : path[i] === '}' ? '%7D' : path[i]
      i++
    }
  }
  return { address, parameters }
}

/** @returns the position after it */
function closingParenthesis (path: string, open: number): number {
  let depth = 0
  let i = open
  do {
    if (path[i] === '\\') i++
    else if (path[i] === '(') depth++
    else if (path[i] === ')') depth--
    i++
  } while (depth > 0 && i < path.length)
  return i
}
