/** What the parts of the benchmarks share: rounds in turns, medians and spread, progress, and what a part hands back. */

export interface Goal {
  what: string
  limit: string
  got: string
  met: boolean
  /** Known to be missed, and written down where; it does not fail the run. */
  known?: string
}

export interface Bar {
  name: string
  value: number
  /** What is written behind it. */
  label: string
  ours: boolean
}

export interface Part {
  title: string
  /** How it was measured. */
  about: string
  head: string[]
  rows: string[][]
  notes?: string[]
  goals: Goal[]
  charts: { title: string; bars: Bar[] }[]
}

export const isOurs = (name: string): boolean => name.startsWith('stayfresh')

export function quantile(values: readonly number[], at: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * at))] ?? Number.NaN
}

export const median = (values: readonly number[]): number => quantile(values, 0.5)

/** The median, and between which values the middle half lies. */
export function spread(values: readonly number[], digits: number): string {
  const at = (q: number): string => quantile(values, q).toFixed(digits)
  return `${at(0.5)} (${at(0.25)}–${at(0.75)})`
}

/** One number where all rounds agree, else the median and the range. */
export function counted(values: readonly number[]): string {
  const [least, most] = [Math.min(...values), Math.max(...values)]
  return least === most ? String(least) : `${median(values)} (${least}–${most})`
}

export type Progress = (done: number, total: number) => void

/** On a terminal one line that moves, elsewhere a line for each quarter. */
export function progressOf(title: string): Progress {
  const begun = performance.now()
  let quarter = -1
  return (done, total) => {
    const seconds = ((performance.now() - begun) / 1000).toFixed(0)
    const line = `${title}: ${Math.floor((100 * done) / total)} %, ${seconds} s`
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}${done >= total ? '\n' : ''}`)
    else if (Math.floor((4 * done) / total) > quarter) process.stderr.write(`${line}\n`)
    quarter = Math.floor((4 * done) / total)
  }
}

/** Numbers that look random, and are the same in each run. */
export function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** How often, and how long at the most: a busy machine gets fewer rounds (one at the least), not a longer run. */
export interface Effort {
  rounds: number
  warmup: number
  seconds: number
}

/**
 * All of them once in each round, in another order each time, so that what else the machine does strikes them alike
 * and none always comes after the same other. Warm-up rounds are run, and not counted: `round` is negative there.
 * Gives back how many rounds counted.
 */
export async function inTurns<T>(
  all: readonly T[],
  { rounds, warmup, seconds }: Effort,
  run: (one: T, round: number) => Promise<void>,
  progress: Progress,
): Promise<number> {
  const chance = random(1)
  const begun = performance.now()
  for (let round = -warmup; round < rounds; round++) {
    const spent = (performance.now() - begun) / 1000
    if (round > 0 && spent > seconds) {
      progress(1, 1)
      return round
    }
    const order = all.map((one) => ({ one, at: chance() })).sort((a, b) => a.at - b.at)
    for (const { one } of order) await run(one, round)
    progress(round + warmup + 1, rounds + warmup)
  }
  return rounds
}
