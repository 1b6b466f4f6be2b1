/** What those found who judged it from outside: by the design's own words, by real servers, by reading; held. */
import { describe, expect, test, vi } from 'vitest'
import {
  bearer,
  createAuth,
  flaskJwt,
  flaskJwtCookies,
  type LiveRecord,
  memoryStore,
  oauth2,
  type Store,
  type Tombstone,
} from '../../src/index.ts'
import { createKy } from '../../src/ky.ts'
import { encrypted } from '../../src/stores/encrypted.ts'
import { lifeOf } from '../../src/stores/life.ts'
import { noticeOf } from '../../src/stores/record.ts'
import { type HandStore, handStore, jwt, mint, ok, refuse, serve, stubPage } from './by-hand.ts'
import {
  alice,
  baseUrl,
  bob,
  deferred,
  failure,
  minute,
  pass,
  room,
  second,
  settle,
  start,
  summary,
  virtualTime,
} from './support.ts'

virtualTime()

/** What a fetch was given. */
const sentTo = (input: unknown, init?: RequestInit) => {
  const { pathname } = new URL(input instanceof Request ? input.url : String(input))
  return {
    path: pathname,
    token: new Headers(init?.headers).get('authorization')?.slice(7),
    cache: init?.cache,
  }
}

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

describe('3: of a refresh and a password at once, whichever commit fails,', () => {
  const all = [1, 2, 3, 4, 5].flatMap((failing) => [0, 1, 2, 3, 4, 6].map((slow) => [failing, slow] as const))
  test.each(all)(
    'what was given back is not written when the store is there again: number %i, %i ms',
    async (failing, slow) => {
      const store = handStore()
      const { auth, backend } = room({
        client: { store },
        server: { refresh: 'rotating', latency: { refresh: { after: 3 }, login: { after: slow } } },
      })
      const ready = auth.login(alice)
      await pass(second)
      await ready
      let count = 0
      const { commit } = store
      store.trip = { there: 1, back: 1 }
      store.commit = (next, expected) => {
        if (++count === failing) return Promise.reject(new Error('disk'))
        return commit?.(next, expected) ?? store.read()
      }
      const both = Promise.all([auth.refresh().catch(() => {}), auth.reauthenticate(alice)])
      await pass(minute)
      await both
      store.commit = commit
      // What stands there works.
      backend.expireAccessTokens()
      const call = auth.fetch('protected')
      await pass(minute)
      expect((await call).status).toBe(200)
    },
  )
})

describe('5: of a login and a logout in contexts where nobody is signed in', () => {
  /** A store that tells of what was written. */
  function watched(): HandStore {
    const store = handStore()
    const { commit } = store
    store.commit = async (next, expected) => {
      const cell = (await commit?.(next, expected)) ?? (await store.read())
      if (cell.record?.revision === next.revision) store.notify(noticeOf(next))
      return cell
    }
    return store
  }

  test.each(
    [memoryStore, watched].flatMap((make) =>
      ['nobody ever', 'a logout'].flatMap((before) =>
        (['login', 'logout', 'logout, in the same moment'] as const).map(
          (first) => [first, before, make] as const,
        ),
      ),
    ),
  )('the last called wins, and all agree: first the %s, after %s', async (first, before, make) => {
    const store = make()
    const { auth, another, hold, backend } = room({ client: { store } })
    const other = another().auth
    await other.ready
    if (before === 'a logout') {
      await auth.login(alice)
      await pass(minute)
      await auth.logout()
      await pass(minute)
    }
    const { release } = hold('login')
    const login = (): Promise<unknown> => auth.login(bob).catch(({ code }) => code)
    let came: Promise<unknown>
    if (first === 'login') {
      came = login()
      await pass(100)
      void other.logout()
    } else {
      void other.logout()
      if (first === 'logout') await pass(100)
      came = login()
    }
    await pass(400)
    release()
    await pass(minute)
    const { record } = await store.read()
    const stands = record && !('ended' in record) ? record.subject : undefined
    expect([auth.session?.subject, other.session?.subject]).toEqual([stands, stands])
    if (first === 'login') {
      expect([await came, stands, backend.sessionAlive('bob')]).toEqual(['session_changed', undefined, false])
    }
    if (first === 'logout') expect(stands).toBe('bob')
  })
})

