/** The tests that judge mutants: those of one process, quick, and each of them alike each time. */
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: [
      'test/core/**/*.test.ts',
      'test/invariants/one-process.test.ts',
      'test/bad-input.test.ts',
      'test/drop-in.test.ts',
      'test/ky.test.ts',
    ],
    // A mutant is judged by some hundreds of tests of many files: a worker for each file costs more than they do.
    isolate: false,
    reporters: ['dot'],
    restoreMocks: true,
    unstubGlobals: true,
  },
})
