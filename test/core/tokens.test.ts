import { describe, expect, test, vi } from 'vitest'
import { createAuth, flaskJwt, isAuthError, memoryStore, type Tokens } from '../../src/index.ts'
import { createBackend, fakeTokens } from '../../src/testing/index.ts'
import { jwt, mint, ok, refuse, serve } from './by-hand.ts'
import {
  alice,
  baseUrl,
  bob,
  deferred,
  failure,
  minute,
  pass,
  reported,
  room,
  second,
  settle,
  start,
  statuses,
  summary,
  times,
  virtualTime,
} from './support.ts'

virtualTime()

/** A server whose tokens say nothing: `access-1`, `access-2`, …, each good for a minute. */
function opaqueServer(expiresIn?: number): { fetch: typeof fetch; calls: string[]; expire(): void } {
  let generation = 1
  let until = Date.now() + minute
  const calls: string[] = []
  return {
    calls,
    expire: () => {
      until = 0
    },
    async fetch(input, init) {
      const token = new Headers(init?.headers).get('authorization')
      const { pathname } = new URL(String(input))
      calls.push(`${pathname} ${token}`)
      if (pathname === '/refresh') {
        if (token !== 'Bearer refresh')
          return Response.json({ msg: 'Token has been revoked' }, { status: 401 })
        generation++
        until = Date.now() + minute
        return Response.json({ access_token: `access-${generation}`, expires_in: expiresIn })
      }
      const good = token === `Bearer access-${generation}` && Date.now() < until
      return good ? Response.json({}) : Response.json({ msg: 'Token has expired' }, { status: 401 })
    },
  }
}

describe('initial tokens', () => {
  test('are a session from the start, and a request goes out with them in the same tick', async () => {
    const backend = createBackend({ signer: 'fast' })
    const tokens = await backend.signIn('alice')
    const { auth, told } = room({
      client: {
        initial: { accessToken: tokens.accessToken, refreshToken: tokens.refreshToken },
        fetch: backend.fetch as typeof fetch,
      },
    })
    expect(auth.session).toMatchObject({ subject: 'alice', version: 1, status: 'active' })
    const response = auth.fetch('protected')
    expect(backend.log.map(({ token }) => token?.token)).toEqual([tokens.accessToken])
    expect((await response).status).toBe(200)
    expect(told).toEqual([])
  })

  test('a refresh token alone will do: the first requests share one refresh', async () => {
    const backend = createBackend({ signer: 'fast' })
    const { refreshToken } = await backend.signIn('alice')
    const { auth } = room({ client: { initial: { refreshToken }, fetch: backend.fetch as typeof fetch } })
    expect(auth.session).toMatchObject({ version: 1, fresh: false, expiresAt: undefined, claims: {} })
    expect(await statuses(times(5, () => auth.fetch('protected')))).toEqual([200, 200, 200, 200, 200])
    expect(backend.log.map(({ route }) => route)).toEqual(['refresh', ...times(5, () => 'protected')])
    expect(auth.session).toMatchObject({ version: 2, subject: 'alice' })
  })

  test('5: of which the user signs out at once are revoked, each once', async () => {
    const backend = createBackend({ signer: 'fast' })
    const { accessToken, refreshToken } = await backend.signIn('alice')
    const { auth } = room({
      client: { initial: { accessToken, refreshToken }, fetch: backend.fetch as typeof fetch },
    })
    await auth.logout()
    await pass(minute)
    expect(backend.log.map(({ method, token }) => [method, token?.token])).toEqual([
      ['DELETE', refreshToken],
      ['DELETE', accessToken],
    ])
  })

  test('do not take the place of a session that the store holds', async () => {
    const { auth, backend, store, another, signIn } = room()
    await signIn()
    const tokens = await backend.signIn('bob')
    const { auth: second, told } = another({ initial: tokens })
    expect(second.session).toEqual(auth.session)
    expect(told).toEqual([])
    expect(store.read()).toMatchObject({ record: { subject: 'alice' } })
  })

  test('do not bring back what was ended', async () => {
    const { auth, backend, another } = room()
    await auth.login(alice)
    await auth.logout()
    const { auth: second } = another({ initial: await backend.signIn('alice') })
    expect(second.session).toBeNull()
    backend.clearLog()
    expect((await second.fetch('protected')).status).toBe(401)
    expect(backend.log.map(({ token }) => token)).toEqual([undefined])
  })

  test('that are stale are refreshed before they are used', async () => {
    const backend = createBackend({ signer: 'fast' })
    const { accessToken, refreshToken } = await backend.signIn('alice')
    await pass(16 * minute)
    const { auth } = room({
      client: { initial: { accessToken, refreshToken }, fetch: backend.fetch as typeof fetch },
    })
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(backend.log.map(({ route }) => route)).toEqual(['refresh', 'protected'])
  })

  test.each<[string, object]>([
    ['an empty one', { accessToken: '' }],
    ['one that is no string', { accessToken: 7 }],
    ['one that does not fit into a header', { accessToken: 'two\r\nlines' }],
    ['a bad refresh token', { accessToken: 'good', refreshToken: 'not good' }],
    ['none at all', {}],
  ])('are checked at the entrance: %s', (_, initial) => {
    const make = (): unknown => createAuth({ baseUrl, backend: flaskJwt(), initial: initial as Tokens })
    expect(make).toThrow(TypeError)
    try {
      make()
    } catch (error) {
      expect(isAuthError(error, 'invalid_token')).toBe(true)
      expect(String(error)).not.toContain('lines')
      expect(String(error)).not.toContain('not good')
    }
  })
})

