/** The CSRF values that stand for the tokens: implicit refreshing, values that are replaced as they are read, or seen by nobody. */
import { describe, expect, test, vi } from 'vitest'
import { createAuth, flaskJwtCookies, isAuthError, memoryStore, type Session } from '../../src/index.ts'
import { door, later, rejection, virtualTime } from '../support.ts'
import {
  alice,
  answering,
  base,
  bob,
  cookieBench,
  hybrid,
  lateAnswer,
  past,
  post,
  settle,
  slowed,
  split,
  told,
} from './cookies-support.ts'

describe('the access token in memory', () => {
  describe.each([
    ['readable', hybrid, split],
    ['told', hybrid, { ...split, ...told }],
    ['csrf off', { ...hybrid, csrf: false }, { ...split, csrfProtect: false }],
  ] as const)('6: beside another user’s refresh cookie: %s', (_, preset, server) => {
    const replaced = async () => {
      const bench = await cookieBench({ preset, server: { ...server, refresh: 'rotating' } })
      await past(bench, bob)
      later()
      return bench
    }

    test('is not refreshed: a password is asked for, and the session goes on with that', async () => {
      const { auth, record } = await replaced()
      auth.on('reauthRequired', ({ reason, waitUntil }) => {
        expect(reason).toBe('session_expired')
        waitUntil(auth.reauthenticate(alice))
      })
      const { id } = auth.session as Session
      await auth.fetch('protected').catch(() => {})
      expect((await auth.fetch('protected')).status).toBe(200)
      expect(auth.session).toMatchObject({ id, subject: 'alice', status: 'active' })
      later()
      expect(await auth.refresh()).toMatchObject({ id, subject: 'alice' })
      expect(record()).toMatchObject({ subject: 'alice' })
    })

    test('takes nothing of his back where nobody gives one', async () => {
      const { auth, backend, came } = await replaced()
      await auth.fetch('protected').catch(() => {})
      expect((await auth.fetch('protected')).status).toBe(401)
      expect(auth.session).toBeNull()
      expect(backend.sessionAlive('bob')).toBe(true)
      expect(came().filter((one) => one.includes('logout'))).toEqual([])
    })
  })

  test('4: another user’s refresh cookie beside a good access token ends nothing: it may be gone by the time that counts', async () => {
    const bench = await cookieBench({
      preset: { ...hybrid, csrf: false },
      server: { ...split, csrfProtect: false, refresh: 'rotating' },
    })
    await past(bench, bob)
    for (const _ of [1, 2]) {
      expect(await rejection(bench.auth.refresh())).toMatchObject({ code: 'refresh_unavailable' })
    }
    expect(bench.auth.session).toMatchObject({ subject: 'alice', status: 'active' })
    await past(bench, alice)
    later()
    expect((await bench.auth.fetch('protected')).status).toBe(200)
    expect(bench.auth.session).toMatchObject({ subject: 'alice' })
  })

  test.each([
    ['readable', hybrid, split],
    ['csrf off', { ...hybrid, csrf: false }, { ...split, csrfProtect: false }],
  ] as const)(
    '4: nor does another user’s password in one tab while another refreshes: %s',
    async (_, preset, server) => {
      const bench = await cookieBench({ preset, server })
      const held = lateAnswer('/login', bench.jar)
      const tab = bench.page({ store: bench.store, beneath: held.beneath })
      await tab.ready
      later()
      const wrong = rejection(tab.reauthenticate(bob))
      await held.reached
      await rejection(bench.auth.fetch('protected'))
      held.open()
      expect(await wrong).toMatchObject({ code: 'subject_mismatch' })
      await tab.reauthenticate(alice)
      expect(tab.session).toMatchObject({ subject: 'alice' })
    },
  )

  test('5: a logout proves its cookie, too: the route of docs/backends.md looks for the value', async () => {
    const { auth, page, backend, cookies } = await cookieBench({
      server: split,
      preset: hybrid,
      beneath: (next) => async (input, init) => {
        const request = new Request(input, init)
        if (!request.url.endsWith('/logout')) return next(request)
        const value = /csrf_refresh_token=([^;]*)/.exec(request.headers.get('cookie') ?? '')?.[1]
        return value && request.headers.get('x-csrf-token') === value
          ? next(request)
          : Response.json({ msg: 'Missing CSRF token' }, { status: 401 })
      },
    })
    await auth.logout()
    expect([cookies(), backend.sessionAlive('alice')]).toEqual([{}, false])
    const reloaded = page({ store: memoryStore() })
    await reloaded.ready
    expect(reloaded.session).toBeNull()
  })

  test('5: a logout does not wait for a login that is under way', async () => {
    const held = door('/login')
    const { page, store, came } = await cookieBench({ server: split, preset: hybrid })
    const tab = page({ store, beneath: held.beneath })
    await tab.ready
    const login = rejection(tab.login(bob))
    await held.reached
    void tab.logout()
    await settle()
    const sent = came()
    held.open()
    await login
    expect(sent).toContain('DELETE logout 200')
  })

  test('4: a refresh that came late is taken back without the cookie of who has signed in elsewhere meanwhile', async () => {
    const bench = await cookieBench({ server: { ...split, refresh: 'rotating' }, preset: hybrid })
    const held = lateAnswer('/refresh', bench.jar)
    const tab = bench.page({ store: bench.store, beneath: held.beneath })
    const other = bench.page({ store: bench.store })
    await Promise.all([tab.ready, other.ready])
    const refresh = tab.refresh()
    await held.reached
    await tab.logout()
    await other.login(bob)
    held.open()
    await refresh
    await settle()
    expect(bench.backend.sessionAlive('bob')).toBe(true)
    later()
    expect((await other.fetch('protected')).status).toBe(200)
    expect(other.session).toMatchObject({ subject: 'bob' })
  })
})

