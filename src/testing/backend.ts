/**
 * The fake backend: a Flask-JWT-Extended application as one function from request to response, with its
 * clock, its memory and its misfortunes in the test's hand. It shares no code with the client.
 */

import { type Match, readApi } from './api.ts'
import { inDialect, pathsOf, type Served } from './dialects.ts'
import { decodeText, isRecord, parseJson } from './encoding.ts'
import { fakeReader } from './fake-tokens.ts'
import { createFaults, isProcessed, spoil } from './faults.ts'
import { createJournal, type Draft } from './journal.ts'
import { createLedger } from './ledger.ts'
import { routeAt, routeNames, serve } from './routes.ts'
import { mintLogin, type Server, toRequest } from './server.ts'
import { defaultSecret, fastSigner, joseSigner } from './signer.ts'
import type { Name } from './timeline.ts'
import type {
  Backend,
  BackendOptions,
  BackendSettings,
  CookieSettings,
  Dialect,
  RefreshMode,
  User,
} from './types.ts'

const DIALECTS: readonly Dialect[] = ['default', 'tutorial', 'simple-jwt', 'oauth2']
const MODES: readonly RefreshMode[] = ['reusable', 'single-use', 'rotating', 'rotating-reuse-detection']

const defaultCookies: CookieSettings = {
  accessName: 'access_token_cookie',
  refreshName: 'refresh_token_cookie',
  accessCsrfName: 'csrf_access_token',
  refreshCsrfName: 'csrf_refresh_token',
  accessPath: '/',
  refreshPath: '/',
  accessCsrfPath: '/',
  refreshCsrfPath: '/',
  secure: false,
  sameSite: undefined,
  domain: undefined,
  persistent: false,
}

const defaultSettings: Omit<BackendSettings, 'cookies' | 'latency' | 'paths'> = {
  dialect: 'default',
  refresh: 'reusable',
  reuseGrace: 0,
  locations: ['headers'],
  deliver: undefined,
  accessLifetime: 15 * 60_000,
  refreshLifetime: 30 * 24 * 60 * 60_000,
  fresh: true,
  leeway: 0,
  implicitRefresh: undefined,
  messageKey: 'msg',
  headerName: 'Authorization',
  headerType: 'Bearer',
  queryStringName: 'jwt',
  queryStringPrefix: '',
  csrfProtect: true,
  csrfInCookies: true,
  csrfInBody: false,
  csrfCheckForm: false,
  csrfMethods: ['POST', 'PUT', 'PATCH', 'DELETE'],
  csrfHeader: 'X-CSRF-TOKEN',
  csrfRefreshHeader: undefined,
  audience: undefined,
  issuer: undefined,
  nbf: true,
  verifySub: true,
  logout: 'either',
  verifyClaims: undefined,
  lookupUser: undefined,
}

const KNOWN = [
  ...['prefix', 'users', 'api', 'paths', 'cookies', 'latency', 'clock', 'sleep', 'signer', 'secret', 'uuid'],
  ...Object.keys(defaultSettings),
]

