/** What another review found, held: what is told late, and what has gone on while a store was away. */
import { expect, test } from 'vitest'
import { type Cell, type LiveRecord, memoryStore, type StoreRecord } from '../../src/index.ts'
import { noticeOf } from '../../src/stores/record.ts'
import { handStore } from './by-hand.ts'
import {
  alice,
  bob,
  deferred,
  failure,
  minute,
  pass,
  room,
  second,
  settle,
  summary,
  virtualTime,
} from './support.ts'

virtualTime()

test('4: a logout that is told of late ends no session of a login that came after it', async () => {
  const store = handStore()
  const { auth, another, told } = room({ client: { store } })
  const there = another().auth
  await there.login(alice)
  await there.logout()
  const notice = noticeOf(store.record as StoreRecord)
  await pass(second)
  const { id } = await auth.login(bob)
  told.length = 0
  store.notify(notice)
  await settle()
  expect(summary(told)).toEqual([])
  expect(auth.session).toMatchObject({ id })
  expect((await auth.fetch('protected')).status).toBe(200)
})

test('12: nor does one of a session that has been replaced since, by a clock that was set back', async () => {
  const store = handStore()
  const { auth, told } = room({ client: { store } })
  const { id } = await auth.login(alice)
  told.length = 0
  const calledAt = Date.now() + 60 * minute
  store.notify({ revision: 'theirs', id: 'before', version: 1, calledAt, ended: 'logout' })
  await settle()
  expect(auth.session).toMatchObject({ id })
  expect(summary(told)).toEqual([])
})

test('10: contexts of which each took the other’s session for the one that was replaced don’t write theirs over the other’s for ever', async () => {
  const store = handStore()
  const { auth, another } = room({ client: { store } })
  const { commit } = store
  const written: StoreRecord[] = []
  store.commit = async (next, expected) => {
    written.push(next)
    // Who writes for ever would keep the test from its end.
    if (written.length > 20) return new Promise(() => {})
    const cell = await (commit?.(next, expected) ?? store.read())
    if (cell.record?.revision === next.revision) store.notify(noticeOf(next))
    return cell
  }
  await auth.login(alice)
  const before = store.record as LiveRecord
  await pass(second)
  const { id } = await auth.login(bob)
  // Knows of bob alone, until somebody who has not heard of him writes alice back into a store that lost its data.
  const { auth: newer } = another()
  await newer.ready
  written.length = 0
  store.record = { ...before, revision: 'theirs' }
  store.notify()
  await pass(second)
  expect(written.length).toBeLessThan(2)
  expect(auth.session).toMatchObject({ id })
})

test('3: what a refresh wrote, and a store that was lost could not confirm, is not taken back once others have gone on from it', async () => {
  const shared = handStore()
  let away = false
  let commits = 0
  const store = {
    ...shared,
    async read() {
      if (away) throw new Error('out of order')
      return shared.read()
    },
    async commit(next: StoreRecord, expected: string | null) {
      if (away) throw new Error('out of order')
      const cell = await (shared.commit?.(next, expected) ?? shared.read())
      // The login, the claim, and what the refresh brought.
      away = ++commits === 3
      if (away) throw new Error('connection lost')
      return cell
    },
  }
  const { auth, another, tokens } = room({
    client: { store },
    server: { refresh: 'rotating-reuse-detection' },
  })
  await auth.login(alice)
  const { auth: there } = another({ store: shared })
  await there.ready
  await auth.refresh()
  expect(shared.record).toMatchObject({ version: 2 })
  shared.notify()
  await there.refresh()
  expect(shared.record).toMatchObject({ version: 3 })
  away = false
  await pass(10 * second)
  expect(auth.session).toMatchObject({ version: 3 })
  expect(tokens('logout')).toEqual([])
})