describe('setTokens', () => {
  test('makes a new session from tokens got elsewhere', async () => {
    const { auth, backend, told, tokens } = room()
    const { accessToken, refreshToken } = await backend.signIn('alice')
    const session = await auth.setTokens({ accessToken, refreshToken })
    expect(session).toMatchObject({ subject: 'alice', version: 1 })
    expect(told).toEqual([{ type: 'loggedIn', reason: 'set_tokens', origin: 'this context', session }])
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(tokens('protected')).toEqual([accessToken])
    await auth.refresh()
    expect(tokens('refresh')).toEqual([refreshToken])
  })

  test('takes claims as they are at the call, and leaves the caller his own', async () => {
    const { auth } = room()
    const roles = ['reader']
    const claims = { sub: 'alice', roles }
    await auth.setTokens({ accessToken: 'opaque', claims })
    claims.sub = 'bob'
    roles.push('admin')
    expect(auth.session?.claims).toEqual({ sub: 'alice', roles: ['reader'] })
    await auth.setTokens({ accessToken: 'another', claims })
    expect(auth.session?.subject).toBe('bob')
  })

  test.each<[string, () => unknown]>([
    ['null', () => null],
    ['a text', () => 'alice'],
    ['a function', () => () => {}],
    ['a number that JSON can not hold', () => ({ sub: 1n })],
    [
      'an object that leads back to itself',
      () => {
        const claims: Record<string, unknown> = { sub: 'bob' }
        claims.self = claims
        return claims
      },
    ],
  ])('with claims that are %s changes nothing', async (_, claims) => {
    const { auth, told, signIn } = room()
    await signIn()
    const before = auth.session
    const error = await failure(auth.setTokens({ accessToken: 'opaque', claims: claims() as never }))
    expect(error).toMatchObject({ code: 'invalid_token', field: 'setTokens.claims' })
    expect(auth.session).toBe(before)
    expect(told).toEqual([])
  })

  test('with a token whose claims are nested beyond reason takes it for an opaque one', async () => {
    const { auth } = room()
    const deep = `{"sub":"alice","deep":${'['.repeat(50_000)}${']'.repeat(50_000)}}`
    const session = await auth.setTokens({ accessToken: `e30.${btoa(deep).replace(/=+$/, '')}.e30` })
    expect(session).toMatchObject({ subject: undefined, claims: {} })
    expect(auth.session).toBe(session)
  })

  test.each(['"alice"', '["alice"]', 'true', '5'])(
    'with a token whose payload is %s takes it for one without claims',
    async (payload) => {
      const { auth } = room()
      const session = await auth.setTokens({ accessToken: `e30.${btoa(payload).replace(/=+$/, '')}.e30` })
      expect(session).toMatchObject({ subject: undefined, claims: {} })
      expect(Object.keys(session.claims)).toEqual([])
    },
  )

  test('takes the place of another user', async () => {
    const { auth, backend, told, signIn } = room()
    await signIn()
    await auth.setTokens(await backend.signIn('bob'))
    expect(summary(told)).toEqual(['loggedOut: replaced', 'loggedIn: set_tokens'])
  })

  test('with bad tokens changes nothing', async () => {
    const { auth, told, signIn } = room()
    await signIn()
    const before = auth.session
    expect(await failure(auth.setTokens({ accessToken: 'no good' }))).toMatchObject({ code: 'invalid_token' })
    expect(await failure(auth.setTokens(undefined as never))).toMatchObject({ code: 'invalid_token' })
    expect(auth.session).toBe(before)
    expect(told).toEqual([])
  })

  test('without a refresh token the session ends with its access token', async () => {
    const { auth, backend, told, routes } = room()
    const { accessToken } = await backend.signIn('alice')
    await auth.setTokens({ accessToken })
    expect((await auth.fetch('protected')).status).toBe(200)
    await pass(16 * minute)
    const response = await auth.fetch('protected')
    expect([response.status, await response.json()]).toEqual([401, { msg: 'Token has expired' }])
    expect(summary(told)).toEqual([
      'loggedIn: set_tokens',
      'reauthRequired: session_expired',
      'loggedOut: session_expired',
    ])
    expect(routes()).not.toContain('refresh')
  })
})