/**
 * Creates a backend to test a client against. Without options it answers as Flask-JWT-Extended 4.7 does, to
 * the letter; every instance stands for itself and costs next to nothing.
 *
 * Routes, under `prefix`:
 *
 * | route | asks for | answers |
 * | --- | --- | --- |
 * | `POST login` | JSON `username`, `password` | both tokens |
 * | `POST fresh-login` | the same | a fresh access token |
 * | `POST refresh` | refresh token | an access token, and a refresh token in the rotating modes |
 * | `DELETE logout` | either token, which is revoked | a message |
 * | `POST logout` | tutorial: access token, which is revoked; with cookies: nothing | a message, clears the cookies |
 * | `protected` (any method) | access token | what came: `sub`, `method`, `content_type`, `body`, `base64`; the bare bytes with `?raw` |
 * | `fresh` (any method) | fresh access token | the same |
 * | `optional` (any method) | access token or none | the same, `sub` null without a token |
 * | `POST`, `PUT upload` | access token | `bytes`, `checksum`, and `sha256` with the `webcrypto` signer |
 * | `GET whoami` | access token | `sub`, `fresh`, `exp` |
 * | `POST validated` | access token, JSON `name`, `price` | a 422 of the application's own unless both are there |
 * | `redirect?to=…&status=…` (any method) | nothing | a redirect, 302 by default |
 * | `POST register` (tutorial) | JSON `username`, `password` | 201, 409 |
 * | whatever `api` has | as it says | as it says |
 * | `admin` (any method, tutorial) | access token with `is_admin: true` | else a 401 that is not about the token |
 *
 * Cookies work where a `Request` may carry `Cookie` and a `Response` `Set-Cookie`: in Node, Bun and Deno, not
 * inside a browser.
 *
 * @throws TypeError for an option, a signer, a dialect or a refresh mode that is none, for a route in `api` that is none, and
 *   for a `latency` of a route that there is not.
 *
 * @example
 * ```ts
 * const backend = createBackend({ accessLifetime: 60_000, refresh: 'rotating' })
 * const auth = createAuth({ baseUrl: 'https://api.test/', backend: flaskJwt(), fetch: backend.fetch })
 *
 * await auth.login({ username: 'alice', password: 'wonderland' })
 * backend.advance(61_000)
 * await Promise.all([auth.fetch('protected'), auth.fetch('protected')])
 * backend.count('refresh') // 1
 * ```
 *
 * @example Everything in microtasks, under a clock of one's own:
 * ```ts
 * const backend = createBackend({ signer: 'fast', clock: world, sleep: world.sleep, latency: { '*': 20 } })
 * ```
 */
