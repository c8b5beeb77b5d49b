import neostandard from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: ['dist/**', '.tap/**'] }),
  {
    // merged interfaces must repeat type parameters they do not use
    files: ['types/**/*.ts'],
    rules: { '@typescript-eslint/no-unused-vars': 'off' }
  }
]
