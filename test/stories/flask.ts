/** The fake Flask backend as the stories' server, over a transport, in either dialect. */
import type { AddressInfo } from 'node:net'
import { type HttpBindings, serve } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { setupServer } from 'msw/node'
import { type FlaskJwtOptions, flaskJwt } from '../../src/index.ts'
import {
  type Backend,
  ConnectionDropped,
  createBackend,
  type Dialect,
  type Latency,
  type LogEntry,
  type RouteName,
} from '../../src/testing/index.ts'
import { handlers } from '../../src/testing/msw.ts'
import { life, type Role, type Rotation, type Scene, type SceneOptions, type Server } from './server.ts'

/** Serves backends, each at an origin of its own. */
export interface Transport {
  readonly name: string
  listen(backend: Backend): Promise<{ origin: string; close(): Promise<void> }>
}

/** Mock Service Worker beneath the global fetch. */
export function mswTransport(): Transport & { start(): void; stop(): void } {
  const server = setupServer()
  let count = 0
  return {
    name: 'MSW',
    start: () => server.listen({ onUnhandledFrame: 'error' }),
    stop: () => server.close(),
    async listen(backend) {
      const origin = `https://api-${++count}.test`
      server.use(...handlers(backend, origin))
      return { origin, close: async () => {} }
    },
  }
}

/** A real port. A dropped connection is a destroyed socket. */
export const portTransport: Transport = {
  name: 'a real port',
  listen: (backend) =>
    new Promise((resolve) => {
      const server = serve(
        {
          hostname: '127.0.0.1',
          port: 0,
          async fetch(request, env) {
            const { incoming, outgoing } = env as HttpBindings
            try {
              return await backend.fetch(request)
            } catch (error) {
              if (!(error instanceof ConnectionDropped) && !request.signal.aborted) throw error
              incoming.socket.destroy()
              outgoing.destroy()
              return RESPONSE_ALREADY_SENT
            }
          },
        },
        ({ port }: AddressInfo) =>
          resolve({
            origin: `http://127.0.0.1:${port}`,
            close: () =>
              new Promise((closed) => {
                server.close(() => closed())
                if ('closeAllConnections' in server) server.closeAllConnections()
              }),
          }),
      )
    }),
}

const routes: Record<Role, RouteName> = {
  login: 'login',
  refresh: 'refresh',
  logout: 'logout',
  plain: 'protected',
  fresh: 'fresh',
}

const roleOf = (route: RouteName): Role | undefined =>
  (Object.keys(routes) as Role[]).find((role) => routes[role] === route)

const bearerOf = (entry: LogEntry): string | undefined =>
  /^Bearer (.+)$/.exec(entry.headers.authorization ?? '')?.[1]

const refusals: Record<Dialect, Scene['refusals']> = {
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

/** How the client is set up for a dialect. */
function preset(dialect: Dialect, rotation: Rotation): FlaskJwtOptions {
  return {
    ...(dialect === 'tutorial' && { logout: { method: 'POST', tokens: 'access' } }),
    ...(rotation === 'single-use' && { refreshToken: 'single-use' }),
  }
}

export function flask(transport: Transport, dialect: Dialect): Server {
  return {
    name: `Flask-JWT-Extended, ${dialect} dialect, over ${transport.name}`,
    abilities: {
      rotations: ['reusable', 'single-use', 'rotating', 'rotating-reuse-detection'],
      stepUp: true,
      revokes: dialect === 'tutorial' ? 'access' : 'both',
      tellsRevoked: true,
      clock: true,
      faults: true,
    },
    open: (options) => open(transport, dialect, options),
  }
}

async function open(
  transport: Transport,
  dialect: Dialect,
  { accessLifetime = life, rotation = 'reusable', reuseGrace = 0 }: SceneOptions = {},
): Promise<Scene> {
  // Held by a latency of their own, so that each finds its hold.
  const holds = new Map<number, () => Promise<void>>()
  const backend = createBackend({
    dialect,
    accessLifetime,
    refresh: rotation,
    reuseGrace,
    sleep: (id) => holds.get(id)?.() ?? Promise.resolve(),
  })
  const stranger = createBackend()
  stranger.fault('*', { status: 401, body: refusals[dialect].expired }, { times: Number.POSITIVE_INFINITY })
  const [server, other] = [await transport.listen(backend), await transport.listen(stranger)]

  return {
    baseUrl: `${server.origin}/`,
    backend: flaskJwt(preset(dialect, rotation)),
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
          token: bearerOf(entry),
          status: entry.status,
          time: entry.time,
        })),
    clear: () => backend.clearLog(),
    // It runs by the clock of this process, which the story has moved already.
    pass: () => {},
    expireEarly: () => backend.expireAccessTokens(),
    revoke: (sub) => backend.revoke({ sub }),
    honours: (token) => backend.isHonoured(token),
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
      tokens: () => stranger.log.map((entry) => entry.headers.authorization),
    },
    async close() {
      await server.close()
      await other.close()
    },
  }
}
