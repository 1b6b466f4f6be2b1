/** A steady load, from a login to after the expiry of its token: who is made to wait for the refresh. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Contestant, contestants } from './contestants.ts'
import { isOurs, median, type Part, type Progress } from './report.ts'
import type { Counts, Server } from './server.ts'

const EXCHANGE = 1000
// Whoever took longer than this has waited for the exchange, almost from its begin: a busy machine takes half of it.
const WAITED = 0.8 * EXCHANGE
const EACH = 100

interface Run {
  contestant: Contestant
  took: number[]
  failures: number
  counts: Counts
}

/** `left`: of the token's life when the load begins, in s. */
export async function measureSteady(
  server: Server,
  { life, left }: { life: number; left: number },
  progress: Progress,
): Promise<Part> {
  const until = performance.now() + (left + 4) * 1000
  const refreshing = contestants.filter(({ bare }) => !bare)
  const load = async (contestant: Contestant, index: number): Promise<Run> => {
    const tenant = `steady-${index}`
    const place = await server.open(tenant, { life, age: life - left, refreshTakes: EXCHANGE })
    const client = contestant.make(place)
    const took: number[] = []
    let failures = 0
    const calls: Promise<void>[] = []
    const call = async (): Promise<void> => {
      const begun = performance.now()
      try {
        await client.send(`${place.url}items`)
      } catch {
        failures++
      }
      took.push(performance.now() - begun)
    }
    // Not all of them in the same moment.
    await sleep((index * EACH) / refreshing.length)
    while (performance.now() < until) {
      calls.push(call())
      await sleep(EACH)
    }
    await Promise.all(calls)
    client.stop?.()
    return { contestant, took, failures, counts: await server.counts(tenant) }
  }
  const total = left + 4
  const ticker = setInterval(
    () => progress(Math.max(0, total - (until - performance.now()) / 1000), total),
    1000,
  )
  const runs = await Promise.all(refreshing.map(load))
  clearInterval(ticker)
  progress(1, 1)

  const waited = ({ took }: Run): number => took.filter((ms) => ms > WAITED).length
  const bars = (value: (run: Run) => number, label: (value: number) => string) =>
    runs.map((run) => ({
      name: run.contestant.name,
      value: value(run),
      label: label(value(run)),
      ours: isOurs(run.contestant.name),
    }))
  const slowest = ({ took }: Run): number => Math.max(...took)
  return {
    title: 'A steady load across an expiry',
    about: `A GET each ${EACH} ms from each, all of them side by side, from ${left} s before the first token expires (of a life of ${life} s) to 4 s after it; the exchange takes the server ${EXCHANGE} ms. A request waited if it took more than ${WAITED} ms.`,
    head: ['', 'calls', 'requests', '401s', 'refreshes', 'failures', 'median ms', 'slowest ms', 'waited'],
    rows: runs.map((run) => [
      run.contestant.name,
      String(run.took.length),
      String(run.counts.requests),
      String(run.counts.refused),
      String(run.counts.refreshes),
      String(run.failures),
      median(run.took).toFixed(1),
      slowest(run).toFixed(0),
      String(waited(run)),
    ]),
    notes:
      left < 125
        ? [
            'With so little left @badgateway/oauth2-client sets no timer for the refresh; the full run shows it.',
          ]
        : [],
    goals: runs
      .filter(({ contestant }) => isOurs(contestant.name))
      .map((run) => ({
        what: `${run.contestant.name}: requests that wait across an expiry`,
        limit: '0',
        got: `${waited(run)}, the slowest ${slowest(run).toFixed(0)} ms, ${run.failures} failed`,
        met: waited(run) === 0 && run.failures === 0,
      })),
    charts: [
      {
        title: 'The slowest request across an expiry, ms (the exchange: 1,000)',
        bars: bars(slowest, (value) => value.toFixed(0)),
      },
    ],
  }
}
