/** What servers, stores and networks at their oddest brought to light, each in the smallest order that shows it. */
import { describe, expect, test, vi } from 'vitest'
import {
  bearer,
  type Cell,
  createAuth,
  flaskJwt,
  type LiveRecord,
  memoryStore,
  oauth2,
  type Store,
  type StoreRecord,
} from '../../src/index.ts'
import { createKy } from '../../src/ky.ts'
import { noticeOf } from '../../src/stores/record.ts'
import { handStore, jwt, mint, ok, refuse, serve } from './by-hand.ts'
import {
  alice,
  baseUrl,
  bob,
  type Client,
  deferred,
  failure,
  minute,
  pass,
  reported,
  room,
  second,
  settle,
  start,
  summary,
  times,
  virtualTime,
} from './support.ts'

virtualTime()

const hour = 60 * minute

describe('a store that falls back to the session before', () => {
  const lose = async (user: typeof alice, how: 'rolled back' | 'written back') => {
    const { auth: first, another, store, backend } = room({ server: { refresh: 'rotating' } })
    const cell = store as Required<Store>
    const rewrite = async (make: (now: StoreRecord) => StoreRecord): Promise<void> => {
      const { record: now } = await cell.read()
      await cell.commit(make(now as StoreRecord), now?.revision ?? null)
    }
    await first.login(alice)
    const { record: before } = await cell.read()
    await pass(minute)
    const { auth } = another()
    await auth.ready
    await auth.login(user)
    // By a failover that had not copied the last login; or by who had not heard of it.
    await rewrite(() => ({ ...(before as StoreRecord), revision: how }))
    await settle()
    return { auth, first, cell, backend }
  }

  test.each([
    ['another user', bob, 'rolled back'],
    ['the same user', alice, 'rolled back'],
    ['another user', bob, 'written back'],
  ] as const)('is given the one that replaced it again: %s', async (_, user, how) => {
    const { auth, first, cell } = await lose(user, how)
    for (const later of [0, 20 * minute, 24 * hour]) {
      await pass(later)
      const { status } = await auth.fetch('protected')
      expect([status, auth.session?.subject]).toEqual([200, user.username])
    }
    await first.fetch('protected')
    const { record: stands } = await cell.read()
    expect([stands?.id, first.session?.id]).toEqual([auth.session?.id, auth.session?.id])
  })

  test('and one that was called later after all is taken on', async () => {
    const store = handStore()
    const { auth, told } = room({ client: { store } })
    await auth.login(alice)
    const before = store.record as LiveRecord
    await pass(minute)
    await auth.login(bob)
    const { calledAt } = store.record as LiveRecord
    store.record = { ...before, calledAt: calledAt + 1, revision: 'theirs' }
    told.length = 0
    store.notify({ id: before.id, version: 1, revision: 'theirs', calledAt: calledAt + 1 })
    await settle()
    expect([auth.session?.subject, store.record.revision]).toEqual(['alice', 'theirs'])
    expect(summary(told)).toEqual(['loggedOut: replaced (elsewhere)', 'loggedIn: login (elsewhere)'])
  })
})

describe('10: a store that falls back from one login to another of the same millisecond', () => {
  const fallen = async () => {
    const store = handStore()
    const { auth } = room({ client: { store } })
    await auth.login(alice)
    const before = store.record as LiveRecord
    const { id } = await auth.login(bob)
    return { auth, store, back: { ...before, revision: 'back' }, id }
  }

  test('is not written over, as nobody else can know which was the later one, and is read once', async () => {
    const { auth, store, back, id } = await fallen()
    store.record = back
    let reads = 0
    const { read } = store
    // Who reads for ever would keep the test from its end.
    store.read = () => (++reads > 20 ? new Promise(() => {}) : read())
    store.notify()
    await pass(second)
    expect([auth.session?.id, store.record?.revision, reads]).toEqual([id, 'back', 1])
  })

  test('nor is it where that came about while lost data was to be written back', async () => {
    const { auth, store, back, id } = await fallen()
    store.record = null
    const writing = store.gate('commit')
    store.notify()
    await settle()
    expect(writing.reached()).toBe(true)
    store.record = back
    writing.open()
    await pass(second)
    expect([auth.session?.id, store.record?.revision]).toEqual([id, 'back'])
  })
})