describe('getAccessToken', () => {
  test('with one that was turned down, and no refresh token to get another by, asks for the password', async () => {
    const { auth, backend, told } = room()
    const { accessToken } = await backend.signIn('alice')
    await auth.setTokens({ accessToken })
    told.length = 0
    expect(await auth.getAccessToken({ rejected: accessToken })).toBeNull()
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
  })

  test('is null with nobody signed in, and nothing is sent', async () => {
    const { auth, backend } = room()
    expect(await auth.getAccessToken()).toBeNull()
    expect(await auth.getAccessToken({ minValidity: minute, rejected: 'x' })).toBeNull()
    expect(backend.count()).toBe(0)
  })

  test('gives the token in hand while it is good', async () => {
    const { auth, signIn, inHand, backend } = room()
    await signIn()
    expect(await auth.getAccessToken()).toBe(inHand().access)
    expect(backend.count()).toBe(0)
  })

  test('makes one of a refresh token alone', async () => {
    const { auth, backend } = room()
    const { refreshToken } = await backend.signIn('alice')
    await auth.setTokens({ refreshToken })
    const token = await auth.getAccessToken({ rejected: 'another' })
    expect(backend.isHonoured(token ?? '')).toBe(true)
    expect(backend.count('refresh')).toBe(1)
  })

  test('makes it good first where it has expired; many ask, one refreshes', async () => {
    const { auth, backend, signIn, inHand } = room()
    await signIn()
    await pass(16 * minute)
    const given = await Promise.all(times(10, () => auth.getAccessToken()))
    expect(new Set(given)).toEqual(new Set([inHand().access]))
    expect(backend.isHonoured(given[0] ?? '')).toBe(true)
    expect(backend.count('refresh')).toBe(1)
  })

  test('waits for a dialog that is open, as a call does: what is in hand was turned down', async () => {
    const { auth, backend, signIn, inHand } = room()
    await signIn()
    const revoked = inHand().access
    backend.revoke({ sub: 'alice' })
    const gate = deferred()
    auth.on('reauthRequired', ({ waitUntil }) =>
      waitUntil(gate.promise.then(() => auth.reauthenticate(alice))),
    )
    const call = auth.fetch('protected')
    await settle()
    const token = auth.getAccessToken()
    await settle()
    gate.resolve()
    expect(await token).toBe(inHand().access)
    expect(await token).not.toBe(revoked)
    expect((await call).status).toBe(200)
  })

  test('gives none where the dialog that was open is dismissed', async () => {
    const { auth, backend, signIn, told } = room()
    await signIn()
    backend.revoke({ sub: 'alice' })
    const gate = deferred()
    auth.on('reauthRequired', ({ waitUntil }) => waitUntil(gate.promise))
    void auth.fetch('protected')
    await settle()
    const token = auth.getAccessToken()
    await settle()
    gate.resolve()
    expect(await token).toBeNull()
    expect(summary(told)).toEqual(['reauthRequired: token_revoked', 'loggedOut: token_revoked'])
  })

  test('goes on to a refresh token that came while it waited for one', async () => {
    const gate = deferred()
    let asked = 0
    const server = serve(async () => {
      if (!asked++) await gate.promise
      return ok({ access_token: mint('alice') })
    })
    const { auth } = room({ client: { fetch: server.fetch } })
    const refreshToken = jwt({ sub: 'alice', iat: start / 1000, exp: start / 1000 + 900 })
    await auth.setTokens({ refreshToken })
    const token = auth.getAccessToken()
    await settle()
    await auth.setTokens({ refreshToken })
    gate.resolve()
    expect(await token).toBeTypeOf('string')
  })

  test('gives one that is valid for as long as asked', async () => {
    const { auth, backend, signInStale } = room()
    await signInStale()
    await pass(10 * minute)
    const first = await auth.getAccessToken({ minValidity: 4 * minute })
    expect(backend.count('refresh')).toBe(0)
    const second = await auth.getAccessToken({ minValidity: 6 * minute })
    expect(backend.count('refresh')).toBe(1)
    expect(second).not.toBe(first)
    expect(await auth.getAccessToken({ minValidity: 6 * minute })).toBe(second)
    expect(backend.count('refresh')).toBe(1)
  })

  test('13: gives one that is valid for as long as asked, for one refresh, though a fresh one is in use', async () => {
    const { auth, backend, signIn, inHand } = room()
    await signIn()
    await pass(10 * minute)
    const given = [
      await auth.getAccessToken({ minValidity: 6 * minute }),
      await auth.getAccessToken({ minValidity: 6 * minute }),
    ]
    expect(backend.count('refresh')).toBe(1)
    expect(given).toEqual([inHand().access, inHand().access])
    // Requests go on with the fresh one.
    expect((await auth.fetch('fresh')).status).toBe(200)
  })

  test('asked for more than a whole life gives the best there is, for one refresh', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await pass(minute)
    const token = await auth.getAccessToken({ minValidity: 60 * minute })
    expect(backend.isHonoured(token ?? '')).toBe(true)
    expect(backend.count('refresh')).toBe(1)
  })

  test('with one that a server turned down refreshes it, once', async () => {
    const { auth, backend, told, signIn, inHand } = room()
    await signIn()
    const rejected = inHand().access
    const given = await Promise.all(times(5, () => auth.getAccessToken({ rejected })))
    expect(new Set(given)).toEqual(new Set([inHand().access]))
    expect(given[0]).not.toBe(rejected)
    expect(backend.count('refresh')).toBe(1)
    expect(told).toHaveLength(1)
  })

  test('2: with one that was turned down late gives the token in hand and refreshes nothing', async () => {
    const { auth, backend, signInStale, inHand } = room()
    await signInStale()
    const rejected = inHand().access
    await auth.refresh()
    backend.clearLog()
    const token = await auth.getAccessToken({ rejected })
    expect(token).not.toBe(rejected)
    expect(token).toBe(inHand().access)
    expect(backend.count()).toBe(0)
  })

  test('fails with refresh_unavailable where it can not be made good', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await pass(16 * minute)
    backend.fault('refresh', { status: 500 })
    expect(await failure(auth.getAccessToken())).toMatchObject({ code: 'refresh_unavailable' })
    expect(await auth.getAccessToken()).toEqual(expect.any(String))
  })

  test('never gives one again that a server turned down, though it could not be replaced', async () => {
    const { auth, backend, signIn, inHand } = room()
    await signIn()
    const rejected = inHand().access
    backend.fault('refresh', { status: 500 }, { times: 2 })
    for (const options of [{ rejected }, {}]) {
      expect(await failure(auth.getAccessToken(options))).toMatchObject({ code: 'refresh_unavailable' })
    }
    await pass(minute)
    expect(await auth.getAccessToken()).not.toBe(rejected)
  })

  test('asked for a longer life that can not be had gives the valid one', async () => {
    const { auth, backend, signIn, inHand } = room()
    await signIn()
    await pass(10 * minute)
    backend.fault('refresh', { status: 500 })
    expect(await auth.getAccessToken({ minValidity: 10 * minute })).toBe(inHand().access)
  })

  test('is null once the refresh was refused and nobody helped', async () => {
    const { auth, backend, told, signIn } = room()
    await signIn()
    await pass(16 * minute)
    backend.revoke({ sub: 'alice' })
    expect(await auth.getAccessToken()).toBeNull()
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
  })

  test('waits for the password, and gives the token that came of it', async () => {
    const { auth, backend, signIn, inHand } = room()
    await signIn()
    await pass(16 * minute)
    backend.revoke({ sub: 'alice' })
    auth.on('reauthRequired', (event) => event.waitUntil(auth.reauthenticate(alice)))
    expect(await auth.getAccessToken()).toBe(inHand().access)
  })

  test('5: is null to who asked just before a logout', async () => {
    const { auth, signIn } = room()
    await signIn()
    const given = auth.getAccessToken()
    void auth.logout()
    expect(await given).toBeNull()
  })

  test('6: never gives one user’s caller the token of another', async () => {
    const { auth, signIn, hold } = room()
    await signIn()
    await pass(16 * minute)
    const held = hold('refresh')
    const waiting = failure(auth.getAccessToken())
    await settle()
    await auth.login(bob)
    held.release()
    expect(await waiting).toMatchObject({ code: 'session_changed' })
  })
})

