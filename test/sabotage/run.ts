/**
 * `npm run test:sabotage [-- --programs 10000 --seed 1 --only claim]`: puts each bug of the list into a copy of the
 * tree and sees the model find it, within as many programs as `npm test` runs. The tree as it is runs first: the
 * model must find nothing there.
 */
import { execFile } from 'node:child_process'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify, styleText } from 'node:util'
import { BUGS, type Bug } from './bugs.ts'
import type { Found } from './hunt.ts'

// As many as `npm test` runs: see test/races.test.ts.
const PROGRAMS = 10_000
// A bug that makes a program run for ever must not make this script do so.
const TIMEOUT = 300_000

const root = join(import.meta.dirname, '../..')
const { values } = parseArgs({
  options: {
    programs: { type: 'string', default: String(PROGRAMS) },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    jobs: { type: 'string', default: String(availableParallelism()) },
  },
})

interface Row {
  readonly bug: Bug
  readonly ok: boolean
  readonly programs?: number
  readonly seconds?: number
  readonly said: string
}

/** A copy of what the model runs, with the bug in it. Throws if a text is not there exactly once. */
async function sabotage({ edits }: Bug, copy: string): Promise<void> {
  await rm(copy, { recursive: true, force: true })
  await mkdir(join(copy, 'test'), { recursive: true })
  await cp(join(root, 'src'), join(copy, 'src'), { recursive: true })
  await cp(join(root, 'test/model'), join(copy, 'test/model'), { recursive: true })
  for (const { file, find, replace } of edits) {
    const path = join(copy, file)
    const parts = (await readFile(path, 'utf8')).split(find)
    if (parts.length !== 2) {
      const line = find.split('\n')[0]
      throw new Error(`${file} holds the text ${parts.length - 1} times, not once: ${line}`)
    }
    await writeFile(path, parts.join(replace))
  }
}

async function examine(bug: Bug, number: number): Promise<Row> {
  // Inside the repository, where its packages are found.
  const copy = join(root, '.tmp', `sabotage-${process.pid}-${number}`)
  const started = performance.now()
  try {
    await sabotage(bug, copy)
    const hunt = [join(import.meta.dirname, 'hunt.ts'), copy, values.programs, values.seed]
    const { stdout } = await promisify(execFile)(process.execPath, hunt, { timeout: TIMEOUT })
    const { programs, broken } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Found
    const seconds = (performance.now() - started) / 1000
    const ok = (broken !== undefined) === bug.edits.length > 0
    return { bug, ok, programs, seconds, said: broken ?? 'nothing broken' }
  } catch (error) {
    const { killed, message } = error as Error & { killed?: boolean }
    const wrong = message.split('\n').findLast((line) => /Error/.test(line)) ?? message
    const said = killed ? `a program did not end within ${TIMEOUT / 1000} s` : wrong.trim()
    return { bug, ok: false, said }
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
}

const asItIs: Bug = { name: 'no bug: the tree as it is', edits: [] }
const bugs = [asItIs, ...BUGS].filter(({ name }) => name.includes(values.only))
const rows = new Map<Bug, Row>()
let next = 0
let shown = 0

/** Prints what is done, in the order of the list. */
function print(): void {
  for (let bug = bugs[shown]; bug && rows.has(bug); bug = bugs[++shown]) {
    const { ok, programs, seconds, said } = rows.get(bug) as Row
    const mark = ok ? styleText('green', '✓') : styleText('red', '✗')
    const figures = [programs?.toLocaleString('en') ?? '', seconds === undefined ? '' : seconds.toFixed(1)]
    console.log(`${mark} ${figures.map((text) => text.padStart(8)).join('')}  ${bug.name}`)
    console.log(`${' '.repeat(20)}${styleText('dim', said)}`)
  }
}

async function work(): Promise<void> {
  for (let bug = bugs[next++]; bug; bug = bugs[next++]) {
    rows.set(bug, await examine(bug, next))
    print()
  }
}

console.log(`  programs seconds  bug, and what the model said of it (seed ${values.seed})`)
await Promise.all(Array.from({ length: Number(values.jobs) }, work))
const missed = [...rows.values()].filter(({ ok }) => !ok)
if (missed.length || !bugs.length) {
  console.log(`\n${styleText('red', `${missed.length} of ${bugs.length} came out wrong`)}`)
  process.exitCode = 1
} else console.log(`\n${styleText('green', `${bugs.length} of ${bugs.length} came out right`)}`)
