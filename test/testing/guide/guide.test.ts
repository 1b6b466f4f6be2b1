import { type AuthOptions, createAuth, flaskJwt, isAuthError, simpleJwt } from 'stayfresh'
import { type BackendOptions, createBackend, fakeTokens } from 'stayfresh/testing'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'

function signedIn(options: BackendOptions = {}, more: Partial<AuthOptions> = {}) {
  const backend = createBackend({ api: { 'GET items': () => [] }, ...options })
  const auth = createAuth({
    baseUrl: 'https://api.test/',
    backend: flaskJwt(),
    fetch: backend.fetch,
    initial: fakeTokens(),
    ...more,
  })
  onTestFinished(() => void auth.dispose())
  return { auth, backend }
}

describe('your own routes', () => {
  test('answer with JSON, with nothing, or with a Response, once their token was let in', async () => {
    const backend = createBackend({
      prefix: '/api/',
      paths: { login: 'auth/login', refresh: 'auth/refresh' },
      users: { carol: { password: 'secret', sub: '42', claims: { role: 'editor' } } },
      api: {
        'GET items/:id': ({ params, sub }) => ({ id: params.id, owner: sub }),
        'POST items': async ({ request }) => Response.json(await request.json(), { status: 201 }),
        'DELETE account': { token: 'fresh', answer: () => undefined },
        news: { token: false, answer: () => ['For everybody'] },
      },
    })
    const auth = createAuth({
      baseUrl: 'https://api.test/api/',
      backend: flaskJwt({ login: { path: 'auth/login' }, refresh: { path: 'auth/refresh' } }),
      fetch: backend.fetch,
    })
    await auth.login({ username: 'carol', password: 'secret' })
    expect(await (await auth.fetch('items/7')).json()).toEqual({ id: '7', owner: '42' })
    const made = await auth.fetch('items', { method: 'POST', body: '{"id":8}' })
    expect([made.status, await made.json()]).toEqual([201, { id: 8 }])
    expect((await auth.fetch('account', { method: 'DELETE' })).status).toBe(204)
    expect(await (await auth.fetch('news', { auth: false })).json()).toEqual(['For everybody'])
    expect(backend.count('GET items/:id')).toBe(1)
  })
})

describe('the clock', () => {
  afterEach(() => vi.useRealTimers())

  test('the server’s alone: the client learns of it from a 401', async () => {
    const { auth, backend } = signedIn()
    backend.advance(16 * 60_000)
    await auth.fetch('items')
    expect(backend.timeline()).toMatchInlineSnapshot(`
      "— the server's clock moves by +960 s
      GET /items     a1  → 401 expired
      POST /refresh  r1  → 200 gives a2 (alice)
      GET /items     a2  → 200"
    `)
  })

  test('both: the client knows, and refreshes before it sends', async () => {
    vi.useFakeTimers()
    const { auth, backend } = signedIn({ signer: 'fast' })
    vi.advanceTimersByTime(16 * 60_000)
    await auth.fetch('items')
    expect(backend.timeline()).toMatchInlineSnapshot(`
      "POST /refresh  r1  → 200 gives a1 (alice)
      GET /items     a1  → 200"
    `)
  })

  test('what takes time takes no time', async () => {
    vi.useFakeTimers()
    const { auth, backend } = signedIn({ signer: 'fast', latency: { refresh: 3_000 } })
    backend.expireAccessTokens()
    const answer = auth.fetch('items')
    await vi.waitFor(() => expect(vi.getTimerCount()).toBeGreaterThan(0))
    await vi.advanceTimersByTimeAsync(3_000)
    expect((await answer).status).toBe(200)
  })
})

describe('what goes wrong', () => {
  test('an outage of the refresh ends no session', async () => {
    const { auth, backend } = signedIn({}, { initial: fakeTokens({ expiresIn: -1 }) })
    const outage = backend.fault('refresh', { status: 500 }, { times: Infinity })
    const error = await auth.fetch('items').catch((error: unknown) => error)
    expect(isAuthError(error, 'refresh_unavailable')).toBe(true)
    expect(auth.session).not.toBeNull()
    outage.remove()
  })

  test('a refresh token that the server no longer takes ends it', async () => {
    const { auth, backend } = signedIn()
    const ended = vi.fn()
    auth.on('loggedOut', ended)
    backend.revoke({ sub: 'alice' })
    expect((await auth.fetch('items')).status).toBe(401)
    expect(ended).toHaveBeenCalledWith(expect.objectContaining({ reason: 'token_revoked' }))
  })

  test('a password is asked for where only a password helps', async () => {
    const { auth, backend } = signedIn(
      { api: { 'DELETE account': { token: 'fresh', answer: () => undefined } } },
      { initial: fakeTokens({ fresh: false }), refreshAhead: false },
    )
    auth.on('reauthRequired', ({ waitUntil }) => {
      waitUntil(auth.reauthenticate({ username: 'alice', password: 'wonderland' }))
    })
    expect((await auth.fetch('account', { method: 'DELETE' })).status).toBe(204)
    expect(backend.timeline()).toMatchInlineSnapshot(`
      "DELETE /account  a1  → 401 stale
      POST /login          → 200 gives a2 (alice, fresh) r1
      DELETE /account  a2  → 204"
    `)
  })
})

describe('servers of another kind', () => {
  test('rotating refresh tokens, with reuse detection', async () => {
    const { auth, backend } = signedIn({ refresh: 'rotating-reuse-detection' })
    await auth.refresh()
    await auth.refresh()
    expect(backend.reuseDetected).toBe(0)
    backend.expectRefreshes(2)
  })

  test('Django REST Framework SimpleJWT, or OAuth 2', async () => {
    const backend = createBackend({ dialect: 'simple-jwt', api: { 'GET items': () => [] } })
    const auth = createAuth({
      baseUrl: 'https://api.test/',
      backend: simpleJwt(),
      fetch: backend.fetch,
      initial: fakeTokens(),
    })
    backend.expireAccessTokens()
    expect((await auth.fetch('items')).status).toBe(200)
    expect(backend.timeline()).toMatchInlineSnapshot(`
      "— every access token so far counts as expired
      GET /items            a1  → 401 expired
      POST /token/refresh/  r1  → 200 gives a2 (alice)
      GET /items            a2  → 200"
    `)
  })

  test('a test of your own backend preset needs no server at all', async () => {
    const { accessToken, refreshToken } = fakeTokens({ subject: 'carol' })
    const sent: string[] = []
    const auth = createAuth({
      baseUrl: 'https://api.test/',
      backend: { ...flaskJwt(), refresh: (token) => ({ path: 'renew', body: token }) },
      initial: { refreshToken },
      fetch: async (input) => {
        sent.push(new URL(String(input instanceof Request ? input.url : input)).pathname)
        return Response.json({ access_token: accessToken })
      },
    })
    await auth.fetch('items')
    expect(sent).toEqual(['/renew', '/items'])
    expect(auth.session?.subject).toBe('carol')
  })
})
