import Router from 'find-my-way'

/** How the app's router matches paths; Fastify has these in two places of its initialConfig. */
export interface PathOptions {
  readonly caseSensitive?: boolean
  readonly ignoreTrailingSlash?: boolean
  readonly ignoreDuplicateSlashes?: boolean
  readonly useSemicolonDelimiter?: boolean
  readonly allowUnsafeRegex?: boolean
  readonly maxParamLength?: number
}

// the same pattern as in find-my-way
const OPTIONAL_PARAMETER = /(\/:[^/()]*)\?(\/?)$/

/**
 * The paths of WebSocket routes. The app's router cannot tell whether a path has one: a `GET /*` route matches every path.
 * Constraints (host, version) are left to it.
 */
export class RoutePaths {
  readonly #router: Router.Instance<Router.HTTPVersion.V1>

  /** An option applies if any of `options` sets it. */
  constructor (...options: readonly PathOptions[]) {
    const isSet = (name: 'ignoreTrailingSlash' | 'ignoreDuplicateSlashes' | 'useSemicolonDelimiter' | 'allowUnsafeRegex'): boolean =>
      options.some(given => given[name] === true)
    const config = { // the types of find-my-way are incomplete
      caseSensitive: options.every(({ caseSensitive }) => caseSensitive !== false),
      ignoreTrailingSlash: isSet('ignoreTrailingSlash'),
      ignoreDuplicateSlashes: isSet('ignoreDuplicateSlashes'),
      useSemicolonDelimiter: isSet('useSemicolonDelimiter'),
      allowUnsafeRegex: isSet('allowUnsafeRegex'),
      maxParamLength: Math.max(100, ...options.map(({ maxParamLength }) => maxParamLength ?? 0))
    }
    this.#router = Router(config)
  }

  /** @param path a route's pattern, such as /room/:id */
  add (path: string): void {
    if (OPTIONAL_PARAMETER.test(path)) { // two paths, either of which may exist already
      this.add(path.replace(OPTIONAL_PARAMETER, '$1$2'))
      this.add(path.replace(OPTIONAL_PARAMETER, '$2') || '/')
      return
    }
    if (this.#router.hasRoute('GET', path)) return
    try {
      this.#router.on('GET', path, () => {})
    } catch {
      // exists already in an equivalent form
    }
  }

  /** @param url of a request, with or without a query */
  has (url: string): boolean {
    return this.#router.find('GET', url) !== null
  }
}
