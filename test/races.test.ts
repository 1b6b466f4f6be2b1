import fc from 'fast-check'
import { expect, test } from 'vitest'
import { program } from './model/program.ts'
import { execute } from './model/run.ts'

const RUNS = Number(process.env.STAYFRESH_RACES ?? 1_000)

test('every invariant holds under every order of a random program', { timeout: 280_000 }, async () => {
  const covered = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), program, async (scheduler, drawn) => {
      for (const [what, times] of await execute(scheduler, drawn))
        covered.set(what, (covered.get(what) ?? 0) + times)
    }),
    { numRuns: RUNS },
  )
  console.log(
    [...covered]
      .sort()
      .map(([what, times]) => `${String(times).padStart(8)}  ${what}`)
      .join('\n'),
  )
  expect(covered.size).toBeGreaterThan(10)
})
