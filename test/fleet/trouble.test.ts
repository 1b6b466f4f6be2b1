/** Some seconds of what `npm run test:fleet` does for minutes. */
import { expect, test } from 'vitest'
import { faults, makeTrouble, type TroubleOptions } from './trouble.ts'

const few: TroubleOptions = {
  kind: 'redis',
  processes: 6,
  seconds: 8,
  grace: true,
  outage: 800,
  quiet: 1200,
  refreshTimeout: 1500,
}

test('invariants 1, 3: processes killed at random moments, over a Redis that goes and comes: no session is lost', async () => {
  const tally = await makeTrouble(few)
  expect(faults(tally, few)).toEqual([])
  expect(tally.exchanges).toBeGreaterThan(0)
  expect(tally.kills).toBeGreaterThan(2)
  expect(Object.keys(tally.troubles).length).toBeGreaterThan(1)
}, 120_000)

test('invariants 1, 3: processes killed at random moments, over files', async () => {
  const options: TroubleOptions = { ...few, kind: 'file', seconds: 4 }
  const tally = await makeTrouble(options)
  expect(faults(tally, options)).toEqual([])
  expect(tally.exchanges).toBeGreaterThan(0)
  expect(tally.kills).toBeGreaterThan(1)
}, 120_000)
