/** One process under virtual time: a client over the fake backend, nothing else, nothing waited for in earnest. */
import { afterEach, beforeEach, onTestFinished, vi } from 'vitest'
import {
  type Auth,
  type AuthError,
  type AuthOptions,
  createAuth,
  type FlaskJwtOptions,
  flaskJwt,
  type LiveRecord,
  memoryStore,
  type StandardClaims,
  type Store,
  type UsernamePassword,
} from '../../src/index.ts'
import { type Backend, type BackendOptions, createBackend, type RouteName } from '../../src/testing/index.ts'
import { record, type Told } from '../common.ts'

export { record, type Told, times } from '../common.ts'

export type Client = Auth<StandardClaims, UsernamePassword>
export type ClientOptions = Partial<AuthOptions<StandardClaims, UsernamePassword>>

/** A whole second, so that whole-second claims and the clock agree. */
export const start = 1_800_000_000_000
export const second = 1000
export const minute = 60_000
export const hour = 60 * minute
export const alice: UsernamePassword = { username: 'alice', password: 'wonderland' }
export const bob: UsernamePassword = { username: 'bob', password: 'builder' }
export const baseUrl = 'https://api.test/'

/**
 * Time stands still, but for `pass`, and chance is ruled out: what is drawn over a life falls to its end. To be
 * called at the top of a test file.
 */
export function virtualTime(): void {
  beforeEach(() => {
    vi.useFakeTimers({ now: start, toFake: ['Date', 'performance', 'setTimeout', 'clearTimeout'] })
    vi.spyOn(Math, 'random').mockReturnValue(0.999)
  })
  afterEach(() => {
    // First, or a spy on a timer would put the one that stands still back in its place.
    vi.restoreAllMocks()
    vi.useRealTimers()
  })
}

/** Lets time go by, and all that was due in it happen. */
export const pass = async (milliseconds: number): Promise<void> => {
  await vi.advanceTimersByTimeAsync(milliseconds)
}

/** Lets happen what needs no time. */
export const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 3; turn++) await pass(0)
}

export interface Room {
  backend: Backend
  auth: Client
  /** Every event since the client was made. */
  told: Told[]
  store: Store
  /** Another client on the same store: another tab, as it were. */
  another(options?: ClientOptions): { auth: Client; told: Told[] }
  /** The tokens as the store has them. */
  inHand(): { access: string; refresh: string; fresh: string | undefined }
  /** Signs alice in, and forgets what it took. */
  signIn(): Promise<void>
  /** Signs alice in with a token that is not fresh, by a refresh. */
  signInStale(): Promise<void>
  /** The routes that were called, in order. */
  routes(): RouteName[]
  /** The bearer tokens that came to a route, in order. */
  tokens(route: RouteName): (string | undefined)[]
  /** Holds up the next request to a route: before the server takes it up, or its answer. */
  hold(route: RouteName, what?: 'request' | 'answer'): { release(): void; held(): boolean }
}

export interface RoomOptions {
  server?: BackendOptions
  client?: ClientOptions
  preset?: FlaskJwtOptions
}

/** A backend and a client over it, with nobody signed in. */
export function room({ server, client, preset }: RoomOptions = {}): Room {
  const holds = new Map<number, () => Promise<void>>()
  const backend = createBackend({
    signer: 'fast',
    sleep: (ms) => holds.get(ms)?.() ?? new Promise<void>((resolve) => void setTimeout(resolve, ms)),
    ...server,
  })
  const store = client?.store ?? memoryStore()
  const make = (options?: ClientOptions): { auth: Client; told: Told[] } => {
    const auth = createAuth<StandardClaims, UsernamePassword>({
      baseUrl,
      backend: flaskJwt(preset),
      store,
      fetch: backend.fetch as typeof fetch,
      ...options,
    })
    onTestFinished(() => void auth.dispose())
    return { auth, told: record(auth) }
  }
  const { auth, told } = make(client)
  const forget = (): void => {
    backend.clearLog()
    told.length = 0
  }
  const bearer = (headers: Readonly<Record<string, string>>): string | undefined =>
    /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1]

  return {
    backend,
    auth,
    told,
    store,
    another: (options) => make({ ...client, ...options }),
    inHand() {
      const { record } = store.read() as { record: LiveRecord }
      const { access, refreshToken, fresh } = record
      return { access: access?.token ?? '', refresh: refreshToken ?? '', fresh: fresh?.token }
    },
    async signIn() {
      await auth.login(alice)
      forget()
    },
    async signInStale() {
      await auth.login(alice)
      backend.expireAccessTokens()
      await auth.fetch('protected')
      forget()
    },
    routes: () => backend.log.map(({ route }) => route),
    tokens: (route) => backend.log.filter((one) => one.route === route).map(({ headers }) => bearer(headers)),
    hold(route, what = 'answer') {
      const { latency } = backend.settings
      let release = (): void => {}
      let there = false
      const released = new Promise<void>((resolve) => {
        release = resolve
      })
      // A latency that nobody would ask for, so that each finds its hold.
      const id = 1e9 + holds.size
      holds.set(id, () => {
        delete latency[route]
        there = true
        return released
      })
      latency[route] = what === 'request' ? { before: id } : { after: id }
      return { release, held: () => there }
    },
  }
}

const WHERE = { 'this context': '', 'other context': ' (elsewhere)' }

/** `type: reason` of each event, with ` (elsewhere)` for those of another context. */
export const summary = (told: readonly Told[]): string[] =>
  told.map(({ type, reason, origin }) => `${type}: ${reason}${WHERE[origin]}`)

/** What `promise` fails with. */
export const failure = (promise: Promise<unknown>): Promise<AuthError> =>
  promise.then(
    () => {
      throw new Error('It came through')
    },
    (error) => error,
  )

export const statuses = async (responses: readonly Promise<Response>[]): Promise<number[]> =>
  (await Promise.all(responses)).map(({ status }) => status)

/** A promise in the test's hand. */
export function deferred<T = void>(): {
  promise: Promise<T>
  resolve(value: T): void
  reject(error: unknown): void
} {
  let resolve: (value: T) => void = () => {}
  let reject: (error: unknown) => void = () => {}
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

/** Whether `promise` has settled by now. */
export async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let pending = true
  promise.then(
    () => {
      pending = false
    },
    () => {
      pending = false
    },
  )
  await settle()
  return pending
}

/** What was reported, where no `reportError` is: to `console.error`. */
export function reported(): unknown[] {
  const errors: unknown[] = []
  vi.spyOn(console, 'error').mockImplementation((error) => void errors.push(error))
  return errors
}

/** Where a fetch was sent to, with which token, past which cache. */
export const sentTo = (input: unknown, init?: RequestInit) => {
  const { pathname } = new URL(input instanceof Request ? input.url : String(input))
  return {
    path: pathname,
    token: new Headers(init?.headers).get('authorization')?.slice(7),
    cache: init?.cache,
  }
}

/** A token that says nothing of itself. */
export const opaque = 'an-opaque-token-0123456789'

/** The status of what came, or the code of what failed. */
export const outcome = (call: Promise<Response>): Promise<unknown> =>
  call.then(
    ({ status }) => status,
    ({ code }) => code,
  )