test('5: a logout elsewhere that was heard of wins over a login that was called before it, though its tombstone was lost', async () => {
  const store = handStore()
  const { auth, another, hold } = room({
    client: { store: Object.assign(store, { empty: 'ended' as const }) },
  })
  await auth.login(alice)
  const { auth: other } = another()
  await other.ready
  const { release } = hold('login')
  const login = failure(auth.login(bob))
  await pass(second)
  await other.logout()
  store.notify(noticeOf(store.record as Tombstone))
  await settle()
  store.record = null
  release()
  await pass(second)
  expect([(await login).code, auth.session]).toEqual(['session_changed', null])
  await pass(1)
  await auth.login(bob)
  expect(auth.session).toMatchObject({ subject: 'bob' })
})

test.each([0, 60 * minute])(
  '5: a logout before the store was read stands, the clock set back by %i ms',
  async (back) => {
    const store = handStore()
    vi.setSystemTime(start + back)
    const { auth: before, another } = room({ client: { store } })
    await before.login(alice)
    await before.dispose()
    await pass(minute)
    vi.setSystemTime(start + 2 * minute)
    const { auth } = another()
    await auth.logout()
    expect(store.record).toMatchObject({ ended: 'logout' })
    expect(auth.session).toBeNull()
  },
)

test('4: a session that was helped while its end was being written lives, though the store was away for both', async () => {
  const store = handStore()
  const { auth, backend } = room({ client: { store }, preset: { refreshToken: 'single-use' } })
  await auth.login(alice)
  await pass(20 * minute)
  const dialog = deferred()
  auth.on('reauthRequired', (event) => event.waitUntil(dialog.promise))
  backend.revoke({ sub: 'alice' })
  const call = auth.fetch('protected')
  await settle()
  const { read } = store
  const answer = deferred<never>()
  store.read = () => answer.promise
  const helped = auth.reauthenticate(alice)
  await settle()
  dialog.resolve()
  await settle()
  answer.reject(new Error('out of order'))
  await helped
  store.read = read
  await pass(minute)
  expect(auth.session).toMatchObject({ status: 'active', version: 2 })
  expect(store.record).toMatchObject({ version: 2, reason: 'reauthenticated' })
  expect((await call).status).toBe(200)
})

test('8: what is given to a login counts as it was at the call', async () => {
  const store = handStore()
  const { auth, another, backend } = room({ client: { store } })
  const form = { ...alice }
  const login = auth.login(form)
  form.password = ''
  await login
  const { auth: next } = another()
  const again = { ...alice }
  const proof = next.reauthenticate(again)
  again.password = ''
  await proof
  expect(backend.count('login')).toBe(2)
  const tokens = { accessToken: mint('alice') }
  const set = next.setTokens(tokens)
  tokens.accessToken = mint('bob')
  await set
  expect(next.session).toMatchObject({ subject: 'alice' })
})

test('13: no more exchanges are begun than the limit has, however little time one takes', async () => {
  let [wall, exact] = [start, 0.2]
  vi.spyOn(Date, 'now').mockImplementation(() => Math.floor(wall))
  vi.spyOn(performance, 'now').mockImplementation(() => exact)
  const server = serve(({ path }) => {
    wall += 0.3
    exact += 0.3
    return ok({ access_token: mint('alice'), refresh_token: path })
  })
  const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch })
  await auth.login(alice)
  for (let count = 0; count < 20; count++) {
    wall += 0.1
    exact += 0.1
    await auth.refresh().catch(() => {})
  }
  expect(server.tokens('/refresh')).toHaveLength(5)
})

