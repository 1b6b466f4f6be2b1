/** What a reader who meant to break it found of cookies. */
import { describe, expect, test, vi } from 'vitest'
import {
  type Auth,
  type Cell,
  createAuth,
  type FlowContext,
  flaskJwtCookies,
  isAuthError,
  memoryStore,
  type Store,
} from '../../src/index.ts'
import { createBackend } from '../../src/testing/index.ts'
import { door, later, rejection, virtualTime } from '../support.ts'
import { alice, base, bob, type CookieBench, cookieBench, lateAnswer } from './cookies-support.ts'

const post = { method: 'POST', body: 'a form' }
// The page is at another origin than the cookies: answers tell it the values.
const told = { csrfInBody: true, csrfInCookies: false } as const
const unprotected = [{ csrf: false }, { csrfProtect: false }] as const
// The access token in memory, the refresh token a cookie.
const split = { locations: ['headers', 'cookies'], deliver: 'split' } as const
const hybrid = { accessToken: 'memory', whoami: undefined } as const

/** Time enough for all that needs none. */
async function settle(): Promise<void> {
  for (let turns = 0; turns < 30; turns++) await new Promise((resolve) => setImmediate(resolve))
}

const json = (body: object): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
})

const flowOf =
  (who: object, path = 'login') =>
  ({ fetch }: FlowContext): Promise<Response> =>
    fetch(path, json(who))

/** Answers some paths itself. */
const answering =
  (answers: Record<string, () => Response>) =>
  (next: typeof fetch): typeof fetch =>
  async (input, init) =>
    answers[new URL(new Request(input, init).url).pathname]?.() ?? next(input, init)

/** Signs somebody in past the client: in a popup, say. */
async function past({ backend, jar }: CookieBench, who: object, path = 'login'): Promise<void> {
  const response = await backend.fetch(`${base}${path}`, json(who))
  for (const one of response.headers.getSetCookie()) jar.setCookieSync(one, base)
  backend.clearLog()
}

/** A store that answers when it may. */
function slowed(
  beneath: Store,
  { reads = true, watched = false } = {},
): { store: Store; slow(): void; fast(): void } {
  let open = (): void => {}
  let opened: Promise<void> | undefined
  return {
    slow() {
      opened = new Promise((resolve) => {
        open = resolve
      })
    },
    fast() {
      open()
      opened = undefined
    },
    store: {
      ...beneath,
      async read() {
        if (reads) await opened
        return beneath.read() as Cell
      },
      async commit(next, expected) {
        await opened
        return beneath.commit?.(next, expected) as Cell
      },
      watch: (listener) => (watched ? (beneath.watch?.(listener) as () => void) : () => {}),
    },
  }
}

