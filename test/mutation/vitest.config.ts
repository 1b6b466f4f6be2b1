/** The tests that judge mutants: those of one process, quick, and each of them alike each time. */
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { keepWorker } from './keep-worker.ts'

// The first test that fails ends a run: those that are quick and see most go first.
const ORDER = ['session', 'events', 'tokens', 'reauth', 'refresh', 'login', 'answers', 'stores', 'contexts']

class DecisiveFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const at = ORDER.findIndex((name) => moduleId.endsWith(`/core/${name}.test.ts`))
      return at < 0 ? ORDER.length + Number(!moduleId.includes('/core/')) : at
    }
    return [...files].sort((a, b) => place(a) - place(b))
  }
}

export default defineConfig({
  plugins: [keepWorker()],
  test: {
    include: [
      'test/core/**/*.test.ts',
      'test/invariants/one-process.test.ts',
      'test/backends/{bearer,broken,challenge,cookies,cookies-{ends,logins,races,values}}.test.ts',
      'test/stores/{memory,server}.test.ts',
      'test/bad-input.test.ts',
      'test/drop-in.test.ts',
      'test/ky.test.ts',
    ],
    // It takes longer than all the others together.
    exclude: ['test/core/order.test.ts'],
    sequence: { sequencer: DecisiveFirst },
    isolate: false,
    // Of a mutant that makes a test wait for ever; the longest of them takes half a second.
    testTimeout: 2_500,
    reporters: ['dot'],
    restoreMocks: true,
    unstubGlobals: true,
  },
})
