import { defineConfig } from 'vitest/config'

const report = process.env.STAYFRESH_REPORT

export default defineConfig({
  test: {
    restoreMocks: true,
    unstubGlobals: true,
    // Much of it waits: for lives to end, for processes, for pages.
    maxWorkers: 4,
    coverage: { include: ['src/**/*.ts'], exclude: ['src/testing/**'], reporter: ['text'] },
    reporters: report ? ['default', ['json', { outputFile: report }]] : ['default'],
    projects: [
      {
        extends: true,
        test: { name: 'node', include: ['test/**/*.test.ts'], exclude: ['test/browser/**'] },
      },
      {
        extends: true,
        test: {
          name: 'chromium',
          include: ['test/browser/**/*.test.ts'],
          globalSetup: ['test/browser/setup.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
})