describe('refresh()', () => {
  test('gives the session with its new version', async () => {
    const { auth, signIn, backend } = room()
    await signIn()
    const id = auth.session?.id
    expect(await auth.refresh()).toMatchObject({ id, version: 2 })
    expect(backend.count('refresh')).toBe(1)
  })

  test('1: shares its exchange with whatever else wants one', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await pass(16 * minute)
    await Promise.all([
      ...times(5, () => auth.refresh()),
      ...times(5, () => auth.fetch('protected')),
      auth.getAccessToken(),
    ])
    expect(backend.count('refresh')).toBe(1)
    expect(auth.session).toMatchObject({ version: 2 })
  })

  test('fails with refresh_unavailable though the token is still valid', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.fault('refresh', { status: 500 })
    expect(await failure(auth.refresh())).toMatchObject({
      code: 'refresh_unavailable',
      retryAt: expect.any(Number),
    })
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('4: refused while the access token works: nobody is signed out, and the refresh token is dead', async () => {
    const { auth, backend, told, signIn, inHand } = room()
    await signIn()
    backend.revoke(inHand().refresh)
    await auth.refresh()
    await auth.refresh()
    expect(auth.session).toMatchObject({ version: 1, status: 'active' })
    expect(told).toEqual([])
    expect(inHand().refresh).toBe('')
    expect(backend.count('refresh')).toBe(1)
    expect((await auth.fetch('protected')).status).toBe(200)
    // At the end of the access token there is nothing left.
    await pass(16 * minute)
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
    expect(backend.count('refresh')).toBe(1)
  })

  test('with nobody signed in is not_signed_in, and sends nothing', async () => {
    const { auth, backend } = room()
    expect(await failure(auth.refresh())).toMatchObject({ code: 'not_signed_in' })
    expect(backend.count()).toBe(0)
  })
})

