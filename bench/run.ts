/**
 * `npm run bench`: stayfresh beside its peers, in one run and in turns, and its goals with their verdicts. Prints tables,
 * writes them to bench/results (bench.md, and a picture for each part); fails if a goal is missed that is not known to
 * be. `-- --quick`: a minute's worth, to look at; it writes nothing. `-- --only=calls,burst`: some of the parts, the same;
 * `-- --only=cases`: what each does, which writes its section.
 */
import { readFileSync } from 'node:fs'
import { measureBurst } from './burst.ts'
import { measureCalls } from './calls.ts'
import { measureCases } from './cases.ts'
import { bars, save } from './draw.ts'
import { type Goal, type Part, type Progress, progressOf } from './report.ts'
import { startServer } from './server.ts'
import { measureSteady } from './steady.ts'
import { measureUpload } from './upload.ts'
import { measureWeight } from './weight.ts'

const quick = process.argv.includes('--quick')
const only = process.argv.find((arg) => arg.startsWith('--only='))?.slice('--only='.length)
// Tables and pictures in bench/results are of one run.
const whole = !quick && !only

const server = await startServer()
const parts: Record<string, (progress: Progress) => Promise<Part>> = {
  cases: measureCases,
  calls: (progress) =>
    measureCalls(
      server,
      { rounds: quick ? 50 : 500, warmup: quick ? 20 : 60, seconds: quick ? 20 : 80 },
      progress,
    ),
  burst: (progress) =>
    measureBurst(server, { rounds: quick ? 1 : 5, warmup: 1, seconds: quick ? 10 : 35 }, progress),
  // In full every client that has a timer of its own for the refresh sets it.
  steady: (progress) =>
    measureSteady(server, quick ? { life: 900, left: 6 } : { life: 125, left: 125 }, progress),
  upload: (progress) =>
    measureUpload(server, quick ? 256 : 1024, { rounds: quick ? 1 : 3, warmup: 0, seconds: 30 }, progress),
  weight: (progress) =>
    measureWeight({ rounds: quick ? 2 : 9, warmup: 1, seconds: quick ? 5 : 20 }, progress),
}

/** A table in Markdown that is legible as it is. */
function table(head: string[], rows: string[][]): string {
  const wide = head.map((title, column) =>
    Math.max(title.length, 3, ...rows.map((row) => row[column]?.length ?? 0)),
  )
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, column) => (column ? cell.padStart(wide[column] ?? 0) : cell.padEnd(wide[column] ?? 0))).join(' | ')} |`
  const rule = `| ${wide.map((width, column) => (column ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width))).join(' | ')} |`
  return [line(head), rule, ...rows.map(line)].join('\n')
}

const verdict = ({ met, known }: Goal): string => (met ? 'met' : known ? `missed: ${known}` : '**missed**')

const versionOf = (name: string): string => {
  const { version } = JSON.parse(
    readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url), 'utf8'),
  )
  return `${name} ${version}`
}
const PEERS = [
  'ky',
  '@badgateway/oauth2-client',
  'refresh-fetch',
  '@supabase/auth-js',
  'axios',
  'axios-auth-refresh',
  'axios-jwt',
]

const text: string[] = [
  '# stayfresh beside its peers',
  `By \`npm run bench\`, with Node ${process.version} and ${PEERS.map(versionOf).join(', ')}. All figures are of one run, on one machine that may have been busy, in turns: compare them with each other, not with those of another run. How it is measured and what was found: docs/bench.md.`,
]
/** Marks, unlike times, are the same on a busy machine: this section is also written by a run of its own. */
function replaceSection(section: string[]): void {
  const sections = readFileSync(new URL('results/bench.md', import.meta.url), 'utf8').split(/^(?=## )/m)
  const others = sections.filter((text) => !text.startsWith(`${section[0]}\n`))
  // After the goals.
  save('bench.md', others.toSpliced(2, 0, `${section.join('\n\n')}\n\n`).join(''))
}

const goals: Goal[] = []
for (const [name, measure] of Object.entries(parts)) {
  if (only && !only.split(',').includes(name)) continue
  const part = await measure(progressOf(name))
  goals.push(...part.goals)
  const notes = part.notes?.map((note) => `- ${note}`).join('\n')
  const section = [`## ${part.title}`, part.about, table(part.head, part.rows), notes ?? ''].filter(Boolean)
  console.log(`\n${section.join('\n\n')}\n`)
  text.push(...section)
  if (only === 'cases') replaceSection(section)
  if (part.charts.length === 0) continue
  text.push(`![${part.title}](${name}.svg)`)
  if (whole) save(`${name}.svg`, bars(part.title, part.charts))
}
server.stop()

const rows = goals.map((goal) => [goal.what, goal.limit, goal.got, verdict(goal)])
const summary = ['## Goals', table(['', 'goal', 'this run', 'verdict'], rows)]
console.log(`\n${summary.join('\n\n')}\n`)
text.splice(2, 0, ...summary)
if (whole) save('bench.md', `${text.join('\n\n')}\n`)
const missed = goals.some(({ met, known }) => !met && !known)
// Not all of the peers can be told to let go of their timers.
process.stdout.write('', () => process.exit(missed ? 1 : 0))