test('5: a store that falls back to the end of the session before is believed by a password', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  const { id, version, calledAt } = store.record as LiveRecord
  await pass(minute)
  await auth.login(bob)
  store.record = { id, version, calledAt, ended: 'logout', revision: 'theirs' }
  expect(await failure(auth.reauthenticate(bob))).toMatchObject({ code: 'session_changed' })
  expect([auth.session, store.record.revision]).toEqual([null, 'theirs'])
})

describe('11: what has moved on unheard of, and has run out since, is no token to go with', () => {
  /** A context that has not heard of a refresh elsewhere, whose token has run out, too. */
  const behind = async () => {
    const { auth, another, backend, routes } = room({
      server: { accessLifetime: 5 * minute, refresh: 'rotating' },
      client: { store: { ...memoryStore(), watch: undefined } as never },
    })
    await auth.login(alice)
    const { auth: other } = another()
    await other.ready
    await pass(4 * minute)
    await other.refresh()
    await pass(hour)
    backend.clearLog()
    return { auth, backend, routes }
  }
  const stream = (): RequestInit =>
    ({
      method: 'POST',
      body: new Response('x').body,
      duplex: 'half',
    }) as RequestInit

  test('getAccessToken() makes it good, and refresh() refreshes', async () => {
    const { auth, backend } = await behind()
    expect(backend.isHonoured(String(await auth.getAccessToken()))).toBe(true)
    const { auth: late, routes } = await behind()
    await late.refresh()
    expect(late.session?.expiresAt).toBeGreaterThan(Date.now())
    expect(routes()).toEqual(['refresh'])
  })

  test.each([
    ['a stream', stream],
    ['what is not to be replayed', () => ({ method: 'POST', body: 'x', replay: false })],
    ['a plain call', () => ({})],
  ])('%s is sent once', async (_, init) => {
    const { auth, routes } = await behind()
    expect((await auth.fetch('protected', init())).status).toBe(200)
    expect(routes()).toEqual(['refresh', 'protected'])
  })
})

test('5: of a logout and a login elsewhere close to each other everybody thinks as the store does', async () => {
  const apart: string[] = []
  const orders = [50, 300].flatMap((slow) =>
    [2, 20].flatMap((gap) => times(50, (seed) => ({ slow, gap, seed }))),
  )
  for (const { slow, gap, seed } of orders) {
    const cell = handStore()
    let state = seed + 1
    // No two answers take the same time, so that each context's notion of the store's time is another from call to call.
    const trip = (): Promise<void> => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31
      return new Promise((resolve) => void setTimeout(resolve, Math.ceil((slow * state) / 2 ** 31)))
    }
    const asked = async (act: () => void): Promise<Cell> => {
      await trip()
      act()
      const answer = { record: cell.record, now: Date.now() }
      await trip()
      return answer
    }
    const store: Store = {
      name: 'slow',
      read: () => asked(() => {}),
      commit: (next, expected) =>
        asked(() => {
          if ((cell.record?.revision ?? null) !== expected) return
          cell.record = next
          setTimeout(() => cell.notify(noticeOf(next)), 1)
        }),
      watch: cell.watch as never,
    }
    const { auth: one, another } = room({ client: { store } })
    const { auth: two } = another()
    await pass(3 * second)
    void one.setTokens({ accessToken: mint('alice') })
    await pass(10 * second)
    void one.logout({ revoke: false })
    await pass(gap)
    void two.setTokens({ accessToken: mint('bob') }).catch(() => {})
    await pass(10 * second)
    const stands = cell.record && !('ended' in cell.record) ? cell.record.id : undefined
    if (one.session?.id !== stands || two.session?.id !== stands) apart.push([slow, gap, seed].join())
  }
  expect(apart).toEqual([])
})

