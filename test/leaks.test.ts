/** What a client leaves behind: in a long life, and after its end. Each in a process of its own. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test, vi } from 'vitest'
import type { Ending } from './leaks/end.ts'
import type { Figures } from './leaks/memory.ts'

vi.setConfig({ testTimeout: 120_000 })

async function run<Result>(script: string, ...given: string[]): Promise<Result> {
  const file = join(import.meta.dirname, 'leaks', script)
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', file, ...given], {
    timeout: 110_000,
  })
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Result
}

test('100,000 requests over thousands of expiries leave the heap as it was', async () => {
  const { heap, requests, refreshes, logins, listening } = await run<Figures>('memory.ts')
  const megabytes = heap.map((bytes) => (bytes / 2 ** 20).toFixed(2))
  console.log(
    `${requests} requests, ${refreshes} refreshes, ${logins} logins; MB after each tenth: ${megabytes}`,
  )
  expect(requests).toBeGreaterThanOrEqual(100_000)
  expect(refreshes).toBeGreaterThan(1_000)
  // The first tenth warms up. A hundred bytes kept of each request would make ten megabytes of the rest.
  const [, settled = 0, ...later] = heap
  expect(Math.max(...later) - settled).toBeLessThan(2 ** 20)
  // A signal that the application keeps for a whole life is left as it was after each call.
  expect(listening).toEqual({ signal: 0, watchers: 1, watchersAfter: 0, timers: 0 })
})

const bound = 1_000
// The time that a machine under load takes for nothing.
const slack = 1_500

test.each([
  ['a session', slack, 0],
  ['a waiting ask', slack, 1],
  // What is under way is finished, within its bound.
  ['an open exchange', bound + slack, 3],
  ['a hanging store', bound + slack, 1],
  // A change that the store would not take is tried again for some seconds.
  ['a failing store', 4_000 + slack, 2],
])(
  'after dispose(), with %s, the process ends by itself and no listener remains',
  async (what, most, waiting) => {
    const { took, listeners, watchers, outcomes } = await run<Ending>('end.ts', what)
    console.log(`${what}: nothing kept the process ${took} ms after dispose()`)
    expect(took).toBeLessThan(most)
    expect({ listeners, watchers }).toEqual({ listeners: 0, watchers: 0 })
    expect(outcomes).toHaveLength(waiting)
  },
)

test('without dispose(), a waiting ask keeps the process', async () => {
  const file = join(import.meta.dirname, 'leaks', 'end.ts')
  const child = promisify(execFile)(process.execPath, ['--expose-gc', file, 'a waiting ask', 'kept'], {
    timeout: 5_000,
  })
  await expect(child).rejects.toMatchObject({ killed: true, stdout: '' })
})