describe('12: the life of a token', () => {
  const now = start / second
  const whole = { iat: now, exp: now + 900 }

  test.each<[string, Record<string, unknown>, number | undefined, number]>([
    ['is what its claims tell, less a second for their whole seconds', whole, undefined, 899],
    [
      'is all of what its claims tell, where they tell fractions',
      { iat: now, exp: now + 0.5 },
      undefined,
      0.5,
    ],
    ['is what came along with it, where that is shorter', {}, 60, 60],
    ['is what its claims tell, where that is shorter', whole, 3600, 899],
    ['is what came along with it, where the token has no iat', { iat: undefined }, 60, 60],
    ['is what came along with it, where the token has no exp', { exp: undefined }, 60, 60],
    ['is what came along with it, where its exp is no number', { exp: 'soon' }, 60, 60],
  ])('%s', async (_, claims, expiresIn, seconds) => {
    const { auth } = room()
    await auth.setTokens({ ...fakeTokens({ claims }), expiresIn })
    expect(auth.session?.expiresAt).toBe(start + seconds * second)
  })

  test.each([0, 1, -900])(
    'that ends %s s after it began, cut to whole ones, says nothing',
    async (seconds) => {
      const { auth, told, routes } = room()
      await auth.setTokens(fakeTokens({ claims: { iat: now, exp: now + seconds } }))
      expect(auth.session?.expiresAt).toBeUndefined()
      told.length = 0
      await auth.fetch('open')
      expect(routes()).not.toContain('refresh')
    },
  )
})