describe('implicit refreshing', () => {
  test.each([
    ['whoami', { refresh: false }, {}],
    ['no whoami', { refresh: false, whoami: undefined }, {}],
    ['told', { refresh: false }, told],
    ['csrf off', { refresh: false, csrf: false }, { csrfProtect: false }],
  ] as const)(
    '4: the late 401 of an upload, whose cookie another answer has replaced meanwhile, ends no session: %s',
    async (_, preset, server) => {
      let arrive = (): void => {}
      const body = new Promise<void>((resolve) => {
        arrive = resolve
      })
      let uploads = 0
      const bench = await cookieBench({ server: { implicitRefresh: 450_000, ...server }, preset })
      const tab = bench.page({
        store: bench.store,
        beneath: (next) => async (input, init) => {
          const request = new Request(input, init)
          if (!request.url.endsWith('/upload') || uploads++) return next(request)
          // It has left with the cookie of then; a proxy passes it on once all of its body is there.
          request.headers.set('cookie', bench.jar.getCookieStringSync(request.url))
          await body
          return bench.backend.fetch(request)
        },
      })
      await tab.ready
      later(440_000)
      const upload = tab.fetch('upload', { method: 'POST', body: 'a long film' })
      await settle()
      later(20_000)
      expect((await tab.fetch('protected')).status).toBe(200)
      later(450_000)
      expect(await bench.who()).toBe('alice')
      arrive()
      const { status } = await upload
      expect([tab.session?.status, status]).toEqual(['active', 200])
    },
  )

  test.each([
    ['a bare 401', () => new Response(null, { status: 401 })],
    ['a 422', () => Response.json({ msg: 'Signature verification failed' }, { status: 422 })],
  ])('4: nor does %s that says nothing of an end', async (_, answer) => {
    const bench = await cookieBench({
      server: { implicitRefresh: 450_000 },
      preset: { refresh: false },
    })
    const held = door('/upload')
    let uploads = 0
    const tab = bench.page({
      store: bench.store,
      beneath: (next) => {
        const late = held.beneath(async () => answer())
        return (input, init) =>
          new Request(input, init).url.endsWith('/upload') && !uploads++
            ? late(input, init)
            : next(input, init)
      },
    })
    await tab.ready
    later(440_000)
    const upload = tab.fetch('upload', { method: 'POST', body: 'a long film' })
    await held.reached
    later(20_000)
    await tab.fetch('protected')
    later(450_000)
    held.open()
    expect((await upload).status).toBe(200)
    expect(tab.session).toMatchObject({ status: 'active' })
  })
})

