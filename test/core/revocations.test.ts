/** What is taken back at the server: what, when, and how often it is tried. */
import { describe, expect, test, vi } from 'vitest'
import {
  type Backend,
  bearer,
  createAuth,
  flaskJwt,
  flaskJwtCookies,
  type LiveRecord,
  memoryStore,
  type Store,
  type Tombstone,
} from '../../src/index.ts'
import { encrypted } from '../../src/stores/encrypted.ts'
import { handStore, mint, ok, refuse, serve, stubPage } from './by-hand.ts'
import {
  alice,
  baseUrl,
  bob,
  type Client,
  deferred,
  failure,
  minute,
  pass,
  room,
  second,
  sentTo,
  settle,
  start,
  summary,
  virtualTime,
} from './support.ts'

virtualTime()

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

describe('5: the revocation of a logout', () => {
  test.each([429, 500, 503])(
    'is sent again where the server answers %i, three times at the most',
    async (status) => {
      for (const ills of [1, Infinity]) {
        let left = ills
        const server = serve(({ path }) => {
          if (path === '/login') return ok({ access_token: mint('alice') })
          return left-- > 0 ? new Response(null, { status }) : ok()
        })
        const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch })
        await auth.login(alice)
        const over = auth.logout()
        await pass(5 * second)
        await over
        expect(server.tokens('/logout')).toHaveLength(ills === 1 ? 2 : 3)
      }
    },
  )

  test('is not sent again for any other answer, and takes no longer than a refresh may', async () => {
    const server = serve(({ path }) =>
      path === '/login' ? ok({ access_token: mint('alice') }) : refuse('Token has been revoked'),
    )
    const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch })
    await auth.login(alice)
    await auth.logout()
    expect(server.tokens('/logout')).toHaveLength(1)
    const stuck = createAuth({
      baseUrl,
      backend: flaskJwt(),
      fetch: (input) =>
        sentTo(input).path === '/login'
          ? Promise.resolve(ok({ access_token: mint('alice') }))
          : new Promise(() => {}),
    })
    await stuck.login(alice)
    let done = false
    void stuck.logout().then(() => {
      done = true
    })
    await pass(8 * second)
    expect(done).toBe(true)
  })

  test('covers the refresh tokens that passwords have replaced, the last five', async () => {
    for (const passwords of [1, 7]) {
      let given = 0
      const store = memoryStore()
      const server = serve(({ path }) =>
        path === '/login' ? ok({ access_token: mint('alice'), refresh_token: `refresh-${++given}` }) : ok(),
      )
      const auth = createAuth({ baseUrl, backend: flaskJwt(), store, fetch: server.fetch })
      await auth.login(alice)
      for (let count = 0; count < passwords; count++) await auth.reauthenticate(alice)
      const mine = Array.from({ length: passwords + 1 }, (_, index) => `refresh-${index + 1}`).slice(-6)
      expect(store.read()).toMatchObject({ record: { former: mine.slice(0, -1) } })
      await auth.logout()
      expect(server.tokens('/logout')).toEqual(expect.arrayContaining(mine))
      expect(server.tokens('/logout')).toHaveLength(mine.length + 1)
      expect(JSON.stringify(store.read())).not.toContain('refresh-')
    }
  })

  test.each([undefined, 'refresh-1'])(
    'does not go out with a refresh token that a password has left in place (%s), once a refresh has replaced it',
    async (again) => {
      const given: Record<string, string | undefined> = {
        '/login': 'refresh-1',
        '/confirm': again,
        '/refresh': 'refresh-2',
      }
      const server = serve(({ path }) => ok({ access_token: mint('alice'), refresh_token: given[path] }))
      const backend = flaskJwt({ reauth: { path: 'confirm' } })
      const auth = createAuth({ baseUrl, backend, fetch: server.fetch })
      await auth.login(alice)
      await auth.reauthenticate(alice)
      await auth.refresh()
      await auth.logout()
      const sent = server.tokens('/logout')
      expect(sent).toContain('refresh-2')
      expect(sent).not.toContain('refresh-1')
    },
  )

  test('is one request with tokens in cookies, though a password has brought others', async () => {
    const page = stubPage()
    let given = 0
    const server = serve(({ path }) => {
      if (path === '/login') page.cookie = `csrf_access_token=a${++given}; csrf_refresh_token=r${given}`
      return ok({ sub: 'alice' })
    })
    const auth = createAuth({ baseUrl, backend: flaskJwtCookies(), fetch: server.fetch })
    await auth.login(alice)
    await auth.reauthenticate(alice)
    await auth.logout()
    expect(server.tokens('/logout')).toHaveLength(1)
  })

  test('reaches a server whose refresh token is the access token (Laravel)', async () => {
    const server = serve(({ path }) => (path === '/auth/login' ? ok({ access_token: mint('alice') }) : ok()))
    const backend = bearer({
      login: { path: 'auth/login' },
      refreshTokenKey: 'access_token',
      logout: { path: 'auth/logout' },
    })
    const auth = createAuth({ baseUrl, backend, fetch: server.fetch })
    await auth.login(alice)
    await auth.logout()
    expect(server.tokens('/auth/logout')).toHaveLength(1)
  })

  test.each(['as it is', 'encrypted'])(
    'covers what a store gives back that replaces in the tick: %s',
    async (how) => {
      const server = serve(() => ok())
      const inner = handStore()
      inner.end = (id, calledAt) => {
        const found = inner.record as LiveRecord
        if (found?.id !== id) return undefined
        inner.record = { id: found.id, version: found.version, calledAt, ended: 'logout', revision: 'over' }
        return found
      }
      const keys = [{ id: 'k', key: new Uint8Array(32) }]
      const wrap = (store: Store): Store => (how === 'encrypted' ? encrypted(store, { keys }) : store)
      const store = wrap(inner)
      const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store })
      await auth.setTokens({ accessToken: mint('alice'), refreshToken: 'refresh-1' })
      const { record } = await store.read()
      // Another frame has refreshed, and the notice is on its way.
      const newer = { ...(record as LiveRecord), version: 2, refreshToken: 'refresh-2', revision: 'new' }
      await wrap(inner).commit?.(newer, record?.revision ?? null)
      await auth.logout()
      await settle()
      expect(server.tokens('/logout')).toContain('refresh-2')
    },
  )
})

