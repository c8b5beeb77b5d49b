// The head of a request as bytes. RFC 9112 §3 and §5.

export interface RequestHead {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly httpVersion: string
  readonly rawHeaders: readonly string[]
}

/**
 * Serializes the head of a parsed request without its request to upgrade: "upgrade" is removed from Connection fields, and everything else is
 * unchanged. No value contains a line break: Node's parser rejects those even in lenient mode.
 */
export function headWithoutUpgrade ({ method = '', url = '', httpVersion, rawHeaders }: RequestHead): Buffer {
  let head = `${method} ${url} HTTP/${httpVersion}\r\n`
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!
    const value = rawHeaders[i + 1]!
    // no space after the colon, so that a head that just fitted the parser's limit still fits
    head += `${name}:${name.toLowerCase() === 'connection' ? withoutUpgrade(value) : value}\r\n`
  }
  return Buffer.from(`${head}\r\n`, 'latin1') // Node's encoding for header fields
}

function withoutUpgrade (connection: string): string {
  return connection.split(',').map(option => option.trim()).filter(option => option.toLowerCase() !== 'upgrade').join(', ')
}
