/**
 * Runs steps one after the other: prints each as it happens, and holds it to what it promised. What it cost is
 * counted at the server.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import type { KyInstance } from 'ky'
import {
  type Auth,
  type AuthEventType,
  createAuth,
  flaskJwt,
  type Session,
  type StandardClaims,
  type UsernamePassword,
} from 'stayfresh'
import { createKy } from 'stayfresh/ky'
import type { Backend } from 'stayfresh/testing'
import { ms, type Printer, plural } from './print.ts'
import type { DemoServer } from './server.ts'
import { type Recorder, type Sent, toRows } from './wire.ts'

/** Something that had to be so, and whether it was. */
export interface Verdict {
  readonly ok: boolean
  readonly text: string
}

/** An event that the client announced. */
export interface Told {
  readonly type: AuthEventType
  readonly reason: string
}

/** A step of the demo. */
export interface Step {
  readonly title: string
  /** In a sentence or two: what is about to happen, and why it is worth seeing. */
  readonly why: string
  /** What it may cost at the server, exactly. */
  readonly cost: { readonly requests: number; readonly refreshes: number }
  run(stage: Stage): Promise<Verdict[]>
}

/** What a step works with. */
export interface Stage {
  readonly auth: Auth<StandardClaims, UsernamePassword>
  /** A ky over `auth`. */
  readonly api: KyInstance
  readonly backend: Backend
  /** The events since the step began. */
  readonly told: readonly Told[]
  /** Prints what the application does. */
  asks(text: string): void
  /** Waits until the access token has run out, by its own `exp` and by the session's `expiresAt`. */
  expiry(): Promise<void>
  readonly arrival: Recorder['arrival']
  /** What went over the wire since the step began, once all of it is over. */
  settled(): Promise<Sent[]>
}

/** What the steps share. */
export interface World {
  readonly auth: Stage['auth']
  readonly api: KyInstance
  readonly backend: Backend
  readonly recorder: Recorder
}

// Far more than any step takes; a client that hangs must not hang the demo.
const STEP_TIMEOUT = 20_000

/** A client of the demo server. `fetch` lets a test come between the two. */
export function createWorld(server: DemoServer, recorder: Recorder, fetch?: typeof globalThis.fetch): World {
  const auth = createAuth({
    baseUrl: server.api,
    backend: flaskJwt({ reauth: { path: 'fresh-login' } }),
    // Else a refresh ahead of the expiry may fall into any step, and no cost could be told exactly.
    refreshAhead: false,
    fetch,
  })
  return { auth, api: createKy(auth), backend: server.backend, recorder }
}

/** Whether `seen` is what it had to be. Neither may hold a token: both are printed. */
export function check(text: string, seen: unknown, expected: unknown): Verdict {
  if (isDeepStrictEqual(seen, expected)) return { ok: true, text }
  return { ok: false, text: `${text}: expected ${JSON.stringify(expected)}, saw ${JSON.stringify(seen)}` }
}

/** Who is signed in; a step that needs somebody can't go on without. */
export function signedIn(auth: Stage['auth']): Session {
  if (!auth.session) throw new Error('nobody is signed in')
  return auth.session
}

/** Runs the steps and resolves with whether every one came out right. */
export async function runSteps(steps: readonly Step[], world: World, printer: Printer): Promise<boolean> {
  const total = { right: 0, requests: 0, refreshes: 0 }
  const began = performance.now()
  for (const [index, step] of steps.entries()) {
    printer.step(index + 1, step.title, step.why)
    const { ok, finished, requests, refreshes } = await runStep(step, world, printer)
    total.right += ok ? 1 : 0
    total.requests += requests
    total.refreshes += refreshes
    // The later steps build on this one.
    if (!finished) break
  }
  const { right, requests, refreshes } = total
  const ok = right === steps.length
  const cost = `${plural(requests, 'request')}, ${plural(refreshes, 'refresh', 'refreshes')}, ${seconds(performance.now() - began)}`
  printer.summary(
    ok,
    ok
      ? `All ${steps.length} steps came out right: ${cost}.`
      : `${right} of ${steps.length} steps came out right: ${cost}.`,
  )
  return ok
}

async function runStep(
  step: Step,
  { auth, api, backend, recorder }: World,
  printer: Printer,
): Promise<{ ok: boolean; finished: boolean; requests: number; refreshes: number }> {
  recorder.clear()
  let began = performance.now()
  const told: Told[] = []
  const stopListening = listen(auth, told)
  const stage: Stage = {
    auth,
    api,
    backend,
    told,
    asks: (text) => printer.line('app', text),
    async expiry() {
      const { expiresAt = 0, claims } = signedIn(auth)
      const end = Math.max(expiresAt, (claims.exp ?? 0) * 1000)
      printer.line('wait', `${seconds(Math.max(end - Date.now(), 0))}, until the access token's exp`)
      // A timer may fire a little early.
      while (Date.now() < end) await sleep(end - Date.now())
      began = performance.now()
    },
    arrival: recorder.arrival,
    settled: recorder.settled,
  }

  let verdicts: Verdict[]
  let finished = true
  try {
    verdicts = await bounded(step.run(stage))
  } catch (error) {
    finished = false
    verdicts = [{ ok: false, text: `The step broke off: ${describe(error)}` }]
  }
  const took = performance.now() - began
  stopListening()

  const sent = finished ? await recorder.settled() : recorder.soFar()
  const requests = sent.length
  const refreshes = sent.filter(({ entry }) => entry.route === 'refresh').length
  printer.wire(toRows(backend, sent, began))
  if (told.length > 0) printer.line('told', told.map(({ type, reason }) => `${type} (${reason})`).join(', '))
  const cost = (count: { requests: number; refreshes: number }): string =>
    `${plural(count.requests, 'request')}, ${plural(count.refreshes, 'refresh', 'refreshes')}`
  const asPromised = requests === step.cost.requests && refreshes === step.cost.refreshes
  const but = asPromised ? '' : `; expected ${cost(step.cost)}`
  if (finished)
    verdicts.unshift({ ok: asPromised, text: `${cost({ requests, refreshes })} in ${ms(took)} ms${but}` })
  for (const { ok, text } of verdicts) printer.verdict(ok, text)
  return { ok: verdicts.every(({ ok }) => ok), finished, requests, refreshes }
}

const EVENTS = [
  'loggedIn',
  'tokenRefreshed',
  'refreshFailed',
  'reauthRequired',
  'loggedOut',
  'clockSkew',
  'storeUnavailable',
] as const satisfies readonly AuthEventType[]

function listen(auth: Stage['auth'], told: Told[]): () => void {
  const stops = EVENTS.map((type) => auth.on(type, ({ reason }) => void told.push({ type, reason })))
  return () => {
    for (const stop of stops) stop()
  }
}

async function bounded<T>(work: Promise<T>): Promise<T> {
  const timer = new AbortController()
  const late = sleep(STEP_TIMEOUT, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`no end in ${STEP_TIMEOUT / 1000} s`)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    late.catch(() => {})
    timer.abort()
  }
}

function describe(error: unknown): string {
  const { name, code, message } = Object(error) as { name?: string; code?: string; message?: string }
  return [name, code, message].filter(Boolean).join(', ')
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`
}
