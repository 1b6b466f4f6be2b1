/** `oauth2` with a real authorization server: what the stories don't tell. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import {
  type Auth,
  createAuth,
  isAuthError,
  type LiveRecord,
  memoryStore,
  oauth2,
  type StandardClaims,
  type TokenRequest,
} from '../../src/index.ts'
import { type AuthorizationServer, asksFor, backend, startAuthorizationServer, web } from '../servers/oidc.ts'

interface Client {
  auth: Auth<StandardClaims, TokenRequest>
  inHand(): { access: string; refresh: string }
}

let server: AuthorizationServer
beforeAll(async () => {
  server = await startAuthorizationServer({ lifetime: 600, rotates: true })
})
afterAll(() => server?.close())

function client(client: { clientId: string; clientSecret?: string }, options: object = {}): Client {
  const store = memoryStore()
  const auth = createAuth({
    baseUrl: server.resources,
    store,
    backend: oauth2({
      tokenEndpoint: `${server.issuer}/token`,
      revocationEndpoint: `${server.issuer}/token/revocation`,
      ...client,
      ...options,
    }),
  })
  onTestFinished(() => void auth.dispose())
  const inHand = (): { access: string; refresh: string } => {
    const { record } = store.read() as { record: LiveRecord }
    return { access: record.access?.token ?? '', refresh: record.refreshToken ?? '' }
  }
  return { auth, inHand }
}
const alice = { grant_type: 'password', username: 'alice', password: 'wonderland' } as const

describe('signing in', () => {
  test('with an authorization code and its verifier (RFC 7636); the session is refreshed and revoked', async () => {
    const { auth, inHand } = client(web)
    const session = await auth.login({
      grant_type: 'authorization_code',
      ...(await server.authorize('alice')),
    })
    expect(session).toMatchObject({ version: 1, subject: undefined, expiresAt: expect.any(Number) })
    expect(Math.abs((session.expiresAt ?? 0) - Date.now() - 600_000)).toBeLessThan(10_000)
    expect(await (await auth.fetch('plain')).json()).toMatchObject({ sub: 'alice' })
    await server.dropAccessTokens()
    expect((await auth.fetch('plain')).status).toBe(200)
    const tokens = inHand()
    await auth.logout()
    expect([await server.isActive(tokens.access), await server.isActive(tokens.refresh)]).toEqual([
      false,
      false,
    ])
  })

  test('a code that was used is refused with the server’s words', async () => {
    const { auth } = client(web)
    const code = { grant_type: 'authorization_code' as const, ...(await server.authorize('alice')) }
    await auth.login(code)
    const error = await auth.login(code).catch((caught) => caught)
    if (!isAuthError(error, 'login_refused')) throw error
    expect([error.status, error.serverMessage]).toEqual([400, 'grant request is invalid'])
    expect(await error.response.json()).toMatchObject({ error: 'invalid_grant' })
  })

  test.each(['client_secret_basic', 'client_secret_post'] as const)(
    'a confidential client proves itself by %s, whatever is in its secret',
    async (authenticate) => {
      const { auth } = client(backend, { authenticate })
      await auth.login(alice)
      await auth.refresh()
      expect(auth.session).toMatchObject({ version: 2 })
      expect((await auth.fetch('plain')).status).toBe(200)
    },
  )

  test('a confidential client without its secret is told so, and nobody is signed in', async () => {
    const { auth } = client({ ...backend, clientSecret: 'another' })
    const error = await auth.login(alice).catch((caught) => caught)
    expect(error).toMatchObject({ code: 'login_refused', status: 401, serverMessage: expect.any(String) })
    expect(auth.session).toBeNull()
  })

  test('a client that the server stops knowing keeps its session: only invalid_grant refuses a token', async () => {
    const known = client(web)
    await known.auth.login(alice)
    const unknown = createAuth({
      baseUrl: server.resources,
      backend: oauth2({ tokenEndpoint: `${server.issuer}/token`, clientId: 'nobody' }),
      initial: { accessToken: 'gone', refreshToken: known.inHand().refresh },
    })
    onTestFinished(() => unknown.dispose())
    const error = await unknown.fetch('plain').catch((caught) => caught)
    expect(error).toMatchObject({ code: 'refresh_unavailable' })
    expect(unknown.session).toMatchObject({ status: 'active' })
  })
})

describe('challenges', () => {
  test('a scope that is missing is handed back, and nothing is refreshed', async () => {
    const { auth } = client(web)
    await auth.login(alice)
    const response = await auth.fetch('scoped')
    expect([response.status, await response.json()]).toEqual([403, { title: 'Not you' }])
    expect(auth.session).toMatchObject({ version: 1 })
  })

  test('a step-up tells what to ask for (RFC 9470), to each that waits and to one listener', async () => {
    const { auth } = client(web)
    const code = await server.authorize('alice')
    await auth.login({ grant_type: 'authorization_code', ...code })
    // The resource server judges the time of the authentication, not the token's.
    const old = Date.now() + (asksFor.maxAge + 5) * 1000
    const { now } = Date
    Date.now = () => old
    onTestFinished(() => {
      Date.now = now
    })
    const asked: object[] = []
    auth.on('reauthRequired', (event) => {
      const { reason, acrValues, maxAge } = event
      asked.push({ reason, acrValues, maxAge })
      event.waitUntil(auth.reauthenticate(alice))
    })
    const responses = await Promise.all(
      [1, 2, 3].map(() => auth.fetch('fresh', { method: 'POST', body: 'x' })),
    )
    expect(responses.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(asked).toEqual([{ reason: 'fresh_token_required', ...asksFor }])
    expect(auth.session).toMatchObject({ status: 'active' })
  })
})

describe('reuse', () => {
  test('a refresh token that is spent twice ends the family: one ask, then nobody is signed in', async () => {
    const { auth, inHand } = client(web)
    await auth.login(alice)
    const { refresh: spent } = inHand()
    await auth.refresh()
    const body = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: spent,
      client_id: web.clientId,
    })
    expect((await fetch(`${server.issuer}/token`, { method: 'POST', body })).status).toBe(400)
    const reasons: string[] = []
    auth.on('reauthRequired', ({ reason }) => void reasons.push(reason))
    const response = await auth.fetch('plain')
    expect([response.status, await response.json()]).toEqual([401, { title: 'No' }])
    expect(reasons).toEqual(['session_expired'])
    expect(auth.session).toBeNull()
    expect(auth.history.map(({ type }) => type)).toContain('refreshRefused')
  })
})
