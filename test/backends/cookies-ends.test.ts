/** What of cookies is left when a session or a page ends: logouts, pages that froze or were closed. */
import { describe, expect, test, vi } from 'vitest'
import { type Auth, memoryStore } from '../../src/index.ts'
import { later, rejection } from '../support.ts'
import {
  alice,
  bob,
  cookieBench,
  flowOf,
  hybrid,
  lateAnswer,
  past,
  post,
  settle,
  slowed,
  split,
  told,
  unprotected,
} from './cookies-support.ts'

describe('a logout', () => {
  describe.each([
    ['readable', {}, {}],
    ['told, at a logout that looks at no value', { logout: { method: 'POST' } }, told],
    ['csrf off', ...unprotected],
    ['csrf off, no whoami', { csrf: false, whoami: undefined }, { csrfProtect: false }],
    ['implicit refreshing', { refresh: false }, {}],
  ] as const)('that could not be written ends no login that was called after it: %s', (_, preset, server) => {
    test.each([
      ['bob', bob],
      ['alice', alice],
      ['a flow', flowOf(bob)],
    ])('5: of %s, where another tab had newer cookies before', async (_, given) => {
      const { auth, page, store, who } = await cookieBench({ preset, server })
      const mine = slowed(store)
      const tab = page({ store: mine.store })
      await tab.ready
      mine.slow()
      await auth.reauthenticate(alice)
      later(5)
      void tab.logout()
      await expect.poll(who).toBeNull()
      const login = tab.login(given)
      await settle()
      mine.fast()
      await login
      await settle()
      expect(await who()).toBe(given === alice ? 'alice' : 'bob')
      expect((await tab.fetch('protected', post)).status).toBe(200)
    })

    test('5: nor where the store had not been read', async () => {
      const { page, store, came, who } = await cookieBench({ preset, server })
      const mine = slowed(store)
      mine.slow()
      const tab = page({ store: mine.store })
      const out = tab.logout()
      await expect.poll(who).toBeNull()
      const login = tab.login(bob)
      await settle()
      mine.fast()
      await Promise.all([out, login])
      await settle()
      expect(await who()).toBe('bob')
      expect(came().filter((one) => one.includes('logout'))).toHaveLength(1)
    })
  })

  test.each([
    ['csrf on', hybrid, split],
    ['csrf off', { ...hybrid, csrf: false }, { ...split, csrfProtect: false }],
  ] as const)(
    '5: that could not be written takes no refresh cookie from a login that was called after it, the access token in memory: %s',
    async (_, preset, server) => {
      const { auth, page, store, came, backend } = await cookieBench({ preset, server })
      const mine = slowed(store)
      const tab = page({ store: mine.store })
      await tab.ready
      mine.slow()
      await auth.refresh()
      later(5)
      backend.clearLog()
      void tab.logout()
      await expect.poll(() => came()).toContain('DELETE logout 200')
      const login = tab.login(bob)
      await expect.poll(() => came()).toContain('POST login 200')
      await settle()
      mine.fast()
      await login
      await settle()
      await tab.refresh()
      expect(tab.session).toMatchObject({ subject: 'bob', version: 2 })
      expect(came().filter((one) => one === 'DELETE logout 200')).toHaveLength(2)
    },
  )

  test.each([
    ['readable', hybrid, split],
    ['told', hybrid, { ...split, ...told }],
    ['csrf off', { ...hybrid, csrf: false }, { ...split, csrfProtect: false }],
  ] as const)(
    '5: but takes what another tab has brought back, where the login after it is refused: %s',
    async (_, preset, server) => {
      for (const order of ['refused', 'written']) {
        const bench = await cookieBench({ preset, server: { ...server, refresh: 'rotating' } })
        const mine = slowed(bench.store)
        const [refreshing, signingIn] = [lateAnswer('/refresh'), lateAnswer('/login')]
        const tab = bench.page({ store: mine.store, beneath: signingIn.beneath })
        const other = bench.page({ store: bench.store, beneath: refreshing.beneath })
        await Promise.all([tab.ready, other.ready])
        mine.slow()
        const refresh = other.refresh().catch(() => {})
        await refreshing.reached
        const out = tab.logout()
        await expect.poll(() => bench.came()).toContain('DELETE logout 200')
        refreshing.open()
        await refresh
        const login = rejection(tab.login({ username: 'bob', password: 'wrong' }))
        await signingIn.reached
        // Which comes first.
        if (order === 'written') mine.fast()
        await settle()
        signingIn.open()
        await login
        mine.fast()
        await out
        await settle()
        expect([bench.cookies(), bench.backend.sessionAlive('alice')], order).toEqual([{}, false])
      }
    },
  )

  test.each([
    ['readable', {}, {}],
    ['told', {}, told],
  ] as const)(
    '5: that could not be written takes back what a password elsewhere has brought meanwhile: %s',
    async (_, preset, server) => {
      const { auth, page, store, who } = await cookieBench({ preset, server })
      const mine = slowed(store)
      const tab = page({ store: mine.store })
      await tab.ready
      mine.slow()
      const out = tab.logout()
      await expect.poll(who).toBeNull()
      await auth.reauthenticate(alice)
      expect(await who()).toBe('alice')
      mine.fast()
      await out
      expect([auth.session, await who()]).toEqual([null, null])
    },
  )

  test('5: but nobody who has signed in past the client since then', async () => {
    const bench = await cookieBench()
    const mine = slowed(bench.store)
    const tab = bench.page({ store: mine.store })
    await tab.ready
    mine.slow()
    const out = tab.logout()
    await expect.poll(bench.who).toBeNull()
    await bench.auth.reauthenticate(alice)
    await past(bench, bob)
    mine.fast()
    await out
    expect(await bench.who()).toBe('bob')
  })

  test('before the store was read signs out once', async () => {
    const { page, store, came, who } = await cookieBench()
    const mine = slowed(store)
    mine.slow()
    const tab = page({ store: mine.store })
    const out = tab.logout()
    await expect.poll(who).toBeNull()
    mine.fast()
    await out
    await settle()
    expect(came().filter((one) => one.includes('logout'))).toHaveLength(1)
  })

  test.each([
    ['bob', bob],
    ['alice', alice],
  ])(
    '5: that could not be written ends no login of %s that was called after it, though another tab has refreshed before',
    async (_, user) => {
      const { auth, page, store, who } = await cookieBench()
      const mine = slowed(store)
      const tab = page({ store: mine.store })
      await tab.ready
      mine.slow()
      // Not heard of there.
      await auth.refresh()
      later(5)
      void tab.logout()
      await expect.poll(who).toBeNull()
      const login = tab.login(user)
      await settle()
      mine.fast()
      await login
      await settle()
      expect(await who()).toBe(user.username)
      expect((await tab.fetch('protected', post)).status).toBe(200)
    },
  )

  test.each([
    ['readable', {}, {}],
    ['told', {}, told],
    ['told, at a logout that looks at no value', { logout: { method: 'POST' } }, told],
    ['csrf off', ...unprotected],
  ] as const)(
    '5: of whom nobody knows ends no login that was called after it: %s',
    async (_, preset, server) => {
      const bench = await cookieBench({ preset, server, as: false })
      const mine = slowed(memoryStore())
      const tab = bench.page({ store: mine.store })
      await tab.ready
      mine.slow()
      void tab.logout()
      const login = tab.login(bob)
      await settle()
      mine.fast()
      await login
      await settle()
      expect(await bench.who()).toBe('bob')
      expect((await tab.fetch('protected', post)).status).toBe(200)
    },
  )

  test('5: that is turned down is not tried again under the value of who has signed in elsewhere since', async () => {
    const bench = await cookieBench()
    const held = lateAnswer('/logout')
    const tab = bench.page({ store: bench.store, beneath: held.beneath })
    const other = bench.page({ store: bench.store })
    await Promise.all([tab.ready, other.ready])
    bench.backend.fault('logout', { status: 401, body: { msg: 'Token has expired' } })
    const out = tab.logout()
    await held.reached
    await other.login(bob)
    held.open()
    await out
    expect(await bench.who()).toBe('bob')
  })
})

