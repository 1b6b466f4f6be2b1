import { defineConfig } from 'tsup'

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    browser: 'src/browser.ts',
    ky: 'src/ky.ts',
    testing: 'src/testing/index.ts',
    'testing-msw': 'src/testing/msw.ts',
  },
  format: 'esm',
  target: 'es2022',
  platform: 'neutral',
  tsconfig: 'src/tsconfig.json',
  dts: true,
  clean: true,
  treeshake: true,
})
