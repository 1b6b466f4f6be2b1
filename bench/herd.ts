/**
 * `npm run bench:herd`: when 100,000 clients refresh over a day, with and without the spread of invariant 16, through
 * an outage of the refresh endpoint, and through one that says `Retry-After`. Prints peak ÷ mean, draws the arrivals
 * (bench/results/herd.svg), and runs the same, smaller, with real clients on a clock of its own, so that the model and
 * what it stands for can't part.
 */
import { createAuthOn } from '../src/auth.ts'
import { flaskJwt } from '../src/index.ts'
import type { Platform } from '../src/platform.ts'
import { picture, save } from './draw.ts'
import { random } from './report.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const DAY = 24 * 60 * MINUTE

// What the core does (src/refresh.ts): refreshed at the latest so long before the end, drawn over the life before that
// (less its first tenth) the first time, and after a failure; a cool-down from the second failure in a row.
const AHEAD = 60 * SECOND

interface Scenario {
  title: string
  clients: number
  /** Life of an access token. */
  life: number
  /** Between two requests of a client, on average. */
  pace: number
  /** Whether the first refresh is drawn over the life. */
  spread: boolean
  /** When the refresh endpoint is down, and what it says. */
  outage?: { from: number; to: number; retryAfter?: number }
  until: number
}

/** Arrivals at the refresh endpoint, by the minute: of which so many were turned away. */
interface Arrivals {
  all: Uint32Array
  failed: Uint32Array
}

// --- the model -------------------------------------------------------------------------------------------------

/**
 * Requests come at random, so that the first one after any moment is an exponentially distributed time away: only
 * those that lead to a refresh have to be played.
 */
function model({ clients, life, pace, spread, outage, until }: Scenario): Arrivals {
  const chance = random(1)
  const lasts = life - SECOND
  const latest = lasts - Math.min(AHEAD, lasts / 2)
  const arrivals = { all: new Uint32Array(until / MINUTE), failed: new Uint32Array(until / MINUTE) }
  const failures = new Uint8Array(clients)
  const drawn = new Uint8Array(clients)
  // A calendar: by the second, who is to look next, in lists that are chained.
  const first = new Int32Array(until / SECOND + 1).fill(-1)
  const chained = new Int32Array(clients).fill(-1)
  const at = new Float64Array(clients)
  const visit = (client: number, time: number): void => {
    at[client] = time - pace * Math.log(1 - chance())
    const slot = Math.floor((at[client] as number) / SECOND)
    if (slot >= first.length) return
    chained[client] = first[slot] as number
    first[slot] = client
  }
  // Signed in together, within a minute, with a fresh token: it stays to its own end.
  for (let client = 0; client < clients; client++) visit(client, chance() * MINUTE + latest)
  for (let slot = 0; slot < first.length; slot++) {
    for (let client = first[slot] as number; client >= 0; client = first[slot] as number) {
      first[slot] = chained[client] as number
      const now = at[client] as number
      const minute = Math.floor(now / MINUTE)
      if (minute >= arrivals.all.length) continue
      arrivals.all[minute] = (arrivals.all[minute] as number) + 1
      if (outage && now >= outage.from && now < outage.to) {
        arrivals.failed[minute] = (arrivals.failed[minute] as number) + 1
        const failed = Math.min((failures[client] as number) + 1, 20)
        failures[client] = failed
        const pause = outage.retryAfter ?? (failed > 1 ? coolDown(failed) : SECOND)
        visit(client, now + pause)
        continue
      }
      const due = spread && (!drawn[client] || failures[client]) ? latest * (0.1 + 0.9 * chance()) : latest
      failures[client] = 0
      drawn[client] = 1
      visit(client, now + due)
    }
  }
  return arrivals
}

function coolDown(failed: number): number {
  return Math.min(SECOND * 2 ** (failed - 2), 30 * SECOND)
}

// --- the same with real clients ----------------------------------------------------------------------------------