describe('4: with a server whose logout ends all that came of a login', () => {
  const served = (slow: '/refresh' | '/confirm') => {
    const answer = deferred<Response>()
    const server = serve(({ path }) => {
      if (path === slow) return answer.promise
      if (path === '/login') return ok({ access_token: mint('alice'), refresh_token: 'refresh-1' })
      return ok({ access_token: mint('alice') })
    })
    const store = handStore()
    const backend = bearer({ reauth: { path: 'confirm' } })
    const auth = createAuth({ baseUrl, backend, store, fetch: server.fetch })
    const late = mint('alice')
    return { auth, server, store, late, come: () => answer.resolve(ok({ access_token: late })) }
  }

  test('a refresh that a password has overtaken, which brought no refresh token, takes nothing back', async () => {
    const { auth, server, come } = served('/refresh')
    await auth.login(alice)
    const refreshed = auth.refresh()
    await settle()
    await auth.reauthenticate(alice)
    come()
    await refreshed
    await settle()
    expect(server.tokens('/logout')).toEqual([])
  })

  test('nor does a password of a client that is disposed of', async () => {
    const { auth, server, come } = served('/confirm')
    await auth.login(alice)
    const proof = failure(auth.reauthenticate(alice))
    await settle()
    void auth.dispose()
    come()
    await proof
    await settle()
    expect(server.tokens('/logout')).toEqual([])
  })

  test('nor does it while that is being written', async () => {
    const { auth, server, store, come } = served('/confirm')
    await auth.login(alice)
    const proof = failure(auth.reauthenticate(alice))
    await settle()
    const gate = store.gate('read')
    come()
    await settle()
    expect(gate.reached()).toBe(true)
    void auth.dispose()
    gate.open()
    expect(await proof).toMatchObject({ code: 'disposed' })
    await settle()
    expect(server.tokens('/logout')).toEqual([])
  })

  test('5: but what it brings after a logout is taken back', async () => {
    const { auth, server, late, come } = served('/confirm')
    await auth.login(alice)
    const proof = failure(auth.reauthenticate(alice))
    await settle()
    await auth.logout()
    expect(server.tokens('/logout')).not.toContain(late)
    come()
    expect(await proof).toMatchObject({ code: 'session_changed' })
    await settle()
    expect(server.tokens('/logout')).toContain(late)
  })
})