describe('a login whose answer brings an access cookie alone', () => {
  test.each([
    ['whoami', {}, {}],
    ['no whoami', { whoami: undefined }, {}],
    ['told', {}, told],
  ] as const)(
    '6: does not take up the refresh cookie that is left of another user: %s',
    async (_, preset, server) => {
      const bench = await cookieBench({ preset, server })
      const { backend, store } = bench
      const tab = bench.page({ store, preset: { ...preset, login: { path: 'fresh-login' } } })
      await tab.ready
      await tab.login(bob)
      expect(await bench.who()).toBe('bob')
      backend.clearLog()
      later()
      // Over: what is left of alice is no way to go on.
      await tab.fetch('protected', post).catch(() => {})
      const carried = backend.log.filter(({ route, status }) => route === 'protected' && status === 200)
      expect(carried.map(({ token }) => token?.sub)).toEqual([])
      expect(await bench.who()).not.toBe('alice')
    },
  )

  test('6: nor does a flow', async () => {
    const { auth, backend, who } = await cookieBench()
    await auth.login(flowOf(bob, 'fresh-login'))
    expect(await who()).toBe('bob')
    backend.clearLog()
    backend.expireAccessTokens()
    await auth.fetch('protected', post).catch(() => {})
    const carried = backend.log.filter(({ route, status }) => route === 'protected' && status === 200)
    expect(carried.map(({ token }) => token?.sub)).toEqual([])
  })

  test('6: nor does a flow, though the session before it is refreshed between its steps', async () => {
    const { auth, page, store, record, who } = await cookieBench({ server: { refresh: 'rotating' } })
    const other = page({ store })
    await other.ready
    await auth.login(async ({ fetch }: FlowContext) => {
      await fetch('optional')
      await other.refresh()
      return fetch('fresh-login', json(bob))
    })
    expect(await who()).toBe('bob')
    expect(record()).toMatchObject({ refreshToken: undefined })
  })

  test('6: nor does one whose access token is in memory', async () => {
    const { page, store, came } = await cookieBench({ server: split, preset: hybrid })
    const tab = page({ store, preset: { ...hybrid, login: { path: 'fresh-login' } } })
    await tab.ready
    await tab.login(bob)
    later()
    await tab.fetch('protected', post)
    expect([tab.session, came()]).toEqual([null, expect.not.arrayContaining(['POST refresh 200'])])
  })

  test('but a flow keeps the refresh cookie that a step before the last has brought', async () => {
    const { auth, backend, came } = await cookieBench({ as: false })
    await auth.login(async ({ fetch }: FlowContext) => {
      await fetch('login', json(alice))
      return fetch('fresh-login', json(alice))
    })
    backend.clearLog()
    later()
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(came()).toContain('POST refresh 200')
  })

  test.each([
    ['whoami', {}, {}],
    ['no whoami', { whoami: undefined }, {}],
    ['told', {}, told],
  ] as const)(
    '3: does not bring a refresh token back that was refused, as a password: %s',
    async (_, more, server) => {
      const preset = { ...more, reauth: { path: 'fresh-login' } }
      const { auth, backend, came } = await cookieBench({ preset, server })
      const { token } = backend.issued.find(({ kind }) => kind === 'refresh') ?? { token: '' }
      backend.revoke(token)
      await auth.refresh().catch(() => {})
      expect(auth.session).toMatchObject({ status: 'active' })
      await auth.reauthenticate(alice)
      await auth.refresh().catch(() => {})
      expect(came().filter((one) => one.includes('refresh'))).toEqual(['POST refresh 401'])
    },
  )

  describe.each([
    ['with whoami', {}],
    ['with none', { whoami: undefined }],
  ])('as a password while the refresh token is exchanged: %s', (_, more) => {
    const preset = { reauth: { path: 'fresh-login' }, ...more }

    test('3: one that is refused is not sent again', async () => {
      const { page, store, backend, came } = await cookieBench({ preset })
      const held = lateAnswer('/refresh')
      const tab = page({ store, preset, beneath: held.beneath })
      const other = page({ store, preset })
      await Promise.all([tab.ready, other.ready])
      const { token } = backend.issued.find(({ kind }) => kind === 'refresh') ?? { token: '' }
      backend.revoke(token)
      const refresh = tab.refresh().catch(() => {})
      await held.reached
      await other.reauthenticate(alice)
      held.open()
      await refresh
      await tab.refresh().catch(() => {})
      await other.refresh().catch(() => {})
      expect(came().filter((one) => one.includes('refresh'))).toEqual(['POST refresh 401'])
    })

    test('1 and 3: another tab waits for it', async () => {
      const { page, store, backend, who } = await cookieBench({
        preset,
        server: { refresh: 'rotating-reuse-detection' },
      })
      const held = lateAnswer('/refresh')
      const tab = page({ store, preset, beneath: held.beneath })
      const other = page({ store, preset })
      await Promise.all([tab.ready, other.ready])
      const refresh = tab.refresh().catch(() => {})
      await held.reached
      await other.reauthenticate(alice)
      const next = other.refresh().catch(() => {})
      await settle()
      held.open()
      await Promise.all([refresh, next])
      expect([backend.reuseDetected, await who()]).toEqual([0, 'alice'])
    })
  })
})

