import neostandard from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: ['dist/**', '.tap/**'] }),
  {
    // how a promise is marked that nobody has to wait for
    rules: { 'no-void': ['error', { allowAsStatement: true }] }
  },
  {
    // merged interfaces must repeat type parameters they do not use
    files: ['types/**/*.ts'],
    rules: { '@typescript-eslint/no-unused-vars': 'off' }
  }
]