describe('12: tokens that do not tell their life', () => {
  const initial = { accessToken: 'access-1', refreshToken: 'refresh' }

  test('opaque, with expiresIn: refreshed by it, before anything is turned down', async () => {
    const server = opaqueServer()
    const { auth } = room({ client: { fetch: server.fetch, refreshAhead: false } })
    await auth.setTokens({ ...initial, expiresIn: 60 })
    expect(auth.session).toMatchObject({ subject: undefined, claims: {}, fresh: false })
    await pass(59 * second)
    expect((await auth.fetch('x')).status).toBe(200)
    await pass(2 * second)
    expect((await auth.fetch('x')).status).toBe(200)
    expect(server.calls).toEqual(['/x Bearer access-1', '/refresh Bearer refresh', '/x Bearer access-2'])
  })

  test('opaque, without: a 401 tells', async () => {
    const server = opaqueServer()
    const { auth } = room({ client: { fetch: server.fetch } })
    await auth.setTokens(initial)
    expect(auth.session).toMatchObject({ expiresAt: undefined })
    await pass(24 * 60 * minute)
    expect((await auth.fetch('x')).status).toBe(200)
    expect(server.calls).toEqual(['/x Bearer access-1', '/refresh Bearer refresh', '/x Bearer access-2'])
  })

  test('opaque: the same user can not be known, so that nothing of one session goes out in another', async () => {
    const server = opaqueServer()
    const { auth } = room({ client: { fetch: server.fetch } })
    await auth.setTokens(initial)
    server.expire()
    const pending = auth.fetch('x')
    await auth.setTokens({ accessToken: 'access-9' })
    expect((await pending).status).toBe(401)
    expect(server.calls.filter((call) => call.startsWith('/x'))).toEqual(['/x Bearer access-1'])
  })

  test.each([
    ['alice', 'alice'],
    [42, '42'],
    // Beyond 2⁵³ a number was rounded when it was parsed.
    [2 ** 53, undefined],
    [1.5, undefined],
    ['', undefined],
    [true, undefined],
    [{ id: 1 }, undefined],
    [null, undefined],
  ])('6: a subject of %j is %j', async (sub, subject) => {
    const { auth } = room()
    await auth.setTokens(fakeTokens({ claims: { sub } as never }))
    expect(auth.session?.subject).toBe(subject)
  })

  test('a JWT that tells its end alone lasts until then, by our clock, in whichever context', async () => {
    let count = 0
    const server = serve(({ path }) => {
      const exp = Math.floor(Date.now() / 1000) + 900
      return path === '/x' ? ok() : ok({ access_token: jwt({ exp, jti: ++count }), refresh_token: 'refresh' })
    })
    const { auth, another } = room({ client: { fetch: server.fetch, refreshAhead: false } })
    await auth.login(alice)
    await pass(10 * minute)
    const { auth: other } = another()
    expect(other.session).toMatchObject({ expiresAt: start + 15 * minute })
    await pass(5 * minute - 1)
    for (const one of [auth, other]) await one.fetch('x')
    expect(server.tokens('/refresh')).toEqual([])
    await pass(1)
    for (const one of [auth, other]) await one.fetch('x')
    expect(server.tokens('/refresh')).toEqual(['refresh'])
  })

  test.each([
    ['ahead of all its life', 3600],
    ['ahead by just its life', 900],
  ])('12: one that tells its end alone is used until a 401 where our clock is %s', async (_, ahead) => {
    let count = 0
    let turned = ''
    const server = serve(({ path, token }) => {
      const exp = Math.floor(Date.now() / 1000) - ahead + 900
      if (path === '/x') return token === turned ? refuse('Token has expired') : ok()
      return ok({ access_token: jwt({ exp, jti: ++count }), refresh_token: 'refresh' })
    })
    const { auth, another } = room({ client: { fetch: server.fetch } })
    await auth.login(alice)
    const { auth: other } = another()
    for (const one of [auth, other, auth, other]) await one.fetch('x')
    expect(server.tokens('/refresh')).toEqual([])
    expect(auth.session).toMatchObject({ status: 'active', expiresAt: undefined })
    turned = server.tokens('/x').at(-1) ?? ''
    for (const one of [auth, other, auth, other]) expect((await one.fetch('x')).status).toBe(200)
    expect(server.tokens('/refresh')).toEqual(['refresh'])
  })

  test('one that tells its end alone, and is over when it is handed over, is refreshed before it is sent', async () => {
    const server = serve(() => ok({ access_token: mint('alice'), refresh_token: 'refresh' }))
    const { auth } = room({ client: { fetch: server.fetch } })
    const accessToken = jwt({ sub: 'alice', exp: start / 1000 - 1 })
    await auth.setTokens({ accessToken, refreshToken: 'refresh' })
    await auth.fetch('x')
    expect(server.sent.map(({ path }) => path)).toEqual(['/refresh', '/x'])
  })

  test('one that tells its end alone is not refreshed ahead before that is near', async () => {
    const server = serve(({ path }) =>
      path === '/x' ? ok() : ok({ access_token: jwt({ exp: start / 1000 + 900 }), refresh_token: 'refresh' }),
    )
    const { auth } = room({ client: { fetch: server.fetch } })
    await auth.login(alice)
    await pass(13 * minute)
    await auth.fetch('x')
    expect(server.tokens('/refresh')).toEqual([])
    await pass(1.1 * minute)
    await auth.fetch('x')
    await settle()
    expect(server.tokens('/refresh')).toEqual(['refresh'])
  })

  test('a JWT without exp is used for ever, and refreshed on a 401', async () => {
    const { auth, backend, signIn, routes } = room({ server: { accessLifetime: null } })
    await signIn()
    await pass(90 * 24 * 60 * minute)
    backend.settings.refreshLifetime = null
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(routes()).toEqual(['protected'])
    expect(auth.session).toMatchObject({ expiresAt: undefined })
  })

  test('a JWT without exp that is turned down is refreshed', async () => {
    const { auth, backend, signIn, routes } = room({ server: { accessLifetime: null } })
    await signIn()
    backend.expireAccessTokens()
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(routes()).toEqual(['protected', 'refresh', 'protected'])
  })

  test('tokens in a shared store keep their age in another context', async () => {
    const store = memoryStore()
    const { auth, backend, another } = room({ client: { store } })
    await auth.login(alice)
    await pass(16 * minute)
    backend.clearLog()
    const { auth: second } = another()
    expect((await second.fetch('protected')).status).toBe(200)
    expect(backend.log.map(({ route }) => route)).toEqual(['refresh', 'protected'])
  })
})

