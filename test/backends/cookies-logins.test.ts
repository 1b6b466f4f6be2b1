/** Logins with tokens in cookies: those that bring some of them, flows, popups and redirects, several at once. */
import { describe, expect, test, vi } from 'vitest'
import {
  createAuth,
  type FlowContext,
  flaskJwtCookies,
  type LiveRecord,
  memoryStore,
} from '../../src/index.ts'
import { createBackend } from '../../src/testing/index.ts'
import { door, later, rejection, virtualTime } from '../support.ts'
import {
  alice,
  answering,
  base,
  bob,
  cookieBench,
  flowOf,
  hybrid,
  json,
  lateAnswer,
  past,
  post,
  settle,
  slowed,
  split,
  told,
  unprotected,
} from './cookies-support.ts'

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

  test.each([
    ['readable', {}, {}],
    ['told', {}, told],
    ['csrf off', ...unprotected],
  ] as const)(
    '5: one that is answered after a later one has made its session is nobody’s: %s',
    async (_, preset, server) => {
      const bench = await cookieBench({ preset, server: { ...server, signer: 'fast' }, as: false })
      const held = lateAnswer('/login')
      const tab = bench.page({ store: bench.store, beneath: held.beneath })
      await tab.ready
      virtualTime()
      const first = rejection(tab.login(alice))
      await vi.advanceTimersByTimeAsync(0)
      const second = tab.login(bob)
      await vi.advanceTimersByTimeAsync(11_000)
      await second
      expect(await bench.who()).toBe('bob')
      held.open()
      await vi.advanceTimersByTimeAsync(30_000)
      expect(await first).toMatchObject({ code: 'session_changed' })
      // Its cookies had taken the place of the later one's.
      expect([await bench.who(), (await tab.fetch('protected', post)).status]).toEqual([null, 401])
    },
  )

  test.each([
    ['readable', {}, {}],
    ['csrf off', ...unprotected],
    ['the access token in memory', hybrid, split],
  ] as const)(
    '5: a password that is answered while a later login is being written is nobody’s: %s',
    async (_, preset, server) => {
      const bench = await cookieBench({ preset, server: { ...server, signer: 'fast' } })
      const held = lateAnswer('/login')
      const mine = slowed(bench.store, { reads: false })
      const tab = bench.page({ store: mine.store, beneath: held.beneath })
      await tab.ready
      virtualTime()
      const proof = rejection(tab.reauthenticate(bob))
      await vi.advanceTimersByTimeAsync(0)
      mine.slow()
      const login = tab.login(alice)
      await vi.advanceTimersByTimeAsync(12_000)
      expect(bench.came().filter((one) => one === 'POST login 200')).toHaveLength(2)
      held.open()
      await vi.advanceTimersByTimeAsync(100)
      expect(await proof).toMatchObject({ code: 'session_changed' })
      expect(bench.came()).toContain('DELETE logout 200')
      expect(bench.cookies()).toEqual({})
      mine.fast()
      await vi.advanceTimersByTimeAsync(100)
      await login
      expect(tab.session).toMatchObject({ subject: 'alice' })
    },
  )

  test('one that is called after a password holds that not up', async () => {
    const { auth, came } = await cookieBench({ server: { signer: 'fast' } })
    virtualTime()
    const proof = auth.reauthenticate(alice)
    const login = auth.login(bob)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(came().filter((one) => one === 'POST login 200')).toHaveLength(2)
    await Promise.all([proof, login])
    expect(auth.session).toMatchObject({ subject: 'bob' })
  })

  test.each([
    ['readable', {}, {}],
    ['csrf off', ...unprotected],
    ['told, a logout that looks at no value', { logout: { method: 'POST' } }, told],
    ['the access token in memory', hybrid, split],
    ['the access token in memory, csrf off', { ...hybrid, csrf: false }, { ...split, csrfProtect: false }],
  ] as const)(
    '4: a password that was answered before, and is written late, ends none: %s',
    async (_, preset, server) => {
      for (const given of [alice, flowOf(alice)]) {
        const bench = await cookieBench({ preset, server })
        const held = lateAnswer('/login', bench.jar)
        const mine = slowed(bench.store)
        const tab = bench.page({ store: mine.store, beneath: held.beneath })
        await tab.ready
        const proof = rejection(tab.reauthenticate(given))
        await held.reached
        mine.slow()
        held.open()
        await settle()
        const login = tab.login(bob)
        await expect.poll(() => bench.came().filter((one) => one === 'POST login 200')).toHaveLength(2)
        await settle()
        mine.fast()
        expect(await proof).toMatchObject({ code: 'session_changed' })
        await login
        await settle()
        later()
        expect((await tab.fetch('protected')).status).toBe(200)
        expect(tab.session).toMatchObject({ subject: 'bob' })
      }
    },
  )

  test('10: one that is never answered holds up a password for fifteen seconds, and no longer', async () => {
    const { auth, backend, came } = await cookieBench()
    virtualTime()
    backend.fault('login', 'hang')
    const login = rejection(auth.login(bob))
    await vi.advanceTimersByTimeAsync(0)
    const logins = (): string[] => came().filter((one) => one.includes('login'))
    const proof = auth.reauthenticate(alice)
    await vi.advanceTimersByTimeAsync(14_000)
    expect(logins()).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(1_000)
    await proof
    expect(auth.session).toMatchObject({ subject: 'alice', version: 2 })
    await vi.advanceTimersByTimeAsync(30_000)
    expect(await login).toMatchObject({ code: 'login_unavailable' })
    expect(logins()).toHaveLength(2)
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

  test('signs who is there in anew, though nothing has changed', async () => {
    const { auth } = await cookieBench()
    const before = auth.session?.id
    await auth.login(whoami)
    expect(auth.session).toMatchObject({ subject: 'alice', version: 1, status: 'active' })
    expect(auth.session?.id).not.toBe(before)
    expect((await auth.fetch('protected', post)).status).toBe(200)
  })

  test('makes a session fresh that goes on with its refresh token', async () => {
    const bench = await cookieBench({ server: { refresh: 'rotating' } })
    const { refreshToken } = bench.record() as LiveRecord
    await past(bench, alice, 'fresh-login')
    await bench.auth.reauthenticate(whoami)
    expect(bench.record()).toMatchObject({ version: 2, reason: 'reauthenticated', refreshToken })
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

test('a session that has a refresh cookie alone is made fresh by a password', async () => {
  const bench = await cookieBench({ preset: { whoami: undefined } })
  bench.jar.setCookieSync('access_token_cookie=; Max-Age=0; Path=/', base)
  bench.jar.setCookieSync('csrf_access_token=; Max-Age=0; Path=/', base)
  const tab = bench.page({ store: memoryStore() })
  await tab.ready
  await tab.reauthenticate(alice)
  expect(tab.session).toMatchObject({ version: 2, status: 'active' })
  expect((await tab.fetch('protected', post)).status).toBe(200)
})
