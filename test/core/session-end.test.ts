/** What ends a session and what does not: refusals that tell nothing, late ones, those of a server that ends what it replaces. */
import { describe, expect, test, vi } from 'vitest'
import {
  bearer,
  createAuth,
  flaskJwt,
  flaskJwtCookies,
  memoryStore,
  oauth2,
  type Store,
} from '../../src/index.ts'
import { jwt, mint, ok, refuse, serve, stubPage } from './by-hand.ts'
import {
  alice,
  baseUrl,
  failure,
  hour,
  minute,
  pass,
  type Room,
  room,
  settle,
  summary,
  times,
  virtualTime,
} from './support.ts'

virtualTime()

describe('4: a session that is over beyond doubt is told as over', () => {
  const bare = () => new Response('{}', { status: 401, headers: { 'www-authenticate': 'Bearer' } })
  test.each([
    ['401 with a bare challenge, as FastAPI’s', bare, oauth2({ tokenEndpoint: 'login', clientId: 'web' })],
    ['401 that tells nothing', () => new Response(null, { status: 401 }), bearer()],
  ])('by a %s, to a token that has run out, with no refresh token', async (_, answer, backend) => {
    const server = serve(({ path }) =>
      path === '/login' ? ok({ access_token: 'opaque', expires_in: 60 }) : answer(),
    )
    const auth = createAuth({ baseUrl, backend: backend as never, fetch: server.fetch })
    const told: string[] = []
    auth.on('loggedOut', ({ reason }) => void told.push(reason))
    await auth.login({} as never)
    // Within its life it may be the route's.
    await auth.fetch('news')
    expect(auth.session).toMatchObject({ status: 'active' })
    await pass(2 * minute)
    await auth.fetch('news')
    expect([auth.session, told]).toEqual([null, ['session_expired']])
  })

  test('also for a route that has had a 401 in vain before', async () => {
    let locked = true
    const server = serve(({ path }) => {
      if (path === '/login' || (path === '/refresh' && locked))
        return ok({ access_token: mint('alice'), refresh_token: 'spare' })
      return new Response(null, { status: 401 })
    })
    const auth = createAuth({ baseUrl, backend: bearer(), fetch: server.fetch })
    await auth.login(alice)
    await auth.fetch('graphql')
    expect(auth.session).toMatchObject({ status: 'active' })
    locked = false
    await pass(20 * minute)
    await auth.fetch('graphql')
    expect(auth.session).toBeNull()
  })
})

describe('4: a route’s own 401, and a clock that is set ahead, end nothing', () => {
  test.each(['where the refresh token was refused', 'where it is spent'])('%s', async (how) => {
    const single = how === 'where it is spent'
    let [refuses, asked] = [false, 0]
    const server = serve(({ path }) => {
      if (path === '/login') return ok({ access_token: mint('alice'), refresh_token: 'spare' })
      if (path === '/refresh')
        return refuses ? refuse('Token has been revoked') : ok({ access_token: mint('alice') })
      if (path === '/odd' && single && ++asked === 2) vi.setSystemTime(Date.now() + 60 * minute)
      return path === '/odd' ? new Response(null, { status: 401 }) : ok()
    })
    const backend = flaskJwt({ refreshToken: single ? 'single-use' : 'reusable' })
    const auth = createAuth({ baseUrl, backend, fetch: server.fetch })
    await auth.login(alice)
    expect((await auth.fetch('odd')).status).toBe(401)
    if (!single) {
      refuses = true
      await auth.refresh()
      vi.setSystemTime(Date.now() + 60 * minute)
      expect((await auth.fetch('odd')).status).toBe(401)
    }
    await settle()
    expect(auth.session).toMatchObject({ status: 'active' })
  })

  test('4: nor does a 403, where the server prolongs a token while it is used', async () => {
    let status = 200
    const server = serve(({ path }) =>
      path === '/login'
        ? ok({ access_token: 'opaque', expires_in: 3600 })
        : Response.json({ error: 'forbidden' }, { status }),
    )
    const auth = createAuth({ baseUrl, backend: bearer(), fetch: server.fetch })
    await auth.login(alice)
    for (let count = 0; count < 10; count++) {
      await pass(10 * minute)
      expect((await auth.fetch('items')).status).toBe(200)
    }
    status = 403
    expect((await auth.fetch('admin')).status).toBe(403)
    expect(auth.session).not.toBeNull()
  })
})

