/** Interleavings on a store that answers when the test says so. */
import { expect, test } from 'vitest'
import type { Cell, Notice, Store, StoreRecord } from '../../src/index.ts'
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
