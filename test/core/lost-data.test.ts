/** A store that loses its data, or falls back to what it held before. */
import { describe, expect, test, vi } from 'vitest'
import {
  type Cell,
  createAuth,
  flaskJwt,
  type LiveRecord,
  memoryStore,
  type Notice,
  type Store,
  type StoreRecord,
  type Tombstone,
} from '../../src/index.ts'
import { noticeOf } from '../../src/stores/record.ts'
import { handStore, mint, ok, serve } from './by-hand.ts'
import {
  alice,
  baseUrl,
  bob,
  deferred,
  failure,
  hour,
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

describe('4: a store that falls back to the end of the session before', () => {
  test.each(['logout', 'session_expired'] as const)(
    '(%s) ends nothing, and is given again what it has lost',
    async (reason) => {
      const store = handStore()
      const { auth, told, backend } = room({ client: { store }, server: { refresh: 'rotating' } })
      await auth.login(alice)
      await pass(16 * minute)
      if (reason === 'logout') await auth.logout()
      else {
        backend.revoke({ sub: 'alice' })
        await auth.fetch('protected')
      }
      const tombstone = store.record as StoreRecord
      expect(tombstone).toMatchObject({ ended: reason })
      await pass(second)
      const { id } = await auth.login(alice)
      await pass(second)
      told.length = 0
      store.record = { ...tombstone }
      store.notify()
      await settle()
      expect((await auth.fetch('protected')).status).toBe(200)
      expect(summary(told)).toEqual([])
      expect(store.record).toMatchObject({ id, version: 1 })
    },
  )

  test('in the midst of a refresh takes nothing of it back', async () => {
    const store = handStore()
    const { auth, backend, hold } = room({ client: { store }, server: { refresh: 'rotating' } })
    await auth.login(alice)
    await pass(minute)
    await auth.logout()
    const tombstone = store.record as StoreRecord
    await pass(second)
    await auth.login(alice)
    await pass(16 * minute)
    const answer = hold('refresh')
    const call = auth.fetch('protected')
    await settle()
    store.record = { ...tombstone }
    answer.release()
    expect((await call).status).toBe(200)
    expect(backend.sessionAlive('alice')).toBe(true)
    expect(store.record).toMatchObject({ version: 2 })
  })

  test.each([true, false])(
    '5: but not one that is heard of here for the first time, though the store’s clock was set back (said by its notice: %s)',
    async (said) => {
      const store = handStore()
      const { auth, another } = room({ client: { store } })
      await auth.login(alice)
      const { auth: other } = another()
      await other.ready
      await pass(second)
      vi.setSystemTime(Date.now() - 60 * minute)
      await pass(second)
      await other.login(bob)
      await pass(second)
      await other.logout()
      const { id, version, calledAt, ended, revision } = store.record as Tombstone
      store.notify(said ? { id, version, calledAt, ended, revision } : undefined)
      await settle()
      expect(auth.session).toBeNull()
      expect(store.record).toMatchObject({ id, ended: 'logout' })
    },
  )

  test('5: but a logout that is called after the login ends it', async () => {
    const store = handStore()
    const { auth } = room({ client: { store } })
    await auth.login(alice)
    await auth.logout()
    const tombstone = store.record as StoreRecord
    await pass(second)
    await auth.login(alice)
    await pass(second)
    store.record = { ...tombstone, calledAt: Date.now(), revision: 'theirs' }
    store.notify()
    await settle()
    expect(auth.session).toBeNull()
  })
})

describe('5: a store that falls back', () => {
  const fallen = async () => {
    const inner = handStore()
    const is = { full: false }
    const store: Store = {
      ...inner,
      read: () => inner.read(),
      commit(next, expected) {
        if (is.full) throw new Error('READONLY')
        return inner.commit?.(next, expected) as Cell
      },
    }
    const { auth, told } = room({ client: { store, fetch: serve(() => ok()).fetch } })
    await auth.setTokens({ accessToken: mint('alice'), refreshToken: 'first' })
    const before = inner.record as StoreRecord
    await pass(minute)
    await auth.setTokens({ accessToken: mint('bob', { exp: 4e9 }), refreshToken: 'second' })
    await pass(minute)
    told.length = 0
    const fall = (): void => {
      inner.record = { ...before }
      inner.notify()
    }
    const stands = () => [auth.session?.subject, (inner.record as LiveRecord).subject]
    return { is, fall, stands, told }
  }

  test.each([1, 2, 5, 20])(
    'and takes no commit for %i s is given the last login when it does',
    async (seconds) => {
      const { is, fall, stands, told } = await fallen()
      is.full = true
      fall()
      await pass(seconds * second)
      is.full = false
      await pass(2 * minute)
      expect(stands()).toEqual(['bob', 'bob'])
      expect(summary(told).filter((one) => !one.startsWith('storeUnavailable'))).toEqual([])
    },
  )

  test('and then again within a minute is given it as often as before, however long it took no commit', async () => {
    const { is, fall, stands } = await fallen()
    is.full = true
    fall()
    await pass(20 * second)
    is.full = false
    await pass(30 * second)
    expect(stands()).toEqual(['bob', 'bob'])
    for (let times = 2; times <= 5; times++) {
      // The last of them takes more than one commit, too.
      is.full = times === 5
      fall()
      await settle()
      is.full = false
      await pass(second)
      expect(stands()).toEqual(['bob', 'bob'])
    }
    // By who thinks the same of his, as it seems.
    fall()
    await pass(second)
    expect(stands()).toEqual(['alice', 'alice'])
  })

  test('again and again, once an hour, is given it each time', async () => {
    const { fall, stands } = await fallen()
    for (let times = 0; times < 8; times++) {
      await pass(hour)
      fall()
      await pass(minute)
      expect(stands()).toEqual(['bob', 'bob'])
    }
  })
})

test.each(['refresh', 'reauthenticate'] as const)(
  '3: what a %s brings while the store falls back is what the session goes on with',
  async (how) => {
    const cell = memoryStore() as Required<Store>
    const { auth, hold, tokens } = room({
      client: { store: { ...cell, watch: () => () => {} } },
      server: { refresh: 'rotating' },
    })
    await auth.login(alice)
    const { record: before } = (await cell.read()) as Cell
    await pass(minute)
    await auth.login(bob)
    await pass(16 * minute)
    const held = hold(how === 'refresh' ? 'refresh' : 'login')
    const done = how === 'refresh' ? auth.refresh() : auth.reauthenticate(bob)
    await settle()
    const { record: now } = (await cell.read()) as Cell
    await cell.commit({ ...(before as StoreRecord), revision: 'back' }, now?.revision as string)
    held.release()
    await done
    await pass(20 * minute)
    const { status } = await auth.fetch('protected')
    expect([status, auth.session?.subject]).toEqual([200, 'bob'])
    expect(new Set(tokens('refresh')).size).toBe(tokens('refresh').length)
  },
)

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

test('5: the end of a later session, told of, and lost with the store’s data before it is read, ends what was held before it', async () => {
  const store = handStore()
  const { auth, told } = room({ client: { store } })
  await auth.login(alice)
  store.record = null
  store.notify({ revision: 'theirs', id: 'later', version: 1, ended: 'logout' })
  await settle()
  expect(auth.session).toBeNull()
  expect(store.record).toBeNull()
  expect(summary(told)).toEqual(['loggedIn: login', 'loggedOut: logout (elsewhere)'])
})

test('5: so does one that a store tells of which can’t be read, and says so at once', async () => {
  const shared = memoryStore()
  let denied = false
  const read = (): Cell => {
    if (denied) throw new Error('storage is denied')
    return shared.read() as Cell
  }
  const { auth, another, told } = room({ client: { store: { ...shared, read } } })
  await auth.login(alice)
  const there = another({ store: shared }).auth
  told.length = 0
  denied = true
  await there.login(bob)
  await there.logout()
  expect(auth.session).toBeNull()
  expect(summary(told)).toEqual(['storeUnavailable: read', 'loggedOut: logout (elsewhere)'])
})

test('3: of two logins in one millisecond, one that a store took without saying so is not written over the other that replaced it', async () => {
  const store = handStore()
  const { auth, another, backend, told } = room({
    client: { store },
    server: { refresh: 'rotating-reuse-detection' },
  })
  const { commit } = store
  store.commit = async (next, expected) => {
    await commit?.(next, expected)
    throw new Error('connection lost')
  }
  await auth.login(alice)
  store.commit = commit
  const there = another().auth
  await there.ready
  await there.refresh()
  const { id } = await there.login(bob)
  told.length = 0
  await pass(second)
  expect(store.record).toMatchObject({ id })
  expect(auth.session).toMatchObject({ id, subject: 'bob' })
  expect(backend.reuseDetected).toBe(0)
})

test('11: a password’s token is in use at once, though the store has lost what it was asked for and holds an older version', async () => {
  const store = Object.assign(handStore(), { empty: 'lost' as const })
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  const before = store.record as LiveRecord
  await auth.refresh()
  await auth.refresh()
  const looked = store.gate('read')
  const answer = auth.reauthenticate(alice)
  await settle()
  expect(looked.reached()).toBe(true)
  store.record = { ...before, revision: 'theirs' }
  looked.open()
  expect(await answer).toMatchObject({ version: 4, fresh: true })
  expect(store.record).toMatchObject({ version: 4 })
})

describe('5: what was written back of a session that was signed out', () => {
  const writtenBack = async (revoke: boolean, next?: { gate?: boolean; login?: boolean }) => {
    const store = handStore()
    const server = serve(({ path }) =>
      path === '/login' ? ok({ access_token: mint('alice'), refresh_token: 'the-one' }) : ok(),
    )
    const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store })
    await auth.login(alice)
    const was = store.record as LiveRecord
    store.record = null
    await auth.logout({ revoke })
    await pass(second)
    if (next?.login) await auth.login(alice)
    server.sent.length = 0
    // By another process, that had refreshed and has not heard.
    const refreshToken = next?.login ? was.refreshToken : 'newer'
    const access = { token: mint('alice'), at: start }
    const back: StoreRecord = { ...was, version: 2, refreshToken, access, revision: 'back' }
    store.record = back
    const gate = next?.gate ? store.gate('commit') : undefined
    store.notify({ revision: 'back', id: was.id, version: 2 } as Notice)
    await settle()
    if (gate) {
      expect(gate.reached()).toBe(true)
      store.record = { ...back, claim: { by: 'them', until: start + 5000, span: 5000 }, revision: 'claimed' }
      gate.open()
      await settle()
    }
    return { auth, server, store }
  }

  test('is ended, and its tokens are revoked, once', async () => {
    const { server, store } = await writtenBack(true, { gate: true })
    expect(store.record).toMatchObject({ ended: 'logout' })
    expect(server.tokens('/logout').filter((token) => token === 'newer')).toHaveLength(1)
  })

  test('lives on at the server after logout({ revoke: false })', async () => {
    const { server, store } = await writtenBack(false)
    expect(store.record).toMatchObject({ ended: 'logout' })
    expect(server.sent).toEqual([])
  })

  test('takes no token with it that the next session goes on with', async () => {
    const { auth, server } = await writtenBack(true, { login: true })
    expect(auth.session).toMatchObject({ subject: 'alice' })
    expect(server.tokens('/logout')).not.toContain('the-one')
  })

  test('nor does what a store has ended for who is gone', async () => {
    const inner = handStore()
    const server = serve(({ path }) =>
      path === '/login' ? ok({ access_token: mint('alice'), refresh_token: 'the-one' }) : ok(),
    )
    let ended: LiveRecord | undefined
    const read = async (): Promise<Cell> => ({ ...(await inner.read()), ended })
    const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store: { ...inner, read } })
    await auth.login(alice)
    ended = { ...(inner.record as LiveRecord), id: 'another', version: 3, revision: 'theirs' }
    inner.notify()
    await settle()
    expect(server.tokens('/logout')).not.toContain('the-one')
  })

  test('is revoked no second time, if the logout has revoked that version', async () => {
    const store = handStore()
    const server = serve(() => ok())
    const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store })
    await auth.setTokens({ accessToken: mint('alice'), refreshToken: 'spare' })
    const was = store.record as LiveRecord
    await auth.logout()
    server.sent.length = 0
    store.record = { ...was, revision: 'back' }
    store.notify()
    await settle()
    expect(store.record).toMatchObject({ id: was.id, ended: 'logout' })
    expect(server.sent).toEqual([])
  })

  test('nor is it where a login elsewhere that was called later stood there, and left no trace of the logout', async () => {
    const store = handStore()
    const server = serve(() => ok())
    const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store })
    await auth.setTokens({ accessToken: mint('alice'), refreshToken: 'spare' })
    const was = store.record as LiveRecord
    await pass(second)
    const reading = store.gate('read')
    const out = auth.logout()
    await pass(second)
    store.record = { ...was, id: 'later', calledAt: Date.now(), revision: 'theirs', refreshToken: 'later' }
    reading.open()
    await out
    expect(auth.session).toMatchObject({ id: 'later' })
    server.sent.length = 0
    store.record = { ...was, revision: 'back' }
    store.notify()
    await settle()
    expect(store.record).toMatchObject({ id: 'later' })
    expect(server.sent).toEqual([])
  })

  test('is revoked where it ended with a later session, whose logout knew nothing of it', async () => {
    const store = handStore()
    const server = serve(() => ok())
    const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, store })
    await auth.setTokens({ accessToken: mint('alice'), refreshToken: 'spare' })
    const was = store.record as LiveRecord
    store.record = { id: 'later', version: 1, calledAt: Date.now(), ended: 'logout', revision: 'theirs' }
    store.notify()
    await settle()
    expect([auth.session, server.sent]).toEqual([null, []])
    store.record = { ...was, revision: 'back' }
    store.notify()
    await settle()
    expect(store.record).toMatchObject({ id: was.id, ended: 'logout' })
    expect(server.tokens('/logout')).toContain('spare')
  })
})