test.each([
  ['refresh: false', false],
  ['a refresh endpoint beside it', {}],
] as const)(
  'implicit refreshing: writes come through, though each answer of those before replaces their value anew: %s',
  async (_, refresh) => {
    const { auth, page, store, jar, came, backend } = await cookieBench({
      server: { implicitRefresh: 450_000, signer: 'fast' },
      preset: { refresh },
    })
    virtualTime()
    vi.setSystemTime(Date.now() + 500_000)
    let sent = 0
    const tab = page({
      store,
      preset: { refresh },
      beneath: (next) => async (input, init) => {
        const request = new Request(input, init)
        const mine = sent++
        if (!request.url.endsWith('/protected')) return next(request)
        // Five have left before; the last, and what is sent again, as their answers are coming in.
        if (mine < 5) request.headers.set('cookie', jar.getCookieStringSync(request.url))
        await new Promise((resolve) => setTimeout(resolve, mine < 5 ? 40 * mine : 25))
        const response = await (mine < 5 ? backend.fetch(request) : next(request))
        for (const one of response.headers.getSetCookie()) jar.setCookieSync(one, request.url)
        return response
      },
    })
    await tab.ready
    const writes = Array.from({ length: 6 }, () => tab.fetch('protected', post))
    await vi.advanceTimersByTimeAsync(5_000)
    expect((await Promise.all(writes)).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200])
    expect(came()).not.toContain('POST refresh 200')
    expect(auth.session).toMatchObject({ subject: 'alice' })
  },
)

describe.each([
  ['readable', {}, {}],
  ['told', {}, told],
  ['no whoami', { whoami: undefined }, {}],
] as const)('an answer to credentials that brings no cookie: %s', (_, preset, server) => {
  test.each([
    ['a first step of several', () => Response.json({ mfa_token: 'opaque' })],
    ['a page', () => new Response('<html>', { headers: { 'content-type': 'text/html' } })],
  ])('is an incomplete login, whose response can be gone on with: %s', async (_, answer) => {
    const bench = await cookieBench({ as: false, preset, server })
    const tab = bench.page({ beneath: answering({ '/login': answer }) })
    await tab.ready
    const error = await rejection(tab.login(alice))
    if (!isAuthError(error, 'login_incomplete')) throw error
    expect(await error.response.text()).toBe(await answer().text())
  })

  test('6: makes no session of bob with the cookies of alice', async () => {
    const bench = await cookieBench({ preset, server })
    const beneath = answering({ '/login': () => Response.json({ mfa_token: 'opaque' }) })
    const tab = bench.page({ store: bench.store, beneath })
    await tab.ready
    for (const call of [tab.login, tab.reauthenticate]) {
      expect(await rejection(call(bob))).toMatchObject({ code: 'login_incomplete' })
    }
    expect(tab.session).toMatchObject({ version: 1 })
  })
})

