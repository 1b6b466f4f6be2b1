/** createAuth(): checks the options and wires the rooms together. */
import { createFlow } from './auth-fetch.ts'
import { checkNames } from './backends/options.ts'
import { type Caller, disposed, reasonOf, takeCall } from './call.ts'
import type { createCookieRoom } from './cookies.ts'
import { badOption } from './errors.ts'
import { callListener, createEmitter } from './events.ts'
import { createExchanger } from './exchange.ts'
import { type Platform, platform as world } from './platform.ts'
import { createAsker } from './reauth.ts'
import { createRefresher } from './refresh.ts'
import { createSession } from './session.ts'
import { createSignIn } from './sign-in.ts'
import { memoryStore } from './stores/memory.ts'
import { checkTokens, describe, isTime } from './token.ts'
import type { Auth, AuthOptions, HistoryEntry, Session } from './types.ts'
import { createWire } from './wire.ts'

// Enough for the story of a day, and small in a bug report.
const HISTORY = 100

const TIME = 'milliseconds, finite and not negative'

const isFunction = (value: unknown): boolean => typeof value === 'function'
const has = (value: unknown, ...methods: string[]): boolean =>
  methods.every((method) => isFunction((value as Record<string, unknown> | null | undefined)?.[method]))

// What each option takes: the test, and the words for it.
const TAKES: { [Option in keyof Required<AuthOptions>]: [(value: never) => boolean, string] } = {
  baseUrl: [(value: unknown) => (typeof value === 'string' && value !== '') || has(value, 'toJSON'), 'a URL'],
  backend: [(value) => has(value, 'login', 'refresh', 'tokens', 'classify'), 'a backend, such as flaskJwt()'],
  store: [
    (value: Record<string, unknown>) =>
      has(value, 'read') &&
      ['commit', 'watch', 'end'].every((name) => value[name] === undefined || isFunction(value[name])),
    'a store, such as memoryStore()',
  ],
  initial: [(value) => typeof value === 'object', 'tokens: { accessToken, refreshToken, expiresIn }'],
  origins: [(value) => Array.isArray(value), 'an array of origins'],
  refreshAhead: [(value) => value === false || isTime(value), `${TIME}, or false`],
  refreshTimeout: [isTime, TIME],
  refreshLimit: [
    (value: { exchanges?: unknown; interval?: unknown }) =>
      Number.isInteger(value?.exchanges) && (value.exchanges as number) > 0 && isTime(value.interval),
    '{ exchanges: a positive integer, interval: milliseconds }',
  ],
  reauthTimeout: [isTime, TIME],
  fetch: [isFunction, 'a function'],
  allowInsecure: [(value) => typeof value === 'boolean', 'true or false'],
}

function checkOptions(options: object): void {
  checkNames('createAuth', options, TAKES)
  for (const [option, value] of Object.entries(options)) {
    const [test, takes] = TAKES[option as 'fetch']
    if (value !== undefined && !test(value as never)) {
      const given = typeof value === 'number' ? value : describe(value)
      throw badOption(option, `${option} takes ${takes}, got ${given}`)
    }
  }
  for (const required of ['baseUrl', 'backend']) {
    if ((options as Record<string, unknown>)[required] === undefined) {
      throw badOption(required, `${required} is required: it takes ${TAKES[required as 'baseUrl'][1]}`)
    }
  }
}