test('13: a token that a socket turns down time and again fails no call that it is good for', async () => {
  const { auth, signIn } = room()
  await signIn()
  for (let count = 0; count < 6; count++) {
    await pass(100)
    const given = (await auth.getAccessToken()) as string
    await auth.getAccessToken({ rejected: given }).catch(() => {})
  }
  expect((await auth.fetch('protected')).status).toBe(200)
})

describe('6: private answers that were cached', () => {
  const caches: (string | undefined)[] = []
  const client = (backend: unknown, login: (count: number) => object) => {
    let count = 0
    caches.length = 0
    const fetch = async (input: unknown, init?: RequestInit) => {
      const { path, cache } = sentTo(input, init)
      if (path === '/items') caches.push(cache)
      return ok(path === '/login' ? login(++count) : {})
    }
    return createAuth({ baseUrl, backend: backend as never, fetch: fetch as typeof globalThis.fetch })
  }

  test('are not shown to the next user, nor to nobody, where tokens tell nobody’s name', async () => {
    const auth = client(bearer(), (count) => ({ access_token: `opaque-${count}`, refresh_token: 'spare' }))
    await auth.login(alice as never)
    await auth.fetch('items')
    await auth.logout()
    await auth.fetch('items')
    await auth.login(bob as never)
    await auth.fetch('items')
    expect(caches).toEqual([undefined, 'reload', 'reload'])
  })

  test('are there for the same user again', async () => {
    const auth = client(flaskJwt(), () => ({ access_token: mint('alice') }))
    await auth.login(alice as never)
    await auth.fetch('items')
    await auth.logout()
    await auth.login(alice as never)
    await auth.fetch('items')
    expect(caches).toEqual([undefined, undefined])
  })

  test('are not shown to the next user with tokens in cookies, and no name', async () => {
    const page = stubPage()
    const auth = client(flaskJwtCookies(), (count) => {
      page.cookie = `csrf_access_token=a${count}; csrf_refresh_token=r${count}`
      return { login: true }
    })
    for (const user of [alice, bob]) {
      await auth.login(user as never)
      await auth.fetch('items')
    }
    expect(caches).toEqual([undefined, 'reload'])
  })
})

test.each([true, false])(
  '6: a retry of ky goes out as who made the request, or not at all (store read before: %s)',
  async (known) => {
    const { auth, another, backend } = room({ client: { store: handStore() } })
    await auth.login(alice)
    const who: unknown[] = []
    const { auth: page } = another({
      fetch: (input, init) => {
        const { path, token } = sentTo(input, init)
        if (path !== '/inbox') return backend.fetch(input as Request, init) as Promise<Response>
        who.push(JSON.parse(atob(token?.split('.')[1] ?? '')).sub)
        return Promise.resolve(new Response('', { status: who.length === 1 ? 503 : 200 }))
      },
    })
    if (known) await page.ready
    const call = failure(createKy(page).get('inbox'))
    await settle()
    await page.login(bob)
    await pass(minute)
    expect(await call).toMatchObject({ code: 'session_changed' })
    expect(who).toEqual(['alice'])
  },
)

