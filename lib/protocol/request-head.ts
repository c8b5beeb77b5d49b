// The head of a request as bytes, RFC 9112 §3 and §5.

export interface RequestHead {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly httpVersion: string
  readonly rawHeaders: readonly string[]
}

/**
 * The head of a request that Node has parsed, without its request to upgrade: no Connection field names "upgrade" any more, and all else
 * is as it came. No value holds a line end: Node's parser refuses those even when it is told to be lenient.
 */
export function headWithoutUpgrade ({ method = '', url = '', httpVersion, rawHeaders }: RequestHead): Buffer {
  let head = `${method} ${url} HTTP/${httpVersion}\r\n`
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!
    const value = rawHeaders[i + 1]!
    // without a space, so that a head which just fitted the parser's limit still does
    head += `${name}:${name.toLowerCase() === 'connection' ? withoutUpgrade(value) : value}\r\n`
  }
  return Buffer.from(`${head}\r\n`, 'latin1') // the encoding in which Node read it
}

function withoutUpgrade (connection: string): string {
  return connection.split(',').map(option => option.trim()).filter(option => option.toLowerCase() !== 'upgrade').join(', ')
}
