/** The fake Flask backend as the stories' server, over a transport, in either dialect. */
import { setupServer } from 'msw/node'
import { CookieJar } from 'tough-cookie'
import { startDemoServer } from '../../demo-server/server.ts'
import { type FlaskJwtOptions, flaskJwt, flaskJwtCookies } from '../../src/index.ts'
import {
  type Backend,
  type BackendOptions,
  createBackend,
  type IssuedToken,
  type Latency,
  type LogEntry,
  type RouteName,
} from '../../src/testing/index.ts'
import { handlers } from '../../src/testing/msw.ts'
import { life, type Role, type Rotation, type Scene, type SceneOptions, type Server } from './server.ts'

/** Makes backends and serves them, each at an origin of its own. */
export interface Transport {
  readonly name: string
  listen(options: BackendOptions): Promise<{ origin: string; backend: Backend; close(): Promise<void> }>
}

/** Mock Service Worker beneath the global fetch. */
export function mswTransport(): Transport & { start(): void; stop(): void } {
  const server = setupServer()
  let count = 0
  return {
    name: 'MSW',
    start: () => server.listen({ onUnhandledFrame: 'error' }),
    stop: () => server.close(),
    async listen(options) {
      const origin = `https://api-${++count}.test`
      const backend = createBackend(options)
      server.use(...handlers(backend, origin))
      return { origin, backend, close: async () => {} }
    },
  }
}

/** The demo server, on a real port. */
export const portTransport: Transport = {
  name: 'the demo server on a real port',
  async listen(options) {
    const { url, backend, close } = await startDemoServer({ port: 0, backend: { prefix: '', ...options } })
    return { origin: new URL(url).origin, backend, close }
  },
}

export const routes: Record<Role, RouteName> = {
  login: 'login',
  refresh: 'refresh',
  logout: 'logout',
  plain: 'protected',
  fresh: 'fresh',
}

const roleOf = (route: RouteName): Role | undefined =>
  (Object.keys(routes) as Role[]).find((role) => routes[role] === route)

const bearerOf = (entry: Pick<LogEntry, 'headers'>): string | undefined =>
  /^Bearer (.+)$/.exec(entry.headers.authorization ?? '')?.[1]

export type Dialect = 'default' | 'tutorial'

export const refusals: Record<Dialect, Scene['refusals']> = {
  default: {
    expired: { msg: 'Token has expired' },
    stale: { msg: 'Fresh token required' },
    revoked: { msg: 'Token has been revoked' },
  },
  tutorial: {
    expired: { message: 'The token has expired.', error: 'token_expired' },
    stale: { description: 'The token is not fresh.', error: 'fresh_token_required' },
    revoked: { description: 'The token has been revoked.', error: 'token_revoked' },
  },
}

const csrfOf = (token: IssuedToken | undefined): string | undefined =>
  token?.claims.csrf as string | undefined

/** How the server is set up for a mode. */
function delivery(mode: Mode, accessLifetime: number): BackendOptions {
  if (mode === 'headers') return {}
  if (mode === 'hybrid') return { locations: ['headers', 'cookies'], deliver: 'split' }
  return { locations: ['cookies'], ...(mode === 'implicit' && { implicitRefresh: accessLifetime / 2 }) }
}

/** How the client is set up for it, with a jar in place of a browser's. */
export function inCookies(
  mode: Mode,
  rotation: Rotation,
  jar: CookieJar,
): ReturnType<typeof flaskJwtCookies> {
  return flaskJwtCookies({
    cookies: {
      read: (url) => jar.getCookieStringSync(url),
      write: (url, setCookies) => {
        for (const one of setCookies) jar.setCookieSync(one, url)
      },
    },
    ...(mode === 'hybrid' ? { accessToken: 'memory' } : { whoami: { path: 'whoami' } }),
    ...(rotation === 'single-use' && { refreshToken: 'single-use' }),
  })
}

/** How the client is set up for a dialect. */
export function preset(dialect: Dialect, rotation: Rotation): FlaskJwtOptions {
  return {
    ...(dialect === 'tutorial' && { logout: { method: 'POST', tokens: 'access' } }),
    ...(rotation === 'single-use' && { refreshToken: 'single-use' }),
  }
}

/**
 * Where the tokens are. `implicit`: both in cookies, and the server replaces that of the access token on any answer in
 * the second half of its life; `hybrid`: only the refresh token.
 */
export type Mode = 'headers' | 'cookies' | 'implicit' | 'hybrid'