test.each([
  ['token', 'expired', 2],
  ['grant', 'expired', 0],
  ['grant', 'reauthenticated', 2],
  ['grant', 'login', 2],
] as const)(
  '4: what a refresh brings too late, where a logout ends the %s and the session went on by %s: %i tokens are taken back',
  async (revokes, reason, count) => {
    const answer = deferred<Response>()
    const server = serve(({ path }) => (path === '/refresh' ? answer.promise : ok()))
    const store = handStore()
    const backend = { ...flaskJwt(), revokes }
    const { auth } = room({ client: { store, fetch: server.fetch, backend } })
    await auth.setTokens({ accessToken: mint('alice'), refreshToken: 'refresh-1' })
    const refreshed = auth.refresh()
    await settle()
    // By who has waited the claim out: a page that was left, and comes back later.
    const { claim: _, ...claimed } = store.record as LiveRecord
    const access = { token: mint('alice'), at: Date.now() }
    // A login is another session.
    const id = reason === 'login' ? 'another' : claimed.id
    store.record = {
      ...claimed,
      id,
      version: 2,
      reason,
      access,
      refreshToken: 'refresh-2',
      revision: 'theirs',
    }
    answer.resolve(ok({ access_token: mint('alice'), refresh_token: 'refresh-3' }))
    await refreshed
    await settle()
    expect(server.tokens('/logout')).toHaveLength(count)
    expect(auth.session).toMatchObject({ version: 2 })
  },
)

test.each(['token', 'grant'] as const)(
  '5: what a refresh brings after a logout is taken back, where that ends the %s',
  async (revokes) => {
    const answer = deferred<Response>()
    const server = serve(({ path }) => (path === '/refresh' ? answer.promise : ok()))
    const { auth, told } = room({
      client: {
        fetch: server.fetch,
        backend: { ...flaskJwt(), revokes },
        initial: { accessToken: mint('alice'), refreshToken: 'spare' },
      },
    })
    const refreshed = auth.refresh()
    await settle()
    await auth.logout()
    answer.resolve(ok({ access_token: mint('alice'), refresh_token: 'late' }))
    expect(await refreshed).toBeNull()
    await settle()
    expect(server.tokens('/logout')).toContain('late')
    expect(summary(told)).toEqual(['loggedOut: logout'])
  },
)

test('5: a session that a store has ended for a context that is gone has its tokens revoked, but for cookies', async () => {
  const session = { id: 'its', version: 2, calledAt: start, reason: 'expired', revision: 'a' } as const
  const tokens = { access: { token: mint('alice'), at: start }, refreshToken: 'refresh-2' }
  const over: Tombstone = { id: 'its', version: 2, calledAt: start, ended: 'logout', revision: 'b' }
  for (const [backend, ended, revoked] of [
    [flaskJwt(), { ...session, ...tokens, fresh: { token: mint('alice', { jti: 'fresh' }) } }, 3],
    [flaskJwt(), { ...session, access: 'nonsense' }, 0],
    [flaskJwt(), over, 0],
    [flaskJwtCookies({ csrf: false }), { ...session, ...tokens }, 0],
  ] as const) {
    const server = serve(() => ok())
    const store: Store = {
      name: 'marked',
      read: () => ({ record: over, now: start, ended: ended as LiveRecord }),
    }
    const auth = createAuth({ baseUrl, backend: backend as Backend, store, fetch: server.fetch })
    await settle()
    expect(auth.session).toBe(null)
    expect(server.sent).toHaveLength(revoked)
  }
})

describe('refresh tokens that passwords have replaced, as a store gives them', () => {
  const signedIn = async (former: unknown) => {
    let given = 0
    const store = handStore()
    const server = serve(({ path }) =>
      path === '/login' ? ok({ access_token: mint('alice'), refresh_token: `refresh-${++given}` }) : ok(),
    )
    const make = () => createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store })
    await make().login(alice)
    store.record = { ...(store.record as LiveRecord), former: former as never, revision: 'theirs' }
    const auth = make()
    await auth.ready
    return { auth, server, store }
  }

  test.each([['text'], [{ a: 1 }], [7], [['not a token, x=y', 5, 'spare']]])(
    'cost nothing: %j',
    async (former) => {
      const { auth, server, store } = await signedIn(former)
      await auth.reauthenticate(alice)
      expect(auth.session).toMatchObject({ version: 2 })
      await auth.logout()
      expect(store.record).toMatchObject({ ended: 'logout' })
      expect(server.tokens('/logout')).toEqual(expect.arrayContaining(['refresh-1', 'refresh-2']))
      expect(server.tokens('/logout')).not.toContain('not a token, x=y')
    },
  )
})

