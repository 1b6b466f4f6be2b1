/** The servers that are no Flask, each held against the client's preset for its kind, and against what it puts on the wire. */
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import {
  type Auth,
  createAuth,
  isAuthError,
  oauth2,
  type Backend as Preset,
  simpleJwt,
} from '../../src/index.ts'
import { type Backend, type BackendOptions, createBackend, fakeTokens } from '../../src/testing/index.ts'

const alice = { username: 'alice', password: 'wonderland' }
const granted = { grant_type: 'password', ...alice }

const kinds = {
  'simple-jwt': { preset: simpleJwt() as Preset<never>, credentials: alice },
  oauth2: {
    preset: oauth2({
      tokenEndpoint: 'token',
      revocationEndpoint: 'revoke',
      clientId: 'web',
    }) as Preset<never>,
    credentials: granted,
  },
} as const

function world(
  dialect: keyof typeof kinds,
  options: BackendOptions = {},
): { auth: Auth<never>; backend: Backend; credentials: typeof alice } {
  const backend = createBackend({ dialect, prefix: '/api/', ...options })
  const { preset, credentials } = kinds[dialect]
  const auth = createAuth({ baseUrl: 'https://api.test/api/', backend: preset, fetch: backend.fetch })
  onTestFinished(() => void auth.dispose())
  return { auth, backend, credentials }
}

const both = ['simple-jwt', 'oauth2'] as const

test.each(both)('%s: login, one refresh for all, rotation, logout', async (dialect) => {
  const { auth, backend, credentials } = world(dialect, { refresh: 'rotating-reuse-detection' })
  await auth.login(credentials)
  expect(auth.session).toMatchObject({ subject: 'alice', version: 1 })
  for (const round of [1, 2]) {
    backend.expireAccessTokens()
    const answers = await Promise.all(
      [1, 2, 3].map(() => auth.fetch('protected', { method: 'POST', body: 'x' })),
    )
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
    backend.expectRefreshes(round)
  }
  expect(auth.session?.version).toBe(3)
  await auth.logout()
  // SimpleJWT has no way to take an access token back.
  const alive = backend.issued.filter(({ token }) => backend.isHonoured(token)).map(({ kind }) => kind)
  expect(alive).toEqual(dialect === 'oauth2' ? [] : ['access'])
  expect(backend.reuseDetected).toBe(0)
})

test.each(both)(
  '%s: a refused refresh ends the session, an outage does not; a wrong password is refused',
  async (dialect) => {
    const { auth, backend, credentials } = world(dialect)
    const wrong = await auth.login({ ...credentials, password: 'x' }).catch((error: unknown) => error)
    expect(isAuthError(wrong, 'login_refused')).toBe(true)
    await auth.setTokens(fakeTokens({ expiresIn: -1 }))
    backend.fault('refresh', { status: 500 })
    const error = await auth.fetch('protected').catch((error: unknown) => error)
    expect(isAuthError(error, 'refresh_unavailable')).toBe(true)
    expect(auth.session).not.toBeNull()
    await vi.waitFor(async () => expect((await auth.fetch('protected')).status).toBe(200))
    const ended = vi.fn()
    auth.on('loggedOut', ended)
    backend.revoke({ sub: 'alice' })
    backend.expireAccessTokens()
    expect([401, 403]).toContain((await auth.fetch('protected')).status)
    expect(ended).toHaveBeenCalledTimes(1)
  },
)

