/** Logins and logouts that overlap, here and elsewhere: who stands in the end. */
import { describe, expect, test, vi } from 'vitest'
import {
  type Cell,
  type LiveRecord,
  memoryStore,
  type Store,
  type StoreRecord,
  type Tombstone,
} from '../../src/index.ts'
import { noticeOf } from '../../src/stores/record.ts'
import { fakeTokens } from '../../src/testing/index.ts'
import { type HandStore, handStore, mint, ok, type Server, serve } from './by-hand.ts'
import {
  alice,
  bob,
  deferred,
  failure,
  hour,
  minute,
  pass,
  type Room,
  room,
  second,
  settle,
  start,
  summary,
  times,
  virtualTime,
} from './support.ts'

virtualTime()

const live = (calledAt: number): LiveRecord => ({
  id: 'theirs',
  version: 1,
  revision: 'theirs',
  calledAt,
  reason: 'login',
  subject: 'alice',
  access: { token: mint('alice') },
  refreshToken: 'spare',
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

describe('5: the moment of a logout', () => {
  /** A client over a store whose clock is `ahead` of ours, which can be away, or be read only. */
  const over = (
    ahead: number,
  ): Room & { inner: HandStore; is: { away: boolean; full: boolean }; server: Server } => {
    const inner = handStore(() => Date.now() + ahead)
    const is = { away: true, full: false }
    const there = <T>(good: boolean, ask: () => T): T => {
      if (!good) throw new Error('The store is away')
      return ask()
    }
    const store: Store = {
      ...inner,
      read: () => there(!is.away, () => inner.read()),
      commit: (next, expected) => there(!is.away && !is.full, () => inner.commit?.(next, expected) as Cell),
    }
    const server = serve(() => ok())
    return { inner, is, server, ...room({ client: { store, fetch: server.fetch } }) }
  }

  test('is not what our own clock said while the store could not be asked: the session does not come back', async () => {
    const { inner, is, server, auth, told } = over(minute)
    inner.record = live(Date.now() + minute - 30 * second)
    await pass(50)
    void auth.logout()
    await settle()
    Object.assign(is, { away: false, full: true })
    await pass(2 * second)
    await auth.fetch('items')
    expect(server.tokens('/items')).toEqual([undefined])
    is.full = false
    await pass(minute)
    expect(server.tokens('/logout')).toContain('spare')
    expect(summary(told)).not.toContain('loggedIn: login (elsewhere)')
  })

  test('nor is a login ignored for it that was called later', async () => {
    const { inner, is, auth } = over(-hour)
    await pass(50)
    void auth.logout()
    await pass(300)
    inner.record = live(Date.now() - hour)
    is.away = false
    await pass(30 * minute)
    expect(auth.session?.subject).toBe('alice')
  })

  test('is not that of an older one, either, from before a clock was set back', async () => {
    const { inner, is, auth } = over(0)
    is.away = false
    inner.record = { id: 'old', version: 1, revision: 'old', calledAt: Date.now() + hour, ended: 'logout' }
    await pass(minute)
    await auth.logout()
    await pass(second)
    inner.record = live(Date.now())
    inner.notify(noticeOf(inner.record))
    await settle()
    expect(auth.session?.subject).toBe('alice')
  })
})

test('5: a login elsewhere, after a logout that stands there already, is taken on as soon as that has been told', async () => {
  const store = handStore()
  // What is known of the store's time is that it lies within an answer's way back.
  store.trip.back = 200
  const { auth } = room({ client: { store, fetch: serve(() => ok()).fetch } })
  await pass(200)
  void auth.setTokens({ accessToken: mint('alice') })
  await pass(second)
  const called = Date.now()
  void auth.logout()
  await pass(250)
  // Called later, by the time that the logout has been written with; not by what is known of it since.
  const { calledAt } = store.record as StoreRecord
  store.record = live(called - 40)
  expect(calledAt).toBeLessThan(called - 40)
  store.trip.back = 0
  store.notify(noticeOf(store.record))
  await settle()
  expect(auth.session).toBeNull()
  await pass(200)
  expect(auth.session).toMatchObject({ id: 'theirs' })
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

test('5: a store is told of a logout in its tick, and one that fails at it hears of it all the same', async () => {
  const store = handStore()
  const told: unknown[] = []
  store.end = (...given) => {
    told.push(given)
    throw new Error('denied')
  }
  const { auth, another } = room({ client: { store } })
  const { id } = await auth.login(alice)
  await pass(second)
  const logout = auth.logout()
  expect(told).toEqual([[id, start + second, 1]])
  await logout
  expect(store.record).toMatchObject({ id, ended: 'logout' })
  void another().auth.logout()
  // Knows of none that it has revoked.
  expect(told.at(-1)).toEqual([undefined, start + second, 0])
  void another().auth.logout({ revoke: false })
  expect(told.at(-1)).toEqual([undefined, start + second, Infinity])
})

test('5: a logout with nobody there does not cost a login elsewhere that is called after it, in the same millisecond', async () => {
  const { auth, another } = room({ client: { store: handStore() } })
  const { auth: other } = another()
  await Promise.all([auth.ready, other.ready])
  await auth.logout()
  await other.login(bob)
  expect(other.session).toMatchObject({ subject: 'bob' })
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
    const pauses = begun.mock.calls.map(([, ms]) => ms).filter((ms) => Number(ms) < 60_000)
    for (const pause of [100, 200, 400, 800, 25_600]) expect(pauses).toContain(pause)
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
