/** What a client weighs: bytes to download, and the time to import it. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Contestant, contestants } from './contestants.ts'
import { type Effort, inTurns, isOurs, median, type Part, type Progress, spread } from './report.ts'
import { bytesOf, entries, GOAL } from './size.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const run = promisify(execFile)

/** Milliseconds that the import takes, in a process that has done nothing before. */
async function importing({ imports }: Contestant): Promise<number> {
  const modules = imports.map((one) => one.replace(/^.* from /, ''))
  const code = `const begun = performance.now()
${modules.map((module) => `await import(${module})`).join('\n')}
console.log(performance.now() - begun)`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', code], { cwd: ROOT })
  return Number(stdout)
}

export async function measureWeight(effort: Effort, progress: Progress): Promise<Part> {
  const weighed = contestants.filter(({ imports }) => imports.length > 0)
  const took = new Map(weighed.map((contestant) => [contestant, [] as number[]]))
  const one = async (contestant: Contestant, round: number): Promise<void> => {
    const ms = await importing(contestant)
    if (round >= 0) took.get(contestant)?.push(ms)
  }
  const rounds = await inTurns(weighed, effort, one, progress)
  const bytes = new Map<Contestant, { min: number; gzip: number }>()
  for (const contestant of weighed) bytes.set(contestant, await bytesOf(contestant.imports.join('\n')))
  const gzip = (contestant: Contestant): number => bytes.get(contestant)?.gzip ?? Number.NaN

  const own = await entries()
  const main = own.find(({ title }) => title === 'stayfresh')?.gzip ?? Number.NaN
  return {
    title: 'Bytes and import time',
    about: `What a browser loads, bundled and minified by esbuild, with what it stands on (jwt-decode, ky, axios); and \`import\` in Node as the packages are published, each time in a new process, the median of ${rounds} in turns.`,
    head: ['', 'min', 'min+gzip', 'import, ms'],
    rows: [
      ...weighed.map((contestant) => [
        contestant.name,
        `${bytes.get(contestant)?.min} B`,
        `${gzip(contestant)} B`,
        spread(took.get(contestant) ?? [], 1),
      ]),
      ...own.map(({ title, min, gzip }) => [`entry ${title}`, `${min} B`, `${gzip} B`, '']),
    ],
    notes: [
      'An entry is weighed with all that it exports, by itself, without the packages that its user brings (ky, ioredis, hono, jose, msw).',
    ],
    goals: [
      {
        what: '`createAuth` + `flaskJwt` + jwt-decode, min+gzip',
        limit: `≤ ${GOAL} B`,
        got: `${main} B`,
        met: main <= GOAL,
        known: 'docs/decisions/0004-size.md',
      },
    ],
    charts: [
      {
        title: 'Bytes, min+gzip',
        bars: weighed.map((contestant) => ({
          name: contestant.name,
          value: gzip(contestant),
          label: `${(gzip(contestant) / 1000).toFixed(1)} kB`,
          ours: isOurs(contestant.name),
        })),
      },
      {
        title: 'Import, ms',
        bars: weighed.map((contestant) => {
          const value = median(took.get(contestant) ?? [])
          return { name: contestant.name, value, label: value.toFixed(0), ours: isOurs(contestant.name) }
        }),
      },
    ],
  }
}