/** `createAuth`, on a platform that a test may own. */
export function createAuthOn<Claims, Credentials>(
  on: Platform,
  given: AuthOptions<Claims, Credentials>,
): Auth<Claims, Credentials> {
  // The copy is what is checked: members that sit on a prototype don't survive it.
  const options = { ...given } as unknown as AuthOptions<never, never>
  checkOptions(given && options)
  const {
    backend,
    store = memoryStore(),
    initial,
    refreshAhead = 60_000,
    refreshTimeout = 8_000,
    refreshLimit = { exchanges: 5, interval: 30_000 },
    reauthTimeout = 300_000,
  } = options

  const disposal = new AbortController()
  const history: HistoryEntry[] = []
  const emitter = createEmitter(({ type, reason, origin, status, session: shown }) => {
    const version = shown?.version ?? session.held?.record.version
    history.push(Object.freeze({ at: on.now(), type, reason, origin, status, version }))
    if (history.length > HISTORY) history.shift()
  })
  const wire = createWire(options)
  const session = createSession(store, emitter, on, refreshTimeout)
  const asker = createAsker(session, emitter, on, reauthTimeout)
  const exchanger = createExchanger(session, backend, wire, on, refreshTimeout)
  const refresher = createRefresher(session, exchanger, backend, emitter, on, {
    refreshAhead,
    refreshTimeout,
    refreshLimit,
  })
  const signIn = createSignIn(session, refresher, exchanger, backend, wire, on)
  const room = backend.room as typeof createCookieRoom | undefined
  const cookies = room?.(session, signIn, backend, wire, on, refreshTimeout)
  const flow = createFlow(session, refresher, asker, backend, on, refreshTimeout, cookies)
  if (initial) signIn.initial(checkTokens(initial, 'initial'))
  else session.start()

  const alive = (): void => {
    if (disposal.signal.aborted) throw disposed()
    // A relative base without a document is told at first use, whatever that is.
    wire.base()
  }
  const caller = (): Caller => ({ began: asker.begin(), disposal: disposal.signal })
  const snapshot = (): Session<Claims> => session.snapshot() as Session<Claims>

  const auth: Auth<Claims, Credentials> = {
    async fetch(input, init) {
      alive()
      const call = takeCall(input, init, wire, asker.begin(), disposal.signal, () => session.switched)
      if (call.bare) return call.send()
      if (call.signal?.aborted) throw reasonOf(call.signal)
      try {
        return await flow.run(call)
      } finally {
        call.done()
      }
    },
    async login(credentials) {
      alive()
      await signIn.login(credentials)
      return snapshot()
    },
    async reauthenticate(credentials) {
      alive()
      await signIn.reauthenticate(credentials)
      return snapshot()
    },
    logout: (options) => signIn.logout((options as { revoke?: boolean } | undefined)?.revoke ?? true),
    async setTokens(tokens) {
      alive()
      await signIn.setTokens(tokens)
      return snapshot()
    },
    async refresh() {
      alive()
      await flow.refresh(caller())
      return snapshot()
    },
    async getAccessToken(options) {
      alive()
      const { minValidity = 0, rejected } = { ...options }
      if (!isTime(minValidity)) {
        throw badOption('minValidity', `minValidity takes ${TIME}, got ${describe(minValidity)}`)
      }
      return flow.token(caller(), minValidity, rejected)
    },
    get session() {
      return session.snapshot() as Session<Claims> | null | undefined
    },
    get ready() {
      return (cookies ?? session).ready
    },
    subscribe(listener) {
      const now = session.snapshot()
      const stop = emitter.on('session', listener as never)
      callListener(listener as never, now)
      return stop
    },
    on: (type, listener) => emitter.on(type, listener as never),
    dispose() {
      disposal.abort()
      signIn.dispose()
      asker.dispose()
      session.dispose()
      emitter.clear()
      return refresher.idle().then(session.cell.saved)
    },
    [Symbol.asyncDispose]: () => auth.dispose(),
    [Symbol.dispose]: () => void auth.dispose(),
    get history() {
      return [...history]
    },
    get baseUrl() {
      return wire.base()
    },
  }
  return auth
}

/**
 * Makes a client that keeps its user signed in.
 *
 * @throws {TypeError} an `AuthError` of code `invalid_option` for a bad option, naming it and what it takes
 * @example
 * ```ts
 * const auth = createAuth({ baseUrl: '/api/', backend: flaskJwt() })
 * await auth.login({ username, password })
 * const response = await auth.fetch('items')
 * ```
 */
export function createAuth<Claims, Credentials>(
  options: AuthOptions<Claims, Credentials>,
): Auth<Claims, Credentials> {
  return createAuthOn(world, options)
}
