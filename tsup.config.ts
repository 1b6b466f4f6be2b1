import { readFile, writeFile } from 'node:fs/promises'
import { defineConfig } from 'tsup'

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    browser: 'src/browser.ts',
    devtools: 'src/devtools.ts',
    encrypted: 'src/encrypted.ts',
    ky: 'src/ky.ts',
    node: 'src/node.ts',
    react: 'src/react.ts',
    redis: 'src/redis.ts',
    testing: 'src/testing/index.ts',
    'testing-msw': 'src/testing/msw.ts',
  },
  format: 'esm',
  target: 'es2022',
  platform: 'neutral',
  tsconfig: 'src/tsconfig.json',
  // One build, so that the entries share their chunks. Only `stayfresh/node` knows Node's own modules.
  external: [/^node:/],
  // `Symbol.dispose` is in the types, and in no `lib` up to ES2025.
  dts: { compilerOptions: { types: ['node'] }, banner: '/// <reference lib="esnext.disposable" />' },
  clean: true,
  // Neither minified nor with source maps: names and lines in a stack trace are the code's own, and what is installed can
  // be read. Maps would need the sources in the package, and double it.
  treeshake: true,
  // For frameworks with server components; tree-shaking drops directives.
  async onSuccess() {
    await writeFile('dist/react.js', `'use client';\n${await readFile('dist/react.js', 'utf8')}`)
  },
})