test('12: how long an opaque token lasts that was set is the same for who reads it later', async () => {
  const { auth, another } = room({ client: { store: handStore() } })
  await auth.setTokens({ accessToken: 'opaque', refreshToken: 'spare', expiresIn: 900 })
  await pass(10 * minute)
  const { auth: other } = another()
  await other.ready
  expect(other.session?.expiresAt).toBe(start + 15 * minute)
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

test('1: tabs get their turns at the refresh again once nobody is in the way, however often they waited in vain', async () => {
  const page = stubPage()
  let busy = true
  let turns = 0
  // As in a browser: granted by another process, some milliseconds later.
  const request = async (
    _: string,
    { signal }: { signal: AbortSignal },
    run: () => unknown,
  ): Promise<unknown> => {
    await new Promise<void>((yes, no) => {
      signal.addEventListener('abort', () => no(signal.reason))
      if (!busy) setTimeout(yes, 3)
    })
    turns++
    return run()
  }
  vi.stubGlobal('navigator', { locks: { request } })
  let given = 0
  const server = serve(({ path }) => {
    if (path !== '/logout') page.cookie = `csrf_access_token=a${++given}; csrf_refresh_token=r${given}`
    return ok({ sub: 'alice' })
  })
  const auth = createAuth({ baseUrl, backend: flaskJwtCookies(), fetch: server.fetch })
  await auth.login(alice)
  const refresh = async (): Promise<void> => {
    const done = auth.refresh()
    await pass(5 * second)
    await done
    await pass(10 * minute)
  }
  for (let count = 0; count < 15; count++) await refresh()
  expect(turns).toBe(0)
  busy = false
  await refresh()
  expect(turns).toBe(1)
})

test('a session whose token can be exchanged long after its end is kept for longer by stores that throw away what is over', () => {
  const token = jwt({ iat: 1, exp: 901 })
  const record = { access: { token }, refreshToken: token } as LiveRecord
  expect(lifeOf(record)).toBeUndefined()
  expect(lifeOf({ ...record, refreshToken: undefined })).toEqual({ iat: 1, exp: 901 })
})

test('a session that has a refresh token alone is kept for as long as that lasts', () => {
  const refreshToken = jwt({ iat: 1, exp: 901 })
  expect(lifeOf({ refreshToken } as LiveRecord)).toEqual({ iat: 1, exp: 901 })
})

test('a refresh token alone that is refused gives a 401, in whatever status the server says so', async () => {
  const backend = oauth2({ tokenEndpoint: 'token', clientId: 'web' })
  const server = serve(() => Response.json({ error: 'invalid_grant' }, { status: 400 }))
  const auth = createAuth({ baseUrl, backend, fetch: server.fetch, initial: { refreshToken: 'spare' } })
  const answer = await auth.fetch('items')
  expect([answer.status, await answer.json()]).toEqual([401, { error: 'invalid_grant' }])
})

test('a refresh that meets an error which its backend does not know says so, and which', async () => {
  const server = serve(() => Response.json({ message: 'Nope' }, { status: 401 }))
  const auth = createAuth({
    baseUrl,
    backend: flaskJwt(),
    fetch: server.fetch,
    initial: { refreshToken: 'spare' },
  })
  const { message } = await failure(auth.fetch('items'))
  expect(message).toBe(
    'The access token could not be refreshed (status 401, not known as a refusal); the session lives',
  )
})

test('a token that ends after all dates ends at the last of them', async () => {
  const { auth } = room()
  await auth.setTokens({ accessToken: jwt({ sub: 'alice', iat: 1, exp: 1e300 }) })
  expect(new Date(auth.session?.expiresAt ?? Number.NaN).getTime()).toBe(8.64e15)
})

test('1: of a claim that ran out while all stood still the answer is read first', async () => {
  const store = handStore()
  const { auth, another, hold, backend, told } = room({
    client: { store },
    server: { refresh: 'rotating-reuse-detection' },
  })
  await auth.login(alice)
  const { auth: beside } = another()
  await beside.ready
  await pass(20 * minute)
  const { release } = hold('refresh')
  const calls = [auth.fetch('protected')]
  await settle()
  calls.push(beside.fetch('protected'))
  await pass(second)
  // Longer than the claim: as all wake, timers go first, and the answer is read by who asked.
  vi.setSystemTime(Date.now() + minute)
  vi.spyOn(performance, 'now').mockImplementation(() => Date.now() - start)
  await pass(300)
  release()
  await pass(10 * second)
  expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([200, 200])
  expect(backend.count('refresh')).toBe(1)
  expect(summary(told).join()).not.toContain('loggedOut')
})