describe('a 401 that tells nothing, to a token within its life, with no refresh token to find out with', () => {
  const signedIn = (routes: Record<string, number>) => {
    const server = serve(({ path }) => new Response(null, { status: routes[path] ?? 200 }))
    const initial = { accessToken: mint('alice') }
    return { ...room({ client: { backend: bearer(), fetch: server.fetch, initial } as never }), server }
  }

  test('4: may be about the route: it is handed back, and the session lives', async () => {
    const { auth, told, server } = signedIn({ '/password': 401 })
    for (const _ of times(3, Number)) {
      expect((await auth.fetch('password', { method: 'POST' })).status).toBe(401)
      expect((await auth.fetch('profile')).status).toBe(200)
    }
    expect([auth.session?.status, summary(told)]).toEqual(['active', []])
    expect(server.sent).toHaveLength(6)
  })

  test('is about the token where another route says the same, and a login is asked for', async () => {
    const { auth, told } = signedIn({ '/profile': 401, '/orders': 401 })
    expect((await auth.fetch('profile')).status).toBe(401)
    expect(auth.session).toMatchObject({ status: 'active' })
    expect((await auth.fetch('orders')).status).toBe(401)
    expect([auth.session, summary(told)]).toEqual([
      null,
      ['reauthRequired: session_expired', 'loggedOut: session_expired'],
    ])
  })

  test('is forgotten where it is taken somewhere: the next route that says so is the first', async () => {
    const { auth, told } = signedIn({ '/password': 401, '/admin': 401 })
    for (const path of ['password', 'profile', 'admin', 'profile', 'password']) await auth.fetch(path)
    expect([auth.session?.status, summary(told)]).toEqual(['active', []])
  })

  test('is another thing than one that names the token: a login is asked for', async () => {
    const { auth, told } = room({
      client: {
        initial: { accessToken: mint('alice') },
        fetch: async () => Response.json({ msg: 'Signature verification failed' }, { status: 422 }),
      },
    })
    expect((await auth.fetch('profile')).status).toBe(422)
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
  })

  test('is about the token where nobody knows how long that lives', async () => {
    const fetch = async () => new Response(null, { status: 401 })
    const { auth, told } = room({
      client: { backend: bearer(), fetch, initial: { accessToken: 'opaque' } } as never,
    })
    expect((await auth.fetch('profile')).status).toBe(401)
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
  })
})

