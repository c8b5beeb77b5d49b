import Router from 'find-my-way'

/** How the router of the app reads a path; Fastify has these at two places of its initialConfig. */
export interface PathOptions {
  readonly caseSensitive?: boolean
  readonly ignoreTrailingSlash?: boolean
  readonly ignoreDuplicateSlashes?: boolean
  readonly useSemicolonDelimiter?: boolean
  readonly allowUnsafeRegex?: boolean
  readonly maxParamLength?: number
}

// as find-my-way finds it
const OPTIONAL_PARAMETER = /(\/:[^/()]*)\?(\/?)$/

/**
 * The paths of WebSocket routes. The router of the app cannot tell them apart from the others: it finds `GET /*` for every
 * path. Constraints (host, version) are left to it.
 */
export class RoutePaths {
  readonly #router: Router.Instance<Router.HTTPVersion.V1>

  /** What one of `options` says is said. */
  constructor (...options: readonly PathOptions[]) {
    const isSet = (name: 'ignoreTrailingSlash' | 'ignoreDuplicateSlashes' | 'useSemicolonDelimiter' | 'allowUnsafeRegex'): boolean =>
      options.some(given => given[name] === true)
    const config = { // which the types of find-my-way do not know in full
      caseSensitive: options.every(({ caseSensitive }) => caseSensitive !== false),
      ignoreTrailingSlash: isSet('ignoreTrailingSlash'),
      ignoreDuplicateSlashes: isSet('ignoreDuplicateSlashes'),
      useSemicolonDelimiter: isSet('useSemicolonDelimiter'),
      allowUnsafeRegex: isSet('allowUnsafeRegex'),
      maxParamLength: Math.max(100, ...options.map(({ maxParamLength }) => maxParamLength ?? 0))
    }
    this.#router = Router(config)
  }

  /** @param path as a route has it: /room/:id */
  add (path: string): void {
    if (OPTIONAL_PARAMETER.test(path)) { // two paths, of which either may be there already
      this.add(path.replace(OPTIONAL_PARAMETER, '$1$2'))
      this.add(path.replace(OPTIONAL_PARAMETER, '$2') || '/')
      return
    }
    if (this.#router.hasRoute('GET', path)) return
    try {
      this.#router.on('GET', path, () => {})
    } catch {
      // there already, in another form
    }
  }

  /** @param url as a request has it, with or without a query */
  has (url: string): boolean {
    return this.#router.find('GET', url) !== null
  }
}
