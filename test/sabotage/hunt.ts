/**
 * Runs the model of a copy of the tree until something is found broken, and tells what and after how many programs:
 * `node hunt.ts <copy> <programs> <seed>`. A process of its own, so that a bug that never gives the turn back can
 * be ended.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import fc from 'fast-check'

const BATCH = 1_000

/** What a hunt ends with. */
export interface Found {
  readonly programs: number
  /** What the invariant said; missing if nothing was found. */
  readonly broken?: string
}

async function hunt(copy: string, programs: number, seed: number): Promise<Found> {
  const load = (file: string): Promise<unknown> => import(pathToFileURL(join(copy, 'test/model', file)).href)
  const { program } = (await load('program.ts')) as typeof import('../model/program.ts')
  const { execute } = (await load('run.ts')) as typeof import('../model/run.ts')
  const property = fc.asyncProperty(fc.scheduler(), program, async (scheduler, drawn) => {
    await execute(scheduler, drawn)
  })
  // The very programs of `races.ts`, which draws each batch from a seed of its own.
  for (let done = 0; done < programs; done += BATCH) {
    const numRuns = Math.min(BATCH, programs - done)
    const details = await fc.check(property, { numRuns, seed: seed + done / BATCH, endOnFailure: true })
    if (!details.failed) continue
    const error = details.errorInstance as Error | undefined
    return { programs: done + details.numRuns, broken: String(error?.message ?? error).split('\n')[0] }
  }
  return { programs }
}

const [copy = '', programs = '', seed = ''] = process.argv.slice(2)
console.log(JSON.stringify(await hunt(copy, Number(programs), Number(seed))))
