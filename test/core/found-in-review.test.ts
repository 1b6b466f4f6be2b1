/** What a review of all this found, held: what a client is started with, late answers, and dialogs that others join. */
import { expect, test, vi } from 'vitest'
import {
  type Cell,
  createAuth,
  flaskJwt,
  flaskJwtCookies,
  type LiveRecord,
  memoryStore,
  type StoreRecord,
} from '../../src/index.ts'
import { handStore, jwt, mint, ok, refuse, serve, stamps } from './by-hand.ts'
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
  virtualTime,
} from './support.ts'

virtualTime()

test('5: nothing of what a client was started with is written after its logout, by whoever reads late', async () => {
  const store = handStore()
  const { commit } = store
  store.commit = () => Promise.reject(new Error('read-only replica'))
  const first = store.gate('read')
  const { auth } = room({ client: { store, initial: { refreshToken: 'spare' } } })
  const late = store.gate('read')
  store.notify()
  await settle()
  expect(late.reached()).toBe(true)
  first.open()
  await settle()
  expect(auth.session).toMatchObject({ version: 1 })
  const { id } = auth.session as { id: string }
  const out = auth.logout()
  const written: StoreRecord[] = []
  store.commit = async (next, expected) => {
    written.push(next)
    return (await commit?.(next, expected)) as Cell
  }
  late.open()
  await settle()
  await pass(minute)
  await out
  expect(written.filter((one) => one.id === id && !('ended' in one))).toEqual([])
})

test('10: a store that answers at once is not asked for ever because it failed once', async () => {
  const shared = memoryStore()
  let denied = true
  let reads = 0
  const read = (): Cell => {
    reads++
    if (denied) throw new Error('storage is denied')
    return shared.read() as Cell
  }
  const { auth } = room({ client: { store: { ...shared, read } } })
  await auth.ready
  denied = false
  await pass(minute)
  reads = 0
  await pass(60 * minute)
  expect(auth.session).toBeNull()
  expect(reads).toBe(0)
})

test('1: a password that finds an older version in a store that lost its data leaves the claim of who is exchanging', async () => {
  const store = Object.assign(handStore(), { empty: 'lost' as const })
  const { auth, another, backend, hold, tokens } = room({
    client: { store },
    server: { refresh: 'rotating-reuse-detection' },
    preset: { reauth: { path: 'fresh-login' } },
  })
  await auth.login(alice)
  const before = store.record as LiveRecord
  const there = another().auth
  await there.ready
  await auth.refresh()
  store.notify()
  await settle()
  expect(there.session).toMatchObject({ version: 2 })
  const held = hold('refresh', 'request')
  const exchange = there.refresh().catch((error) => error)
  await settle()
  expect(held.held()).toBe(true)
  store.notify()
  await settle()
  // A backup.
  store.record = { ...before, revision: 'theirs' }
  await auth.reauthenticate(alice)
  expect(store.record).toMatchObject({ version: 3 })
  backend.clearLog()
  const mine = auth.refresh().catch((error) => error)
  await settle()
  held.release()
  await pass(20 * second)
  await Promise.all([mine, exchange])
  const sent = tokens('refresh')
  expect(new Set(sent).size).toBe(sent.length)
  expect(backend.reuseDetected).toBe(0)
})

const subject = ({ tenant, sub }: { tenant?: string; sub?: string }) => `${tenant}:${sub}`

test('4: a refresh token that says less of its user than an access token does names nobody, and is refreshed', async () => {
  const server = serve(({ path }) =>
    path === '/refresh' ? ok({ access_token: mint('alice', { tenant: 'acme' }) }) : ok(),
  )
  const auth = createAuth({
    baseUrl,
    backend: flaskJwt({ subject: subject as never }),
    fetch: server.fetch,
    initial: { refreshToken: jwt({ ...stamps(), sub: 'alice', type: 'refresh' }) },
  })
  expect((await auth.fetch('items')).status).toBe(200)
  expect(auth.session).toMatchObject({ subject: 'acme:alice' })
  expect(server.tokens('/logout')).toEqual([])
})

test('4: nor does a cookie’s handle, which says nothing', async () => {
  vi.stubGlobal('document', { cookie: 'csrf_refresh_token=abcdef', baseURI: baseUrl })
  const server = serve(({ path }) =>
    path === '/refresh' ? ok({ access_token: mint('alice', { tenant: 'acme' }) }) : ok(),
  )
  const auth = createAuth({
    baseUrl,
    backend: flaskJwtCookies({ accessToken: 'memory', subject: subject as never }),
    fetch: server.fetch,
    store: memoryStore(),
  })
  await auth.ready
  expect((await auth.fetch('items')).status).toBe(200)
  expect(auth.session).toMatchObject({ subject: 'acme:alice' })
})

test('12: a clock that is set while a login is on its way costs it nothing', async () => {
  const body = deferred()
  const server = serve(async ({ path }) => {
    if (path !== '/login') return ok()
    vi.setSystemTime(Date.now() + 3_600_000)
    return new Response(
      new ReadableStream({
        async pull(controller) {
          await body.promise
          controller.enqueue(
            new TextEncoder().encode(JSON.stringify({ access_token: mint('alice'), refresh_token: 'spare' })),
          )
          controller.close()
        },
      }),
      { headers: { 'content-type': 'application/json' } },
    )
  })
  const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch })
  const login = auth.login(alice).catch((error) => error)
  await pass(100)
  body.resolve()
  await pass(100)
  expect(await login).toMatchObject({ subject: 'alice' })
  expect(server.tokens('/logout')).toEqual([])
})