test('3: nor is it where a password was given here before the store was given up: others go on with it', async () => {
  const shared = handStore()
  const answer = deferred()
  let away = false
  let commits = 0
  const store = {
    ...shared,
    async read() {
      if (away) throw new Error('out of order')
      return shared.read()
    },
    async commit(next: StoreRecord, expected: string | null) {
      if (away) throw new Error('out of order')
      const cell = await (shared.commit?.(next, expected) ?? shared.read())
      away = ++commits === 3
      if (!away) return cell
      await answer.promise
      throw new Error('connection lost')
    },
  }
  const { auth, another, tokens } = room({ client: { store } })
  await auth.login(alice)
  const { auth: there, told } = another({ store: shared })
  await there.ready
  const refreshed = auth.refresh()
  await settle()
  await auth.reauthenticate(alice)
  answer.resolve()
  await refreshed
  await settle()
  shared.notify()
  await settle()
  expect(shared.record).toMatchObject({ version: 2, reason: 'requested' })
  expect((await there.fetch('protected')).status).toBe(200)
  expect([summary(told), tokens('logout')]).toEqual([['tokenRefreshed: requested (elsewhere)'], []])
  away = false
  await pass(10 * second)
  expect(auth.session).toMatchObject({ version: 3 })
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

test('5: a login that was revoked before a store that was away could take it still ends who was signed in there before', async () => {
  const store = handStore()
  const { auth, another, backend } = room({ client: { store } })
  await auth.login(alice)
  const { read, commit } = store
  store.read = () => Promise.reject(new Error('out of order'))
  store.commit = () => Promise.reject(new Error('out of order'))
  await auth.login(bob)
  backend.fault('protected', { status: 401, body: { msg: 'Token has been revoked' } })
  expect((await auth.fetch('protected')).status).toBe(401)
  expect(auth.session).toBeNull()
  store.read = read
  store.commit = commit
  await pass(minute)
  expect(store.record).toMatchObject({ ended: 'token_revoked' })
  const { auth: reloaded } = another()
  await reloaded.ready
  expect(reloaded.session).toBeNull()
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

test('5: a login that was given up for a later one elsewhere, while the store was away, is not written once it is back, its data lost', async () => {
  const store = handStore()
  const { auth, another, hold } = room({ client: { store } })
  const there = another().auth
  await Promise.all([auth.ready, there.ready])
  const held = hold('login')
  const login = failure(auth.login(alice))
  await pass(second)
  const { id } = await there.login(bob)
  store.notify()
  await settle()
  const { read } = store
  store.read = () => Promise.reject(new Error('out of order'))
  held.release()
  expect(await login).toMatchObject({ code: 'session_changed' })
  store.record = null
  store.read = read
  await pass(minute)
  expect(auth.session).toMatchObject({ id, subject: 'bob' })
  expect(store.record).toMatchObject({ id })
})

test('5: a logout elsewhere that a store which was away turns out to hold is believed, though it can not be asked again', async () => {
  const store = handStore()
  const { auth, told } = room({ client: { store } })
  const { id } = await auth.login(alice)
  const { read } = store
  store.read = () => Promise.reject(new Error('out of order'))
  expect(await auth.reauthenticate(alice)).toMatchObject({ id, version: 2 })
  store.record = { id: 'another', version: 1, calledAt: Date.now(), ended: 'logout', revision: 'theirs' }
  store.read = () => {
    store.read = () => Promise.reject(new Error('out of order again'))
    return read()
  }
  await pass(minute)
  expect(auth.session).toBeNull()
  expect(summary(told).at(-1)).toBe('loggedOut: logout (elsewhere)')
})

test('3: a password’s tokens, of which a store that was away at first didn’t say that it had them, are not written over what others have made of them', async () => {
  const store = handStore()
  const { auth, another, backend } = room({
    client: { store },
    server: { refresh: 'rotating-reuse-detection' },
  })
  await auth.login(alice)
  const { read, commit } = store
  store.read = () => Promise.reject(new Error('out of order'))
  expect(await auth.reauthenticate(alice)).toMatchObject({ version: 2 })
  store.read = read
  store.commit = async (next, expected) => {
    await commit?.(next, expected)
    throw new Error('connection lost')
  }
  await pass(100)
  expect(store.record).toMatchObject({ version: 2 })
  store.commit = commit
  await another().auth.refresh()
  await pass(second)
  expect(store.record).toMatchObject({ version: 3 })
  expect(auth.session).toMatchObject({ version: 3 })
  await auth.refresh()
  expect(backend.reuseDetected).toBe(0)
})

test('what a store has not taken is not given up where two bring it at once, and it fails again', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  const { read, commit } = store
  const fail = (): Promise<never> => Promise.reject(new Error('out of order'))
  store.read = fail
  await auth.login(bob)
  const { id } = await auth.login(alice)
  store.read = read
  store.commit = fail
  const first = store.gate('read')
  await pass(100)
  expect(first.reached()).toBe(true)
  const looking = store.gate('read')
  const refresh = failure(auth.refresh())
  await settle()
  expect(looking.reached()).toBe(true)
  const other = store.gate('read')
  looking.open()
  await settle()
  expect(other.reached()).toBe(true)
  first.open()
  await settle()
  other.open()
  expect(await refresh).toMatchObject({ code: 'refresh_unavailable' })
  store.commit = commit
  await pass(minute)
  expect(store.record).toMatchObject({ id })
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

test('what a client is started with is its session, though a store that is empty can not be written, and is written when it can', async () => {
  const store = handStore()
  const { commit } = store
  store.commit = () => Promise.reject(new Error('read-only replica'))
  const { auth, backend } = room({ client: { store, initial: { refreshToken: 'spare' } } })
  await auth.ready
  expect(auth.session).toMatchObject({ version: 1 })
  expect(store.record).toBeNull()
  store.commit = commit
  await pass(minute)
  expect(store.record).toMatchObject({ version: 1, refreshToken: 'spare' })
  expect(backend.count()).toBe(0)
})

test('what a client is started with is asked for until the store can be read, and given up for what stands there then', async () => {
  for (const stands of [false, true]) {
    const store = handStore()
    if (stands) {
      const { auth } = room({ client: { store } })
      await auth.login(bob)
      auth.dispose()
    }
    const before = store.record
    const { read } = store
    store.read = () => Promise.reject(new Error('out of order'))
    const { auth } = room({ client: { store, initial: { refreshToken: 'spare' } } })
    await auth.ready
    expect(auth.session).toBeUndefined()
    store.read = read
    await pass(minute)
    expect(store.record).toMatchObject(before ?? { version: 1, refreshToken: 'spare' })
    expect(auth.session).toMatchObject({ id: store.record?.id })
  }
})

test('5: a logout before the store can be read ends what a client is started with, and revokes it at once', async () => {
  const store = handStore()
  const { read } = store
  store.read = () => Promise.reject(new Error('out of order'))
  const { auth, backend } = room({ client: { store, initial: { refreshToken: 'spare' } } })
  await auth.ready
  await pass(second)
  await auth.logout()
  await settle()
  expect(backend.count('logout')).toBe(1)
  store.read = read
  await pass(minute)
  expect(auth.session).toBeNull()
  expect(store.record).toMatchObject({ ended: 'logout' })
})

test('a client that is disposed of before the store has answered revokes nothing of what it was started with', async () => {
  const store = handStore()
  const gate = store.gate('read')
  const { auth, backend } = room({ client: { store, initial: { refreshToken: 'spare' } } })
  auth.dispose()
  gate.open()
  await pass(minute)
  expect(backend.count()).toBe(0)
})
