import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

// `npm test` runs Vitest twice, and each run leaves a report of its own in this folder.
const reports = process.env.STAYFRESH_REPORTS

// What takes long begins first, and what computes runs beside what waits.
const LONG = [
  'races',
  'crowd',
  'explorer',
  'trouble',
  'fleet',
  'tabs',
  'browser/logout',
  'leaks',
  'cookies',
  'simple-jwt',
  'flask-real',
  'flask-cookies',
  'page',
  'package',
  'example-react',
  'code',
  'redis',
  'over-http',
]

const UNITS = ['core', 'testing', 'backends'].map((room) => `test/${room}/**/*.test.ts`)

// Real servers, other processes, millions of steps: V8's coverage costs these a quarter more, and would tell nothing new.
const SYSTEM = [
  ...['code', 'explorer', 'leaks', 'races', 'secrets'].map((name) => `test/${name}.test.ts`),
  ...['demo', 'docs', 'package', 'stories'].map((room) => `test/${room}/**/*.test.ts`),
]

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const at = LONG.findIndex((name) => moduleId.includes(`/${name}.test.`))
      return at < 0 ? LONG.length : at
    }
    return [...files].sort((a, b) => place(a) - place(b))
  }
}

export default defineConfig({
  test: {
    restoreMocks: true,
    unstubGlobals: true,
    sequence: { sequencer: LongestFirst },
    // Much of it waits: for lives to end, for processes, for pages.
    maxWorkers: 3,
    coverage: { include: ['src/**/*.ts'], exclude: ['src/testing/**'], reporter: ['text'] },
    reporters: reports
      ? ['default', ['json', { outputFile: `${reports}/${process.pid}.json` }]]
      : ['default'],
    projects: [
      {
        extends: true,
        test: {
          name: 'node',
          include: ['test/**/*.test.ts'],
          exclude: ['test/browser/**', 'test/fleet/**', 'test/frameworks/**', ...UNITS, ...SYSTEM],
        },
      },
      { extends: true, test: { name: 'system', include: SYSTEM } },
      // Many short files, that leave nothing behind: loaded once in a process, not once for each file.
      { extends: true, test: { name: 'units', include: UNITS, isolate: false } },
      // By itself (`npm run test:fleet`): what dozens of processes are timed at wants the machine to itself.
      {
        extends: true,
        test: { name: 'fleet', include: ['test/fleet/**/*.test.ts'], fileParallelism: false },
      },
      // By itself, too: it installs and builds apps of SvelteKit and Next.
      {
        extends: true,
        test: {
          name: 'frameworks',
          include: ['test/frameworks/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 900_000,
        },
      },
      // By themselves: other engines, as they are installed; what only Chromium can be made to do is left out.
      ...['firefox', 'webkit'].map((name) => ({
        extends: true as const,
        test: {
          name,
          include: ['stores', 'tabs', 'logout'].map((scenes) => `test/browser/${scenes}.test.ts`),
          globalSetup: ['test/browser/setup.ts'],
          isolate: false,
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      })),
      {
        extends: true,
        test: {
          name: 'chromium',
          include: ['test/browser/**/*.test.ts'],
          globalSetup: ['test/browser/setup.ts'],
          // Playwright is loaded once in a process, not once for each file; none of them leaves anything behind.
          isolate: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
})