describe('on the wire', () => {
  const wire = (dialect: keyof typeof kinds, options: BackendOptions = {}) => {
    const backend = createBackend({ dialect, ...options })
    return {
      backend,
      ask: async (path: string, token?: string, body?: string | URLSearchParams): Promise<unknown[]> => {
        const response = await backend.fetch(`https://api.test/${path}`, {
          method: body === undefined ? 'GET' : 'POST',
          headers: {
            ...(token && { Authorization: `Bearer ${token}` }),
            ...(typeof body === 'string' && { 'Content-Type': 'application/json' }),
          },
          body,
        })
        const text = await response.text()
        return [response.status, response.headers.get('WWW-Authenticate'), text && JSON.parse(text)]
      },
    }
  }

  test('SimpleJWT 5 as Django has it', async () => {
    const { ask, backend } = wire('simple-jwt', { refresh: 'rotating' })
    const bearer = 'Bearer realm="api"'
    expect(await ask('protected')).toEqual([
      401,
      bearer,
      { detail: 'Authentication credentials were not provided.' },
    ])
    const why = (message: string) => ({
      detail: 'Given token not valid for any token type',
      code: 'token_not_valid',
      messages: [{ token_class: 'AccessToken', token_type: 'access', message }],
    })
    expect(await ask('protected', fakeTokens({ expiresIn: -1 }).accessToken)).toEqual([
      401,
      bearer,
      why('Token is expired'),
    ])
    expect(await ask('protected', 'x.y.z')).toEqual([401, bearer, why('Token is invalid')])
    expect(await ask('token/', undefined, JSON.stringify({ ...alice, password: 'x' }))).toEqual([
      401,
      bearer,
      { detail: 'No active account found with the given credentials' },
    ])
    const { refreshToken: refresh } = fakeTokens()
    expect(await ask('token/refresh/', undefined, '{}')).toEqual([
      400,
      null,
      { refresh: ['This field is required.'] },
    ])
    expect(await ask('token/refresh/', undefined, JSON.stringify({ refresh }))).toEqual([
      200,
      null,
      { access: expect.any(String), refresh: expect.any(String) },
    ])
    expect(await ask('token/refresh/', undefined, JSON.stringify({ refresh }))).toEqual([
      401,
      bearer,
      { detail: 'Token is blacklisted', code: 'token_not_valid' },
    ])
    const another = fakeTokens().refreshToken
    expect(await ask('token/blacklist/', undefined, JSON.stringify({ refresh: another }))).toEqual([
      200,
      null,
      {},
    ])
    expect(backend.isHonoured(another)).toBe(false)
    expect(backend.log.at(-1)).toMatchObject({ method: 'POST', route: 'logout', path: '/token/blacklist/' })
  })

  test('OAuth 2 as RFC 6749, 6750, 7009 and 9470 have it', async () => {
    const { ask, backend } = wire('oauth2', {
      users: { carol: { password: 'secret', sub: '42' } },
      paths: { login: 'oauth/token' },
      // No second passes between the token's stamp and the answer.
      clock: { now: () => 1_800_000_000_000 },
    })
    const form = (members: Record<string, string>) => new URLSearchParams(members)
    const challenge = async (path: string, token?: string): Promise<unknown> => (await ask(path, token))[1]
    const code = { grant_type: 'authorization_code', code: 'carol' }
    const [status, , body] = await ask('oauth/token', undefined, form(code))
    expect([status, body]).toEqual([
      200,
      {
        access_token: expect.any(String),
        refresh_token: expect.any(String),
        token_type: 'Bearer',
        expires_in: 900,
      },
    ])
    const { refresh_token } = body as { refresh_token: string }
    const [, , renewed] = await ask(
      'oauth/token',
      undefined,
      form({ grant_type: 'refresh_token', refresh_token }),
    )
    const { access_token } = renewed as { access_token: string }
    expect(await challenge('protected')).toBe('Bearer realm="api"')
    expect(await challenge('fresh', access_token)).toBe(
      'Bearer error="insufficient_user_authentication", max_age=0',
    )
    backend.expireAccessTokens()
    expect(await challenge('protected', access_token)).toBe(
      'Bearer error="invalid_token", error_description="Token has expired"',
    )
    expect((await ask('revoke', undefined, form({ token: refresh_token })))[0]).toBe(200)
    expect((await ask('revoke', undefined, form({ token: 'none' })))[0]).toBe(200)
    for (const members of [
      { grant_type: 'refresh_token', refresh_token },
      { grant_type: 'authorization_code', code: 'nobody' },
      { grant_type: 'password', username: 'carol', password: 'x' },
    ]) {
      expect(await ask('oauth/token', undefined, form(members as never))).toEqual([
        400,
        null,
        { error: 'invalid_grant', error_description: expect.any(String) },
      ])
    }
    expect([backend.count('login'), backend.count('refresh'), backend.count('logout')]).toEqual([3, 2, 2])
  })
})

test('oauth2: a step-up is asked for with what the server wants, and the call goes out', async () => {
  const { auth, backend, credentials } = world('oauth2')
  await auth.setTokens(fakeTokens({ fresh: false }))
  const asked = vi.fn()
  auth.on('reauthRequired', ({ maxAge, waitUntil }) => {
    asked(maxAge)
    waitUntil(auth.reauthenticate(credentials))
  })
  expect((await auth.fetch('fresh')).status).toBe(200)
  expect(asked).toHaveBeenCalledExactlyOnceWith(0)
  expect(backend.timeline()).toMatchInlineSnapshot(`
    "GET /api/fresh   a1  → 401 stale
    POST /api/token      → 200 gives a2 (alice, fresh) r1
    GET /api/fresh   a2  → 200"
  `)
})

test('a dialect that is none is named', () => {
  expect(() => createBackend({ dialect: 'django' as never })).toThrow(
    'dialect: one of default, tutorial, simple-jwt, oauth2, not "django"',
  )
})
