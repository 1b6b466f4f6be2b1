import { defineConfig } from 'vitest/config'

const report = process.env.STAYFRESH_REPORT

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    restoreMocks: true,
    unstubGlobals: true,
    coverage: { include: ['src/**/*.ts'], exclude: ['src/testing/**'], reporter: ['text'] },
    reporters: report ? ['default', ['json', { outputFile: report }]] : ['default'],
  },
})