test('5: a revocation that is tried again ends no login that has got the same token since', async () => {
  let [key, count, busy]: [string | undefined, number, boolean] = [undefined, 0, true]
  const server = serve(({ path, token }) => {
    if (path === '/login') {
      key ??= `key-${++count}`
      return ok({ access_token: key })
    }
    if (path !== '/logout') return token === key ? ok() : refuse('Invalid token.')
    if (busy) {
      busy = false
      return new Response(null, { status: 503 })
    }
    if (token === key) key = undefined
    return ok()
  })
  const auth = createAuth({ baseUrl, backend: bearer(), fetch: server.fetch })
  await auth.login(alice)
  void auth.logout()
  await pass(100)
  await auth.login(alice)
  await pass(5 * second)
  expect((await auth.fetch('items')).status).toBe(200)
})

test('5: nor one that has got the same refresh token', async () => {
  let busy = true
  const server = serve(({ path }) => {
    if (path === '/login') return ok({ access_token: mint('alice'), refresh_token: 'the-one' })
    return new Response(null, { status: path === '/logout' && busy ? 503 : 200 })
  })
  const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch })
  await auth.login(alice)
  void auth.logout()
  await pass(100)
  busy = false
  await auth.login(alice)
  await pass(5 * second)
  expect(server.tokens('/logout').filter((token) => token === 'the-one')).toHaveLength(1)
  expect(server.tokens('/logout')).toHaveLength(3)
})

test('5: with no time for a refresh tokens are revoked all the same', async () => {
  const server = serve(() => ok())
  const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, refreshTimeout: 0 })
  await auth.setTokens({ accessToken: mint('alice'), refreshToken: 'spare' })
  await auth.logout()
  expect(server.tokens('/logout')).toHaveLength(2)
})

test('10: a login is bounded as a whole, and what it brings later is revoked', async () => {
  let late: ReadableStreamDefaultController<Uint8Array> | undefined
  const server = serve(async ({ path }) => {
    if (path !== '/login') return ok()
    await new Promise((resolve) => void setTimeout(resolve, 20 * second))
    return new Response(
      new ReadableStream({
        start(controller) {
          late = controller
        },
      }),
    )
  })
  const { auth } = room({ client: { fetch: server.fetch } })
  const outcome = failure(auth.login(alice))
  await pass(30 * second)
  expect(await outcome).toMatchObject({ code: 'login_unavailable' })
  const token = mint('alice')
  late?.enqueue(new TextEncoder().encode(JSON.stringify({ access_token: token })))
  late?.close()
  await settle()
  expect(server.tokens('/logout')).toEqual([token])
})

test('10: a bearer token is taken back for as long as a refresh may take, and no longer', async () => {
  let signal: AbortSignal | null | undefined
  const bench = room({
    client: {
      refreshTimeout: 8 * second,
      fetch(input, init) {
        if (!`${input}`.endsWith('/logout')) return bench.backend.fetch(input as string, init)
        signal = init?.signal
        return new Promise(() => {})
      },
    },
  })
  const { auth, hold } = bench
  const answer = hold('login')
  const first = failure(auth.login(alice))
  await settle()
  await auth.login(bob)
  answer.release()
  await first
  await pass(8 * second - 1)
  expect(signal?.aborted).toBe(false)
  await pass(1)
  expect(signal?.aborted).toBe(true)
})

test('4: a password whose answer’s body comes late leaves the session the cookies that came with its head', async () => {
  const doc = { cookie: 'csrf_access_token=a1; csrf_refresh_token=r1', baseURI: baseUrl }
  vi.stubGlobal('document', doc)
  const body = deferred()
  let logins = 0
  const server = serve(async ({ path }) => {
    if (path === '/login') {
      logins++
      doc.cookie = `csrf_access_token=a${logins + 1}; csrf_refresh_token=r${logins + 1}`
      if (logins === 1) return ok({ sub: 'alice' })
      return new Response(
        new ReadableStream({
          async pull(controller) {
            await body.promise
            controller.enqueue(new TextEncoder().encode(JSON.stringify({ sub: 'alice' })))
            controller.close()
          },
        }),
        { headers: { 'content-type': 'application/json' } },
      )
    }
    if (path === '/logout') doc.cookie = ''
    return ok()
  })
  const auth = createAuth({ baseUrl, backend: flaskJwtCookies(), fetch: server.fetch, store: memoryStore() })
  await auth.login(alice)
  void auth.reauthenticate(alice).catch(() => {})
  await pass(31_000)
  body.resolve()
  await pass(minute)
  expect(doc.cookie).not.toBe('')
})

