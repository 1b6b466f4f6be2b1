/** OAuth 2 as the stories' server: a real authorization server and a resource server, each behind a front. */
import { oauth2 } from '../../src/index.ts'
import { startFront, startStranger } from '../servers/front.ts'
import { asksFor, startAuthorizationServer, web } from '../servers/oidc.ts'
import { life, type Role, type Scene, type SceneOptions, type Server } from './server.ts'

export const oauth2Server: Server = {
  name: 'OAuth 2: oidc-provider, and a resource server with the challenges of RFC 6750 and RFC 9470',
  abilities: {
    rotations: ['rotating-reuse-detection', 'reusable'],
    stepUp: 'age',
    revokes: 'both',
    tellsRevoked: false,
    tellsSubject: false,
    clock: true,
    faults: true,
  },
  open,
}

function roleOf(path: string, body: string): Role | undefined {
  const form = new URLSearchParams(body)
  if (path === '/token') return form.get('grant_type') === 'refresh_token' ? 'refresh' : 'login'
  if (path === '/token/revocation') return 'logout'
  if (path.startsWith('/plain')) return 'plain'
  return path.startsWith('/fresh') ? 'fresh' : undefined
}

async function open({
  accessLifetime = life,
  rotation = 'rotating-reuse-detection',
}: SceneOptions = {}): Promise<Scene> {
  const server = await startAuthorizationServer({
    lifetime: accessLifetime / 1000,
    rotates: rotation !== 'reusable',
  })
  const options = {
    roleOf: (_: string, path: string, body: string) => roleOf(path, body),
    tokenIn(role: Role | undefined, body: string) {
      const form = new URLSearchParams(body)
      return (
        (role === 'refresh'
          ? form.get('refresh_token')
          : role === 'logout'
            ? form.get('token')
            : undefined) ?? undefined
      )
    },
  }
  const tokens = await startFront({ ...options, target: server.issuer })
  const resources = await startFront({ ...options, target: server.resources })
  const expired = { title: 'No' }
  const stranger = await startStranger(expired)
  const grant = { grant_type: 'password' }

  return {
    baseUrl: `${resources.origin}/`,
    backend: oauth2({
      tokenEndpoint: `${tokens.origin}/token`,
      revocationEndpoint: `${tokens.origin}/token/revocation`,
      ...web,
    }),
    paths: { plain: 'plain', fresh: 'fresh' },
    alice: { ...grant, username: 'alice', password: 'wonderland' },
    bob: { ...grant, username: 'bob', password: 'builder' },
    refusals: { expired, stale: { title: 'Too old' }, revoked: expired },
    asksFor,
    seen: (role) =>
      [...tokens.seen, ...resources.seen]
        .filter((one) => role === undefined || one.role === role)
        .sort((one, other) => one.order - other.order)
        .map((one) => ({ ...one })),
    clear() {
      tokens.clear()
      resources.clear()
    },
    // It runs by the clock of this process, which the story has moved already.
    pass: () => {},
    expireEarly: () => server.dropAccessTokens(),
    revoke: (username) => server.dropUser(username),
    honours: (token) => server.isActive(token),
    reuses: () => server.reuses(),
    fault(role, fault, times) {
      for (const front of [tokens, resources]) front.fault(role, fault, times)
    },
    hold: (role, what) => (role === 'plain' || role === 'fresh' ? resources : tokens).hold(role, what),
    elsewhere: {
      redirect: `redirect?to=${encodeURIComponent(`${stranger.origin}/plain`)}`,
      tokens: () => stranger.tokens,
    },
    async close() {
      for (const one of [tokens, resources, stranger, server]) await one.close()
    },
  }
}
