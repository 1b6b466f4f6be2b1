/** What a review of the mends for chaos found, held: most of it had been right before them. */
import { describe, expect, test, vi } from 'vitest'
import {
  type Cell,
  createAuth,
  flaskJwt,
  type LiveRecord,
  memoryStore,
  type Store,
  type StoreRecord,
} from '../../src/index.ts'
import { noticeOf } from '../../src/stores/record.ts'
import { type HandStore, handStore, mint, ok, refuse, type Server, serve } from './by-hand.ts'
import {
  alice,
  baseUrl,
  bob,
  failure,
  minute,
  pass,
  type Room,
  room,
  second,
  settle,
  summary,
  virtualTime,
} from './support.ts'

virtualTime()

const hour = 60 * minute

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

test('10: contexts of which each thinks that its session replaced the other’s agree in the end', async () => {
  const cell = handStore()
  cell.trip = { there: 5, back: 0 }
  let commits = 0
  let deaf = false
  const tell = (): void => {
    if (!deaf && cell.record) cell.notify(noticeOf(cell.record))
  }
  const store: Store = {
    ...cell,
    read: () => cell.read(),
    async commit(next, expected) {
      const answer = (await cell.commit?.(next, expected)) as Cell
      if (answer.record === next) {
        commits++
        tell()
      }
      return answer
    },
  }
  const { auth: one, another } = room({ client: { store, fetch: serve(() => ok()).fetch } })
  const { auth: two } = another()
  await pass(100)
  void one.setTokens({ accessToken: mint('alice') })
  await pass(100)
  const before = cell.record as StoreRecord
  // Who missed the logout thinks that alice was replaced; who has called it, that she signed out. And her login was the later
  // one of the two, by a clock that was set back.
  deaf = true
  void one.logout()
  await pass(100)
  deaf = false
  vi.setSystemTime(Date.now() - hour)
  void one.setTokens({ accessToken: mint('bob') })
  await pass(100)
  cell.record = { ...before, revision: 'back' }
  tell()
  await pass(10 * second)
  const then = commits
  await pass(minute)
  expect([commits, one.session?.subject]).toEqual([then, two.session?.subject])
})

describe('what has moved on unheard of, and has run out since', () => {
  const behind = async (refreshLifetime: number): Promise<Room> => {
    const made = room({
      server: { accessLifetime: 5 * minute, refreshLifetime, refresh: 'rotating' },
      client: { store: { ...memoryStore(), watch: undefined } as never },
    })
    await made.auth.login(alice)
    const { auth: other } = made.another()
    await other.ready
    await pass(4 * minute)
    await other.refresh()
    await pass(hour)
    made.told.length = 0
    return made
  }

  test('is refreshed by one attempt, and told once if that fails', async () => {
    const { auth, told, backend } = await behind(24 * hour)
    backend.fault('refresh', { status: 500 })
    expect(await failure(auth.fetch('protected'))).toMatchObject({ code: 'refresh_unavailable' })
    expect(summary(told).filter((one) => one.startsWith('refreshFailed'))).toEqual(['refreshFailed: status'])
  })

  test.each(['refresh', 'getAccessToken'] as const)(
    'is asked about if that is refused: %s()',
    async (how) => {
      const { auth, told } = await behind(30 * minute)
      await auth[how]()
      expect(summary(told)).toContain('reauthRequired: session_expired')
      expect(auth.session).toBeNull()
    },
  )
})

test.each([
  ['protected', {}],
  ['optional', { auth: 'optional' }],
] as const)(
  '10: what has run out since its claim was lost to a faster one is for the server to judge: %s',
  async (route, init) => {
    const store = handStore()
    const { auth, another, routes } = room({
      server: { accessLifetime: 5 * second, refreshLifetime: hour },
      client: { store },
    })
    await auth.login(alice)
    const { auth: other } = another()
    await other.ready
    await pass(6 * second)
    const late = store.gate('commit')
    const call = auth.fetch(route, init)
    await settle()
    expect(late.reached()).toBe(true)
    await other.refresh()
    await pass(6 * second)
    late.open()
    expect(await (await call).json()).toMatchObject({ sub: 'alice' })
    // Not refreshed once more before it is sent: who is always slower would run behind for ever.
    expect(routes()).toEqual(['login', 'refresh', route, 'refresh', route])
  },
)

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

test('5: with no time for a refresh tokens are revoked all the same', async () => {
  const server = serve(() => ok())
  const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch, refreshTimeout: 0 })
  await auth.setTokens({ accessToken: mint('alice'), refreshToken: 'spare' })
  await auth.logout()
  expect(server.tokens('/logout')).toHaveLength(2)
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

test('6: a version that has moved on is refreshed for who asked for it, not for who has signed in meanwhile', async () => {
  for (let microtasks = 0; microtasks < 24; microtasks++) {
    const server = serve(({ path, token }) => {
      if (path === '/login') return ok({ access_token: mint('alice'), refresh_token: 'hers' })
      if (path !== '/refresh') return ok()
      return ok({
        access_token: mint(token?.startsWith('his') ? 'bob' : 'alice'),
        refresh_token: `${token}+`,
      })
    })
    const store = { ...memoryStore(), watch: undefined } as never
    const { auth, another } = room({ client: { store, fetch: server.fetch } })
    await auth.login(alice)
    const { auth: other } = another()
    await other.ready
    await pass(4 * minute)
    await other.refresh()
    await pass(hour)
    let done = false
    auth.subscribe(async (session) => {
      if (done || (session?.version ?? 0) < 2) return
      done = true
      for (let count = 0; count < microtasks; count++) await null
      await auth.setTokens({ accessToken: mint('bob'), refreshToken: 'his' })
    })
    await auth.getAccessToken().catch(() => {})
    await pass(second)
    expect([auth.session?.subject, server.tokens('/refresh')]).toEqual([
      'bob',
      expect.not.arrayContaining(['his']),
    ])
  }
})

test('5: nor for nobody, after a logout in whatever microtask: who asked is told that nobody is there', async () => {
  const outcomes = new Set<unknown>()
  for (let microtasks = 0; microtasks < 24; microtasks++) {
    const server = serve(() => ok({ access_token: mint('alice'), refresh_token: 'next' }))
    const store = { ...memoryStore(), watch: undefined } as never
    const { auth, another } = room({ client: { store, fetch: server.fetch } })
    await auth.login(alice)
    const { auth: other } = another()
    await other.ready
    await pass(4 * minute)
    await other.refresh()
    await pass(hour)
    auth.subscribe(async (session) => {
      if (session?.version !== 2) return
      for (let count = 0; count < microtasks; count++) await null
      void auth.logout()
    })
    const told = auth.getAccessToken().catch(({ code }) => code)
    await pass(second)
    outcomes.add(await told)
    expect(auth.session).toBeNull()
  }
  expect([null, 'session_changed']).toEqual(expect.arrayContaining([...outcomes]))
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