export const modes: Record<Mode, string> = {
  headers: '',
  cookies: ', cookies',
  implicit: ', cookies that are replaced on any answer',
  hybrid: ', the refresh token in a cookie',
}

/** What the library does under `mode`, be it the real one or the fake. */
export const abilitiesOf = (dialect: Dialect, mode: Mode): Server['abilities'] => ({
  rotations: ['reusable', 'single-use', 'rotating'],
  stepUp: 'claim',
  revokes: mode !== 'headers' ? 'together' : dialect === 'tutorial' ? 'access' : 'both',
  serial: mode !== 'headers',
  asksWho: mode === 'cookies' || mode === 'implicit',
  tellsRevoked: true,
  tellsSubject: true,
  clock: true,
  faults: true,
})

export function flask(transport: Transport, dialect: Dialect, mode: Mode = 'headers'): Server {
  return {
    name: `Flask-JWT-Extended, ${dialect} dialect${modes[mode]}, over ${transport.name}`,
    abilities: {
      ...abilitiesOf(dialect, mode),
      rotations: ['reusable', 'single-use', 'rotating', 'rotating-reuse-detection'],
      grace: true,
    },
    open: (options) => open(transport, dialect, mode, options),
  }
}

async function open(
  transport: Transport,
  dialect: Dialect,
  mode: Mode,
  { accessLifetime = life, rotation = 'reusable', reuseGrace = 0 }: SceneOptions = {},
): Promise<Scene> {
  // Held by a latency of their own, so that each finds its hold.
  const holds = new Map<number, () => Promise<void>>()
  const server = await transport.listen({
    dialect,
    accessLifetime,
    refresh: rotation,
    reuseGrace,
    ...delivery(mode, accessLifetime),
    sleep: (id) => holds.get(id)?.() ?? Promise.resolve(),
  })
  const { backend } = server
  const other = await transport.listen({})
  const jar = new CookieJar()
  /** What the client holds in place of a token. */
  const handle = ({ headers, tokens }: LogEntry): string | undefined => {
    const [first] = tokens
    if (first?.where !== 'cookie') return bearerOf({ headers })
    return csrfOf(backend.issued.find(({ token }) => token === first.token))
  }
  const refused = { status: 401, body: refusals[dialect].expired }
  other.backend.fault('*', refused, { times: Number.POSITIVE_INFINITY })

  return {
    baseUrl: `${server.origin}/`,
    backend: mode === 'headers' ? flaskJwt(preset(dialect, rotation)) : inCookies(mode, rotation, jar),
    paths: { plain: 'protected', fresh: 'fresh' },
    alice: { username: 'alice', password: 'wonderland' },
    bob: { username: 'bob', password: 'builder' },
    refusals: refusals[dialect],
    seen: (role) =>
      backend.log
        .filter(({ route }) => role === undefined || route === routes[role])
        .map((entry) => ({
          role: roleOf(entry.route),
          method: entry.method,
          token: handle(entry),
          status: entry.status,
          time: entry.time,
        })),
    clear: () => backend.clearLog(),
    // It runs by the clock of this process, which the story has moved already.
    pass: () => {},
    expireEarly: () => backend.expireAccessTokens(),
    revoke: (sub) => backend.revoke({ sub }),
    honours: (token) =>
      backend.isHonoured(backend.issued.find((one) => csrfOf(one) === token)?.token ?? token),
    reuses: () => backend.reuseDetected,
    fault(role, fault, times) {
      const answer = fault === 'refuse' ? { status: 401, body: refusals[dialect].revoked } : fault
      backend.fault(role === '*' ? '*' : routes[role], answer, { times })
    },
    hold(role, what) {
      const { latency } = backend.settings
      const route = routes[role]
      let release = (): void => {}
      const released = new Promise<void>((resolve) => {
        release = resolve
      })
      const there = new Promise<void>((resolve) => {
        const id = holds.size + 1
        holds.set(id, () => {
          delete latency[route]
          resolve()
          return released
        })
        latency[route] = { [what === 'request' ? 'before' : 'after']: id } satisfies Latency
      })
      return { there, release }
    },
    elsewhere: {
      redirect: `redirect?to=${encodeURIComponent(`${other.origin}/protected`)}`,
      tokens: () => other.backend.log.map(({ headers }) => headers.authorization ?? headers.cookie),
    },
    async close() {
      await server.close()
      await other.close()
    },
  }
}