test('4: a late answer that brings the refresh token which stays does not revoke it: the body late', async () => {
  const body = deferred()
  let logins = 0
  const server = serve(async ({ path }) => {
    if (path !== '/login') return ok()
    const text = JSON.stringify({ access_token: mint('alice', { fresh: true }), refresh_token: 'spare' })
    return new Response(
      new ReadableStream({
        async pull(controller) {
          if (++logins > 1) await body.promise
          controller.enqueue(new TextEncoder().encode(text))
          controller.close()
        },
      }),
      { headers: { 'content-type': 'application/json' } },
    )
  })
  const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store: memoryStore() })
  await auth.login(alice)
  void auth.reauthenticate(alice).catch(() => {})
  await pass(31_000)
  body.resolve()
  await pass(minute)
  expect(server.tokens('/logout')).not.toContain('spare')
})

test('4: a late answer that brings the refresh token which stays does not revoke it: the head late', async () => {
  const head = deferred()
  let logins = 0
  const server = serve(async ({ path }) => {
    if (path !== '/login') return ok()
    if (++logins > 1) await head.promise
    return ok({ access_token: mint('alice', { fresh: true }), refresh_token: 'spare' })
  })
  const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store: memoryStore() })
  await auth.login(alice)
  void auth.reauthenticate(alice).catch(() => {})
  await pass(31_000)
  head.resolve()
  await pass(60_000)
  expect(server.tokens('/logout')).not.toContain('spare')
})

// --- 2

for (const kind of ['memory', 'hand'] as const)
  test(`4: setTokens() called twice in one tick with the same tokens does not revoke what it signs in with: ${kind}`, async () => {
    const store = kind === 'memory' ? memoryStore() : handStore()
    const { auth, backend } = room({ client: { store } })
    const tokens = await backend.signIn('alice')
    await Promise.allSettled([auth.setTokens(tokens), auth.setTokens(tokens)])
    await pass(minute)
    expect(auth.session).toMatchObject({ subject: 'alice' })
    expect(backend.isHonoured(tokens.refreshToken as string)).toBe(true)
    expect((await auth.fetch('protected')).status).toBe(200)
  })

// --- 3

for (const when of ['head', 'commit'] as const)
  test(`4: a password whose client is disposed of before its ${when} leaves the refresh token that stays`, async () => {
    const head = deferred()
    let logins = 0
    const server = serve(async ({ path }) => {
      if (path !== '/login') return ok()
      if (++logins > 1) await head.promise
      return ok({ access_token: mint('alice', { fresh: true }), refresh_token: 'spare' })
    })
    const store = handStore()
    const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store })
    await auth.login(alice)
    const proof = failure(auth.reauthenticate(alice))
    await settle()
    if (when === 'head') {
      void auth.dispose()
      head.resolve()
    } else {
      const gate = store.gate('read')
      head.resolve()
      await settle()
      expect(gate.reached()).toBe(true)
      void auth.dispose()
      gate.open()
    }
    await pass(minute)
    expect(await proof).toMatchObject({ code: 'disposed' })
    expect(store.record).toMatchObject({ refreshToken: 'spare' })
    expect(server.tokens('/logout')).not.toContain('spare')
  })

test('4: with tokens in cookies a password whose client is disposed of signs nobody out', async () => {
  const doc = { cookie: '', baseURI: baseUrl }
  vi.stubGlobal('document', doc)
  const head = deferred()
  let logins = 0
  const server = serve(async ({ path }) => {
    if (path === '/login') {
      if (++logins > 1) await head.promise
      doc.cookie = `csrf_access_token=a${logins}; csrf_refresh_token=r${logins}`
      return ok({ sub: 'alice' })
    }
    if (path === '/logout') doc.cookie = ''
    return ok()
  })
  const auth = createAuth({ baseUrl, backend: flaskJwtCookies(), fetch: server.fetch, store: memoryStore() })
  await auth.login(alice)
  const proof = failure(auth.reauthenticate(alice))
  await settle()
  void auth.dispose()
  head.resolve()
  await pass(minute)
  await proof
  expect(server.sent.map(({ path }) => path)).not.toContain('/logout')
  expect(doc.cookie).not.toBe('')
})