test('what dispose() promises covers a commit that has to be tried again', async () => {
  const store = handStore()
  const { auth, hold } = room({ client: { store }, server: { refresh: 'rotating-reuse-detection' } })
  await auth.login(alice)
  const held = hold('refresh')
  const refresh = failure(auth.refresh())
  await settle()
  expect(held.held()).toBe(true)
  const { commit } = store
  let failures = 1
  store.commit = async (next, expected) => {
    if (failures-- > 0) throw new Error('connection reset')
    return (await commit?.(next, expected)) as Cell
  }
  const done = auth.dispose() as unknown as Promise<void>
  await refresh
  held.release()
  let over = false
  void Promise.resolve(done).then(() => {
    over = true
    // The connection is closed.
    store.commit = () => Promise.reject(new Error('closed'))
    store.read = () => Promise.reject(new Error('closed'))
  })
  await pass(minute)
  expect(over).toBe(true)
  expect(store.record).toMatchObject({ version: 2 })
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

test('5: what a client was started with, and a slow store takes after the logout, is no session', async () => {
  const store = handStore()
  const slow = store.gate('commit')
  const { auth, another } = room({ client: { store, initial: { refreshToken: 'spare' } } })
  await settle()
  expect(slow.reached()).toBe(true)
  const out = auth.logout()
  await pass(9 * second)
  await out
  slow.open()
  await pass(minute)
  expect(auth.session).toBeNull()
  const { auth: reloaded } = another({ initial: undefined })
  await reloaded.ready
  expect(reloaded.session).toBeNull()
})

test('5: nor is what it takes after the logout before it has timed out', async () => {
  const store = handStore()
  const slow = store.gate('commit')
  const { auth } = room({ client: { store, initial: { refreshToken: 'spare' } } })
  await settle()
  const out = auth.logout()
  await pass(second)
  await out
  slow.open()
  await pass(minute)
  expect(auth.session).toBeNull()
  expect(store.record === null || 'ended' in store.record).toBe(true)
})

for (const trip of [0, 1, 500, 3000])
  for (const gap of [0, 1, 100])
    test(`5: a login comes after what the client was started with, whatever the store takes for it: ${trip} ms, called after ${gap}`, async () => {
      const store = handStore()
      const { read } = store
      let fails = 1
      store.read = () => (fails-- > 0 ? Promise.reject(new Error('out of order')) : read())
      const { auth } = room({ client: { store, initial: { refreshToken: 'spare' } } })
      await pass(gap)
      const login = auth.login(bob).then(
        () => 'done',
        (error) => error.code,
      )
      store.notify()
      store.trip.back = trip
      await pass(minute)
      expect(await login).toBe('done')
      expect(auth.session).toMatchObject({ subject: 'bob' })
    })

for (const how of ['own', 'server'] as const) {
  test(`a refresh elsewhere closes no dialog that a caller who needs a fresh token has joined: told by its ${how}`, async () => {
    const store = handStore()
    const one = mint('alice', { fresh: false })
    const two = mint('alice', { fresh: false })
    const three = mint('alice', { fresh: true })
    const there = deferred()
    const server = serve(async ({ path, token }) => {
      if (path === '/login') return ok({ access_token: three, refresh_token: 'spare' })
      if (path === '/fresh') {
        if (how === 'server' && token === one) await there.promise
        return token === three ? ok() : refuse('Fresh token required')
      }
      return token === one ? refuse('Token has been revoked') : ok()
    })
    const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store })
    await auth.setTokens({ accessToken: one, refreshToken: 'spare' })
    auth.on('reauthRequired', (event) => {
      event.waitUntil(
        new Promise<void>((resolve) => {
          // The dialog closes when it is moot; else the person types.
          const timer = setTimeout(() => void auth.reauthenticate(alice).then(() => resolve()), 5000)
          event.signal.addEventListener('abort', () => {
            clearTimeout(timer)
            resolve()
          })
        }),
      )
    })
    const early = how === 'server' ? auth.fetch('fresh', { method: 'POST' }) : undefined
    await settle()
    const plain = auth.fetch('items')
    await settle()
    expect(auth.session).toMatchObject({ status: 'expired' })
    const fresh = early ?? auth.fetch('fresh', { method: 'POST', auth: 'fresh' })
    await settle()
    there.resolve()
    await settle()
    const held = store.record as LiveRecord
    store.record = {
      ...held,
      version: 2,
      reason: 'expired',
      revision: 'theirs',
      access: { token: two, at: Date.now() },
    }
    store.notify()
    await settle()
    await pass(20_000)
    expect((await plain).status).toBe(200)
    expect((await fresh).status).toBe(200)
  })
}

test('nor does the claim of who is about to refresh what a password has brought', async () => {
  const store = handStore()
  const record: LiveRecord = {
    id: 'session',
    version: 2,
    revision: 'stands',
    calledAt: Date.now(),
    reason: 'reauthenticated',
    subject: 'alice',
    access: { token: mint('alice', { fresh: false }) },
    refreshToken: 'spare',
  }
  store.record = record
  const server = serve(() => ok())
  const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store })
  await auth.ready
  let dialog: AbortSignal | undefined
  auth.on('reauthRequired', ({ signal, waitUntil }) => {
    dialog = signal
    waitUntil(new Promise(() => {}))
  })
  void auth.fetch('fresh', { auth: 'fresh' }).catch(() => {})
  await settle()
  store.record = {
    ...record,
    claim: { by: 'them', until: Date.now() + 5000, span: 5000 },
    revision: 'claimed',
  }
  store.notify()
  await settle()
  expect(dialog?.aborted).toBe(false)
})