describe('a page that was frozen', () => {
  test.each([
    ['whoami', {}, {}],
    ['no whoami', { whoami: undefined }, {}],
    ['no whoami, a logout that looks at no value', { whoami: undefined, logout: { method: 'POST' } }, {}],
    ['told', {}, told],
    ['the access token in memory', hybrid, split],
  ] as const)(
    '4: takes nothing back of who signed in elsewhere, as its refresh is answered: %s',
    async (_, preset, server) => {
      const bench = await cookieBench({ preset, server: { ...server, refresh: 'rotating' } })
      const held = lateAnswer('/refresh', bench.jar)
      const tab = bench.page({ store: bench.store, beneath: held.beneath })
      const other = bench.page({ store: bench.store })
      await Promise.all([tab.ready, other.ready])
      const refresh = tab.refresh().catch(() => {})
      await held.reached
      await other.logout()
      await other.login(bob)
      held.open()
      await refresh
      await settle()
      expect((await other.fetch('protected', post)).status).toBe(200)
      await other.refresh()
      expect((await other.fetch('protected', post)).status).toBe(200)
    },
  )

  test.each([
    ['whoami', {}, {}],
    ['no whoami', { whoami: undefined }, {}],
    ['told', {}, told],
    ['the access token in memory', hybrid, split],
  ] as const)('4: nor as its login is: %s', async (_, preset, server) => {
    const bench = await cookieBench({ preset, server: { ...server, refresh: 'rotating' }, as: false })
    const held = lateAnswer('/login', bench.jar)
    const tab = bench.page({ store: bench.store, beneath: held.beneath })
    const other = bench.page({ store: bench.store })
    await Promise.all([tab.ready, other.ready])
    const login = rejection(tab.login(alice))
    await held.reached
    later(5)
    await other.login(bob)
    held.open()
    expect(await login).toMatchObject({ code: 'session_changed' })
    await settle()
    expect((await other.fetch('protected', post)).status).toBe(200)
    await other.refresh()
    expect((await other.fetch('protected', post)).status).toBe(200)
  })
})

