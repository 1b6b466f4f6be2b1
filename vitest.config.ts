import { defineConfig } from 'vitest/config'

const report = process.env.STAYFRESH_REPORT

export default defineConfig({
  test: {
    restoreMocks: true,
    unstubGlobals: true,
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
          maxWorkers: 2,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // After the others: what is timed here wants the machine for itself.
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
