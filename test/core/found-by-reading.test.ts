/** What was found by reading, and asking of each two calls what else may come between them, held. */
import { expect, test, vi } from 'vitest'
import {
  createAuth,
  flaskJwt,
  flaskJwtCookies,
  type LiveRecord,
  memoryStore,
  type StoreRecord,
} from '../../src/index.ts'
import { noticeOf } from '../../src/stores/record.ts'
import { handStore, mint, ok, serve } from './by-hand.ts'
import {
  alice,
  baseUrl,
  bob,
  deferred,
  failure,
  minute,
  pass,
  room,
  settle,
  summary,
  virtualTime,
} from './support.ts'

virtualTime()

// --- 1

test('4: the late notice of an earlier logout, and one read that fails, do not end the login that came since', async () => {
  const store = handStore()
  const { auth, another } = room({ client: { store } })
  await auth.login(alice)
  const first = store.record as LiveRecord
  await pass(1)
  await auth.login(bob)
  const there = another().auth
  await there.ready
  const { read } = store
  let fails = 1
  store.read = () => (fails-- > 0 ? Promise.reject(new Error('reset')) : read())
  store.notify({ id: first.id, version: 1, calledAt: first.calledAt, revision: 'theirs', ended: 'logout' })
  await settle()
  await pass(minute)
  expect(store.record).toMatchObject({ subject: 'bob' })
  expect(auth.session).toMatchObject({ subject: 'bob' })
  store.notify()
  await pass(minute)
  expect(there.session).toMatchObject({ subject: 'bob' })
})

for (const trip of [0, 20])
  test(`4: nor do three notices in their order, if the middle one’s read fails, after ${trip} ms`, async () => {
    const store = handStore()
    const { auth, another } = room({ client: { store } })
    const there = another().auth
    await there.ready
    const said: StoreRecord[] = []
    await auth.login(alice)
    said.push(store.record as StoreRecord)
    await auth.logout()
    said.push(store.record as StoreRecord)
    await pass(1)
    await auth.login(bob)
    said.push(store.record as StoreRecord)
    const { read } = store
    let reads = 0
    store.read = async () => {
      const fails = ++reads === 2
      if (trip) await new Promise((resolve) => void setTimeout(resolve, trip))
      if (fails) throw new Error('reset')
      return read()
    }
    // As a tab hears of it that was frozen meanwhile.
    for (const record of said) {
      store.notify(noticeOf(record))
      await settle()
    }
    await pass(minute)
    expect(store.record).toMatchObject({ subject: 'bob' })
    expect(there.session).toMatchObject({ subject: 'bob' })
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

// --- 4

for (const what of ['refresh', 'getAccessToken'] as const)
  test(`what ${what}() begins after dispose() in its tick is covered by the promise of that, or does not begin`, async () => {
    const { auth, signIn, hold, backend } = room({ server: { refresh: 'rotating-reuse-detection' } })
    await signIn()
    await pass(16 * minute)
    const held = hold('refresh')
    const call = failure(auth[what]())
    let over = false
    const done = auth.dispose().then(() => {
      over = true
    })
    await settle()
    expect(await call).toMatchObject({ code: 'disposed' })
    const begun = held.held() || backend.count('refresh') > 0
    expect(begun && over).toBe(false)
    held.release()
    await done
  })

// --- 5

for (const notices of [2, 3])
  test(`5: ${notices} notices that say nothing, of which the last is a logout: no replay goes out after that`, async () => {
    const store = handStore()
    const { auth, backend, hold, tokens } = room({ client: { store } })
    await auth.login(alice)
    const held = hold('protected')
    backend.expireAccessTokens()
    void auth.fetch('protected').catch(() => {})
    await settle()
    await auth.refresh()
    backend.clearLog()
    store.trip.back = 100
    for (let left = notices; left > 0; left--) {
      if (left === 1) {
        const { id, version, calledAt } = store.record as LiveRecord
        store.record = { id, version, calledAt: calledAt + 10, ended: 'logout', revision: 'theirs' }
      }
      store.notify()
      held.release()
      await pass(40)
    }
    await pass(minute)
    expect(tokens('protected').filter(Boolean)).toEqual([])
  })

test('5: nor is a token handed out', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  store.trip.back = 100
  store.notify()
  const token = auth.getAccessToken().catch(({ code }) => code)
  await pass(40)
  const { id, version, calledAt } = store.record as LiveRecord
  store.record = { id, version, calledAt: calledAt + 10, ended: 'logout', revision: 'theirs' }
  store.notify()
  await pass(minute)
  expect([null, 'session_changed']).toContain(await token)
})

test('5: getAccessToken() gives no token of who has signed out in its tick', async () => {
  const { auth, signIn } = room()
  await signIn()
  const token = auth.getAccessToken().catch(({ code }) => code)
  void auth.logout()
  expect([null, 'session_changed']).toContain(await token)
})

// --- 6

test('5: a subscriber that signs out as the session expires: no password is asked for after that', async () => {
  const { auth, backend, told, signIn } = room()
  await signIn()
  auth.subscribe((session) => {
    if (session?.status === 'expired') void auth.logout()
  })
  const shown: unknown[] = []
  auth.on('reauthRequired', ({ session }) => void shown.push(session))
  backend.revoke({ sub: 'alice' })
  await auth.fetch('protected').catch(() => {})
  await settle()
  expect(shown).toEqual([])
  expect(summary(told)).toEqual(['loggedOut: logout'])
  expect(auth.history.map(({ type }) => type)).not.toContain('reauthRequired')
})

test('5: a listener that signs out while another has just asked for a fresh token: no password is asked for', async () => {
  const { auth, told, signInStale } = room()
  await signInStale()
  auth.on('tokenRefreshed', () => void auth.fetch('protected', { auth: 'fresh' }).catch(() => {}))
  auth.on('tokenRefreshed', () => void auth.logout())
  await auth.refresh().catch(() => {})
  await settle()
  expect(summary(told)).toEqual(['tokenRefreshed: requested', 'loggedOut: logout'])
})