describe('a refresh that outlives its page', () => {
  test.each([
    ['there', (tab: Auth) => tab.logout()],
    [
      'there, and a login that waits for it was called',
      async (tab: Auth) => {
        await tab.logout()
        void tab.login(bob).catch(() => {})
        await settle()
      },
    ],
    ['in another tab', (_: Auth, other: Auth) => other.logout().then(settle)],
  ])('5: does not, once the user has signed out %s', async (_, signOut) => {
    const listeners = new Set<() => void>()
    vi.stubGlobal('addEventListener', (_: string, listener: () => void) => void listeners.add(listener))
    vi.stubGlobal('removeEventListener', (_: string, listener: () => void) => void listeners.delete(listener))
    const bench = await cookieBench({ server: { refresh: 'rotating' } })
    const held = lateAnswer('/refresh')
    let sent: RequestInit | undefined
    const tab = bench.page({
      store: bench.store,
      beneath: (next) => {
        const late = held.beneath(next)
        return (input, init) => {
          if (`${input}`.endsWith('/refresh')) sent = init
          return late(input, init)
        }
      },
    })
    await tab.ready
    const refresh = tab.refresh().catch(() => {})
    await held.reached
    for (const leave of listeners) leave()
    expect([sent?.keepalive, sent?.signal?.aborted]).toEqual([true, false])
    await signOut(tab, bench.auth)
    for (const leave of listeners) leave()
    expect(sent?.signal?.aborted).toBe(true)
    held.open()
    await refresh
    expect(listeners.size).toBe(0)
  })
})
