import neostandard from 'neostandard'

// The folders of lib in their order: each imports only from those before it. docs/internals.md: Map of the source.
const FOLDERS = [
  'protocol', 'framing', 'compression', 'transport', 'messages', 'connection', 'topics', 'brokers', 'handshake', 'options', 'standalone', 'client', 'fastify',
  'telemetry', 'asyncapi'
]

export default [
  ...neostandard({ ts: true, ignores: ['dist/**', '.tap/**'] }),
  {
    // how a promise is marked that nobody has to wait for
    rules: { 'no-void': ['error', { allowAsStatement: true }] }
  },
  {
    files: ['types/**/*.ts'],
    rules: {
      // merged interfaces must repeat type parameters they do not use
      '@typescript-eslint/no-unused-vars': 'off',
      'no-restricted-imports': ['error', { patterns: [{ regex: '/lib/', message: 'types/ is the contract and imports nothing from lib/' }] }]
    }
  },
  {
    files: ['lib/*.ts'],
    ignores: ['lib/index.ts'],
    rules: { 'no-restricted-imports': ['error', { patterns: [{ regex: '^\\./.+/', message: 'what lies beside the folders is below all of them' }] }] }
  },
  {
    // a simulation of what may go wrong must do the same twice
    files: ['lib/topics/**/*.ts', 'lib/brokers/**/*.ts'],
    ignores: ['lib/topics/environment.ts'],
    rules: {
      'no-restricted-globals': ['error', ...['Date', 'performance', 'setTimeout', 'setInterval', 'setImmediate'].map(name => ({ name, message: 'time comes from the environment' }))],
      'no-restricted-properties': ['error', { object: 'Math', property: 'random', message: 'chance comes from the environment' }]
    }
  },
  {
    files: ['lib/**/*.ts'],
    ignores: ['lib/brokers/**'],
    rules: {
      '@typescript-eslint/no-restricted-imports': ['error', {
        paths: ['node:http', 'node:util', 'node:stream/web', 'node:zlib'].map(name => ({ name, allowTypeImports: true, message: 'lib/builtins.ts has it, or a global, without what an import loads beside' }))
      }]
    }
  },
  ...FOLDERS.map((folder, floor) => ({
    files: [`lib/${folder}/**/*.ts`],
    rules: {
      'no-restricted-imports': ['error', {
        patterns: [{ regex: `\\.\\./(${[...FOLDERS.slice(floor + 1), 'index\\.ts$'].join('|')})`, message: `lib/${folder}/ is below that` }]
      }]
    }
  }))
]