test('12: a machine that slept while it was signing in is not taken for a clock that is wrong', async () => {
  const held = deferred()
  const server = serve(async () => {
    const login = { access_token: mint('alice'), refresh_token: 'spare' }
    await held.promise
    return ok(login)
  })
  const { auth, told } = room({ client: { fetch: server.fetch } })
  const login = auth.login(alice)
  await settle()
  vi.setSystemTime(Date.now() + 8 * hour)
  held.resolve()
  await login
  expect(summary(told)).toEqual(['loggedIn: login'])
})

describe('a refresh that was plainly not processed', () => {
  test('3: is not tried again with less time than an answer takes', async () => {
    let refreshes = 0
    const server = serve(async ({ path }) => {
      if (path !== '/refresh') return refuse('Token has expired')
      if (refreshes++) return ok({ access_token: mint('alice') })
      await new Promise((resolve) => void setTimeout(resolve, 900))
      return new Response(null, { status: 503, headers: { 'retry-after': '1' } })
    })
    const initial = { accessToken: jwt({ sub: 'alice' }), refreshToken: 'spare' }
    const { auth } = room({ client: { fetch: server.fetch, refreshTimeout: 2 * second, initial } })
    const call = failure(auth.fetch('items'))
    await pass(5 * second)
    expect([await call, refreshes]).toMatchObject([{ code: 'refresh_unavailable' }, 1])
  })

  test('4: is tried again while there is', async () => {
    let refreshes = 0
    const server = serve(({ path }) => {
      if (path !== '/refresh') return ok()
      if (refreshes++) return ok({ access_token: mint('alice') })
      return new Response(null, { status: 503, headers: { 'retry-after': '5' } })
    })
    const initial = { refreshToken: 'spare' }
    const { auth } = room({ client: { fetch: server.fetch, initial } })
    const call = auth.fetch('items')
    await pass(6 * second)
    expect([(await call).status, refreshes]).toEqual([200, 2])
  })
})

describe('5: a revocation', () => {
  const revoking = async (answers: (number | 'none' | [number, string])[]) => {
    const server = serve(() => {
      const answer = answers.shift() ?? 200
      if (answer === 'none') throw new TypeError('fetch failed')
      const [status, after] = [answer].flat() as [number, string?]
      return new Response(null, { status, headers: after ? { 'retry-after': after } : {} })
    })
    const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch })
    await auth.setTokens({ accessToken: mint('alice') })
    const begun = Date.now()
    let took: number | undefined
    void auth.logout().then(() => {
      took = Date.now() - begun
    })
    await pass(minute)
    return { sent: server.tokens('/logout').length, took }
  }

  test('is sent again where no connection came about', async () => {
    expect(await revoking(['none', 200])).toMatchObject({ sent: 2 })
    expect(await revoking(['none', 'none', 'none'])).toMatchObject({ sent: 3 })
  })

  test('is not sent again after a redirect, which is an answer', async () => {
    expect(await revoking([302, 302])).toEqual({ sent: 1, took: 0 })
  })

  test.each([
    [0, 250, 500],
    [0.5, 375, 750],
  ])('waits twice as long before the last try, by what is drawn: %d', async (drawn, first, last) => {
    vi.spyOn(Math, 'random').mockReturnValue(drawn)
    const at: number[] = []
    const server = serve(() => {
      at.push(Date.now() - start)
      return new Response(null, { status: 503 })
    })
    const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch })
    await auth.setTokens({ accessToken: mint('alice') })
    void auth.logout()
    await pass(minute)
    expect(at).toEqual([0, first, first + last])
  })

  test('is sent again when the server says, and not at all if that is too late', async () => {
    const soon = await revoking([[503, '3'], 200])
    expect(soon.sent).toBe(2)
    expect(soon.took).toBeGreaterThanOrEqual(3 * second)
    expect(await revoking([[429, '60']])).toEqual({ sent: 1, took: 0 })
  })
})