describe('the access token in memory', () => {
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

describe('a login by a flow', () => {
  test.each(['init', 'Request'])(
    'that waits for its turn can be left, by the signal of its %s',
    async (of) => {
      const held = door('/refresh')
      const { page, store } = await cookieBench()
      const tab = page({ store, beneath: held.beneath })
      await tab.ready
      const refresh = tab.refresh()
      await held.reached
      const leaving = new AbortController()
      const init = { ...json(bob), signal: leaving.signal }
      const login = rejection(
        tab.login(({ fetch }: FlowContext) =>
          of === 'init' ? fetch('login', init) : fetch(new Request(`${base}login`, init)),
        ),
      )
      await settle()
      leaving.abort()
      expect(await login).toMatchObject({ name: 'AbortError' })
      held.open()
      await refresh
      expect(tab.session).toMatchObject({ subject: 'alice' })
    },
  )

  test.each([
    ['logs out before', true],
    ['does not', false],
  ])(
    '4: keeps its cookies, though a refresh of the session before is answered later: who %s',
    async (_, out) => {
      const bench = await cookieBench()
      const held = lateAnswer('/refresh')
      const tab = bench.page({ store: bench.store, beneath: held.beneath })
      await tab.ready
      const refresh = tab.refresh().catch(() => {})
      await held.reached
      if (out) await tab.logout()
      const login = tab.login(flowOf(bob))
      await settle()
      held.open()
      await Promise.all([login, refresh])
      await settle()
      expect(await bench.who()).toBe('bob')
      expect((await tab.fetch('protected', post)).status).toBe(200)
    },
  )

  test('4: nor does what came late end it, where the server looks at no value', async () => {
    const [preset, server] = unprotected
    const bench = await cookieBench({ preset, server })
    const held = lateAnswer('/refresh', bench.jar)
    const tab = bench.page({ store: bench.store, beneath: held.beneath })
    await tab.ready
    const refresh = tab.refresh().catch(() => {})
    await held.reached
    await tab.logout()
    const login = tab.login(flowOf(bob))
    await settle()
    held.open()
    await Promise.all([login, refresh])
    await settle()
    expect([await bench.who(), (await tab.fetch('protected')).status]).toEqual(['bob', 200])
  })

  test('5: nor does a login that was called before it, and is answered later', async () => {
    const bench = await cookieBench({ as: false })
    const held = lateAnswer('/login')
    const tab = bench.page({ store: bench.store, beneath: held.beneath })
    await tab.ready
    const first = tab.login(alice).catch(() => {})
    await held.reached
    const second = tab.login(flowOf(bob))
    await settle()
    held.open()
    await Promise.all([first, second])
    await settle()
    expect(await bench.who()).toBe('bob')
    expect((await tab.fetch('protected', post)).status).toBe(200)
  })

  test('5: is not sent once a logout was called while it waited', async () => {
    const held = door('/refresh')
    const { page, store, came } = await cookieBench()
    const tab = page({ store, beneath: held.beneath })
    await tab.ready
    const refresh = tab.refresh().catch(() => {})
    await held.reached
    const login = rejection(tab.login(flowOf(bob)))
    await settle()
    await tab.logout()
    held.open()
    expect(await login).toMatchObject({ code: 'session_changed' })
    await refresh
    await settle()
    expect(came().filter((one) => one.includes('login'))).toEqual([])
  })

  test('and nobody waits for one that takes its time', async () => {
    const held = door('/sso')
    const { page } = await cookieBench({ as: false })
    const tab = page({ beneath: held.beneath })
    await tab.ready
    const flow = rejection(tab.login(({ fetch }: FlowContext) => fetch('sso')))
    await held.reached
    await tab.login(bob)
    expect(tab.session).toMatchObject({ subject: 'bob' })
    held.open()
    expect(await flow).toMatchObject({ code: 'session_changed' })
  })
})

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

describe('logins that overlap', () => {
  test.each([
    ['readable', {}, {}],
    ['told', {}, told],
    ['told, a logout that looks at no value', { logout: { method: 'POST' } }, told],
    ['csrf off', ...unprotected],
  ] as const)(
    '4: of one that is called twice the first takes nothing of the second back: %s',
    async (_, preset, server) => {
      const bench = await cookieBench({ preset, server, as: false })
      const mine = slowed(memoryStore(), { reads: false })
      const tab = bench.page({ store: mine.store })
      await tab.ready
      mine.slow()
      const first = rejection(tab.login(alice))
      const second = tab.login(alice)
      await expect.poll(() => bench.came().filter((one) => one === 'POST login 200').length).toBe(2)
      await settle()
      mine.fast()
      await Promise.all([first, second])
      await settle()
      expect(await bench.who()).toBe('alice')
      expect((await tab.fetch('protected', post)).status).toBe(200)
    },
  )

  test('5: one that has brought its cookies holds up a password until its store has taken it, or is given up', async () => {
    const { page, store, who, came } = await cookieBench({ server: { signer: 'fast' } })
    const mine = slowed(store, { reads: false })
    const tab = page({ store: mine.store })
    await tab.ready
    virtualTime()
    mine.slow()
    const login = tab.login(bob)
    await vi.advanceTimersByTimeAsync(0)
    const proof = rejection(tab.reauthenticate(alice))
    await vi.advanceTimersByTimeAsync(9_999)
    expect(came().filter((one) => one === 'POST login 200')).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(20_000)
    await Promise.all([login, proof])
    expect([tab.session?.subject, await who()]).toEqual(['bob', 'bob'])
  })

  test('10: one that is never answered holds up a password for fifteen seconds, and no longer', async () => {
    const { auth, backend, came } = await cookieBench()
    virtualTime()
    backend.fault('login', 'hang')
    const login = rejection(auth.login(bob))
    await vi.advanceTimersByTimeAsync(0)
    const proof = auth.reauthenticate(alice)
    await vi.advanceTimersByTimeAsync(15_000)
    await proof
    expect(auth.session).toMatchObject({ subject: 'alice' })
    await vi.advanceTimersByTimeAsync(30_000)
    expect(await login).toMatchObject({ code: 'login_unavailable' })
    expect(came().filter((one) => one.includes('login'))).toHaveLength(2)
  })
})

describe('a flow that tells no more than who has signed in, in a popup or by a redirect', () => {
  const whoami = ({ fetch }: FlowContext): Promise<Response> => fetch('whoami')

  test.each([
    ['nobody', false],
    ['bob', bob],
  ] as const)('takes the place of %s', async (_, as) => {
    const bench = await cookieBench({ as, server: { refresh: 'rotating' } })
    await past(bench, alice)
    await bench.auth.login(whoami)
    expect(bench.auth.session).toMatchObject({ subject: 'alice', status: 'active' })
    expect((await bench.auth.fetch('protected', post)).status).toBe(200)
    later()
    expect((await bench.auth.fetch('protected', post)).status).toBe(200)
    expect(bench.came()).toContain('POST refresh 200')
  })

  test('6: the refresh cookie beside it may be another user’s, and is not gone on with', async () => {
    const bench = await cookieBench()
    await past(bench, bob, 'fresh-login')
    await bench.auth.login(whoami)
    expect(bench.auth.session).toMatchObject({ subject: 'bob' })
    later()
    await bench.auth.fetch('protected', post).catch(() => {})
    expect(bench.auth.session?.subject).not.toBe('alice')
    const carried = bench.backend.log.filter(({ route, status }) => route === 'protected' && status === 200)
    expect(carried).toEqual([])
  })

  test('brings nothing where nobody has', async () => {
    const { auth } = await cookieBench({ as: false })
    expect(await rejection(auth.login(whoami))).toMatchObject({ code: 'login_refused' })
  })

  test('is no proof of a password, where the popup was cancelled', async () => {
    const { auth } = await cookieBench()
    expect(await rejection(auth.reauthenticate(whoami))).toMatchObject({ code: 'login_incomplete' })
    expect(auth.session).toMatchObject({ subject: 'alice', version: 1 })
  })

  test.each(['alice', 'bob'])('6: is whoami’s: a first step that names %s makes nothing', async (sub) => {
    const bench = await cookieBench()
    const beneath = answering({ '/mfa': () => Response.json({ sub, mfa: 'required' }) })
    const tab = bench.page({ store: bench.store, beneath })
    await tab.ready
    const flow = ({ fetch }: FlowContext): Promise<Response> => fetch('mfa', json(bob))
    for (const call of [tab.login, tab.reauthenticate]) {
      expect(await rejection(call(flow))).toMatchObject({ code: 'login_incomplete' })
    }
    expect(tab.session).toMatchObject({ subject: 'alice', version: 1 })
  })

  test('or no more than that it is over, where nobody was signed in before its first step', async () => {
    const bench = await cookieBench({ as: false })
    const tab = bench.page({
      store: bench.store,
      beneath: answering({
        '/start': () => Response.json({ url: 'https://idp.test/' }),
        '/finish': () => Response.json({ ok: true }),
      }),
    })
    await tab.ready
    await tab.login(async ({ fetch }: FlowContext) => {
      await fetch('start')
      await past(bench, bob)
      return fetch('finish')
    })
    expect((await tab.fetch('protected', post)).status).toBe(200)
  })
})

test.each([
  ['told', { csrfInBody: true }, {}],
  ['csrf off', { csrfProtect: false }, { csrf: false }],
] as const)('a login whose cookies the browser keeps back says so: %s', async (_, server, preset) => {
  const backend = createBackend({ locations: ['cookies'], ...server })
  const hook = { read: () => '', write() {} }
  const auth = createAuth({
    baseUrl: base,
    backend: flaskJwtCookies({ cookies: hook, whoami: {}, ...preset }),
    fetch: backend.fetch,
  })
  const error = await rejection(auth.login(alice))
  expect(error).toMatchObject({ code: 'login_unavailable', cause: { message: /not sent back: blocked/ } })
  expect(auth.session).toBeNull()
})

test('but not where whoami is out of the path of the cookies, which are there to be read', async () => {
  const bench = await cookieBench({ as: false })
  const gone = { msg: 'Missing cookie "access_token_cookie"' }
  const beneath = answering({ '/whoami': () => Response.json(gone, { status: 401 }) })
  const tab = bench.page({ beneath })
  await tab.login(alice)
  expect((await tab.fetch('protected', post)).status).toBe(200)
})

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
