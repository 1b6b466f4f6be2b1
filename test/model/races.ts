/**
 * `npm run test:races -- --runs 1000000 [--mode cookies|hybrid] [--seed 1] [--path …]`: as many random programs as asked, spread
 * over the cores, ending in a table of what was covered. With `--path`, replays the one failure that was printed with it;
 * with `--covers op,fault,…`, fails if one of these kinds of things never occurred, however few they are.
 */
import { availableParallelism } from 'node:os'
import { parseArgs, styleText } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import fc from 'fast-check'
import { missing } from './coverage.ts'
import { programs } from './program.ts'
import { execute } from './run.ts'

type Mode = keyof typeof programs

interface Job {
  readonly mode: Mode
  readonly seed: number
  readonly runs: number
  readonly path?: string
}

type Report = { covered: [string, number][]; runs: number } | { failure: string; seed: number }

// Every so many runs a worker reports; each batch has a seed of its own, so that a failure can be named by it.
const BATCH = 1_000

export async function races(job: Job, report: (report: Report) => void): Promise<void> {
  const covered = new Map<string, number>()
  const property = fc.asyncProperty(fc.scheduler(), programs[job.mode], async (scheduler, drawn) => {
    for (const [what, times] of await execute(scheduler, drawn))
      covered.set(what, (covered.get(what) ?? 0) + times)
  })
  const details = await fc.check(property, {
    numRuns: job.runs,
    seed: job.seed,
    path: job.path,
    endOnFailure: job.path !== undefined,
  })
  if (details.failed)
    report({
      failure: `${fc.defaultReportMessage(details)}\n\n${String(details.errorInstance)}`,
      seed: job.seed,
    })
  else report({ covered: [...covered], runs: job.runs })
}

if (!isMainThread && workerData?.races) {
  // Stacks cost a tenth of the time; a replay has them.
  Error.stackTraceLimit = 0
  parentPort?.on('message', (job: Job) => races(job, (report) => parentPort?.postMessage(report)))
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '10000' },
      seed: { type: 'string' },
      path: { type: 'string' },
      mode: { type: 'string', default: 'headers' },
      covers: { type: 'string' },
    },
  })
  const total = Number(values.runs)
  const seed = values.seed === undefined ? Date.now() % 1_000_000_000 : Number(values.seed)
  const mode = values.mode as Mode
  if (!programs[mode]) throw new TypeError(`--mode takes ${Object.keys(programs).join(' or ')}`)
  if (values.path !== undefined) {
    await races({ mode, seed, runs: total, path: values.path }, (report) =>
      console.log('failure' in report ? report.failure : 'nothing broken'),
    )
    return
  }
  const covered = new Map<string, number>()
  const failures: string[] = []
  const started = performance.now()
  let next = 0
  let done = 0
  const workers = Array.from(
    { length: availableParallelism() },
    () => new Worker(new URL(import.meta.url), { workerData: { races: true } }),
  )
  await Promise.all(
    workers.map(
      (worker) =>
        new Promise<void>((resolve, reject) => {
          const give = (): void => {
            if (next * BATCH >= total || failures.length) {
              resolve()
              return
            }
            const runs = Math.min(BATCH, total - next * BATCH)
            worker.postMessage({ mode, seed: seed + next++, runs } satisfies Job)
          }
          worker.on('error', reject)
          worker.on('message', (report: Report) => {
            if ('failure' in report) failures.push(report.failure)
            else {
              done += report.runs
              for (const [what, times] of report.covered) covered.set(what, (covered.get(what) ?? 0) + times)
              const rate = done / ((performance.now() - started) / 1_000)
              process.stdout.write(
                `\r${done.toLocaleString('en')} of ${total.toLocaleString('en')} programs, ${Math.round(rate)} a second, ${Math.round((total - done) / rate)} s left   `,
              )
            }
            give()
          })
          give()
        }),
    ),
  )
  for (const worker of workers) void worker.terminate()
  console.log(
    `\n\n${Math.round((performance.now() - started) / 1_000)} s, seeds ${seed} to ${seed + next - 1}\n`,
  )
  for (const [what, times] of [...covered].sort(([a], [b]) => a.localeCompare(b))) {
    console.log(`${times.toLocaleString('en').padStart(14)}  ${what}`)
  }
  // Rare things need some thousands of programs to occur at all.
  const kinds = values.covers?.split(',') ?? []
  const never = missing(covered, mode).filter(
    (what) => !failures.length && (total >= 10_000 || kinds.includes(what.split(' ')[0] as string)),
  )
  if (never.length) {
    console.log(`\n${styleText('red', 'never occurred')}: ${never.join(', ')}`)
    process.exitCode = 1
  } else if (failures.length) {
    console.log(`\n${styleText('red', 'broken')}: ${failures[0]}`)
    process.exitCode = 1
  } else console.log(`\n${styleText('green', 'none broken')}`)
}

if (isMainThread && process.argv[1] === new URL(import.meta.url).pathname) await main()
