/**
 * Trouble for a fleet: processes that share a session are killed at random moments, in mid-exchange too, and what
 * their store stands on is taken away in every way there is. Afterwards every refresh token is accounted for.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Exchange, startDemoServer } from '../../demo-server/server.ts'
import type { LogEntry } from '../../src/testing/index.ts'
import { pause } from '../common.ts'
import { type Redis, startRedis } from '../redis.ts'

/** What a worker is told. */
export interface FleetSpec {
  kind: 'redis' | 'file'
  /** The URL of Redis, or the directory. */
  where: string
  baseUrl: string
  refreshTimeout: number
  /** Between two calls, on average, in ms. */
  pace: number
}

/** What a worker tells. */
export type Told =
  | { type: 'ready' }
  | { type: 'login'; ms?: number; failed?: string }
  /** The answer to an exchange has arrived, in time. */
  | { type: 'exchanged'; exchange: string }
  /** `without`: for how long there had been no answer, in ms. */
  | { type: 'call'; status: number | string; signedIn: boolean; without: number }

export interface TroubleOptions {
  kind: 'redis' | 'file'
  processes: number
  seconds: number
  /** Whether the server gives a further pair for a refresh token that was spent a moment ago. */
  grace: boolean
  refreshTimeout?: number
  /** How long each outage lasts, in ms, and the quiet after it. */
  outage?: number
  quiet?: number
  log?: (line: string) => void
}

export interface Tally {
  calls: number
  answers: Record<string, number>
  exchanges: number
  kills: number
  /** Killed while their exchange was under way: before the server processed it, and after. */
  killedBefore: number
  killedAfter: number
  troubles: Record<string, number>
  sessions: number
  /** Sessions that the server ended because a spent refresh token came back, and how many of those a kill explains. */
  lost: number
  explained: number
  /** Refresh tokens that were spent twice though the first one's outcome was known. */
  spentTwice: number
  /** Processes that were signed out while the server honoured the refresh token of the others. */
  wrongly: number
  /**
   * The longest that a process went without an answer, in ms: at all, and since the last trouble ended or the last process
   * was killed that was at an exchange. How many of those follow on one another is chance, and so is the first figure.
   */
  longest: number
  longestInPeace: number
  /** How many processes did not go on after all was over. */
  silent: number
}

/** A refresh token's arrival at the server. */
interface Use {
  pid: number
  exchange: string
  entry: LogEntry
}

interface Worker {
  child: ChildProcess
  ready: boolean
  /** When it last got what it asked for. */
  answeredAt?: number
  /** Whether it ever had the session. */
  signedIn: boolean
  /** When it last began an exchange. */
  exchangedAt?: number
  /** When it was ended by us. */
  killedAt?: number
}

