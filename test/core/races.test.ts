/** Interleavings on a store that answers when the test says so. */
import { describe, expect, test, vi } from 'vitest'
import {
  type Cell,
  type LiveRecord,
  memoryStore,
  type Notice,
  type Store,
  type StoreRecord,
  type Tokens,
} from '../../src/index.ts'
import { noticeOf } from '../../src/stores/record.ts'
import { handStore } from './by-hand.ts'
import {
  alice,
  bob,
  type Client,
  deferred,
  failure,
  hour,
  isPending,
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

interface Gated extends Store {
  peek(): StoreRecord | null
  /** Holds the next read or commit up: before it is done, or its answer. */
  gate(what: 'read' | 'commit', when: 'before' | 'after'): { open(): void; reached(): boolean }
  notify(notice?: Notice): void
  failing: boolean
}

function gatedStore(cell: { record: StoreRecord | null; ahead: number } = { record: null, ahead: 0 }): Gated {
  const gates: { what: string; when: string; pass(): Promise<void> }[] = []
  const listeners = new Set<(notice?: Notice) => void>()
  const wait = async (what: string, when: string): Promise<void> => {
    const index = gates.findIndex((gate) => gate.what === what && gate.when === when)
    if (index >= 0) await gates.splice(index, 1)[0]?.pass()
  }
  const now = (record: StoreRecord | null): Cell => ({ record, now: Date.now() + cell.ahead })
  const through = async (what: string, act: () => Cell): Promise<Cell> => {
    if (store.failing) throw new Error('out of order')
    await wait(what, 'before')
    const answer = act()
    await wait(what, 'after')
    return answer
  }
  const store: Gated = {
    name: 'gatedStore',
    failing: false,
    read: () => through('read', () => now(cell.record)),
    commit: (next, expected) =>
      through('commit', () => {
        if ((cell.record?.revision ?? null) === expected) cell.record = next
        return now(cell.record)
      }),
    watch(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    peek: () => cell.record,
    notify: (notice) => {
      for (const listener of listeners) listener(notice)
    },
    gate(what, when) {
      const { promise, resolve } = deferred()
      let reached = false
      gates.push({
        what,
        when,
        pass: () => {
          reached = true
          return promise
        },
      })
      return { open: () => resolve(), reached: () => reached }
    },
  }
  return store
}

test.each(['before', 'after'] as const)(
  '5: a logout while the login before it is being written (%s): nobody is signed in',
  async (when) => {
    const store = gatedStore()
    const { auth, backend } = room({ client: { store } })
    await auth.ready
    const gate = store.gate('commit', when)
    const login = auth.login(alice).catch((error: unknown) => error)
    await settle()
    expect(gate.reached()).toBe(true)
    const logout = auth.logout()
    await settle()
    gate.open()
    expect(await login).toMatchObject({ code: 'session_changed' })
    await logout
    await settle()
    expect(auth.session).toBeNull()
    expect(store.peek() === null || 'ended' in (store.peek() as object)).toBe(true)
    expect(backend.sessionAlive('alice')).toBe(false)
  },
)

test.each(['before', 'after'] as const)(
  '5: a logout while a login as another user is being written (%s): nobody is signed in',
  async (when) => {
    const store = gatedStore()
    const { auth, backend } = room({ client: { store } })
    await auth.login(alice)
    const gate = store.gate('commit', when)
    const login = auth.login(bob).catch((error: unknown) => error)
    await settle()
    expect(gate.reached()).toBe(true)
    const logout = auth.logout()
    expect(auth.session).toBeNull()
    await settle()
    gate.open()
    await login
    await logout
    await settle()
    expect(auth.session).toBeNull()
    expect(store.peek()).toMatchObject({ ended: 'logout' })
    expect(backend.sessionAlive('alice')).toBe(false)
    expect(backend.sessionAlive('bob')).toBe(false)
  },
)

test.each(['before', 'after'] as const)(
  '5: a logout while what a refresh brought is being written (%s): nobody is signed in, all is revoked',
  async (when) => {
    const store = gatedStore()
    const { auth, backend, told } = room({ client: { store }, server: { refresh: 'rotating' } })
    await auth.login(alice)
    await pass(16 * minute)
    // The first commit is the claim.
    backend.settings.latency.refresh = { after: second }
    const waiting = failure(auth.fetch('protected'))
    await settle()
    const gate = store.gate('commit', when)
    await pass(second)
    expect(gate.reached()).toBe(true)
    const logout = auth.logout()
    await settle()
    gate.open()
    expect(await waiting).toMatchObject({ code: 'session_changed' })
    await logout
    await settle()
    expect(auth.session).toBeNull()
    expect(store.peek()).toMatchObject({ ended: 'logout' })
    expect(backend.sessionAlive('alice')).toBe(false)
    expect(summary(told)).toEqual(['loggedIn: login', 'loggedOut: logout'])
  },
)

test('5: a logout before the store was first read: nothing goes out as who was signed in', async () => {
  const store = gatedStore()
  const { auth, another, backend } = room({ client: { store } })
  await auth.login(alice)
  await pass(second)
  backend.clearLog()
  const { auth: next, told } = another()
  expect(next.session).toBeUndefined()
  const logout = next.logout()
  const response = next.fetch('protected')
  await logout
  expect((await response).status).toBe(401)
  expect(backend.log.filter(({ route }) => route === 'protected').map(({ token }) => token)).toEqual([
    undefined,
  ])
  expect(next.session).toBeNull()
  expect(store.peek()).toMatchObject({ ended: 'logout' })
  expect(backend.sessionAlive('alice')).toBe(false)
  expect(told.filter(({ type }) => type === 'loggedIn')).toEqual([])
})

test('5: a login called after a logout does not wait for a store that nobody has read yet', async () => {
  const store = gatedStore()
  const asked = store.gate('read', 'before')
  const { auth, backend } = room({ client: { store } })
  const logout = auth.logout()
  const login = auth.login(alice)
  await settle()
  expect(asked.reached()).toBe(true)
  expect(backend.count('login')).toBe(1)
  asked.open()
  await logout
  const { id } = await login
  expect(store.peek()).toMatchObject({ id, subject: 'alice' })
  expect(auth.session).toMatchObject({ id })
})

test('5: a logout before initial tokens were written: they make no session', async () => {
  const store = gatedStore()
  const given = room()
  const { accessToken, refreshToken } = await given.backend.signIn('alice')
  const gate = store.gate('commit', 'before')
  const { auth } = given.another({ store, initial: { accessToken, refreshToken } })
  await settle()
  expect(gate.reached()).toBe(true)
  const logout = auth.logout()
  await settle()
  gate.open()
  await logout
  await settle()
  expect(auth.session).toBeNull()
  expect((await auth.fetch('protected')).status).toBe(401)
  expect(store.peek()).toMatchObject({ ended: 'logout' })
  expect(given.backend.sessionAlive('alice')).toBe(false)
})

test('5: nor do they when they are written late, and the store has lost the logout’s tombstone', async () => {
  const store = handStore()
  const slow = store.gate('commit')
  const { auth, another } = room({ client: { store, initial: { refreshToken: 'spare' } } })
  await settle()
  expect(slow.reached()).toBe(true)
  await auth.logout()
  expect(store.record).toMatchObject({ ended: 'logout' })
  store.record = null
  await pass(9 * second)
  slow.open()
  await pass(minute)
  const { auth: reloaded } = another({ initial: undefined })
  await reloaded.ready
  expect(reloaded.session).toBeNull()
})

test('5: a notice that the session was ended is believed, though the store can not be read', async () => {
  const store = gatedStore()
  const { auth, tokens } = room({ client: { store } })
  const { id } = await auth.login(alice)
  store.failing = true
  store.notify({ revision: 'another', id, version: 1, ended: 'logout' })
  const outcome = await auth.fetch('protected').catch((error: unknown) => error)
  expect(outcome).toBeDefined()
  expect(tokens('protected').filter((token) => token !== undefined)).toEqual([])
})

test('12: so is the notice of a logout that was called after the store’s clock was set back', async () => {
  const store = gatedStore()
  const { auth, tokens } = room({ client: { store } })
  const { id } = await auth.login(alice)
  store.failing = true
  store.notify({ revision: 'another', id, version: 1, calledAt: start - hour, ended: 'logout' })
  await auth.fetch('protected').catch(() => {})
  expect(auth.session).toBeNull()
  expect(tokens('protected').filter((token) => token !== undefined)).toEqual([])
})

test('5: of a login here, kept in memory, and one called later elsewhere, the later one stands', async () => {
  const cell = { record: null, ahead: 0 }
  const [here, there] = [gatedStore(cell), gatedStore(cell)]
  const { auth, another } = room({ client: { store: here } })
  await auth.ready
  here.failing = true
  await auth.login(alice)
  await pass(second)
  const { auth: other } = another({ store: there })
  await other.login(bob)
  here.failing = false
  await pass(60 * second)
  expect(there.peek()).toMatchObject({ subject: 'bob' })
  expect(auth.session).toMatchObject({ subject: 'bob' })
})

test('5: of a login elsewhere and one called later here, kept in memory, the later one stands', async () => {
  const cell = { record: null, ahead: 0 }
  const [here, there] = [gatedStore(cell), gatedStore(cell)]
  const { auth, another } = room({ client: { store: here } })
  await auth.ready
  const { auth: other } = another({ store: there })
  await other.login(bob)
  await pass(second)
  here.failing = true
  await auth.login(alice)
  here.failing = false
  await pass(60 * second)
  expect(there.peek()).toMatchObject({ subject: 'alice' })
  expect(auth.session).toMatchObject({ subject: 'alice' })
})

test('5: a logout that could not be written revokes what another context got meanwhile', async () => {
  const cell = { record: null, ahead: 0 }
  const [here, there] = [gatedStore(cell), gatedStore(cell)]
  const { auth, another, backend } = room({ client: { store: here }, server: { refresh: 'rotating' } })
  await auth.login(alice)
  const { auth: other } = another({ store: there })
  await other.refresh()
  here.failing = true
  await auth.logout()
  here.failing = false
  await pass(60 * second)
  expect(there.peek()).toMatchObject({ ended: 'logout' })
  expect(backend.sessionAlive('alice')).toBe(false)
})

test('5: nor does a login called after it, that could not be written either, save what another context got', async () => {
  const cell = { record: null, ahead: 0 }
  const [here, there] = [gatedStore(cell), gatedStore(cell)]
  const { auth, another, backend } = room({ client: { store: here }, server: { refresh: 'rotating' } })
  await auth.login(alice)
  const { auth: other } = another({ store: there })
  await other.refresh()
  here.failing = true
  await auth.logout()
  const { id } = await auth.login(bob)
  here.failing = false
  await pass(60 * second)
  expect(there.peek()).toMatchObject({ id, subject: 'bob' })
  expect([backend.sessionAlive('alice'), backend.sessionAlive('bob')]).toEqual([false, true])
})

test.each<[string, Tokens, Tokens]>([
  [
    'what was given after it has no access token',
    { accessToken: 'access-1', refreshToken: 'first' },
    { refreshToken: 'second' },
  ],
  ['what it ends has none', { refreshToken: 'first' }, { accessToken: 'access-2', refreshToken: 'second' }],
])(
  '5: a logout that could not be written is, once the store is back, though %s',
  async (_, before, after) => {
    const store = gatedStore()
    const { auth } = room({ client: { store } })
    await auth.setTokens(before)
    store.failing = true
    await auth.logout()
    const { id } = await auth.setTokens(after)
    const written: unknown[] = []
    const { commit } = store
    store.commit = (next, expected) => {
      written.push('ended' in next ? next.ended : next.id)
      return commit?.(next, expected) ?? store.read()
    }
    store.failing = false
    await pass(minute)
    expect(written).toEqual(['logout', id])
    expect(store.peek()).toMatchObject({ id, refreshToken: 'second' })
  },
)

test('5: of a login elsewhere and one called later here, written just after that one, the later one stands', async () => {
  const cell = { record: null, ahead: 0 }
  const [here, there] = [gatedStore(cell), gatedStore(cell)]
  const { auth, another, hold } = room({ client: { store: here } })
  const { auth: other } = another({ store: there })
  await Promise.all([auth.ready, other.ready])
  const held = hold('login')
  const theirs = other.login(bob)
  await pass(second)
  const gate = here.gate('commit', 'before')
  const mine = auth.login(alice)
  await settle()
  expect(gate.reached()).toBe(true)
  held.release()
  await theirs
  gate.open()
  const { id } = await mine
  expect(there.peek()).toMatchObject({ id, subject: 'alice' })
  expect(auth.session).toMatchObject({ id })
})

test('a store that loses its data between the reading and the writing gets it back', async () => {
  const cell: { record: StoreRecord | null; ahead: number } = { record: null, ahead: 0 }
  const store = gatedStore(cell)
  const { auth, backend } = room({ client: { store } })
  const { id } = await auth.login(alice)
  const gate = store.gate('commit', 'before')
  const refresh = auth.refresh()
  await settle()
  expect(gate.reached()).toBe(true)
  cell.record = null
  gate.open()
  await pass(second)
  await refresh
  expect(store.peek()).toMatchObject({ id, version: 2 })
  expect(backend.count('refresh')).toBe(1)
})

test('a read of the empty store that answers late, after a login, signs nobody out where that means so', async () => {
  const store: Gated = { ...gatedStore(), empty: 'ended' }
  const { auth, told } = room({ client: { store } })
  await auth.ready
  const gate = store.gate('read', 'after')
  store.notify()
  await settle()
  expect(gate.reached()).toBe(true)
  const { id } = await auth.login(alice)
  gate.open()
  await settle()
  expect(auth.session).toMatchObject({ id })
  expect(summary(told)).toEqual(['loggedIn: login'])
})

test('a read that answers late, after a login as the same user, does not bring the old session back', async () => {
  const store = gatedStore()
  const { auth, told } = room({ client: { store } })
  await auth.login(alice)
  const gate = store.gate('read', 'after')
  store.notify()
  await settle()
  expect(gate.reached()).toBe(true)
  const { id } = await auth.login(alice)
  told.length = 0
  gate.open()
  await settle()
  expect(auth.session).toMatchObject({ id })
  expect(told).toEqual([])
})

test('6: a read that answers late, after a login as another user, does not bring the first one back', async () => {
  const store = gatedStore()
  const { auth, told } = room({ client: { store } })
  await auth.login(alice)
  const gate = store.gate('read', 'after')
  store.notify()
  await settle()
  const { id } = await auth.login(bob)
  told.length = 0
  gate.open()
  await settle()
  expect(auth.session).toMatchObject({ id, subject: 'bob' })
  expect(told).toEqual([])
})

test('a read that answers late, after a refresh, does not bring the old token back', async () => {
  const store = gatedStore()
  const { auth, backend, signInStale } = room({
    client: { store },
    server: { refresh: 'rotating-reuse-detection' },
  })
  await signInStale()
  const gate = store.gate('read', 'after')
  const { id = '', version: known = 0 } = auth.session ?? {}
  // Of the session that is held: the token in hand stays good, so that nobody waits for the reading.
  store.notify({ revision: 'another', id, version: known })
  await settle()
  expect(gate.reached()).toBe(true)
  await auth.refresh()
  const { version } = auth.session ?? {}
  expect(version).toBe(known + 1)
  gate.open()
  await settle()
  expect(auth.session).toMatchObject({ version })
  await pass(16 * minute)
  expect((await auth.fetch('protected')).status).toBe(200)
  expect(backend.reuseDetected).toBe(0)
})

test.each([5 * 60 * minute, -5 * 60 * minute])(
  '12: a login before the first read stands after an old logout, though the store’s clock differs by %i ms',
  async (ahead) => {
    const store = gatedStore({ record: null, ahead })
    const { auth, another, backend } = room({ client: { store } })
    await auth.login(alice)
    await auth.logout()
    await pass(minute)
    const { auth: next } = another()
    const { id } = await next.login(bob)
    expect(next.session).toMatchObject({ id, subject: 'bob' })
    expect(store.peek()).toMatchObject({ id })
    expect(backend.sessionAlive('bob')).toBe(true)
  },
)

test.each([5 * 60 * minute, -5 * 60 * minute])(
  '5: a logout before the first read ends an old login, though the store’s clock differs by %i ms',
  async (ahead) => {
    const store = gatedStore({ record: null, ahead })
    const { auth, another } = room({ client: { store } })
    await auth.login(alice)
    await pass(minute)
    const { auth: next } = another()
    await next.logout()
    await settle()
    expect(next.session).toBeNull()
    expect(store.peek()).toMatchObject({ ended: 'logout' })
  },
)

test.each([5 * 60 * minute, -5 * 60 * minute])(
  '12: claims, ages and cool-downs are in the store’s time, %i ms from ours',
  async (ahead) => {
    const cell = { record: null, ahead }
    const { auth, another, backend } = room({
      client: { store: gatedStore(cell) },
      server: { refresh: 'rotating-reuse-detection' },
    })
    await auth.login(alice)
    const { auth: other } = another({ store: gatedStore(cell) })
    await other.ready
    for (const round of [1, 2, 3]) {
      await pass(14 * minute)
      await Promise.all([auth.fetch('protected', { auth: false }), other.fetch('protected', { auth: false })])
      await pass(2 * minute)
      const all = Promise.all([auth.fetch('protected'), other.fetch('protected')])
      await pass(second)
      expect((await all).map(({ status }) => status)).toEqual([200, 200])
      expect(backend.count('refresh')).toBe(round)
    }
    expect(backend.reuseDetected).toBe(0)
  },
)

test('1: of two that claim at the same moment one exchanges, in either order of their commits', async () => {
  for (const first of [0, 1]) {
    const cell = { record: null, ahead: 0 }
    const stores = [gatedStore(cell), gatedStore(cell)]
    const { auth, another, backend } = room({
      client: { store: stores[0] },
      server: { refresh: 'rotating-reuse-detection' },
    })
    await auth.login(alice)
    const { auth: other } = another({ store: stores[1] })
    await other.ready
    await pass(16 * minute)
    const gates = stores.map((store) => store.gate('commit', 'before'))
    const all = Promise.all([auth.fetch('protected'), other.fetch('protected')])
    await settle()
    expect(gates.map((gate) => gate.reached())).toEqual([true, true])
    gates[first]?.open()
    await settle()
    gates[1 - first]?.open()
    await pass(second)
    expect((await all).map(({ status }) => status)).toEqual([200, 200])
    expect(backend.count('refresh')).toBe(1)
    expect(backend.reuseDetected).toBe(0)
  }
})

test('3: a holder that slept past its claim does not send: the other has exchanged meanwhile', async () => {
  const cell = { record: null, ahead: 0 }
  const [here, there] = [gatedStore(cell), gatedStore(cell)]
  const { auth, another, backend } = room({
    client: { store: here, refreshTimeout: 3 * second },
    server: { refresh: 'rotating-reuse-detection' },
  })
  await auth.login(alice)
  const { auth: other } = another({ store: there })
  await other.ready
  await pass(16 * minute)
  const gate = here.gate('commit', 'after')
  const mine = auth.fetch('protected').catch((error: { code: string }) => error.code)
  await settle()
  expect(gate.reached()).toBe(true)
  // The claim stands; its holder does not know yet, and will not for as long as it lasts.
  const theirs = other.fetch('protected').catch((error: { code: string }) => error.code)
  await pass(20 * second)
  gate.open()
  await pass(10 * second)
  await Promise.all([mine, theirs])
  expect(backend.reuseDetected).toBe(0)
  expect(backend.families()[0]?.ended).toBeUndefined()
  expect((await other.fetch('protected')).status).toBe(200)
  expect((await auth.fetch('protected')).status).toBe(200)
  const uses = backend.issued.filter(({ kind }) => kind === 'refresh').map(({ jti }) => backend.uses(jti))
  expect(Math.max(...uses)).toBe(1)
})

test.each(['before', 'after'] as const)(
  '5: a logout elsewhere while what a refresh brought is being written (%s): nobody is signed in, all is revoked',
  async (when) => {
    const cell = { record: null, ahead: 0 }
    const [here, there] = [gatedStore(cell), gatedStore(cell)]
    const { auth, another, backend } = room({ client: { store: here }, server: { refresh: 'rotating' } })
    await auth.login(alice)
    const { auth: other } = another({ store: there })
    await other.ready
    await pass(16 * minute)
    backend.settings.latency.refresh = { after: second }
    const waiting = auth.fetch('protected').catch((error: unknown) => error)
    await settle()
    const gate = here.gate('commit', when)
    await pass(second)
    expect(gate.reached()).toBe(true)
    await other.logout()
    gate.open()
    await waiting
    await settle()
    await pass(60 * second)
    expect(there.peek()).toMatchObject({ ended: 'logout' })
    expect(backend.sessionAlive('alice')).toBe(false)
    // No word reached this context; the next time it looks, it knows.
    await auth.refresh().catch(() => {})
    expect([auth.session, other.session]).toEqual([null, null])
  },
)

test('6: another user’s login elsewhere while what a refresh brought is being written: neither takes the other’s place', async () => {
  const cell = { record: null, ahead: 0 }
  const [here, there] = [gatedStore(cell), gatedStore(cell)]
  const { auth, another, backend } = room({ client: { store: here }, server: { refresh: 'rotating' } })
  await auth.login(alice)
  const { auth: other } = another({ store: there })
  await other.ready
  await pass(16 * minute)
  backend.settings.latency.refresh = { after: second }
  const waiting = failure(auth.fetch('protected'))
  await settle()
  const gate = here.gate('commit', 'before')
  await pass(second)
  expect(gate.reached()).toBe(true)
  const { id } = await other.login(bob)
  gate.open()
  expect(await waiting).toMatchObject({ code: 'session_changed' })
  await settle()
  expect(there.peek()).toMatchObject({ id, subject: 'bob', version: 1 })
  expect(auth.session).toMatchObject({ id, subject: 'bob' })
  expect(backend.count('protected')).toBe(0)
  const late = backend.issued.filter(({ generation }) => generation === 1).map(({ token }) => token)
  expect(late.map((token) => backend.isHonoured(token))).toEqual([false, false])
})

test.each([
  ['the same user', alice],
  ['another user', bob],
])(
  '5: a login of %s elsewhere: what a refresh brought here, kept while the store was away, gives way and is revoked',
  async (_, who) => {
    const cell = { record: null, ahead: 0 }
    const [here, there] = [gatedStore(cell), gatedStore(cell)]
    const { auth, another, backend, hold } = room({
      client: { store: here },
      server: { refresh: 'rotating' },
    })
    await auth.login(alice)
    const { auth: other } = another({ store: there })
    await other.ready
    const held = hold('refresh')
    const refreshed = auth.refresh()
    await settle()
    here.failing = true
    held.release()
    expect(await refreshed).toMatchObject({ version: 2 })
    await pass(second)
    const { id } = await other.login(who)
    here.failing = false
    await pass(minute)
    expect(there.peek()).toMatchObject({ id, version: 1, subject: who.username })
    expect(auth.session).toMatchObject({ id })
    const late = backend.issued.filter(({ generation }) => generation === 1).map(({ token }) => token)
    expect(late.map((token) => backend.isHonoured(token))).toEqual([false, false])
  },
)

test('5: a login called in the same millisecond as a logout, after it, stands', async () => {
  const store = gatedStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  const logout = auth.logout()
  const { id } = await auth.login(bob)
  await logout
  await settle()
  expect(auth.session).toMatchObject({ id, subject: 'bob' })
  expect(store.peek()).toMatchObject({ id })
})

test('5: a logout called in the same millisecond as a login, after it, stands', async () => {
  const store = gatedStore()
  const { auth, backend } = room({ client: { store } })
  await auth.login(alice)
  const login = failure(auth.login(bob))
  const logout = auth.logout()
  expect(await login).toMatchObject({ code: 'session_changed' })
  await logout
  await settle()
  expect(auth.session).toBeNull()
  expect(store.peek()).toMatchObject({ ended: 'logout' })
  expect([backend.sessionAlive('alice'), backend.sessionAlive('bob')]).toEqual([false, false])
})

test('a login, a logout and a login in one go: the last one stands, and nothing else lives on', async () => {
  const store = gatedStore()
  const { auth, backend, told } = room({ client: { store } })
  const first = failure(auth.login(alice))
  const logout = auth.logout()
  const { id } = await auth.login(alice)
  expect(await first).toMatchObject({ code: 'session_changed' })
  await logout
  await settle()
  expect(auth.session).toMatchObject({ id })
  expect((await auth.fetch('protected')).status).toBe(200)
  expect(backend.families().filter((family) => backend.sessionAlive(family.id))).toHaveLength(1)
  expect(summary(told)).toEqual(['loggedIn: login'])
})

test('5: a logout while the store is asked for a login: nothing of that is ever written', async () => {
  const store = gatedStore()
  const { auth, backend, told } = room({ client: { store } })
  await auth.ready
  const written: (StoreRecord | undefined)[] = []
  const { commit } = store
  store.commit = (next, expected) => {
    written.push(next)
    return commit?.(next, expected) ?? store.read()
  }
  const gate = store.gate('read', 'before')
  const login = failure(auth.login(alice))
  await settle()
  expect(gate.reached()).toBe(true)
  await auth.logout()
  gate.open()
  expect(await login).toMatchObject({ code: 'session_changed' })
  // A logout that nobody was signed in for is written all the same: elsewhere somebody may be about to.
  expect(written).toMatchObject([{ ended: 'logout' }])
  expect(told).toEqual([])
  expect(backend.sessionAlive('alice')).toBe(false)
})

test('5: a logout while a login is heard of, but not yet said to be written: it is over, told as from here', async () => {
  const store = gatedStore()
  const { auth, told } = room({ client: { store } })
  await auth.ready
  const gate = store.gate('commit', 'after')
  const login = failure(auth.login(alice))
  await settle()
  expect(gate.reached()).toBe(true)
  store.notify()
  await settle()
  expect(auth.session).toMatchObject({ subject: 'alice' })
  await auth.logout()
  gate.open()
  expect(await login).toMatchObject({ code: 'session_changed' })
  await settle()
  expect(store.peek()).toMatchObject({ ended: 'logout' })
  expect(summary(told)).toEqual(['loggedIn: login', 'loggedOut: logout'])
})

test('5: a later login while one is heard of, but not yet said to be written: the first is replaced, told as from here', async () => {
  const store = gatedStore()
  const { auth, backend, told } = room({ client: { store } })
  await auth.ready
  const gate = store.gate('commit', 'after')
  const first = failure(auth.login(alice))
  await settle()
  expect(gate.reached()).toBe(true)
  store.notify()
  await settle()
  const { id } = await auth.login(bob)
  gate.open()
  expect(await first).toMatchObject({ code: 'session_changed' })
  await settle()
  // What takes the first one back leaves the second one alone.
  expect(store.peek()).toMatchObject({ id, subject: 'bob' })
  expect(auth.session).toMatchObject({ id })
  expect(summary(told)).toEqual(['loggedIn: login', 'loggedOut: replaced', 'loggedIn: login'])
  expect([backend.sessionAlive('alice'), backend.sessionAlive('bob')]).toEqual([false, true])
})

test('5: a login that was signed out while it was being written is taken back, once the store is there again', async () => {
  const store = gatedStore()
  const { auth } = room({ client: { store } })
  await auth.ready
  const gate = store.gate('commit', 'before')
  const login = failure(auth.login(alice))
  await settle()
  await auth.logout()
  store.failing = true
  gate.open()
  expect(await login).toMatchObject({ code: 'session_changed' })
  store.failing = false
  await pass(second)
  expect(store.peek()).toMatchObject({ ended: 'logout' })
})

test('3: a login whose writing was never confirmed is not written over what another context has made of it', async () => {
  const cell = { record: null, ahead: 0 }
  const [here, there] = [gatedStore(cell), gatedStore(cell)]
  const { auth, another, backend } = room({
    client: { store: here },
    server: { refresh: 'rotating-reuse-detection' },
  })
  await auth.ready
  here.gate('commit', 'after')
  const login = auth.login(alice)
  await settle()
  const { auth: other } = another({ store: there })
  await other.refresh()
  // The store is not waited for any longer; what it has not confirmed is brought to it once more.
  await pass(10 * second)
  const { id } = await login
  expect(there.peek()).toMatchObject({ id, version: 2 })
  expect(auth.session).toMatchObject({ id, version: 2 })
  await auth.refresh()
  expect(backend.reuseDetected).toBe(0)
})

test.each([1, 2])(
  '4: a login that was kept while the store was away, which then took it without saying so, keeps its tokens: version %i by now',
  async (version) => {
    const store = handStore()
    const { auth, another, backend } = room({ client: { store }, server: { refresh: 'rotating' } })
    await auth.ready
    const { read, commit } = store
    store.read = () => Promise.reject(new Error('out of order'))
    await auth.login(alice)
    store.read = read
    store.commit = async (next, expected) => {
      await commit?.(next, expected)
      throw new Error('connection lost')
    }
    await pass(100)
    expect(store.record).toMatchObject({ version: 1 })
    store.commit = commit
    if (version === 2) await another().auth.refresh()
    await pass(10 * second)
    expect([store.record, auth.session]).toMatchObject([{ version }, { version }])
    expect(backend.count('logout')).toBe(0)
  },
)

test('4: a login whose writing is not confirmed yet at dispose() keeps its tokens, for another context may hold them', async () => {
  const cell = { record: null, ahead: 0 }
  const [here, there] = [gatedStore(cell), gatedStore(cell)]
  const { auth, another, backend } = room({ client: { store: here } })
  await auth.ready
  here.gate('commit', 'after')
  const login = failure(auth.login(alice))
  await settle()
  const { auth: other } = another({ store: there })
  await other.ready
  expect(other.session).toMatchObject({ subject: 'alice' })
  auth.dispose()
  await pass(10 * second)
  await login
  expect(backend.count('logout')).toBe(0)
  expect((await other.fetch('protected')).status).toBe(200)
})

test('4: nor are they taken back where that one has refreshed them since', async () => {
  const cell = { record: null, ahead: 0 }
  const [here, there] = [gatedStore(cell), gatedStore(cell)]
  const { auth, another, backend } = room({ client: { store: here }, server: { refresh: 'rotating' } })
  await auth.ready
  here.gate('commit', 'after')
  const login = failure(auth.login(alice))
  await settle()
  const { auth: other } = another({ store: there })
  await other.refresh()
  auth.dispose()
  await pass(10 * second)
  expect(await login).toMatchObject({ code: 'disposed' })
  expect(other.session).toMatchObject({ version: 2 })
  expect(backend.count('logout')).toBe(0)
})

test('5: a login that a later one has replaced is over, though that one is given up at dispose()', async () => {
  const store = gatedStore()
  const { auth, backend } = room({ client: { store } })
  await auth.ready
  const written = store.gate('commit', 'after')
  const first = failure(auth.login(alice))
  await settle()
  expect(written.reached()).toBe(true)
  const asked = store.gate('read', 'before')
  const second = failure(auth.login(bob))
  await settle()
  expect(asked.reached()).toBe(true)
  auth.dispose()
  asked.open()
  expect(await second).toMatchObject({ code: 'disposed' })
  written.open()
  expect(await first).toMatchObject({ code: 'session_changed' })
  await settle()
  expect(store.peek()).toMatchObject({ version: 1, ended: 'replaced' })
  expect([backend.sessionAlive('alice'), backend.sessionAlive('bob')]).toEqual([false, false])
})

test('a login that dispose() ends before it is written is taken back', async () => {
  const store = gatedStore()
  const { auth, backend } = room({ client: { store } })
  await auth.ready
  const asked = store.gate('read', 'before')
  const login = failure(auth.login(alice))
  await settle()
  expect(asked.reached()).toBe(true)
  auth.dispose()
  asked.open()
  expect(await login).toMatchObject({ code: 'disposed' })
  await settle()
  expect([store.peek(), backend.sessionAlive('alice')]).toEqual([null, false])
})

test('4: and is not where the store can no longer be asked whether it was', async () => {
  const store = gatedStore()
  const { auth, backend } = room({ client: { store } })
  await auth.ready
  store.gate('commit', 'after')
  const login = failure(auth.login(alice))
  await settle()
  auth.dispose()
  store.failing = true
  await pass(10 * second)
  expect(await login).toMatchObject({ code: 'disposed' })
  await settle()
  expect(store.peek()).toMatchObject({ subject: 'alice', version: 1 })
  expect(backend.isHonoured((store.peek() as LiveRecord).refreshToken ?? '')).toBe(true)
})

describe('a re-authentication whose writing was never confirmed', () => {
  async function unconfirmed(
    meanwhile: (other: Client, here: Gated) => Promise<unknown>,
  ): Promise<Room & { there: Gated }> {
    const cell = { record: null, ahead: 0 }
    const [here, there] = [gatedStore(cell), gatedStore(cell)]
    const made = room({ client: { store: here }, server: { refresh: 'rotating-reuse-detection' } })
    await made.auth.login(alice)
    here.gate('commit', 'after')
    const proof = made.auth.reauthenticate(alice)
    await settle()
    await meanwhile(made.another({ store: there }).auth, here)
    await pass(10 * second)
    expect(await proof).toMatchObject({ fresh: true })
    return { ...made, there }
  }

  test('is not written twice', async () => {
    const { auth, there } = await unconfirmed((other) => other.ready)
    expect(there.peek()).toMatchObject({ version: 2, reason: 'reauthenticated' })
    expect(auth.session).toMatchObject({ version: 2 })
  })

  test('4: and of which a notice came all the same keeps its tokens', async () => {
    const { auth, backend, there, told } = await unconfirmed((_, here) => {
      here.notify()
      return settle()
    })
    const { access, refreshToken } = there.peek() as LiveRecord
    expect([access?.token, refreshToken].map((token) => backend.isHonoured(token ?? ''))).toEqual([
      true,
      true,
    ])
    expect(auth.session).toMatchObject({ version: 2 })
    expect(summary(told).slice(1)).toEqual(['tokenRefreshed: reauthenticated', 'storeUnavailable: commit'])
  })

  test('3: is not written over what another context has made of it', async () => {
    const { auth, backend, there } = await unconfirmed((other) => other.refresh())
    expect(there.peek()).toMatchObject({ version: 3, reason: 'requested' })
    expect(auth.session).toMatchObject({ version: 3 })
    await auth.refresh()
    expect(backend.reuseDetected).toBe(0)
  })
})

describe('a re-authentication whose writing was never confirmed, another having made the same version,', () => {
  const login = (auth: Client): Promise<unknown> => auth.reauthenticate(alice)

  test.each<[string, Partial<LiveRecord>, (auth: Client) => Promise<unknown>]>([
    ['is written after that', { access: { token: 'theirs' } }, login],
    ['is written after one that has no access token', { access: undefined, refreshToken: 'theirs' }, login],
    [
      'is written after that, though it brought no access token',
      { access: { token: 'theirs' } },
      (auth) => auth.reauthenticate(async () => ({ refreshToken: 'mine' })),
    ],
  ])('%s', async (_, theirs, prove) => {
    const cell: { record: StoreRecord | null; ahead: number } = { record: null, ahead: 0 }
    const store = gatedStore(cell)
    const { auth } = room({ client: { store } })
    await auth.login(alice)
    const gate = store.gate('commit', 'before')
    const proof = prove(auth)
    await settle()
    expect(gate.reached()).toBe(true)
    const stood = cell.record as LiveRecord
    cell.record = { ...stood, ...theirs, version: 2, reason: 'expired', fresh: undefined, revision: 'theirs' }
    await pass(10 * second)
    await proof
    expect(store.peek()).toMatchObject({ version: 3, reason: 'reauthenticated' })
    expect(auth.session).toMatchObject({ version: 3 })
  })
})

test('5: a logout while a password is brought to a store that has lost its data: it is taken back, and nothing made', async () => {
  const cell: { record: StoreRecord | null; ahead: number } = { record: null, ahead: 0 }
  const store = gatedStore(cell)
  const { auth, backend } = room({ client: { store } })
  await auth.login(alice)
  const asked = store.gate('read', 'before')
  const proof = failure(auth.reauthenticate(alice))
  await settle()
  expect(asked.reached()).toBe(true)
  cell.record = null
  await auth.logout()
  cell.record = null
  asked.open()
  expect(await proof).toMatchObject({ code: 'session_changed' })
  await settle()
  expect(auth.session).toBeNull()
  expect(backend.issued.map(({ token }) => backend.isHonoured(token))).toEqual([false, false, false, false])
})

test('5: a re-authentication of a session that a login elsewhere has replaced makes none of it, though the store has fallen back to that', async () => {
  const cell: { record: StoreRecord | null; ahead: number } = { record: null, ahead: 0 }
  const store = gatedStore(cell)
  const { auth, another, backend, hold } = room({ client: { store } })
  await auth.login(alice)
  const before = cell.record as unknown as LiveRecord
  await pass(second)
  const { release } = hold('login')
  const proof = failure(auth.reauthenticate(alice))
  await settle()
  await another({ store: gatedStore(cell) }).auth.login(bob)
  store.notify()
  await settle()
  expect(auth.session).toMatchObject({ subject: 'bob' })
  cell.record = { ...before, revision: 'back' }
  release()
  expect(await proof).toMatchObject({ code: 'session_changed' })
  await settle()
  expect(auth.session).toMatchObject({ subject: 'bob' })
  const brought = backend.issued.slice(2).filter(({ sub }) => sub === 'alice')
  expect(brought.map(({ token }) => backend.isHonoured(token))).toEqual([false, false])
})

test('1: a password that keeps the refresh token, in a store that has fallen back, leaves the claim to that token standing', async () => {
  const store = handStore()
  const { auth } = room({ client: { store }, preset: { reauth: { path: 'fresh-login' } } })
  await auth.login(alice)
  const first = store.record as LiveRecord
  await auth.refresh()
  const claim = { by: 'them', until: Date.now() + 7_000, span: 7_000 }
  store.record = { ...first, revision: 'theirs', claim }
  await auth.reauthenticate(alice)
  expect(store.record).toMatchObject({ version: 3, refreshToken: first.refreshToken, claim })
})

test('a re-authentication that finds another context’s refresh written meanwhile is written after it', async () => {
  const cell = { record: null, ahead: 0 }
  const [here, there] = [gatedStore(cell), gatedStore(cell)]
  const { auth, another } = room({ client: { store: here } })
  await auth.login(alice)
  const { auth: other } = another({ store: there })
  const gate = here.gate('commit', 'before')
  const proof = auth.reauthenticate(alice)
  await settle()
  await other.refresh()
  gate.open()
  expect(await proof).toMatchObject({ version: 3, fresh: true })
  expect(there.peek()).toMatchObject({ version: 3, reason: 'reauthenticated' })
})

describe.each(['before', 'after'] as const)('while what a password brought is being written (%s)', (when) => {
  test('5: a logout ends the session, and all of it is revoked', async () => {
    const store = gatedStore()
    const { auth, backend } = room({ client: { store } })
    await auth.login(alice)
    const gate = store.gate('commit', when)
    const proof = failure(auth.reauthenticate(alice))
    await settle()
    expect(gate.reached()).toBe(true)
    const logout = auth.logout()
    await settle()
    gate.open()
    expect(await proof).toMatchObject({ code: 'session_changed' })
    await logout
    await settle()
    expect(store.peek()).toMatchObject({ ended: 'logout' })
    expect(backend.issued.map(({ token }) => backend.isHonoured(token))).toEqual([false, false, false, false])
  })

  test('dispose() ends the wait, and signs nobody out', async () => {
    const store = gatedStore()
    const { auth, another, backend } = room({ client: { store } })
    await auth.login(alice)
    const gate = store.gate('commit', when)
    const proof = failure(auth.reauthenticate(alice))
    await settle()
    auth.dispose()
    gate.open()
    expect(await proof).toMatchObject({ code: 'disposed' })
    await settle()
    const { refreshToken = '', version } = store.peek() as LiveRecord
    expect(version).toBe(2)
    expect(backend.isHonoured(refreshToken)).toBe(true)
    const { auth: next } = another()
    expect((await next.fetch('fresh')).status).toBe(200)
  })
})

describe('12: though the store’s clock has been set back by hours,', () => {
  /** What stands in the store was written while its clock was ahead. */
  const shared = (): { record: StoreRecord | null; ahead: number } => ({
    record: null,
    ahead: 5 * 60 * minute,
  })

  test('a login before the store was first read replaces what stands there', async () => {
    const cell = shared()
    const { auth, another } = room({ client: { store: gatedStore(cell) } })
    await auth.login(alice)
    cell.ahead = 0
    const { auth: next } = another({ store: gatedStore(cell) })
    const { id } = await next.login(bob)
    expect(cell.record).toMatchObject({ id, subject: 'bob' })
  })

  test('a login stands after a logout elsewhere that was heard of', async () => {
    const cell = shared()
    const { auth, another } = room({ client: { store: gatedStore(cell) } })
    await auth.login(alice)
    const store = gatedStore(cell)
    const { auth: other } = another({ store })
    await other.ready
    await auth.logout()
    store.notify()
    await settle()
    expect(other.session).toBeNull()
    cell.ahead = 0
    const { id } = await other.login(bob)
    expect(cell.record).toMatchObject({ id, subject: 'bob' })
  })

  test('and has lost the tombstone: so does it then', async () => {
    const cell = shared()
    const { auth, another } = room({ client: { store: gatedStore(cell) } })
    await auth.login(alice)
    const store = gatedStore(cell)
    const { auth: other } = another({ store })
    await other.ready
    await auth.logout()
    store.notify(noticeOf(cell.record as StoreRecord))
    await settle()
    expect(other.session).toBeNull()
    Object.assign(cell, { ahead: 0, record: null })
    const { id } = await other.login(bob)
    expect(cell.record).toMatchObject({ id, subject: 'bob' })
  })

  test.each(['logout', 'session_expired'] as const)(
    'a login stands after the end of a session elsewhere that was heard of (%s), though the store has lost its data as well',
    async (ended) => {
      const cell = shared()
      const store = gatedStore(cell)
      const { auth } = room({ client: { store } })
      await auth.login(alice)
      const { id, version } = cell.record as unknown as LiveRecord
      cell.record = { id, version, calledAt: Date.now() + cell.ahead, ended, revision: 'theirs' }
      store.notify()
      await settle()
      expect(auth.session).toBeNull()
      Object.assign(cell, { record: null, ahead: 0 })
      const session = await auth.login(bob)
      expect(cell.record).toMatchObject({ id: session.id, subject: 'bob' })
    },
  )

  test('a login stands after a logout here that was still being written, though the store has lost its data as well', async () => {
    const cell = shared()
    const store = gatedStore(cell)
    const { auth, hold } = room({ client: { store } })
    await auth.login(alice)
    const written = store.gate('commit', 'after')
    const out = auth.logout()
    const answer = hold('login')
    const login = auth.login(bob)
    await settle()
    expect([written.reached(), answer.held()]).toEqual([true, true])
    written.open()
    await out
    Object.assign(cell, { record: null, ahead: 0 })
    answer.release()
    const { id } = await login
    expect(cell.record).toMatchObject({ id, subject: 'bob' })
  })

  test('5: of two logins here the last called stands', async () => {
    const cell = shared()
    const { auth, hold } = room({ client: { store: gatedStore(cell) } })
    await auth.ready
    const first = hold('login')
    const earlier = auth.login(alice)
    await settle()
    const last = hold('login')
    const later = auth.login(bob)
    await settle()
    first.release()
    await earlier
    expect(auth.session).toMatchObject({ subject: 'alice' })
    cell.ahead = 0
    last.release()
    const { id } = await later
    expect(cell.record).toMatchObject({ id, subject: 'bob' })
  })

  test('5: a logout ends what another context has begun', async () => {
    const cell = shared()
    const { auth, another } = room({ client: { store: gatedStore(cell) } })
    await auth.login(alice)
    const { auth: other } = another({ store: gatedStore(cell) })
    await other.ready
    cell.ahead = 0
    await other.logout()
    expect(cell.record).toMatchObject({ ended: 'logout' })
  })

  test('5: a logout ends the login before it, that is not yet said to be written', async () => {
    const cell = shared()
    const store = gatedStore(cell)
    const { auth } = room({ client: { store } })
    await auth.ready
    const gate = store.gate('commit', 'after')
    const login = failure(auth.login(alice))
    await settle()
    expect(gate.reached()).toBe(true)
    cell.ahead = 0
    await auth.logout()
    expect(cell.record).toMatchObject({ ended: 'logout' })
    gate.open()
    expect(await login).toMatchObject({ code: 'session_changed' })
  })
})

test.each([
  ['first', 1],
  ['hundred and first', 101],
])(
  '5: a logout that takes long leaves the login alone that is called after it, the %s here',
  async (_, nth) => {
    const store = gatedStore()
    const { auth } = room({ client: { store } })
    for (const index of times(nth - 1, (each) => each))
      await auth.setTokens({ accessToken: `token-${index}` })
    const gate = store.gate('read', 'before')
    const logout = auth.logout()
    await settle()
    expect(gate.reached()).toBe(true)
    const { id } = await auth.login(bob)
    gate.open()
    await logout
    expect(store.peek()).toMatchObject({ id, subject: 'bob' })
    expect(auth.session).toMatchObject({ id })
  },
)

test('5: a logout elsewhere ends a login that was called before it, though an earlier one of ours came in between', async () => {
  const cell = { record: null, ahead: 0 }
  const { auth, another, hold } = room({ client: { store: gatedStore(cell) } })
  await auth.ready
  const first = hold('login')
  const earlier = auth.login(alice)
  await settle()
  const last = hold('login')
  const later = failure(auth.login(bob))
  await settle()
  first.release()
  await earlier
  await pass(second)
  await another({ store: gatedStore(cell) }).auth.logout()
  last.release()
  expect(await later).toMatchObject({ code: 'session_changed' })
  expect(cell.record).toMatchObject({ ended: 'logout' })
})

describe('5: in one and the same millisecond a logout wins', () => {
  test('over a login elsewhere that is written before it', async () => {
    const cell = { record: null, ahead: 0 }
    const { auth, another } = room({ client: { store: gatedStore(cell) } })
    const { auth: other } = another({ store: gatedStore(cell) })
    await Promise.all([auth.ready, other.ready])
    await auth.login(alice)
    await other.logout()
    expect(cell.record).toMatchObject({ ended: 'logout' })
  })

  test('over a login elsewhere that is written after it', async () => {
    const cell = { record: null, ahead: 0 }
    const { auth, another } = room({ client: { store: gatedStore(cell) } })
    await auth.login(alice)
    await pass(second)
    const { auth: other } = another({ store: gatedStore(cell) })
    await other.ready
    const [login] = await Promise.all([failure(auth.login(bob)), other.logout()])
    expect(login).toMatchObject({ code: 'session_changed' })
    expect(cell.record).toMatchObject({ ended: 'logout' })
  })

  test('over a login elsewhere, though the store has lost its tombstone', async () => {
    const cell: { record: StoreRecord | null; ahead: number } = { record: null, ahead: 0 }
    const [here, there] = [gatedStore(cell), gatedStore(cell)]
    const { auth, another, hold } = room({ client: { store: here } })
    await auth.login(alice)
    await pass(second)
    const { auth: other } = another({ store: there })
    await other.ready
    const { release } = hold('login')
    const login = failure(auth.login(bob))
    await other.logout()
    here.notify(noticeOf(cell.record as StoreRecord))
    await settle()
    cell.record = null
    release()
    expect(await login).toMatchObject({ code: 'session_changed' })
    expect(auth.session).toBeNull()
  })

  test('but not over one that is called elsewhere once it is written', async () => {
    const { auth, another } = room()
    await auth.login(alice)
    const { auth: other } = another()
    await auth.logout()
    const { id } = await other.login(bob)
    expect(auth.session).toMatchObject({ id, subject: 'bob' })
  })
})

test('5: a login stands after a logout elsewhere that is heard of late, though the store has lost its tombstone', async () => {
  const cell: { record: StoreRecord | null; ahead: number } = { record: null, ahead: 0 }
  const [here, there] = [gatedStore(cell), gatedStore(cell)]
  const { auth, another, hold } = room({ client: { store: here } })
  await auth.login(alice)
  const { auth: other } = another({ store: there })
  await other.ready
  await other.logout()
  const tombstone = cell.record as StoreRecord
  await pass(1)
  const { release } = hold('login')
  const login = auth.login(bob)
  here.notify(noticeOf(tombstone))
  await settle()
  cell.record = null
  release()
  const { id } = await login
  expect(cell.record).toMatchObject({ id, subject: 'bob' })
})

test('5: of two logins in one and the same millisecond the one called last stands, though the other was written first', async () => {
  const cell = { record: null, ahead: 0 }
  const [here, there] = [gatedStore(cell), gatedStore(cell)]
  const { auth, another } = room({ client: { store: here } })
  const { auth: other } = another({ store: there })
  await Promise.all([auth.ready, other.ready])
  const first = other.login(alice)
  const gate = here.gate('commit', 'before')
  const last = auth.login(bob)
  await first
  await settle()
  expect([gate.reached(), here.peek()]).toMatchObject([true, { subject: 'alice' }])
  gate.open()
  const { id } = await last
  expect(here.peek()).toMatchObject({ id, subject: 'bob' })
})

test('5: a login in the millisecond of the logout before it stands, though another context has written that for us', async () => {
  const store = handStore()
  store.end = (id, calledAt) => {
    const found = store.record as LiveRecord
    store.record = { id: id as string, version: found.version, calledAt, ended: 'logout', revision: 'over' }
    return found
  }
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  void auth.logout()
  const { id } = await auth.login(bob)
  expect(store.record).toMatchObject({ id, subject: 'bob' })
})

test('5: a store is told in its tick of the logout of a login that was heard of, but is not yet said to be written', async () => {
  const store = gatedStore()
  const ends: unknown[] = []
  store.end = (id) => void ends.push(id)
  const { auth } = room({ client: { store } })
  await auth.ready
  const gate = store.gate('commit', 'after')
  const login = failure(auth.login(alice))
  await settle()
  store.notify()
  await settle()
  expect(auth.session).toMatchObject({ subject: 'alice' })
  const out = auth.logout()
  expect(ends).toEqual([store.peek()?.id])
  gate.open()
  await Promise.all([login, out])
})

test('5: a logout ends the session that is held, though the store’s clock was set back by less than is known of it', async () => {
  const cell = { record: null as StoreRecord | null, ahead: 0 }
  const { auth: other, another } = room({ client: { store: gatedStore(cell) } })
  await other.login(alice)
  cell.ahead = -3 * second
  const inner = gatedStore(cell)
  const slow = async (answer: Cell | Promise<Cell>): Promise<Cell> => {
    const given = await answer
    await new Promise<void>((resolve) => void setTimeout(resolve, 4 * second))
    return given
  }
  const store: Store = {
    name: 'slow',
    read: () => slow(inner.read()),
    commit: (next, expected) => slow(inner.commit?.(next, expected) as Promise<Cell>),
  }
  const { auth } = another({ store })
  await pass(4 * second)
  expect(auth.session).toMatchObject({ subject: 'alice' })
  const out = auth.logout()
  await pass(minute)
  await out
  expect(cell.record).toMatchObject({ ended: 'logout' })
})

test('a session that the user has cleared without a word is not made again by a password', async () => {
  const cell: { record: StoreRecord | null; ahead: number } = { record: null, ahead: 0 }
  const store: Gated = { ...gatedStore(cell), empty: 'ended' }
  const { auth, backend } = room({ client: { store } })
  await auth.login(alice)
  cell.record = null
  expect(await failure(auth.reauthenticate(alice))).toMatchObject({ code: 'session_changed' })
  await settle()
  expect([cell.record, auth.session]).toEqual([null, null])
  const proof = backend.issued.slice(-2)
  expect(proof.map(({ token }) => backend.isHonoured(token))).toEqual([false, false])
})

describe('6: somebody else’s login elsewhere, of which a notice comes while a refresh is being written:', () => {
  test.each([
    ['a call that has not been sent yet is not sent', false],
    ['a call that was turned down goes back with its 401', true],
  ])('%s', async (_, sent) => {
    const cell = { record: null, ahead: 0 }
    const [here, there] = [gatedStore(cell), gatedStore(cell)]
    const { auth, another, backend } = room({ client: { store: here } })
    await auth.login(alice)
    const { auth: other } = another({ store: there })
    await other.ready
    if (sent) backend.expireAccessTokens()
    else await pass(16 * minute)
    backend.settings.latency.refresh = { after: second }
    const call = auth.fetch('protected').catch(({ code }) => code)
    await settle()
    const written = here.gate('commit', 'after')
    await pass(second)
    expect(written.reached()).toBe(true)
    await other.login(bob)
    const asked = here.gate('read', 'before')
    here.notify()
    await settle()
    expect(asked.reached()).toBe(true)
    written.open()
    await settle()
    asked.open()
    const outcome = await call
    expect(sent ? outcome.status : outcome).toBe(sent ? 401 : 'session_changed')
    expect(backend.count('protected')).toBe(sent ? 1 : 0)
    expect(auth.session).toMatchObject({ subject: 'bob' })
  })
})

describe('a login that is not yet said to be written', () => {
  /** Alice's login has been written, which is not said before the gate is opened. */
  async function unsaid(before: (here: Gated) => Promise<unknown> = settle) {
    const cell = { record: null, ahead: 0 }
    const [here, there] = [gatedStore(cell), gatedStore(cell)]
    const made = room({ client: { store: here } })
    await made.auth.ready
    await before(here)
    const gate = here.gate('commit', 'after')
    const login = failure(made.auth.login(alice))
    await settle()
    expect(gate.reached()).toBe(true)
    const { auth: other } = made.another({ store: there })
    await other.ready
    return { ...made, here, gate, login, other }
  }

  test('6: and has been replaced elsewhere is not announced any more', async () => {
    const { auth, here, gate, login, other, told } = await unsaid()
    await pass(second)
    const { id } = await other.login(bob)
    here.notify()
    await settle()
    gate.open()
    expect(await login).toMatchObject({ code: 'session_changed' })
    expect(auth.session).toMatchObject({ id })
    expect(summary(told)).toEqual(['loggedIn: login (elsewhere)'])
  })

  test('5: and has been ended elsewhere is not announced any more, whatever is answered late meanwhile', async () => {
    let late = (): void => {}
    const { auth, gate, login, other, told } = await unsaid(async (here) => {
      const reading = here.gate('read', 'after')
      here.notify()
      await settle()
      expect(reading.reached()).toBe(true)
      late = reading.open
    })
    late()
    await settle()
    await other.logout()
    gate.open()
    expect(await login).toMatchObject({ code: 'session_changed' })
    expect(auth.session).toBeNull()
    expect(told).toEqual([])
  })

  test('5: and that was heard of, and replaced elsewhere, is revoked, though the store goes away', async () => {
    const { auth, backend, here, gate, login, other } = await unsaid()
    here.notify()
    await settle()
    expect(auth.session).toMatchObject({ subject: 'alice' })
    await pass(second)
    const { id } = await other.login(bob)
    here.notify()
    await settle()
    here.failing = true
    gate.open()
    expect(await login).toMatchObject({ code: 'session_changed' })
    expect(auth.session).toMatchObject({ id })
    expect([backend.sessionAlive('alice'), backend.sessionAlive('bob')]).toEqual([false, true])
  })
})

describe('a logout that waits to be written', () => {
  test('5: is not followed by a login elsewhere in the same millisecond', async () => {
    const cell = { record: null, ahead: 0 }
    const [here, there] = [gatedStore(cell), gatedStore(cell)]
    const { auth, another, told } = room({ client: { store: here } })
    await auth.login(alice)
    const { auth: other } = another({ store: there })
    await other.ready
    await pass(second)
    const gate = here.gate('read', 'before')
    const out = auth.logout()
    await other.login(bob)
    expect(gate.reached()).toBe(true)
    told.length = 0
    here.notify()
    await settle()
    expect(auth.session).toBeNull()
    gate.open()
    await out
    expect(cell.record).toMatchObject({ ended: 'logout' })
    expect(told).toEqual([])
  })

  test('12: holds back no refresh of a login elsewhere after it, though the store’s clock is set ahead', async () => {
    const cell = { record: null, ahead: 0 }
    const [here, there] = [gatedStore(cell), gatedStore(cell)]
    const { auth, another } = room({ client: { store: here } })
    await auth.login(alice)
    const { auth: other } = another({ store: there })
    await other.ready
    const gate = here.gate('commit', 'before')
    void auth.logout()
    await pass(second)
    expect(gate.reached()).toBe(true)
    const { id } = await other.login(bob)
    here.notify()
    await settle()
    expect(auth.session).toMatchObject({ id, version: 1 })
    cell.ahead = 5 * 60 * minute
    await other.refresh()
    here.notify()
    await settle()
    expect(auth.session).toMatchObject({ id, version: 2 })
  })
})

describe('what another context found by its cookies, which says nothing of when that was called,', () => {
  async function found(
    store: Gated,
    cell: { record: StoreRecord | null },
    of: LiveRecord,
    id = 'found',
  ): Promise<void> {
    cell.record = { ...of, id, reason: 'initial', calledAt: 0, revision: `theirs: ${id}` }
    store.notify()
    await settle()
  }

  /** A client that has just signed out, and what another context finds by its cookies. */
  async function signedOut() {
    const cell: { record: StoreRecord | null; ahead: number } = { record: null, ahead: 0 }
    const store = gatedStore(cell)
    const { auth } = room({ client: { store } })
    await auth.login(alice)
    const session = cell.record as unknown as LiveRecord
    await auth.logout()
    await pass(second)
    return { auth, cell, store, session }
  }

  test('is believed once a logout is no longer waiting to be written', async () => {
    const cell: { record: StoreRecord | null; ahead: number } = { record: null, ahead: 0 }
    const store = gatedStore(cell)
    const { auth } = room({ client: { store } })
    await auth.login(alice)
    const session = cell.record as unknown as LiveRecord
    await auth.logout()
    await pass(8 * second)
    await found(store, cell, session)
    expect(auth.session).toMatchObject({ id: 'found' })
  })

  test('is believed after a login here, though a logout was called just before that', async () => {
    const cell: { record: StoreRecord | null; ahead: number } = { record: null, ahead: 0 }
    const store = gatedStore(cell)
    const { auth } = room({ client: { store } })
    await auth.login(alice)
    await auth.logout()
    await auth.login(bob)
    await found(store, cell, cell.record as unknown as LiveRecord)
    expect(auth.session).toMatchObject({ id: 'found' })
  })

  test('is set aside right after one, and looked for once, as soon as that counts no more', async () => {
    const { auth, cell, store, session } = await signedOut()
    for (const id of ['found', 'found again']) {
      const begun = vi.spyOn(globalThis, 'setTimeout')
      await found(store, cell, session, id)
      store.notify()
      await settle()
      expect([auth.session, vi.getTimerCount()]).toEqual([null, 1])
      // 15: nobody awaits it, so that it keeps no process from its end.
      const timers = begun.mock.results.map(({ value }) => value as NodeJS.Timeout)
      expect(timers.filter((timer) => !timer.hasRef())).toHaveLength(1)
      begun.mockRestore()
      const read = vi.spyOn(store, 'read')
      await pass(8 * second)
      expect(auth.session).toMatchObject({ id })
      expect(read).toHaveBeenCalledTimes(1)
      read.mockRestore()
      await auth.logout()
      await pass(second)
    }
  })

  test('is not looked for once somebody has signed in here', async () => {
    const { auth, cell, store, session } = await signedOut()
    await found(store, cell, session)
    await auth.login(bob)
    const read = vi.spyOn(store, 'read')
    await pass(minute)
    expect(read).not.toHaveBeenCalled()
  })

  test('is not looked for by a client that was disposed of before it was read', async () => {
    const { auth, cell, store, session } = await signedOut()
    const reading = store.gate('read', 'after')
    await found(store, cell, session)
    expect(reading.reached()).toBe(true)
    void auth.dispose()
    reading.open()
    await settle()
    expect(vi.getTimerCount()).toBe(0)
  })
})

test('5: a logout waits for its revocations where nothing stands in a store that can not be written, either', async () => {
  const store = memoryStore()
  const { auth, another, hold, backend } = room({ client: { store } })
  await auth.login(alice)
  const shown = { ...store.read() } as Cell
  const { auth: reader } = another({ store: { name: 'reader', read: () => shown } })
  expect(reader.session).toMatchObject({ subject: 'alice' })
  Object.assign(shown, { record: null })
  const revoked = hold('logout')
  const out = reader.logout()
  expect(await isPending(out)).toBe(true)
  revoked.release()
  await out
  expect(backend.sessionAlive('alice')).toBe(false)
})

test('5: a store that goes on showing a session which was signed out here is not asked for it again and again', async () => {
  const store = gatedStore()
  const { auth, another } = room({ client: { store } })
  await auth.login(alice)
  const read = vi.fn(store.read)
  const { auth: reader } = another({ store: { name: 'reader', read } })
  await reader.ready
  await reader.logout()
  read.mockClear()
  await pass(minute)
  expect([reader.session, read.mock.calls.length, vi.getTimerCount()]).toEqual([null, 0, 0])
})