describe('a challenge is about the token where the server turned the request down for it', () => {
  const tries = async (backend: unknown, status: number): Promise<string[]> => {
    const server = serve(({ path }) =>
      path === '/orders'
        ? new Response('{}', { status, headers: { 'www-authenticate': 'Bearer error="invalid_token"' } })
        : ok({ access_token: 'b', refresh_token: 'r' }),
    )
    const auth = createAuth({ baseUrl, backend: backend as never, fetch: server.fetch })
    await auth.setTokens({ accessToken: 'a', refreshToken: 'r' })
    await auth.fetch('orders', { method: 'POST', body: '{}' })
    return server.sent.map(({ path }) => path)
  }
  const presets = [bearer(), oauth2({ tokenEndpoint: 'token', clientId: 'web' })]

  test.each([400, 404, 409, 429, 500, 503])('7: a POST that got a %d is not sent again', async (status) => {
    for (const backend of presets) expect(await tries(backend, status)).toEqual(['/orders'])
  })

  test.each([401, 403])('but after a %d it is', async (status) => {
    for (const backend of presets) expect((await tries(backend, status)).length).toBe(3)
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

describe('whoever is called', () => {
  test.each(['catch', 'then'])(
    'may wait with a promise whose %s is its own: all are told what comes',
    async (own) => {
      const server = serve(({ path }) =>
        path === '/login'
          ? ok({ access_token: mint('alice'), refresh_token: 'spare' })
          : refuse('Fresh token required'),
      )
      const { auth, told } = room({ client: { fetch: server.fetch, reauthTimeout: second } })
      await auth.login(alice)
      const odd = Object.assign(Promise.resolve(), { [own]: () => {} }) as Promise<void>
      auth.on('reauthRequired', (event) => event.waitUntil(odd))
      const call = auth.fetch('account')
      await pass(2 * second)
      expect((await call).status).toBe(401)
      await auth.logout()
      expect(summary(told).at(-1)).toBe('loggedOut: logout')
    },
  )

  test('may give back what ends no watching: a client is disposed of to the end', async () => {
    const errors = reported()
    const watch = () => () => {
      throw new Error('gone')
    }
    const auth = createAuth({ baseUrl, backend: flaskJwt(), store: { ...memoryStore(), watch } }) as Client
    await auth.dispose()
    expect(errors.map(String)).toEqual(['Error: gone'])
    expect(await failure(auth.fetch('items'))).toMatchObject({ code: 'disposed' })
  })

  test('may answer at once, where the caller can go first', async () => {
    const fetch = (() => new Response('here')) as unknown as typeof globalThis.fetch
    const { auth } = room({ client: { fetch, initial: { accessToken: mint('alice') } } })
    const response = await auth.fetch('items', { signal: new AbortController().signal })
    expect(await response.text()).toBe('here')
  })
})

test('a login that was answered with nothing of the kind is not a wrong password', async () => {
  for (const answer of [Response.error(), new Response(null, { status: 304 })]) {
    const { auth } = room({ client: { fetch: async () => answer } })
    expect(await failure(auth.login(alice))).toMatchObject({ code: 'login_unavailable' })
  }
})

test('bad input is named, with what was given', async () => {
  const auth = createAuth({ baseUrl, backend: flaskJwt() }) as Client
  expect(() => auth.on('logout' as never, () => {})).toThrow(
    /on takes loggedIn, .* and a function, got logout and function/,
  )
  expect(() => createKy(auth, { timeout: 5 } as never)).toThrow('createKy: base takes a ky')
  expect(await failure(auth.setTokens(null as never))).toMatchObject({
    message: 'setTokens takes { accessToken, refreshToken }, got null',
  })
  expect(() => createAuth({ baseUrl: 'localhost:5000', backend: flaskJwt() }).baseUrl).toThrow(
    'got localhost:',
  )
})