test('4: a session whose data the user cleared while a password was asked for is told as cleared, not as run out', async () => {
  const store = Object.assign(handStore(), { empty: 'ended' as const })
  const { auth, backend, told, signIn } = room({ client: { store } })
  await signIn()
  backend.revoke({ sub: 'alice' })
  const dialog = deferred()
  auth.on('reauthRequired', ({ waitUntil }) => waitUntil(dialog.promise))
  const call = auth.fetch('protected')
  await settle()
  expect(auth.session).toMatchObject({ status: 'expired' })
  store.record = null
  dialog.resolve()
  expect((await call).status).toBe(401)
  expect(summary(told).slice(-1)).toEqual(['loggedOut: storage_cleared (elsewhere)'])
  expect([auth.session, store.record]).toEqual([null, null])
})

describe('4: the end of an older version, by who had not heard of the newer one that the store has lost,', () => {
  /** `auth` holds version 2, by a password; `other` has ended version 1, which is all that it knew. */
  async function helpedHere() {
    const store = handStore()
    const site = room({ client: { store } })
    const { auth, backend, another, told } = site
    await auth.login(alice)
    const { auth: other, told: toldOther } = another()
    await other.ready
    backend.revoke({ sub: 'alice' })
    const dialog = deferred()
    other.on('reauthRequired', ({ waitUntil }) => waitUntil(dialog.promise))
    const call = other.fetch('protected')
    await settle()
    await auth.reauthenticate(alice)
    store.record = null
    told.length = 0
    dialog.resolve()
    await call
    expect(store.record).toMatchObject({ ended: 'token_revoked', version: 1 })
    return { ...site, store, other, toldOther }
  }

  test('does not end the newer one, which is written back, and whoever had ended is back in it', async () => {
    const { auth, other, store, told, toldOther } = await helpedHere()
    store.notify()
    await settle()
    expect([auth.session, store.record]).toMatchObject([{ version: 2, status: 'active' }, { version: 2 }])
    expect(told).toEqual([])
    store.notify()
    await settle()
    expect(other.session).toMatchObject({ version: 2, status: 'active' })
    expect(summary(toldOther).slice(-2)).toEqual([
      'loggedOut: token_revoked',
      'loggedIn: reauthenticated (elsewhere)',
    ])
  })

  test('does not end it by its notice, either', async () => {
    const { auth, store, told } = await helpedHere()
    const { revision = '', id = '', version = 0 } = store.record ?? {}
    const read = store.gate('read')
    store.notify({ revision, id, version, ended: 'token_revoked' })
    expect(auth.session).toMatchObject({ version: 2 })
    read.open()
    await settle()
    expect((await auth.fetch('protected')).status).toBe(200)
    expect([auth.session, store.record]).toMatchObject([{ version: 2 }, { version: 2 }])
    expect(told).toEqual([])
  })

  test.each(['refresh', 'reauthenticate'] as const)('is not in the way of %s', async (what) => {
    const { auth, store, told } = await helpedHere()
    await auth[what](alice as never)
    expect([auth.session, store.record]).toMatchObject([{ version: 3, status: 'active' }, { version: 3 }])
    expect(summary(told)).toEqual([expect.stringMatching(/^tokenRefreshed/)])
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test.each(['auth', 'other'] as const)('5: is no shelter from a logout by %s', async (who) => {
    const { store, another, auth, other } = await helpedHere()
    const end = store.record
    store.notify()
    await settle()
    const { auth: third } = another()
    await third.ready
    expect(third.session).toMatchObject({ version: 2 })
    store.record = end
    await { auth, other }[who].logout({ revoke: false })
    expect(store.record).toMatchObject({ ended: 'logout' })
    store.notify()
    await pass(30 * second)
    expect([auth.session, other.session, third.session]).toEqual([null, null, null])
  })

  test('5: is a logout once its user calls one, which is defended when it is lost, too', async () => {
    const { auth, other, store } = await helpedHere()
    await other.logout({ revoke: false })
    store.record = null
    await pass(30 * second)
    for (let times = 0; times < 3; times++) {
      store.notify()
      await settle()
    }
    expect([auth.session, store.record]).toMatchObject([null, { ended: 'logout' }])
  })

  test('is not believed by who was told of it before he heard of the newer one', async () => {
    const { auth, another, store } = await helpedHere()
    const { revision = '', id = '', version = 0 } = store.record ?? {}
    const end = store.record
    store.record = null
    const theirs = Object.assign(Object.create(store) as typeof store, handStore(), { read: store.read })
    const { auth: late } = another({ store: theirs })
    await late.ready
    expect(late.session).toBeNull()
    store.record = end
    const read = store.gate('read')
    theirs.notify({ revision, id, version, ended: 'token_revoked' })
    await settle()
    await auth.refresh()
    const away = deferred()
    theirs.read = () => away.promise.then(() => Promise.reject(new Error('out of order')))
    theirs.notify({ revision: store.record?.revision ?? '', id, version: 3 })
    read.open()
    await settle()
    expect(late.session).toMatchObject({ version: 3 })
    away.resolve()
    await settle()
    expect(late.session).toMatchObject({ version: 3, status: 'active' })
  })

  test('takes nothing of what an exchange brings that it falls into', async () => {
    const { auth, hold, store } = await helpedHere()
    const end = store.record
    store.notify()
    await settle()
    const exchange = hold('refresh')
    const refreshed = auth.refresh()
    await settle()
    store.record = end
    exchange.release()
    await refreshed
    expect([auth.session, store.record]).toMatchObject([{ version: 3, status: 'active' }, { version: 3 }])
    expect((await auth.fetch('protected')).status).toBe(200)
  })
})

test('4: the end of an older version is one where an empty store means that the user cleared it: nothing is lost there', async () => {
  const store = Object.assign(handStore(), { empty: 'ended' as const })
  const { auth, told } = room({ client: { store } })
  const { id } = await auth.login(alice)
  await auth.refresh()
  told.length = 0
  store.record = { id, version: 1, calledAt: 0, ended: 'token_revoked', revision: 'theirs' }
  store.notify()
  await settle()
  expect(auth.session).toBeNull()
  expect(summary(told)).toEqual(['loggedOut: token_revoked (elsewhere)'])
})

test('5: a logout is defended as one, though the session is told of as run out afterwards', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  const { id } = await auth.login(alice)
  const before = store.record
  await auth.logout({ revoke: false })
  store.record = before
  store.notify({ revision: 'theirs', id, version: 1, ended: 'session_expired' })
  await settle()
  expect([auth.session, store.record]).toMatchObject([null, { ended: 'logout' }])
})

test('4: what a password brought while the store could not be written outlives the end of the version before it, elsewhere', async () => {
  const store = handStore()
  const { auth, backend, hold, another } = room({ client: { store } })
  await auth.login(alice)
  const theirs = Object.assign(Object.create(store), { commit: store.commit })
  const { auth: other } = another({ store: theirs })
  await other.ready
  const answer = hold('login')
  backend.revoke({ sub: 'alice' })
  const done = auth.reauthenticate(alice)
  await settle()
  store.commit = () => Promise.reject(new Error('out of order'))
  answer.release()
  await done
  expect((await other.fetch('protected')).status).toBe(401)
  expect(store.record).toMatchObject({ ended: 'token_revoked', version: 1 })
  store.commit = theirs.commit
  await pass(minute)
  expect([auth.session, store.record]).toMatchObject([{ version: 2, status: 'active' }, { version: 2 }])
  expect((await auth.fetch('protected')).status).toBe(200)
})

test.each(['nothing', 'the end of an older version'])(
  '10: a store that can only be read, and holds %s by now, is asked once',
  async (what) => {
    const store = handStore()
    const { auth, another } = room({ client: { store } })
    const { id } = await auth.login(alice)
    await auth.refresh()
    const { name, read, watch } = store
    const only = { name, read: vi.fn(read), watch }
    const { auth: reader } = another({ store: only })
    await reader.ready
    expect(reader.session).toMatchObject({ version: 2 })
    store.record =
      what === 'nothing'
        ? null
        : { id, version: 1, calledAt: 0, ended: 'session_expired', revision: 'theirs' }
    only.read.mockClear()
    only.read.mockImplementation(() => (only.read.mock.calls.length > 9 ? new Promise(() => {}) : read()))
    store.notify()
    await settle()
    expect(only.read).toHaveBeenCalledTimes(1)
    expect(reader.session).toMatchObject({ version: 2 })
  },
)

test('5: a listener that signs out a login as it is told of it, in a store that has just lost its data: a tombstone stands', async () => {
  const store = handStore()
  const { auth, backend } = room({ client: { store } })
  auth.on('loggedIn', () => {
    store.record = null
    void auth.logout()
  })
  await auth.login(alice).catch(() => {})
  await settle()
  // Or another context would write back what it held before.
  expect(store.record).toMatchObject({ ended: 'logout' })
  expect(backend.sessionAlive('alice')).toBe(false)
})

test('4: an old version’s end, still to be written when the data is cleared, is not that of the newer one', async () => {
  const store = Object.assign(handStore(), { empty: 'ended' as const })
  const { auth, backend, hold, told } = room({ client: { store } })
  await auth.login(alice)
  backend.fault('protected', { status: 401, body: { msg: 'Token has expired' } })
  backend.fault('refresh', { status: 401, body: { msg: 'Token has been revoked' } })
  const refusal = hold('refresh', 'answer')
  const call = auth.fetch('protected')
  await settle()
  expect(refusal.held()).toBe(true)
  // The refusal is not written, and when that it is all over is to be written the store is slow.
  const { read, commit } = store
  const slow = deferred()
  store.commit = () => {
    store.read = () => slow.promise.then(read)
    store.commit = commit
    return Promise.reject(new Error('out of order'))
  }
  refusal.release()
  await settle()
  const login = auth.reauthenticate(alice)
  await settle()
  store.record = null
  slow.resolve()
  await Promise.all([call, login])
  await pass(minute)
  expect(summary(told).filter((one) => one.startsWith('loggedOut'))).toEqual([
    'loggedOut: storage_cleared (elsewhere)',
  ])
})

describe('4: a store that loses its data right after it took a change, while which another read was answered', () => {
  /** The first commit of `version` is overtaken by a read, and what it wrote is lost before that is read again. */
  const losing = (
    version: number,
    instead: (before: StoreRecord | null, written: StoreRecord) => StoreRecord | null,
    store = handStore(),
  ) => {
    const commit = store.commit as NonNullable<typeof store.commit>
    store.commit = async (next, expected) => {
      const before = store.record
      if (next.version !== version || 'ended' in next || before?.revision !== (expected ?? undefined))
        return commit(next, expected)
      store.commit = commit
      store.notify()
      await settle()
      const cell = await commit(next, expected)
      store.record = instead(before, next)
      return cell
    }
    return store
  }

  test.each([
    ['nothing', () => null],
    [
      'what another wrote back, who knows less',
      (before: StoreRecord | null) => before && { ...before, revision: 'theirs' },
    ],
  ])('keeps what a refresh brought (in its place: %s)', async (_, instead) => {
    const store = losing(2, instead)
    const { auth, backend } = room({ client: { store }, server: { refresh: 'rotating-reuse-detection' } })
    const { id } = await auth.login(alice)
    await auth.refresh()
    await settle()
    expect(store.record).toMatchObject({ id, version: 2 })
    expect(auth.session).toMatchObject({ id, version: 2 })
    await auth.refresh()
    expect(backend.reuseDetected).toBe(0)
  })

  test('keeps the login', async () => {
    const { auth, told } = room({ client: { store: losing(1, () => null) } })
    const { id } = await auth.login(alice)
    await settle()
    expect(auth.session).toMatchObject({ id, subject: 'alice' })
    expect(summary(told)).toEqual(['loggedIn: login'])
  })

  test('keeps a login that was called right after a logout, and that another has written back', async () => {
    const store = handStore()
    const { auth } = room({ client: { store } })
    await auth.login(alice)
    losing(1, (_, written) => ({ ...written, revision: 'theirs' }), store)
    const [, session] = await Promise.all([auth.logout(), auth.login(bob)])
    expect(session).toMatchObject({ subject: 'bob' })
    await settle()
    expect(auth.session).toMatchObject({ subject: 'bob' })
    expect(store.record).toMatchObject({ subject: 'bob', version: 1 })
  })
})

test('5: a session that was signed out, and comes back with lost data from who had not heard of it, gives way to the later one', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  const before = store.record
  await auth.logout()
  await pass(second)
  const { id } = await auth.login(bob)
  store.record = before && { ...before, revision: 'theirs' }
  store.notify()
  await settle()
  expect(store.record).toMatchObject({ id, subject: 'bob' })
  expect(auth.session).toMatchObject({ id, subject: 'bob' })
})

