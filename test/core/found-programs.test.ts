/** What random programs found, held one by one; the programs themselves are in test/model. */
import { describe, expect, test, vi } from 'vitest'
import type { LiveRecord, StoreRecord } from '../../src/index.ts'
import { noticeOf } from '../../src/stores/record.ts'
import { fakeTokens } from '../../src/testing/index.ts'
import { handStore } from './by-hand.ts'
import { alice, bob, deferred, minute, pass, room, second, settle, summary, virtualTime } from './support.ts'

virtualTime()

const hour = 60 * minute

describe('while a password is asked for', () => {
  test('7: a refresh is no login: the request that waits is not sent again, and has its own 401', async () => {
    const { auth, backend, signInStale } = room()
    await signInStale()
    const dialog = deferred()
    auth.on('reauthRequired', ({ waitUntil }) => waitUntil(dialog.promise))
    const waiting = auth.fetch('fresh')
    await settle()
    await auth.refresh()
    dialog.resolve()
    expect((await waiting).status).toBe(401)
    expect(backend.count('fresh')).toBe(1)
  })

  test('5: and nothing else helps, nothing is refreshed: what was revoked does not come back', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.fault('protected', { status: 401, body: { msg: 'Token has been revoked' } })
    const dialog = deferred()
    auth.on('reauthRequired', ({ waitUntil }) => waitUntil(dialog.promise))
    const waiting = auth.fetch('protected')
    await settle()
    expect(auth.session).toMatchObject({ status: 'expired' })
    const asked = auth.refresh().catch(() => {})
    const other = auth.fetch('protected')
    await settle()
    expect(backend.count('refresh')).toBe(0)
    expect(backend.count('protected')).toBe(1)
    dialog.resolve()
    await Promise.all([waiting, other, asked])
    expect(auth.session).toBeNull()
    expect(backend.count('refresh')).toBe(0)
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

test.each(['that lives', 'that has run out'])(
  '5: a login right after a logout stands, over a session %s which this context had not heard of',
  async (what) => {
    const store = handStore()
    const { auth, another, backend } = room({ client: { store: { ...store, watch: undefined } } })
    await auth.ready
    const { auth: other } = another({ store })
    await other.login(alice)
    if (what === 'that has run out') {
      backend.revoke({ sub: 'alice' })
      expect((await other.fetch('protected')).status).toBe(401)
      expect(store.record).toMatchObject({ ended: 'token_revoked' })
    }
    await pass(minute)
    await Promise.all([auth.logout(), auth.login(bob)])
    expect([auth.session, store.record]).toMatchObject([{ subject: 'bob' }, { subject: 'bob' }])
  },
)

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

test('what happened here is told as from here, though a write that began later is heard of first', async () => {
  const store = handStore()
  const { auth, told } = room({ client: { store } })
  await auth.login(alice)
  told.length = 0
  const commit = store.commit?.bind(store)
  // As a store that watches does: its watchers hear of a commit before who made it has the answer.
  store.commit = async (next, expected) => {
    const cell = await (commit?.(next, expected) ?? store.read())
    const { revision, id, version } = next
    if (cell.record?.revision === revision) store.notify({ revision, id, version })
    return cell
  }
  const first = store.gate('commit')
  const login = auth.login(bob)
  await settle()
  const second = store.gate('commit')
  const refresh = auth.refresh().catch(() => {})
  await settle()
  first.open()
  await settle()
  second.open()
  await Promise.all([login, refresh])
  expect(summary(told).slice(0, 2)).toEqual(['loggedOut: replaced', 'loggedIn: login'])
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

test('1: a later version that is written back leaves the claim to its refresh token standing', async () => {
  const store = handStore()
  const { auth, tokens } = room({ client: { store } })
  await auth.login(alice)
  const first = store.record as LiveRecord
  await auth.refresh()
  expect(tokens('refresh')).toHaveLength(1)
  // The store has fallen back, and somebody else has claimed what stands there: the same refresh token.
  const claim = { by: 'them', until: Date.now() + 7_000, span: 7_000 }
  store.record = { ...first, revision: 'theirs', claim }
  store.notify({ revision: 'theirs', id: first.id, version: 1 })
  await settle()
  expect(store.record).toMatchObject({ version: 2, claim })
  const refreshed = auth.refresh()
  await pass(5_000)
  expect(tokens('refresh')).toHaveLength(1)
  await pass(2_001)
  await refreshed
  expect(tokens('refresh')).toHaveLength(2)
})

test('1: what a refresh brought, written late, leaves the claim that another has laid meanwhile to the same token standing', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  const { commit } = store
  store.commit = (next, expected) => {
    if (next.version === 2) return Promise.reject(new Error('out of order'))
    return commit?.(next, expected) ?? store.read()
  }
  await auth.refresh()
  const claim = { by: 'them', until: Date.now() + 60_000, span: 10_000 }
  store.record = { ...(store.record as LiveRecord), revision: 'theirs', claim }
  store.commit = commit
  await pass(second)
  expect(store.record).toMatchObject({ version: 2, claim })
})

test('7: what another context was helped to counts as a replay: two sends at the most', async () => {
  const store = handStore()
  const { auth, another, backend, signInStale } = room({ client: { store } })
  await signInStale()
  const { auth: other } = another()
  await other.ready
  await other.reauthenticate(alice)
  backend.clearLog()
  // The first send is told to step up; the second, with the fresh token of the other's, that it has expired.
  backend.fault('protected', { status: 401, body: { msg: 'Fresh token required' } })
  backend.fault('protected', { status: 401, body: { msg: 'Token has expired' } })
  expect((await auth.fetch('protected')).status).toBe(401)
  expect(backend.count('protected')).toBe(2)
})

test('7: a record that is heard of late names a fresh token that was turned down meanwhile: it is not sent again', async () => {
  const store = handStore()
  const { auth, backend } = room({ client: { store } })
  await auth.login(alice)
  // What the refresh brings is written, and the store never says so.
  const { commit } = store
  store.commit = async (next, expected) => {
    const cell = await (commit?.(next, expected) ?? store.read())
    return next.version === 2 ? new Promise(() => {}) : cell
  }
  const refreshed = auth.refresh()
  await settle()
  expect(store.record).toMatchObject({ version: 2, fresh: expect.anything() })
  backend.clearLog()
  backend.fault('fresh', { status: 401, body: { msg: 'Token has expired' } })
  const call = auth.fetch('fresh')
  await pass(8_000)
  await refreshed
  expect((await call).status).toBe(401)
  const [first, second, ...more] = backend.log.map(({ token }) => token?.token)
  expect([first !== second, more]).toEqual([true, []])
})

test('5: a listener that signs out when it hears that a session was replaced: nothing more is told of the new one', async () => {
  const { auth, told, backend } = room()
  await auth.login(alice)
  told.length = 0
  auth.on('loggedOut', ({ reason }) => {
    if (reason === 'replaced') void auth.logout()
  })
  await auth.login(bob).catch(() => {})
  await settle()
  expect(auth.session).toBeNull()
  expect(summary(told)).toEqual(['loggedOut: replaced', 'loggedOut: logout'])
  expect(backend.sessionAlive('bob')).toBe(false)
})

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

test('4: what was refreshed here and could not be written ends nothing where a password made the same version elsewhere', async () => {
  const store = handStore()
  const { auth, another, backend, told } = room({
    client: { store },
    server: { refresh: 'single-use' },
    preset: { refreshToken: 'single-use' },
  })
  await auth.login(alice)
  const { auth: other } = another()
  await other.ready
  const { commit } = store
  store.commit = (next, expected) => {
    if (next.version === 2) return Promise.reject(new Error('out of order'))
    return commit?.(next, expected) ?? store.read()
  }
  await auth.refresh()
  expect(auth.session).toMatchObject({ version: 2 })
  store.commit = commit
  await other.reauthenticate(alice)
  expect(store.record).toMatchObject({ version: 2, reason: 'reauthenticated' })
  told.length = 0
  backend.fault('protected', { status: 401, body: { msg: 'Token has expired' } }, { times: 2 })
  await auth.fetch('protected')
  await settle()
  expect(summary(told)).toEqual(['reauthRequired: session_expired'])
  expect(auth.session).toMatchObject({ version: 2, status: 'active' })
  expect((await auth.fetch('protected')).status).toBe(200)
  expect((await other.fetch('protected')).status).toBe(200)
})

test('4: a session that ran out while the store was away is taken up again where another was helped meanwhile', async () => {
  const store = handStore()
  const { auth, another, backend, told } = room({ client: { store } })
  await auth.login(alice)
  const { auth: other } = another()
  await other.ready
  const dialog = deferred()
  auth.on('reauthRequired', ({ waitUntil }) => waitUntil(dialog.promise))
  backend.fault('protected', { status: 401, body: { msg: 'Token has expired' } })
  backend.fault('refresh', { status: 401, body: { msg: 'Token has been revoked' } })
  const call = auth.fetch('protected')
  await settle()
  const { read, commit } = store
  store.read = () => Promise.reject(new Error('out of order'))
  told.length = 0
  dialog.resolve()
  expect((await call).status).toBe(401)
  expect(auth.session).toBeNull()
  store.read = read
  store.commit = commit
  await other.reauthenticate(alice)
  await pass(minute)
  expect(summary(told)).toEqual([
    'storeUnavailable: read',
    'loggedOut: session_expired',
    'loggedIn: reauthenticated (elsewhere)',
  ])
  expect((await auth.fetch('protected')).status).toBe(200)
  expect(await auth.refresh()).toMatchObject({ version: 3 })
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

test('5: a logout elsewhere ends a login that was called before it, though a logout before both is still to be written', async () => {
  const store = handStore()
  const { auth, another, backend } = room({ client: { store } })
  await auth.login(alice)
  const { auth: other } = another()
  await other.ready
  const slow = store.gate('read')
  void other.logout()
  await settle()
  const answered = deferred()
  const login = other.login(async () => {
    await answered.promise
    return backend.signIn('alice')
  })
  await pass(second)
  await auth.logout()
  slow.open()
  await settle()
  answered.resolve()
  await expect(login).rejects.toMatchObject({ code: 'session_changed' })
  expect(store.record).toMatchObject({ ended: 'logout' })
})

test('5: a logout of what had been signed out elsewhere ends a login that was called in between', async () => {
  const store = handStore()
  const { auth, another, backend } = room({ client: { store } })
  await auth.login(alice)
  const { auth: other } = another()
  await other.ready
  await other.logout()
  const answered = deferred()
  const login = other.login(async () => {
    await answered.promise
    return backend.signIn('alice')
  })
  await pass(second)
  // Nobody has told this one that it is signed out.
  expect(auth.session).toMatchObject({ subject: 'alice' })
  await auth.logout()
  answered.resolve()
  await expect(login).rejects.toMatchObject({ code: 'session_changed' })
  expect(store.record).toMatchObject({ ended: 'logout' })
  expect(other.session).toBeNull()
})

test('5: a logout that is heard of ends the session, though a change of it could not be written yet', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  const { read, commit } = store
  store.commit = () => Promise.reject(new Error('out of order'))
  await auth.reauthenticate(alice)
  expect(auth.session).toMatchObject({ version: 2 })
  // Signed out elsewhere, and then the data is lost.
  store.record = null
  store.notify({ revision: 'theirs', id: String(auth.session?.id), version: 1, ended: 'logout' })
  expect(auth.session).toBeNull()
  store.read = read
  store.commit = commit
  await pass(minute)
  expect(store.record).toBeNull()
  expect(auth.session).toBeNull()
})

test('5: the notice of a later session’s end ends what was held before it, though the store can not be read', async () => {
  const store = handStore()
  const { auth, tokens } = room({ client: { store } })
  await auth.login(alice)
  store.read = () => Promise.reject(new Error('out of order'))
  store.notify({ revision: 'theirs', id: 'a later one', version: 1, ended: 'logout' })
  await auth.fetch('protected').catch(() => {})
  expect(auth.session).toBeNull()
  expect(tokens('protected').filter((token) => token !== undefined)).toEqual([])
})

test('3: a password that replaced the refresh token while a claim to it was being written: the old one is not sent', async () => {
  const store = handStore()
  const { auth, backend, tokens } = room({ client: { store } })
  await auth.login(alice)
  const old = backend.issued.find(({ kind }) => kind === 'refresh')
  // The claim stands, and its answer is long on its way back.
  const answer = deferred()
  const { commit } = store
  store.commit = async (next, expected) => {
    store.commit = commit
    const cell = await (commit?.(next, expected) ?? store.read())
    await answer.promise
    return cell
  }
  const refreshed = auth.refresh()
  await settle()
  expect(store.record).toMatchObject({ version: 1, claim: expect.anything() })
  await auth.reauthenticate(alice)
  expect(store.record).toMatchObject({ version: 2 })
  answer.resolve()
  await refreshed
  expect(tokens('refresh')).not.toContain(old?.token)
  expect(auth.session).toMatchObject({ version: 2, fresh: true })
})

test.each<[string, () => Promise<never>]>([
  ['answers', () => Promise.reject(new Error('out of order'))],
  [
    'no longer throws',
    () => {
      throw new Error('out of order')
    },
  ],
])(
  '5: another’s login is looked for until the store %s, though nobody tells of it again',
  async (_, fail) => {
    const store = handStore()
    const [{ auth, backend }, other] = [room({ client: { store } }), room({ client: { store } })]
    await auth.login(alice)
    const { read } = store
    await other.auth.login(bob)
    store.read = fail
    const { id, version, revision } = store.record as LiveRecord
    store.notify({ id, version, revision })
    const begun = vi.spyOn(globalThis, 'setTimeout')
    await pass(minute)
    expect(auth.session).toMatchObject({ subject: 'alice' })
    // 15: nobody awaits it, so that it keeps no process from its end.
    const first = begun.mock.calls.findIndex(([, ms]) => ms === 100)
    expect(begun.mock.results[first]?.value.hasRef()).toBe(false)
    const reading = vi.fn(read)
    store.read = reading
    await pass(30 * second)
    expect(auth.session).toMatchObject({ id, subject: 'bob' })
    expect(backend.count('protected')).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
    await pass(hour)
    expect(reading).toHaveBeenCalledTimes(1)
  },
)

test('5: nobody looks any more after dispose()', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  const reading = vi.fn(() => Promise.reject(new Error('out of order')))
  store.read = reading
  store.notify({ id: 'another', version: 1, revision: 'theirs' })
  await settle()
  auth.dispose()
  await pass(second)
  expect(vi.getTimerCount()).toBe(0)
  expect(reading).toHaveBeenCalledTimes(1)
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

describe('a commit that was refused, others having gone on by two versions', () => {
  /** A store in which that happens to the commit of a second version. */
  const overtaking = (): ReturnType<typeof handStore> => {
    const store = handStore()
    const { commit } = store
    store.commit = async (next, expected) => {
      const { record } = store
      if (next.version === 2 && record && !('ended' in record)) {
        store.commit = commit
        const access = { token: fakeTokens().accessToken, at: Date.now() }
        store.record = { ...record, revision: 'theirs', version: 3, access, claim: undefined }
      }
      return commit?.(next, expected) ?? store.read()
    }
    return store
  }

  test('5: gives back what a refresh brought', async () => {
    const store = overtaking()
    const { auth, backend, tokens } = room({ client: { store } })
    await auth.login(alice)
    const issued = backend.count('refresh')
    await auth.refresh()
    expect(backend.count('refresh')).toBe(issued + 1)
    expect(auth.session).toMatchObject({ version: 3 })
    await settle()
    expect(tokens('logout')).toHaveLength(1)
  })

  test('loses no password', async () => {
    const store = overtaking()
    const { auth } = room({ client: { store } })
    await auth.login(alice)
    await pass(second)
    expect(await auth.reauthenticate(alice)).toMatchObject({ version: 4, fresh: true })
    expect(store.record).toMatchObject({ version: 4, reason: 'reauthenticated' })
  })
})

test('a password whose commit lands late, while it is tried again, is written once', async () => {
  const store = handStore()
  const { auth, backend } = room({ client: { store } })
  await auth.login(alice)
  const landing = store.gate('commit')
  const password = auth.reauthenticate(alice)
  await settle()
  expect(landing.reached()).toBe(true)
  const again = store.gate('commit')
  // Its answer is given up, and it is tried again.
  while (!again.reached()) await pass(second)
  await password
  landing.open()
  await settle()
  const written = store.record
  expect(written).toMatchObject({ version: 2, reason: 'reauthenticated' })
  again.open()
  await settle()
  expect(store.record).toBe(written)
  expect(backend.count('logout')).toBe(0)
})

test('5: a login that was called before a logout here takes no place of the one that is held since, and costs one reading', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.ready
  await auth.logout()
  const put = async (id: string, ago: number): Promise<void> => {
    const { accessToken: token } = fakeTokens()
    const calledAt = Date.now() - ago
    store.record = { revision: id, id, version: 1, calledAt, reason: 'login', access: { token } }
    store.notify()
    await settle()
  }
  await put('later', -second)
  const read = vi.spyOn(store, 'read')
  await put('earlier', second)
  expect(auth.session).toMatchObject({ id: 'later' })
  expect(read).toHaveBeenCalledTimes(1)
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
