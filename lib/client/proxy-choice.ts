// Chooses the proxy for a WebSocket, if any: by the option, or by the environment variables that curl and others use.
import { isIPv6 } from 'node:net'

export type Environment = Readonly<Record<string, string | undefined>>

const VARIABLES: Readonly<Record<string, string>> = { 'ws:': 'http_proxy', 'http:': 'http_proxy', 'wss:': 'https_proxy', 'https:': 'https_proxy' }
const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'ws:': '80', 'http:': '80', 'wss:': '443', 'https:': '443' }

/**
 * @returns null for a direct connection, which one to a Unix domain socket always is
 * @throws TypeError for an invalid proxy URL
 */
export function chooseProxy (option: string | URL | false, url: URL, environment: Environment): URL | null {
  const name = VARIABLES[url.protocol]
  if (option === false || name === undefined) return null
  if (option !== 'env') return parseProxy(option, 'the WebSocket option proxy')
  const variable = [name, name.toUpperCase()].find(variable => isUsable(variable, environment))
  if (variable === undefined || isExempt(url, environment['no_proxy'] ?? environment['NO_PROXY'] ?? '')) return null
  return parseProxy(environment[variable]!, `the variable ${variable}`)
}

/** In a CGI process (REQUEST_METHOD is set), HTTP_PROXY holds the request's Proxy header field and is ignored (CVE-2016-5385). */
function isUsable (variable: string, environment: Environment): boolean {
  if (variable === 'HTTP_PROXY' && environment['REQUEST_METHOD'] !== undefined) return false
  return (environment[variable] ?? '').trim() !== ''
}

/** @param name where the value comes from, for the error message */
export function parseProxy (value: string | URL, name: string): URL {
  const given = String(value).trim()
  const text = /^[a-z][a-z\d+.-]*:\/\//i.test(given) ? given : `http://${given}` // as in curl
  const proxy = URL.canParse(text) ? new URL(text) : null
  if (proxy !== null && (proxy.protocol === 'http:' || proxy.protocol === 'https:')) return proxy
  // the URL is left out, as it may contain a password
  throw new TypeError(`${name} must be the URL of a proxy, http: or https:, not ${proxy === null ? 'an invalid URL' : `one of ${proxy.protocol}`}`)
}

/**
 * Whether NO_PROXY matches the host. Entries are separated by commas or spaces: `*`; a name, which includes its subdomains; `.name` or `*.name`,
 * only subdomains; an IP address; each with or without a port.
 */
export function isExempt (url: URL, list: string): boolean {
  const host = url.hostname.toLowerCase().replace(/\.$/, '')
  const port = url.port === '' ? DEFAULT_PORTS[url.protocol]! : url.port
  return list.toLowerCase().split(/[\s,]+/).some(entry => {
    if (entry === '*') return true
    const [, pattern = '', wanted] = isIPv6(entry) ? ['', `[${entry}]`] : /^(.*?)(?::(\d+))?$/.exec(entry)!
    if (pattern === '' || (wanted !== undefined && wanted !== port)) return false
    if (pattern.startsWith('[')) return URL.canParse(`http://${pattern}`) && new URL(`http://${pattern}`).hostname === host
    const name = pattern.replace(/^\*\./, '.').replace(/\.$/, '')
    return name.startsWith('.') ? host.endsWith(name) : host === name || host.endsWith(`.${name}`)
  })
}