test('5: nor does it stay where nobody has signed in since', async () => {
  const store = handStore()
  const { auth, another } = room({ client: { store } })
  await auth.login(alice)
  const before = store.record
  await auth.logout()
  store.record = before && { ...before, revision: 'theirs' }
  store.notify()
  await settle()
  expect(store.record).toMatchObject({ id: before?.id, ended: 'logout' })
  expect(auth.session).toBeNull()
  const { auth: later } = another()
  await later.ready
  expect(later.session).toBeNull()
})

test('5: the end of a session before is not believed of a reading that others overtook time and again', async () => {
  const inner = handStore()
  const { auth } = room({ client: { store: inner } })
  await auth.login(alice)
  const before = inner.record as LiveRecord
  const ended: StoreRecord = {
    id: before.id,
    version: 1,
    calledAt: before.calledAt,
    revision: 'ended',
    ended: 'logout',
  }
  const after: LiveRecord = { ...before, id: 'after', revision: 'after' }
  const asked: { answer(record: StoreRecord): Promise<void> }[] = []
  inner.read = () =>
    new Promise((resolve) => {
      const answer = (record: StoreRecord): Promise<void> => {
        resolve({ record, now: Date.now() })
        return settle()
      }
      asked.push({ answer })
    })
  inner.notify({ ...noticeOf(before), revision: 'theirs' })
  await settle()
  for (let round = 1; round <= 4; round++) {
    const [slow] = asked.splice(0)
    inner.notify({ ...noticeOf(before), revision: `theirs ${round}` })
    await settle()
    const [quick] = asked.splice(0)
    await quick?.answer(round < 4 ? { ...before, revision: `theirs ${round}` } : after)
    await slow?.answer(round < 4 ? before : ended)
  }
  await asked[0]?.answer(after)
  expect(auth.session).toMatchObject({ id: 'after' })
})