describe('a value that was replaced again before it is known here', () => {
  test.each([
    ['refresh: false', false],
    ['a refresh endpoint beside it', {}],
  ] as const)('by a read, as a write was turned down late: %s', async (_, refresh) => {
    const server = { implicitRefresh: 450_000 }
    const bench = await cookieBench({ server, preset: { refresh } })
    const held = lateAnswer('/protected')
    const tab = bench.page({ store: bench.store, beneath: held.beneath })
    await tab.ready
    later(500_000)
    await tab.fetch('optional')
    const write = tab.fetch('protected', post)
    await held.reached
    expect((await tab.fetch('upload', post)).status).toBe(200)
    later(500_000)
    await tab.fetch('optional')
    held.open()
    expect((await write).status).toBe(200)
    expect(bench.came()).not.toContain('POST refresh 200')
  })

  test('by a refresh in another tab, which has not been heard of', async () => {
    const bench = await cookieBench({ server: { refresh: 'rotating' } })
    const held = lateAnswer('/protected')
    const leave = door('/protected')
    const tab = bench.page({
      store: { ...bench.store, watch: () => () => {} },
      beneath: (next) => held.beneath(leave.beneath(next)),
    })
    await tab.ready
    const write = tab.fetch('protected', post)
    await leave.reached
    await tab.refresh()
    leave.open()
    await held.reached
    await bench.auth.refresh()
    held.open()
    expect((await write).status).toBe(200)
  })

  test.each([
    ['of its value', { msg: 'CSRF double submit tokens do not match' }],
    ['for want of a cookie', { msg: 'Missing cookie "access_token_cookie"' }],
  ])('or has run out: a write that was turned down %s is sent again after a refresh', async (_, body) => {
    const bench = await cookieBench({ server: { refresh: 'rotating' } })
    const held = door('/upload')
    let uploads = 0
    const tab = bench.page({
      store: bench.store,
      beneath: (next) => {
        const late = held.beneath(async () => Response.json(body, { status: 401 }))
        return (input, init) =>
          new Request(input, init).url.endsWith('/upload') && !uploads++
            ? late(input, init)
            : next(input, init)
      },
    })
    await tab.ready
    const write = tab.fetch('upload', post)
    await held.reached
    await tab.refresh()
    later(901_000)
    held.open()
    expect((await write).status).toBe(200)
  })

  test('by another answer, as the store is slow to take it', async () => {
    const server = { implicitRefresh: 450_000, signer: 'fast' } as const
    const bench = await cookieBench({ server, preset: { refresh: false, whoami: undefined } })
    const mine = slowed(bench.store, { reads: false })
    const tab = bench.page({ store: mine.store })
    await tab.ready
    virtualTime()
    vi.setSystemTime(Date.now() + 500_000)
    await tab.fetch('optional')
    mine.slow()
    const write = tab.fetch('protected', post)
    await vi.advanceTimersByTimeAsync(10)
    vi.setSystemTime(Date.now() + 500_000)
    await tab.fetch('optional')
    mine.fast()
    await vi.advanceTimersByTimeAsync(5_000)
    expect((await write).status).toBe(200)
  })
})

describe('a client that can see no cookie', () => {
  test('4: in a Worker, it does not end a session whose value a page has replaced', async () => {
    vi.stubGlobal('WorkerGlobalScope', Object)
    const bench = await cookieBench({ server: { refresh: 'rotating' } })
    const other = bench.page({ store: memoryStore() })
    await other.ready
    // The cookies go along; only the script can't read them.
    const worker = createAuth({
      baseUrl: base,
      backend: flaskJwtCookies({ whoami: {} }),
      store: bench.store,
      fetch: (input, init) => {
        const request = new Request(input, init)
        request.headers.set('cookie', bench.jar.getCookieStringSync(request.url))
        return bench.backend.fetch(request)
      },
    })
    await worker.ready
    await other.refresh()
    later()
    expect(await rejection(worker.refresh())).toMatchObject({ code: 'refresh_unavailable' })
    expect(worker.session).toMatchObject({ subject: 'alice', status: 'active' })
  })

  test('asks for a password anywhere else, where nobody can ever read it', async () => {
    const bench = await cookieBench({ as: false, server: { ...told, refresh: 'rotating' } })
    const native = createAuth({
      baseUrl: base,
      backend: flaskJwtCookies({ whoami: {} }),
      fetch: async (input, init) => {
        const request = new Request(input, init)
        request.headers.set('cookie', bench.jar.getCookieStringSync(request.url))
        const response = await bench.backend.fetch(request)
        for (const one of response.headers.getSetCookie()) bench.jar.setCookieSync(one, base)
        return response
      },
    })
    await native.login(alice)
    // In a web view, say.
    await past(bench, alice)
    const asked: string[] = []
    native.on('reauthRequired', ({ reason }) => void asked.push(reason))
    later()
    expect((await native.fetch('protected')).status).toBe(401)
    expect(asked).toEqual(['session_expired'])
  })
})