describe('12: a token whose refresh is refused is not thought to have run out', () => {
  const refused = { status: 401, body: { msg: 'Token has been revoked' } }

  test('before its whole life is over: the second that it was cut by is given back', async () => {
    const { auth, backend, told, signIn, inHand } = room({ client: { refreshAhead: false } })
    await signIn()
    backend.fault('refresh', refused)
    await pass(15 * minute - 1)
    expect(await auth.getAccessToken()).toBe(inHand().access)
    expect(summary(told)).toEqual([])
    await pass(1)
    expect(await auth.getAccessToken()).toBeNull()
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
  })

  test('by the stamp of whoever issued it, where nobody knows when it came', async () => {
    const { auth, backend, told } = room()
    const accessToken = mint('alice', { iat: start / 1000 - 3600, exp: start / 1000 - 2700 })
    await auth.setTokens({ accessToken, refreshToken: 'refresh' })
    told.length = 0
    backend.fault('refresh', refused)
    expect(await auth.getAccessToken()).toBe(accessToken)
    expect(summary(told)).toEqual([])
  })
})

test('a subject that a refresh changes is not believed: the session stays, and the tokens are revoked', async () => {
  reported()
  const { auth, backend, told, signIn, inHand } = room()
  await signIn()
  const before = inHand()
  const { accessToken } = await backend.signIn('bob')
  backend.fault('refresh', { status: 200, body: { access_token: accessToken } })
  expect(await failure(auth.refresh())).toMatchObject({
    code: 'refresh_unavailable',
    cause: { message: 'The refresh brought another subject' },
  })
  expect(told).toMatchObject([{ type: 'refreshFailed', reason: 'bad_answer' }])
  await settle()
  expect(inHand()).toEqual(before)
  expect(auth.session).toMatchObject({ subject: 'alice', version: 1 })
  expect(backend.isHonoured(accessToken)).toBe(false)
})

test('a token that a server turned down before a logout is a new one when it is set after it', async () => {
  const token = mint('alice')
  let good = false
  const server = serve((sent) => {
    if (sent.path === '/refresh') return ok({ access_token: mint('alice') })
    return good || sent.token !== token ? ok() : refuse('Token has expired')
  })
  const { auth } = room({ client: { fetch: server.fetch } })
  const tokens = { accessToken: token, refreshToken: 'spare' }
  await auth.setTokens(tokens)
  await auth.fetch('items')
  expect(server.tokens('/refresh')).toHaveLength(1)
  await auth.logout({ revoke: false })
  good = true
  await auth.setTokens(tokens)
  await auth.fetch('items')
  expect([server.tokens('/items').at(-1), server.tokens('/refresh').length]).toEqual([token, 1])
})

test('a token is decoded once, whoever asks what it says', async () => {
  const { auth, backend } = room()
  await auth.login(alice)
  backend.expireAccessTokens()
  const decode = vi.spyOn(globalThis, 'atob')
  await auth.fetch('protected')
  // Of the new access token, whose payload alone is looked into.
  expect(decode).toHaveBeenCalledTimes(1)
})
