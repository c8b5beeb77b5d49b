import { test } from 'tap'
import { RoutePaths, type PathOptions } from '../../lib/fastify/route-paths.ts'

test('RoutePaths knows the paths that were added, whatever constraints there are on one path', async t => {
  const paths = new RoutePaths({}, { maxParamLength: 5 })
  for (const path of ['/a', '/a', '/b/:x', '/b/:y']) paths.add(path)
  for (const [url, expected] of [['/a', true], ['/a?x', true], ['/A', false], ['/b/1', true], ['/b', false], ['/', false], ['*', false]] as const) {
    t.equal(paths.has(url), expected, url)
  }
  t.equal(paths.has(`/b/${'x'.repeat(100)}`), true)
})

// both paths of one with an optional parameter, whichever is there already
for (const [added, found, others] of [
  [['/a/:b?'], ['/a', '/a/1'], ['/', '/a/1/2']],
  [['/a', '/a/:b?'], ['/a', '/a/1'], ['/']],
  [['/a/:b', '/a/:b?'], ['/a', '/a/1'], ['/']],
  [['/a/:c', '/a', '/a/:b?'], ['/a', '/a/1'], ['/']],
  [['/a/:b/', '/a/:b?/'], ['/a/', '/a/1/'], ['/a', '/a/1']],
  [['/:b', '/:b?'], ['/', '/1'], ['/1/2']]
] as const) {
  test(`${added.join(' and ')} are ${found.join(' and ')}`, async t => {
    const paths = new RoutePaths()
    for (const path of added) paths.add(path)
    t.strictSame([...found, ...others].filter(url => paths.has(url)), found)
  })
}

// what the router of the app is told, and the path under which it then finds /Room/:id
const OPTIONS: Array<[options: PathOptions[], url: string, isFound: boolean]> = [
  [[], '/Room/5', true],
  [[], '/room/5', false],
  [[{ caseSensitive: false }], '/room/5', true],
  [[{}, { caseSensitive: false }], '/room/5', true],
  [[{ caseSensitive: true }], '/room/5', false],
  [[], '/Room/5/', false],
  [[{ ignoreTrailingSlash: true }, {}], '/Room/5/', true],
  [[], '//Room//5', false],
  [[{ ignoreDuplicateSlashes: true }], '//Room//5', true],
  [[], '/Room/5;a', true],
  [[], '/Room;a/5', false],
  [[], `/Room/${'x'.repeat(101)}`, false],
  [[{ maxParamLength: 200 }], `/Room/${'x'.repeat(200)}`, true],
  [[{ maxParamLength: 200 }], `/Room/${'x'.repeat(201)}`, false],
  [[], '/Room/5#fragment', true],
  [[], '/Room/%35?q', true],
  [[], '/Room/%', false]
]
for (const [options, url, isFound] of OPTIONS) {
  test(`${url.slice(0, 20)} is ${isFound ? '' : 'not '}found with ${JSON.stringify(options)}`, async t => {
    const paths = new RoutePaths(...options)
    paths.add('/Room/:id')
    t.equal(paths.has(url), isFound)
  })
}

test('a semicolon ends the path where the router says so', async t => {
  for (const useSemicolonDelimiter of [true, false]) {
    const paths = new RoutePaths({ useSemicolonDelimiter })
    paths.add('/a')
    t.equal(paths.has('/a;b'), useSemicolonDelimiter)
  }
})

test('a path with a regular expression that may take long is one where the router allows it', async t => {
  for (const allowUnsafeRegex of [true, false]) {
    const paths = new RoutePaths({ allowUnsafeRegex })
    paths.add('/:a(^(a+)+$)')
    t.equal(paths.has('/aa'), allowUnsafeRegex)
  }
})