async function real({ clients, life, pace, outage, until }: Scenario): Promise<Arrivals> {
  const chance = random(2)
  const arrivals = { all: new Uint32Array(until / MINUTE), failed: new Uint32Array(until / MINUTE) }
  const start = 1_800_000_000_000
  let now = 0
  const on: Platform = {
    now: () => start + now,
    monotonic: () => now,
    // Nothing here takes any time, so that no bound is ever reached.
    timer: () => () => {},
    random: chance,
    id: () => String(chance()),
  }
  const token = (fresh: boolean): string => {
    const iat = Math.floor((start + now) / 1000)
    return `e30.${btoa(JSON.stringify({ sub: 'a', fresh, iat, exp: iat + life / 1000 }))}.x`.replaceAll(
      '=',
      '',
    )
  }
  const fetch = async (input: unknown): Promise<Response> => {
    if (!String((input as Request).url ?? input).endsWith('/refresh')) return new Response('{}')
    const minute = Math.floor(now / MINUTE)
    arrivals.all[minute] = (arrivals.all[minute] ?? 0) + 1
    if (outage && now >= outage.from && now < outage.to) {
      arrivals.failed[minute] = (arrivals.failed[minute] ?? 0) + 1
      const headers: HeadersInit = outage.retryAfter
        ? { 'retry-after': String(outage.retryAfter / 1000) }
        : {}
      return new Response('{}', { status: 500, headers })
    }
    return Response.json({ access_token: token(false) })
  }
  const auths: ReturnType<typeof createAuthOn>[] = []
  const visits: number[][] = Array.from({ length: until / SECOND + 1 }, () => [])
  const visit = (client: number, from: number): void => {
    const at = from - pace * Math.log(1 - chance())
    visits[Math.floor(at / SECOND)]?.push(client)
  }
  const signInAt = Array.from({ length: clients }, () => Math.floor(chance() * 60)).sort((a, b) => a - b)
  for (let slot = 0; slot < visits.length; slot++) {
    now = slot * SECOND
    while (signInAt[auths.length] === slot) {
      const backend = flaskJwt()
      const auth = createAuthOn(on, {
        baseUrl: 'https://api.test/',
        backend,
        fetch: fetch as typeof globalThis.fetch,
      })
      await auth.setTokens({ accessToken: token(true), refreshToken: 'r' })
      visit(auths.push(auth as never) - 1, now)
    }
    const here = visits[slot] ?? []
    visits[slot] = []
    await Promise.all(here.map((client) => auths[client]?.fetch('items').catch(() => {})))
    for (const client of here) visit(client, now + SECOND)
  }
  return arrivals
}

// --- what came of it ---------------------------------------------------------------------------------------------

interface Figures {
  mean: number
  /** Of the highest minute after the first life. */
  calm: number
  /** Of the highest minute after the outage. */
  after: number | undefined
  /** Of the highest minute from a life after the outage on: what came together comes together again. */
  echo: number | undefined
}

function figures({ life, pace, outage, until }: Scenario, { all }: Arrivals): Figures {
  const minutes = [...all]
  // Once the first life is over for all of them, those that come late with their next request too.
  const from = Math.ceil((life + 5 * pace) / MINUTE)
  const to = (outage?.from ?? until) / MINUTE
  const calm = minutes.slice(from, to)
  const mean = calm.reduce((sum, count) => sum + count, 0) / calm.length
  const later = outage ? minutes.slice(outage.to / MINUTE, outage.to / MINUTE + 120) : undefined
  const echo = outage && minutes.slice((outage.to + life) / MINUTE, (outage.to + 8 * life) / MINUTE)
  return {
    mean,
    calm: Math.max(...calm) / mean,
    after: later && Math.max(...later) / mean,
    echo: echo && Math.max(...echo) / mean,
  }
}