export async function makeTrouble({
  kind,
  processes,
  seconds,
  grace,
  refreshTimeout = 3000,
  outage = 4000,
  quiet = 6000,
  log = () => {},
}: TroubleOptions): Promise<Tally> {
  const tally: Tally = {
    calls: 0,
    answers: {},
    exchanges: 0,
    kills: 0,
    killedBefore: 0,
    killedAfter: 0,
    troubles: {},
    sessions: 0,
    lost: 0,
    explained: 0,
    spentTwice: 0,
    wrongly: 0,
    longest: 0,
    longestInPeace: 0,
    silent: 0,
  }
  const start = Date.now() - performance.now()
  const workers = new Map<number, Worker>()
  const killed = new Map<number, number>()
  const restless = mkdtempSync(join(tmpdir(), 'stayfresh-trouble-'))
  let redis: Redis | undefined
  let over = false
  // Nobody is killed any more.
  let still = false
  // When the last trouble ended; trouble under way: Infinity. And when somebody was last killed whose claim may have stood.
  let troubled = 0
  let orphaned = 0
  /** Which worker spent which refresh token, in order; by its `jti`. */
  const spent = new Map<string, Use[]>()
  const exchanged = new Map<string, number>()

  const onExchange = ({ entry }: Exchange): void => {
    if (entry.route !== 'refresh') return
    const pid = Number(entry.headers['x-worker'])
    tally.exchanges++
    const jti = entry.token?.jti
    if (!jti) return
    spent.set(jti, [...(spent.get(jti) ?? []), { pid, exchange: entry.headers['x-exchange'] ?? '', entry }])
    const worker = workers.get(pid)
    if (worker) worker.exchangedAt = performance.now()
    if (over || still || !worker || Math.random() > 0.3) return
    // In mid-exchange: the server processes what it has taken up, and drops what a fault strikes.
    if (entry.fault) tally.killedBefore++
    else tally.killedAfter++
    kill(worker)
  }
  const server = await startDemoServer({
    port: 0,
    backend: {
      accessLifetime: 4000,
      fresh: false,
      reuseGrace: grace ? 60_000 : 0,
      latency: { refresh: { before: 20, after: 60 } },
    },
    onExchange,
  })
  const { backend } = server
  backend.fault('refresh', 'drop', { times: Infinity, when: () => Math.random() < 0.2 })
  if (kind === 'redis') redis = await startRedis()
  const spec: FleetSpec = {
    kind,
    where: redis?.url ?? join(restless, 'session'),
    baseUrl: server.api,
    refreshTimeout,
    pace: processes * 10,
  }

  function spawn(): void {
    const child = fork(fileURLToPath(new URL('worker.ts', import.meta.url)), [JSON.stringify(spec)], {
      execArgv: ['--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const worker: Worker = { child, ready: false, signedIn: false }
    const { pid = 0 } = child
    workers.set(pid, worker)
    child.on('message', (told: Told) => hear(worker, told))
    child.on('exit', () => {
      workers.delete(pid)
      if (!over) spawn()
    })
  }

  function kill(worker: Worker): void {
    if (worker.killedAt !== undefined) return
    worker.killedAt = performance.now()
    killed.set(worker.child.pid ?? 0, worker.killedAt)
    tally.kills++
    if (worker.killedAt - (worker.exchangedAt ?? -Infinity) < refreshTimeout) orphaned = worker.killedAt
    worker.child.kill('SIGKILL')
  }

  let login: Promise<void> | undefined
  let loggedIn = (): void => {}
  let lastLogin = 0
  // When somebody was last seen to have the session.
  let lastHeld = 0

  // The newest session, as far as somebody has it.
  let current: string | undefined
  const alive = (): boolean => backend.families().some(({ id, ended }) => id === current && !ended)

  function signIn(): void {
    const worker = [...workers.values()].find((one) => one.ready && one.killedAt === undefined)
    if (!worker || login) return
    login = new Promise((resolve) => {
      loggedIn = resolve
    })
    log(`${Math.round(performance.now())}: signs in, by ${worker.child.pid}`)
    worker.child.send('login')
    worker.child.once('exit', () => loggedIn())
    void login.then(() => {
      login = undefined
    })
  }

  function hear(worker: Worker, told: Told): void {
    if (told.type === 'ready') worker.ready = true
    if (told.type === 'login') {
      if (told.failed) log(`could not sign in: ${told.failed}`)
      else {
        tally.sessions++
        current = backend.families().at(-1)?.id
      }
      lastLogin = performance.now()
      loggedIn()
    }
    if (told.type === 'exchanged') exchanged.set(told.exchange, performance.now())
    if (told.type !== 'call') return
    if (told.status === 200) worker.answeredAt = performance.now()
    // One that has just begun, with nobody signed in, is no news.
    if (worker.signedIn || told.signedIn) {
      tally.calls++
      tally.answers[told.status] = (tally.answers[told.status] ?? 0) + 1
    }
    const now = performance.now()
    const settled = lastLogin > 0 && now - lastLogin > 5000 && now - lastHeld < 1000
    if (told.status === 401 && worker.signedIn && !told.signedIn && alive() && settled) {
      tally.wrongly++
      log('signed out, though the server honours the refresh token')
    }
    worker.signedIn ||= told.signedIn
    // A process that has just begun, or has lost its session, has nobody signed in: it is told, or tells us.
    if (told.signedIn) lastHeld = now
    // Nobody has it, or what they have is worth nothing: one who has signed in may have been killed with it.
    else if (lastLogin && (!alive() || now - Math.max(lastHeld, lastLogin) > 3000)) signIn()
    tally.longest = Math.max(tally.longest, told.without)
    const peace = Math.min(told.without, now - Math.max(troubled, orphaned))
    tally.longestInPeace = Math.max(tally.longestInPeace, peace)
  }

  const troubles: Record<string, (redis: Redis) => Promise<unknown>> = {
    restarted: (redis) => redis.restart({ after: outage }),
    'asleep (DEBUG SLEEP)': (redis) => redis.command('DEBUG', 'SLEEP', String(outage / 1000)),
    'paused (CLIENT PAUSE)': async (redis) => {
      await redis.command('CLIENT', 'PAUSE', String(outage), 'ALL')
      await pause(outage)
    },
    'failed over, data lost': (redis) => redis.restart({ after: outage, lose: true }),
  }

  try {
    for (let index = 0; index < processes; index++) spawn()
    while (![...workers.values()].every(({ ready }) => ready)) await pause(50)
    signIn()
    while (!tally.sessions) await pause(20)
    const end = performance.now() + seconds * 1000
    const killing = (async () => {
      while (performance.now() < end) {
        await pause(300 + Math.random() * 1400)
        const ready = [...workers.values()].filter((one) => one.ready && one.killedAt === undefined)
        const victim = ready[Math.floor(Math.random() * ready.length)]
        if (victim) kill(victim)
      }
    })()
    const names = redis ? Object.keys(troubles) : []
    for (let turn = 0; redis && performance.now() + outage + quiet < end; turn++) {
      const name = names[turn % names.length] as string
      log(`${Math.round(performance.now())}: ${name} for ${outage} ms`)
      troubled = Number.POSITIVE_INFINITY
      await troubles[name]?.(redis)
      troubled = performance.now()
      tally.troubles[name] = (tally.troubles[name] ?? 0) + 1
      await pause(quiet)
    }
    await killing
    still = true
    // All that are left go on: after the last trouble there is a session, and everybody has it.
    log(`${Math.round(performance.now())}: over`)
    const calm = performance.now()
    const silent = (): Worker[] => [...workers.values()].filter(({ answeredAt = 0 }) => answeredAt < calm)
    while (silent().length && performance.now() - calm < boundOf(refreshTimeout) * 2) await pause(50)
    log(`waited ${Math.round(performance.now() - calm)} for all`)
    tally.silent = silent().length
  } finally {
    over = true
    const gone = [...workers.values()].map(
      ({ child }) => new Promise((resolve) => void child.once('exit', resolve)),
    )
    for (const { child } of workers.values()) child.kill('SIGKILL')
    await Promise.all(gone)
    await redis?.stop()
    await server.close()
    rmSync(restless, { recursive: true, force: true })
  }

  // --- the account -----------------------------------------------------------------------------------------

  // Known is what came of an exchange to whoever heard of it and lived to write it down.
  const known = ({ pid, exchange }: Use): boolean => {
    const heard = exchanged.get(exchange)
    const death = killed.get(pid)
    return heard !== undefined && (death === undefined || death - heard > refreshTimeout + outage)
  }
  for (const family of backend.families()) {
    const uses = family.tokens.flatMap(({ kind, jti }) => (kind === 'refresh' ? [spent.get(jti) ?? []] : []))
    const processed = uses.map((each) => each.filter(({ entry }) => entry.processed))
    const twice = processed.filter((each) => each.length > 1)
    const wrong = twice.filter(([first]) => first && known(first))
    tally.spentTwice += wrong.length
    for (const each of wrong) {
      const story = each.map(({ pid, exchange, entry }) => ({
        pid,
        at: entry.time - start,
        heard: exchanged.get(exchange),
      }))
      log(`spent twice with a known outcome: ${JSON.stringify(story)}`)
    }
    if (family.ended === 'reuse') {
      tally.lost++
      if (twice.length && !wrong.length) tally.explained++
    }
  }
  return tally
}

/** For a person. */
export function print(title: string, tally: Tally): void {
  const lines = Object.entries(tally).map(([name, value]) => {
    const text = typeof value === 'object' ? JSON.stringify(value) : Math.round(value as number)
    return `  ${name.padEnd(16)}${text}`
  })
  console.log(`${title}\n${lines.join('\n')}`)
}

/**
 * For how long a process may go without an answer once there is peace: the claim of one who was killed; the time for which
 * it is heeded longer, twice at most; an exchange; and the cool-downs after four in a row that the server has dropped
 * (1 + 2 + 4 s), which one in six hundred are.
 */
const boundOf = (refreshTimeout: number): number => 2.25 * refreshTimeout + 6000 + 7000

/** What is wrong in a tally, in words. */
export function faults(tally: Tally, { grace, refreshTimeout = 3000 }: TroubleOptions): string[] {
  const { spentTwice, lost, explained, wrongly, longestInPeace, silent } = tally
  const bound = boundOf(refreshTimeout)
  return [
    spentTwice && `${spentTwice} refresh tokens were spent twice with a known outcome`,
    grace && lost && `${lost} sessions were lost though the server has a grace`,
    lost > explained && `${lost - explained} sessions were lost by something else than a kill`,
    wrongly && `${wrongly} processes were signed out while the server honoured the refresh token`,
    longestInPeace > bound &&
      `a process went without an answer for ${Math.round(longestInPeace)} ms (bound ${bound} ms)`,
    silent && `${silent} processes did not go on`,
  ].filter((line) => typeof line === 'string')
}