export function createBackend<Api extends string = never>(options: BackendOptions<Api> = {}): Backend<Api> {
  const {
    prefix = '/',
    users = { alice: 'wonderland', bob: 'builder' },
    clock,
    sleep = wait,
    signer = 'webcrypto',
    secret = defaultSecret,
    uuid = () => crypto.randomUUID(),
    cookies,
    latency = {},
    paths = {},
    api = {},
    ...given
  } = options
  if (signer !== 'webcrypto' && signer !== 'fast') {
    throw new TypeError(`signer: "webcrypto" or "fast", not ${JSON.stringify(signer)}`)
  }
  if (given.dialect !== undefined && !DIALECTS.includes(given.dialect)) {
    throw new TypeError(`dialect: one of ${DIALECTS.join(', ')}, not ${JSON.stringify(given.dialect)}`)
  }
  if (given.refresh !== undefined && !MODES.includes(given.refresh)) {
    throw new TypeError(`refresh: one of ${MODES.join(', ')}, not ${JSON.stringify(given.refresh)}`)
  }
  for (const option of Object.keys(given)) {
    if (!Object.hasOwn(defaultSettings, option))
      throw new TypeError(`createBackend knows no option "${option}"; it knows ${KNOWN.join(', ')}`)
  }
  const settings: BackendSettings = {
    ...defaultSettings,
    refresh: given.dialect === 'tutorial' ? 'single-use' : 'reusable',
    ...withoutUndefined(given),
    cookies: { ...defaultCookies, ...cookies },
    latency,
    paths: { ...pathsOf(given.dialect), ...paths },
  }
  let waits = checkLatency({ ...latency })
  Object.defineProperty(settings, 'latency', {
    enumerable: true,
    get: () => waits,
    set: (changed: BackendSettings['latency']) => {
      waits = checkLatency(changed)
    },
  })
  if (/[:?#]/.test(prefix))
    throw new TypeError(`prefix: a path such as "/api/", not ${JSON.stringify(prefix)}`)
  const root = `/${prefix}/`.replace(/\/+/g, '/')
  const findApi = readApi(api)
  let advanced = 0
  const routes = new Set([...routeNames, ...Object.keys(api)])
  /** A fault that can strike nothing, and a count of nothing, would let a test pass that shows nothing. */
  const known = (route: string | undefined): string | undefined => {
    if (route === undefined || routes.has(route)) return route
    throw new TypeError(`There is no route "${route}"; there are ${[...routes].join(', ')}`)
  }

  const ledger = createLedger(settings, uuid, fakeReader(secret))
  const journal = createJournal(settings, ledger)
  const faults = createFaults()
  const server: Server = {
    settings,
    ledger,
    users: new Map(Object.entries(users).map(([name, user]) => [name, toUser(user)])),
    signer: signer === 'fast' ? fastSigner(secret) : joseSigner(secret),
    digests: signer === 'webcrypto',
    // `Date` by its global name at each call, so that a test may fake it later.
    now: () => (clock ?? Date).now() + advanced,
    uuid,
  }

  const handle = async (
    request: Request,
    url: URL,
    entry: Draft,
    api: Match | undefined,
  ): Promise<Response> => {
    const body = await readBody(request)
    if (body.length > 0) {
      if (entry.route !== 'upload') entry.body = decodeText(body)
      if (settings.locations.includes('json')) enterJsonTokens(entry, body)
    }
    const { before = 0, after = 0 } = latencyOf(settings, entry)
    if (before > 0) await sleep(before)
    let answer: Response | undefined
    if (isProcessed(entry.fault)) {
      entry.processed = true
      answer = await serve({ server, settings, request, url, body, entry, api, claims: undefined })
      entry.status = answer.status
    }
    if (after > 0) await sleep(after)
    const response = await spoil(entry.fault, answer, request)
    entry.status = response.status
    entry.delivered = !request.signal.aborted
    return response
  }

  /** Takes a request in: all that a harness may count is there before anything is waited for. */
  const receive = (request: Request): Served => {
    const url = new URL(request.url)
    const path = url.pathname.startsWith(root) ? url.pathname.slice(root.length) : undefined
    const own = path === undefined ? undefined : findApi(request.method, path)
    const route = own ? 'api' : routeAt(path ?? '', settings)
    const entry = journal.arrive(request, url, route, own?.name, server.now())
    const fault = faults.take(entry)
    if (fault !== undefined) journal.strike(entry, fault)
    return { entry, answer: untilAborted(handle(request, url, entry, own), request.signal) }
  }

  const enterJsonTokens = (entry: Draft, body: Uint8Array): void => {
    const data = parseJson(body)
    if (!isRecord(data)) return
    const names = ['access_token', 'refresh_token']
    for (const name of entry.route === 'refresh' ? names.reverse() : names) {
      const token = data[name]
      if (typeof token === 'string') journal.addToken(entry, 'json', token)
    }
  }

  /** `token`: itself or its `jti`. */
  const revoked = (target: Parameters<Backend['revoke']>[0], name: Name): string => {
    if (typeof target !== 'string') {
      return 'sub' in target ? `every session so far of ${target.sub} is` : 'a session is'
    }
    const { token, kind } = ledger.find(target) ?? ledger.issued.find(({ jti }) => jti === target) ?? {}
    return `${token ? name(token, kind) : 'a token'} is`
  }

  const expectRefreshes = (times: number): void => {
    const came = journal.count('refresh')
    if (came === times) return
    const many = (count: number): string => `${count} ${count === 1 ? 'refresh' : 'refreshes'}`
    const error = new Error(
      `Expected ${many(times)}, but the backend saw ${came}:\n\n${journal.timeline() || '(no request at all)'}\n`,
    )
    // As the runners know a failed assertion.
    Object.assign(error, { name: 'AssertionError', actual: came, expected: times })
    captureStackTrace?.(error, expectRefreshes)
    throw error
  }

  return {
    async fetch(input, init) {
      const request = toRequest(input, init)
      request.signal.throwIfAborted()
      if (request.bodyUsed) throw new TypeError('The body of this request was used already.')
      const { pathname } = new URL(request.url)
      const path = pathname.startsWith(root) ? pathname.slice(root.length) : ''
      return inDialect({ request, path, root, server, serve: receive }) ?? receive(request).answer
    },
    settings,
    users: server.users,
    now: server.now,
    advance(milliseconds) {
      advanced += milliseconds
      const by = `${milliseconds < 0 ? '−' : '+'}${Math.abs(milliseconds) / 1000} s`
      journal.note(server.now(), `the server's clock moves by ${by}`)
    },
    fault: (route, ...rest) => faults.add(known(route) as string, ...rest),
    clearFaults: faults.clear,
    faultsFired: (route) => journal.faultsFired(known(route)),
    async signIn(username) {
      if (!server.users.has(username)) throw new RangeError(`signIn: there is no user "${username}"`)
      const { access, refresh } = await mintLogin(server, username)
      return { accessToken: access.token, refreshToken: refresh.token, family: access.family }
    },
    sign: async (payload, header) => server.signer.sign(payload, header),
    expireAccessTokens() {
      ledger.expireAccessTokens()
      journal.note(server.now(), 'every access token so far counts as expired')
    },
    revoke(target) {
      ledger.revoke(target)
      journal.note(server.now(), (name) => `${revoked(target, name)} revoked`)
    },
    restart() {
      ledger.restart()
      journal.note(server.now(), 'the server starts anew')
    },
    isHonoured: (token) => ledger.isHonoured(token, server.now()),
    sessionAlive: (target) =>
      ledger
        .families()
        .some(
          ({ id, sub, tokens }) =>
            (id === target || sub === target) &&
            tokens.some(({ token }) => ledger.isHonoured(token, server.now())),
        ),
    families: ledger.families,
    get reuseDetected() {
      return ledger.reuseDetected
    },
    issued: ledger.issued,
    timeline: journal.timeline,
    expectRefreshes,
    log: journal.entries,
    count: (route) => journal.count(known(route)),
    uses: journal.uses,
    clearLog: journal.clear,
  }
}

// V8's own: an error that points to the line of the test.
const { captureStackTrace } = Error as {
  captureStackTrace?: (error: Error, above: (times: number) => void) => void
}

/** Resolves with the work, or rejects as soon as the caller gives up; the work itself goes on. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort)
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

/**
 * The body's bytes. In Node 24 this settles in microtasks for every kind of body but a `Blob`, which is read
 * by way of a task (measured: strings, buffers, forms, streams, clones; up to 5 MB).
 */
async function readBody(request: Request): Promise<Uint8Array<ArrayBuffer>> {
  if (request.body === null) return new Uint8Array()
  return new Uint8Array(await request.arrayBuffer())
}

function latencyOf(settings: BackendSettings, entry: Draft): { before?: number; after?: number } {
  const latency = settings.latency[entry.route] ?? settings.latency['*'] ?? 0
  return typeof latency === 'number' ? { before: latency } : latency
}

/** One for a route that is none would be waited for by nobody. */
function checkLatency(latency: BackendSettings['latency']): BackendSettings['latency'] {
  for (const [route, waits] of Object.entries(latency)) {
    if (!routeNames.includes(route)) {
      const own = '"api" is every one of your own'
      throw new TypeError(`latency: there is no route "${route}"; there are ${routeNames.join(', ')}; ${own}`)
    }
    const { before = 0, after = 0, ...others } = typeof waits === 'object' ? waits : { before: waits }
    if (!(before >= 0 && after >= 0) || Object.keys(others).length > 0) {
      throw new TypeError(`latency: "${route}" takes milliseconds, or { before, after } of them`)
    }
  }
  return latency
}

function toUser(user: string | User): User {
  return typeof user === 'string' ? { password: user } : user
}

function withoutUndefined<T extends object>(given: T): T {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as T
}

function wait(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