describe('a server that ends the access token which it replaces', () => {
  const revokes = (bench: Room): void => {
    const { access } = bench.inHand()
    bench.backend.revoke(access)
  }

  test.each(['auth', 'other'] as const)(
    '4: does not end the session while it is refreshed: by a call of %s',
    async (who) => {
      const bench = room()
      await bench.signIn()
      const { auth, another, told, hold } = bench
      const { auth: other } = another()
      await other.ready
      const exchange = hold('refresh')
      const refresh = auth.refresh()
      await settle()
      revokes(bench)
      const call = { auth, other }[who].fetch('protected')
      await settle()
      exchange.release()
      expect((await call).status).toBe(200)
      await refresh
      expect(summary(told)).toEqual(['tokenRefreshed: requested'])
      expect([auth.session?.version, other.session?.version]).toEqual([2, 2])
      expect(bench.routes().filter((route) => route === 'refresh')).toHaveLength(1)
    },
  )

  test('4: nor where the answer to the refresh was lost', async () => {
    const bench = room()
    await bench.signIn()
    const { auth, backend } = bench
    backend.fault('refresh', 'drop-after')
    expect(await failure(auth.refresh())).toMatchObject({ code: 'refresh_unavailable' })
    revokes(bench)
    await pass(minute)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(auth.session).toMatchObject({ version: 2, status: 'active' })
  })

  test.each([403, 404])('asks, where a refresh says a plain no by a %i', async (status) => {
    const bench = room()
    await bench.signIn()
    const { auth, backend, told } = bench
    backend.fault('refresh', 'drop-after')
    await failure(auth.refresh())
    revokes(bench)
    told.length = 0
    backend.fault('refresh', { status, body: { msg: 'No such thing' } })
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(summary(told)).toEqual([
      'refreshFailed: status',
      'reauthRequired: token_revoked',
      'loggedOut: token_revoked',
    ])
  })

  test.each([408, 421, 425])('4: but not by a %i, which says nothing of the token', async (status) => {
    const bench = room()
    await bench.signIn()
    const { auth, backend } = bench
    backend.fault('refresh', 'drop')
    await failure(auth.refresh())
    revokes(bench)
    backend.fault('refresh', { status })
    expect(await failure(auth.fetch('protected'))).toMatchObject({ code: 'refresh_unavailable' })
    await pass(minute)
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('asks at once, with no refresh token left', async () => {
    const bench = room()
    await bench.signIn()
    const { auth, backend, told } = bench
    backend.fault('refresh', 'drop-after')
    await failure(auth.refresh())
    backend.revoke(bench.inHand().refresh)
    await auth.refresh().catch(() => {})
    revokes(bench)
    told.length = 0
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(summary(told)).toEqual(['reauthRequired: token_revoked', 'loggedOut: token_revoked'])
  })

  test('but one that is revoked by itself does', async () => {
    const bench = room()
    await bench.signInStale()
    revokes(bench)
    expect((await bench.auth.fetch('protected')).status).toBe(401)
    expect(bench.auth.session).toBeNull()
    expect(bench.routes()).not.toContain('refresh')
  })
})

test('4: a HEAD that is turned down, of which nobody can say why, ends no session: the next route may tell', async () => {
  const { auth, told } = room({
    client: {
      fetch: async (_, init) => new Response(null, { status: init?.method === 'HEAD' ? 401 : 200 }),
      initial: { accessToken: jwt({ sub: 'alice' }) },
    },
  })
  expect((await auth.fetch('admin', { method: 'HEAD' })).status).toBe(401)
  expect((await auth.fetch('items')).status).toBe(200)
  expect([auth.session?.subject, summary(told)]).toEqual(['alice', []])
})

test('4: with tokens in cookies a call that leaves them out says nothing of the session', async () => {
  const page = stubPage()
  const server = serve(({ path }) => {
    if (path !== '/login') return refuse('Missing cookie "access_token_cookie"')
    page.cookie = 'csrf_access_token=a1'
    return ok({ sub: 'alice' })
  })
  const auth = createAuth({ baseUrl, backend: flaskJwtCookies({ refresh: false }), fetch: server.fetch })
  await auth.login(alice)
  for (const call of [
    () => auth.fetch('items', { credentials: 'omit' }),
    () => auth.fetch(new Request(`${baseUrl}items`, { credentials: 'omit' })),
  ]) {
    expect((await call()).status).toBe(401)
    expect(auth.session).toMatchObject({ subject: 'alice' })
  }
  expect(server.sent).toHaveLength(3)
})

test('12: a refused refresh ends no session whose token has run out only by a clock that jumped', async () => {
  const { auth, backend, signIn, inHand } = room()
  await signIn()
  const { access } = inHand()
  await pass(5 * minute)
  vi.setSystemTime(Date.now() + 5 * hour)
  backend.advance(-5 * hour)
  backend.fault('refresh', { status: 401, body: { msg: 'Token has been revoked' } })
  expect(await auth.getAccessToken()).toBe(access)
  expect(auth.session).toMatchObject({ subject: 'alice', status: 'active' })
  expect((await auth.fetch('protected')).status).toBe(200)
})

describe('12: a late 401, a newer token that has run out by a clock that jumped, and no refresh token for another', () => {
  test.each([
    ['goes out with it, and the session lives', 1, 200, []],
    [
      'goes out with it, and where the server turns it down as well the session is over',
      2,
      401,
      ['reauthRequired: session_expired', 'loggedOut: session_expired'],
    ],
  ])('%s', async (_, turnedDown, status, events) => {
    const { auth, backend, signIn, hold, told } = room()
    await signIn()
    backend.fault('protected', { status: 401, body: { msg: 'Token has expired' } }, { times: turnedDown })
    const late = hold('protected', 'answer')
    const call = auth.fetch('protected')
    await settle()
    expect(late.held()).toBe(true)
    await auth.refresh()
    vi.setSystemTime(Date.now() + 5 * hour)
    backend.advance(-5 * hour)
    backend.fault('refresh', { status: 401, body: { msg: 'Token has been revoked' } })
    told.length = 0
    late.release()
    expect((await call).status).toBe(status)
    expect(summary(told)).toEqual(events)
    expect(backend.count('protected')).toBe(2)
  })
})

test('4: a fresh token that is turned down on a replay ends no session that has a refreshed one beside it', async () => {
  const { auth, backend, hold, tokens, told } = room({
    server: { refresh: 'single-use' },
    preset: { refreshToken: 'single-use' },
  })
  await auth.login(alice)
  backend.fault('protected', { status: 401, body: { msg: 'Token has expired' } }, { times: 2 })
  const late = hold('protected', 'answer')
  const call = auth.fetch('protected')
  await settle()
  await auth.login(alice)
  await auth.refresh()
  told.length = 0
  late.release()
  expect((await call).status).toBe(401)
  expect(auth.session).toMatchObject({ status: 'active' })
  expect((await auth.fetch('protected')).status).toBe(200)
  expect(tokens('protected')).toHaveLength(3)
  expect(summary(told)).toEqual([])
})

test('4: a session that begins as the last one’s refresh is refused is not asked about, in whatever microtask', async () => {
  for (let microtasks = 0; microtasks < 24; microtasks++) {
    const inner = memoryStore() as Required<Store>
    let next: Promise<unknown> | undefined
    const begin = async (): Promise<void> => {
      for (let count = 0; count < microtasks; count++) await null
      await auth.setTokens({ refreshToken: 'second' })
    }
    const store: Store = {
      ...inner,
      commit(record, expected) {
        const cell = inner.commit(record, expected)
        // What was refused is gone: that is being told to who asked for it.
        if (!('ended' in record) && !record.refreshToken) next ??= begin()
        return cell
      },
    }
    const { auth } = room({
      client: {
        store,
        fetch: serve(() => refuse('Token has been revoked')).fetch,
        initial: { refreshToken: 'first' },
      },
    })
    await auth.getAccessToken().catch(() => {})
    await next
    expect(auth.session).toMatchObject({ status: 'active' })
  }
})