const clients = 100_000
const base = { clients, life: 15 * MINUTE, pace: 5 * MINUTE, spread: true, until: DAY }
const outage = { from: 6 * 60 * MINUTE, to: 6 * 60 * MINUTE + 10 * MINUTE }
const scenarios: Scenario[] = [
  { ...base, title: 'signed in together' },
  { ...base, title: 'an outage of ten minutes', outage },
  { ...base, title: 'an outage with Retry-After: 600', outage: { ...outage, retryAfter: 600 * SECOND } },
  { ...base, title: 'a request each ten seconds, no spread', pace: 10 * SECOND, spread: false },
  { ...base, title: 'a request each ten seconds', pace: 10 * SECOND },
  { ...base, title: 'an outage, a request each minute', outage, pace: MINUTE },
  {
    ...base,
    title: 'the same with Retry-After: 600',
    outage: { ...outage, retryAfter: 600 * SECOND },
    pace: MINUTE,
  },
  { ...base, title: 'an outage, a request each ten seconds', outage, pace: 10 * SECOND },
]

const show = (value: number | undefined): string => (value === undefined ? '' : value.toFixed(2)).padStart(10)
const drawn: { scenario: Scenario; arrivals: Arrivals; figures: Figures }[] = []
console.log(`${'100,000 clients, tokens of 15 minutes'.padEnd(44)}mean/min      calm     after      echo`)
for (const scenario of scenarios) {
  const arrivals = model(scenario)
  const found = figures(scenario, arrivals)
  drawn.push({ scenario, arrivals, figures: found })
  const { mean, calm, after, echo } = found
  console.log(`${scenario.title.padEnd(42)}${show(mean)}${show(calm)}${show(after)}${show(echo)}`)
}

console.log('\nreal clients, 2,000 of them for eight hours, and the model of the same:')
for (const scenario of scenarios.slice(0, 3)) {
  const small = { ...scenario, clients: 2000, until: 8 * 60 * MINUTE }
  const [told, modelled] = [figures(small, await real(small)), figures(small, model(small))]
  for (const [what, { mean, calm, after }] of Object.entries({ real: told, model: modelled })) {
    console.log(`${`${scenario.title}: ${what}`.padEnd(42)}${show(mean)}${show(calm)}${show(after)}`)
  }
}

// --- the picture -------------------------------------------------------------------------------------------------

const width = 1000
const height = 150
const left = 60
const parts: string[] = []
for (const [index, { scenario, arrivals, figures }] of drawn.entries()) {
  const top = 40 + index * (height + 50)
  const shown = Math.min(12 * 60, arrivals.all.length)
  const peak = Math.max(...arrivals.all.subarray(0, shown))
  const x = (minute: number): number => left + (minute / shown) * width
  const y = (count: number): number => top + height - (count / peak) * height
  const line = (counts: Uint32Array): string =>
    [...counts.subarray(0, shown)]
      .map((count, minute) => `${x(minute).toFixed(1)},${y(count).toFixed(1)}`)
      .join(' ')
  const ratio =
    figures.after === undefined
      ? `peak ÷ mean ${figures.calm.toFixed(2)}`
      : `afterwards at most ${figures.after.toFixed(2)} × mean`
  parts.push(
    `<text x="${left}" y="${top - 8}" class="title">${scenario.title}: ${ratio}</text>`,
    `<line x1="${left}" x2="${left + width}" y1="${y(figures.mean)}" y2="${y(figures.mean)}" class="mean"/>`,
    `<polyline points="${line(arrivals.all)}" class="all"/>`,
    `<polyline points="${line(arrivals.failed)}" class="failed"/>`,
    `<text x="${left - 6}" y="${top + 10}" class="axis" text-anchor="end">${peak}</text>`,
    `<text x="${left - 6}" y="${top + height}" class="axis" text-anchor="end">0</text>`,
  )
  for (let hour = 0; hour <= shown / 60; hour++) {
    parts.push(
      `<text x="${x(hour * 60)}" y="${top + height + 16}" class="axis" text-anchor="middle">${hour} h</text>`,
    )
  }
}
const tall = 40 + drawn.length * (height + 50)
const legend = 'Arrivals at the refresh endpoint by the minute; red: turned away; dashed: the mean'
parts.unshift(`<text x="${left}" y="16" class="axis">${legend}</text>`)
save('herd.svg', picture('When 100,000 clients refresh', width + left + 30, tall, parts))
console.log('\ndrawn in bench/results/herd.svg')