describe('a store that replaces a session in the tick of its logout, encrypted,', () => {
  test.each([
    [true, 2],
    [false, 0],
  ])('has each token taken back once, or none: revoke %s', async (revoke, count) => {
    const inner = handStore()
    inner.end = (id, calledAt) => {
      const found = inner.record as LiveRecord
      if (found?.id !== id) return undefined
      inner.record = { id: found.id, version: found.version, calledAt, ended: 'logout', revision: 'over' }
      return found
    }
    const server = serve(() => ok())
    const store = encrypted(inner, { keys: [{ id: 'k', key: new Uint8Array(32) }] })
    const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store })
    await auth.setTokens({ accessToken: mint('alice'), refreshToken: 'spare' })
    await auth.logout({ revoke })
    await settle()
    expect(server.tokens('/logout')).toHaveLength(count)
  })
})

test('5: what came too late is revoked at once where the store is away, and was never given it', async () => {
  let [given, away] = [0, false]
  const gate = deferred()
  const inner = memoryStore()
  const there = <T>(act: () => T): T => {
    if (away) throw new Error('away')
    return act()
  }
  const store: Store = {
    ...inner,
    read: () => there(() => inner.read()),
    commit: (next, expected) => there(() => inner.commit?.(next, expected) ?? inner.read()),
  }
  const server = serve(async ({ path }) => {
    if (path === '/refresh') await gate.promise
    const refresh_token = path === '/refresh' ? 'late' : `refresh-${++given}`
    return ok(path === '/logout' ? {} : { access_token: mint('alice'), refresh_token })
  })
  const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store })
  await auth.login(alice)
  void auth.refresh().catch(() => {})
  await settle()
  away = true
  await auth.reauthenticate(alice)
  gate.resolve()
  await settle()
  expect(server.tokens('/logout')).toContain('late')
})

test('5: a logout revokes what has come elsewhere meanwhile, whatever is heard of that while it is being written', async () => {
  const store = handStore()
  const { auth, another, tokens } = room({ client: { store } })
  await auth.login(alice)
  const { auth: there } = another()
  await there.refresh()
  const later = (store.record as LiveRecord).access?.token
  const looking = store.gate('read')
  const out = auth.logout()
  await settle()
  expect(looking.reached()).toBe(true)
  store.notify()
  await settle()
  looking.open()
  await out
  expect(store.record).toMatchObject({ ended: 'logout' })
  expect(tokens('logout')).toContain(later)
})

describe('a logout that is written late, of a session that another context has refreshed,', () => {
  const next = { access_token: mint('alice'), refresh_token: 'newer' }
  const late = async (then: (auth: Client) => Promise<unknown>) => {
    const store = handStore()
    const server = serve(({ path }) => ok(path === '/refresh' ? next : {}))
    const { auth, another } = room({ client: { fetch: server.fetch, store } })
    await auth.setTokens({ accessToken: mint('alice'), refreshToken: 'first' })
    await another().auth.refresh()
    const { read, commit } = store
    store.read = () => Promise.reject(new Error('away'))
    store.commit = store.read as typeof commit
    void auth.logout()
    await pass(second)
    void then(auth)
    await pass(second)
    Object.assign(store, { read, commit })
    await pass(minute)
    return { auth, server }
  }

  test('5: takes what that brought back, whoever has signed in since', async () => {
    const accessToken = mint('bob')
    const { auth, server } = await late((auth) => auth.setTokens({ accessToken }))
    expect(server.tokens('/logout')).toEqual(expect.arrayContaining(['newer', next.access_token]))
    expect(server.tokens('/logout')).not.toContain(accessToken)
    expect(auth.session).toMatchObject({ subject: 'bob' })
  })

  test('4: takes no token back that was set again since', async () => {
    const { access_token: accessToken, refresh_token: refreshToken } = next
    const { auth, server } = await late((auth) => auth.setTokens({ accessToken, refreshToken }))
    expect(server.tokens('/logout')).not.toContain(accessToken)
    expect(server.tokens('/logout')).not.toContain(refreshToken)
    expect((await auth.fetch('items')).status).toBe(200)
  })
})
