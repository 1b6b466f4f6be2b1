import { defineConfig } from 'vitest/config'

const report = process.env.STAYFRESH_REPORT

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    restoreMocks: true,
    unstubGlobals: true,
    reporters: report ? ['default', ['json', { outputFile: report }]] : ['default'],
  },
})
