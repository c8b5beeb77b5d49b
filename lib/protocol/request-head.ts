// The head of a request as bytes, RFC 9112 §3 and §5.

export interface RequestHead {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly httpVersion: string
  readonly rawHeaders: readonly string[]
}

/**
 * The head of a request that Node has parsed, without its wish to upgrade: no Connection field names "upgrade" any more, all else is
 * as it came. What ends a line is in none of it: Node's parser lets that through as little when it is told to be lenient.
 */
export function headWithoutUpgrade ({ method = '', url = '', httpVersion, rawHeaders }: RequestHead): Buffer {
  let head = `${method} ${url} HTTP/${httpVersion}\r\n`
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!
    const value = rawHeaders[i + 1]!
    // without a space: what was just small enough for the parser stays that
    head += `${name}:${name.toLowerCase() === 'connection' ? withoutUpgrade(value) : value}\r\n`
  }
  return Buffer.from(`${head}\r\n`, 'latin1') // as it was read
}

function withoutUpgrade (connection: string): string {
  return connection.split(',').map(option => option.trim()).filter(option => option.toLowerCase() !== 'upgrade').join(', ')
}
