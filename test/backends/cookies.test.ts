/** Tokens in httpOnly cookies: what goes out and as whom, over a jar in place of a browser's. */
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  createAuth,
  type FlowContext,
  flaskJwtCookies,
  isAuthError,
  memoryStore,
  type Store,
} from '../../src/index.ts'
import { handStore } from '../core/by-hand.ts'
import { door, later, leaks, next, recorder, rejection, thrown } from '../support.ts'
import { alice, base, bob, cookieBench, hookOf, lateAnswer, post } from './cookies-support.ts'

const dialects = ['default', 'tutorial'] as const

describe('what goes along', () => {
  test('the cookies and, with a method that writes, the CSRF value; never a token', async () => {
    const { auth, backend, cookies } = await cookieBench()
    const { csrf_access_token: csrf } = cookies()
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']) {
      expect((await auth.fetch('protected', { method })).status).toBe(200)
    }
    expect(backend.log.map(({ headers }) => headers['x-csrf-token'])).toEqual([
      undefined,
      undefined,
      csrf,
      csrf,
      csrf,
      csrf,
    ])
    expect(backend.log.filter(({ headers }) => headers.authorization)).toEqual([])
  })

  test('a caller’s own CSRF header is left alone', async () => {
    const { auth, came } = await cookieBench()
    const response = await auth.fetch('protected', { ...post, headers: { 'X-CSRF-Token': 'mine' } })
    expect([response.status, came()]).toEqual([401, ['POST protected 401']])
  })

  test('5: with nobody signed in no cookie, whatever the jar holds', async () => {
    const { auth, backend, cookies } = await cookieBench()
    backend.fault('logout', 'drop', { times: Infinity })
    await auth.logout()
    expect(Object.keys(cookies())).toHaveLength(4)
    expect((await auth.fetch('protected')).status).toBe(401)
    expect((await auth.fetch('optional', post)).status).toBe(200)
    expect(backend.log.slice(-2).map(({ headers }) => [headers.cookie, headers['x-csrf-token']])).toEqual([
      [undefined, undefined],
      [undefined, undefined],
    ])
  })

  test('auth: false takes no cookie along, and asks nobody who it is', async () => {
    const { page, backend } = await cookieBench()
    expect((await page().fetch('protected', { auth: false })).status).toBe(401)
    expect(backend.log.map(({ route, headers }) => [route, headers.cookie])).toEqual([
      ['protected', undefined],
    ])
  })

  test('8: credentials and redirects, as fetch is told them', async () => {
    const wire = recorder(async () => Response.json({ sub: 'alice', csrf_access_token: 'value' }))
    const { page } = await cookieBench({
      as: false,
      beneath: () => wire.fetch,
      preset: { cookies: undefined },
    })
    const auth = page({ origins: ['https://files.test'] })
    await auth.fetch('items')
    await auth.fetch('items', post)
    await auth.fetch('items', { ...post, credentials: 'omit' })
    await auth.fetch('items', { ...post, redirect: 'manual' })
    await auth.fetch('https://files.test/file', post)
    await auth.fetch('https://elsewhere.test/', post)
    const told = wire.sent.map(({ input, init, headers }) => [
      String(input),
      init?.credentials,
      init?.redirect,
      headers.get('x-csrf-token'),
    ])
    expect(told).toEqual([
      [`${base}whoami`, 'include', 'manual', null],
      [`${base}items`, 'include', undefined, null],
      [`${base}items`, 'include', 'error', 'value'],
      [`${base}items`, 'omit', undefined, null],
      [`${base}items`, 'include', 'manual', 'value'],
      ['https://files.test/file', 'include', 'error', 'value'],
      ['https://elsewhere.test/', undefined, undefined, null],
    ])
  })

  test('getAccessToken() makes the cookie good and gives null', async () => {
    const { auth, backend, came } = await cookieBench()
    expect(await auth.getAccessToken()).toBeNull()
    expect(came()).toEqual([])
    later()
    expect(await auth.getAccessToken()).toBeNull()
    expect(came()).toEqual(['POST refresh 200'])
    expect(await auth.getAccessToken({ minValidity: 1_000 })).toBeNull()
    expect(backend.count()).toBe(1)
  })

  test('there is nothing secret in the store, the session, or an event', async () => {
    const { auth, backend, record } = await cookieBench({ as: false })
    await auth.login(alice)
    later()
    await auth.fetch('protected', post)
    const told = JSON.stringify([record(), auth.session, auth.history])
    for (const { token } of backend.issued) {
      for (const part of [token, ...token.split('.').slice(1)]) expect(told).not.toContain(part)
    }
    expect(JSON.stringify([auth.session, auth.history])).not.toContain(backend.issued.at(-1)?.claims.csrf)
  })
})

describe('who it is', () => {
  test('a login asks whoami, and the session has subject, claims, freshness and expiry', async () => {
    const { auth, came } = await cookieBench({ as: false })
    const session = await auth.login(alice)
    expect(session).toMatchObject({ version: 1, subject: 'alice', fresh: true, claims: { sub: 'alice' } })
    expect(session.expiresAt).toBeGreaterThan(Date.now() + 890_000)
    expect(came()).toEqual(['POST login 200', 'GET whoami 200'])
  })

  test('a refresh asks nobody: the claims stay, but for freshness and the times', async () => {
    const { auth, came } = await cookieBench()
    later()
    await auth.fetch('protected')
    expect(auth.session).toMatchObject({
      version: 2,
      subject: 'alice',
      fresh: false,
      claims: { sub: 'alice' },
    })
    expect(auth.session?.expiresAt).toBeGreaterThan(Date.now() + 890_000)
    expect(came()).toEqual(['POST refresh 200', 'GET protected 200'])
  })

  test('a login whose whoami fails is a login', async () => {
    const { auth, backend } = await cookieBench({ as: false })
    backend.fault('whoami', 'drop')
    expect(await auth.login(alice)).toMatchObject({ version: 1, subject: undefined })
    expect((await auth.fetch('protected', post)).status).toBe(200)
  })

  test.each([['anonymous'], [['anonymous']], [5]])(
    'a 2xx without tokens is no login, though whoami answers with JSON that is no object: %j',
    async (who) => {
      const answers: Record<string, unknown> = { '/login': { mfa_required: true }, '/whoami': who }
      const auth = createAuth({
        baseUrl: base,
        backend: flaskJwtCookies({ whoami: {} }),
        fetch: async (input) => Response.json(answers[new URL(String(input)).pathname] ?? {}),
      })
      expect(isAuthError(await rejection(auth.login(alice)), 'login_incomplete')).toBe(true)
      expect(auth.session).toBeNull()
    },
  )

  test('11: a fresh cookie is not replaced ahead of its end', async () => {
    const { auth, backend } = await cookieBench()
    later(870_000)
    expect((await auth.fetch('fresh')).status).toBe(200)
    expect(backend.count('refresh')).toBe(0)
    later(60_000)
    await auth.fetch('protected')
    later(890_000)
    await auth.fetch('protected')
    expect(backend.count('refresh')).toBe(2)
  })

  test('a 2xx that sets no cookie is no login', async () => {
    const { auth, backend } = await cookieBench()
    backend.fault('login', { status: 200, body: { msg: 'Now the second factor' } })
    expect(isAuthError(await rejection(auth.login(bob)), 'login_incomplete')).toBe(true)
    expect(auth.session?.subject).toBe('alice')
  })

  test('8: a step of a flow at another origin is fetched as it is', async () => {
    const given: unknown[] = []
    const { auth } = await cookieBench({
      as: false,
      beneath: (next) => async (input, init) => {
        if (!String(input).startsWith('https://other.test/')) return next(input, init)
        given.push(init)
        return new Response()
      },
    })
    await auth
      .login(async ({ fetch }: FlowContext) => {
        await fetch('https://other.test/')
        return fetch('login', { method: 'POST', body: JSON.stringify(alice) })
      })
      .catch(() => {})
    expect(given).toEqual([undefined])
  })

  test('a flow of several steps keeps its cookies, and the last one signs in', async () => {
    const { auth, backend, came } = await cookieBench({ as: false })
    backend.fault('validated', { status: 200, headers: { 'set-cookie': 'step=one; HttpOnly; Path=/' } })
    const session = await auth.login(async ({ fetch }: FlowContext) => {
      await fetch('validated', { method: 'POST' })
      const headers = { 'content-type': 'application/json' }
      return fetch('login', { method: 'POST', headers, body: JSON.stringify(alice) })
    })
    expect(session.version).toBe(1)
    expect(backend.log[1]?.headers.cookie).toContain('step=one')
    expect(came()).toEqual(['POST validated 200', 'POST login 200'])
    expect((await auth.fetch('protected', post)).status).toBe(200)
  })
})

test('an answer that is about neither the cookie nor its CSRF value is handed back, and nothing is looked for', async () => {
  const { auth, backend, came } = await cookieBench()
  backend.fault('protected', { status: 403, body: { msg: 'Admin privilege required.' } })
  expect((await auth.fetch('protected', post)).status).toBe(403)
  expect(came()).toEqual(['POST protected 403'])
})

describe.each(dialects)('a CSRF mismatch, %s dialect', (dialect) => {
  const implicit = { dialect, implicitRefresh: 450_000, refresh: 'reusable' } as const

  test('is cured by one replay with the value read anew, and refreshes nothing', async () => {
    const { auth, backend, came } = await cookieBench({ server: implicit })
    later(500_000)
    await auth.fetch('protected')
    expect(backend.issued).toHaveLength(3)
    backend.clearLog()
    const response = await auth.fetch('protected', post)
    expect(await response.json()).toMatchObject({ sub: 'alice', body: 'a form' })
    expect(came()).toEqual(['POST protected 401', 'GET whoami 200', 'POST protected 200'])
    expect(auth.session).toMatchObject({ version: 1, fresh: false })
  })

  test('that is cured shows who it is by then, and until when, each time', async () => {
    const { auth, backend } = await cookieBench({ server: implicit, as: false })
    const seen: unknown[] = []
    auth.subscribe((session) => void seen.push(session?.subject))
    backend.fault('whoami', 'drop')
    expect(await auth.login(alice)).toMatchObject({ version: 1, subject: undefined })
    for (let time = 0; time < 2; time++) {
      later(500_000)
      await auth.fetch('protected')
      expect((await auth.fetch('protected', post)).status).toBe(200)
      expect(auth.session).toMatchObject({ version: 1, subject: 'alice', claims: { sub: 'alice' } })
      expect(auth.session?.expiresAt).toBeGreaterThan(Date.now() + 890_000)
    }
    expect(backend.count('refresh')).toBe(0)
    expect(seen).toEqual([undefined, undefined, 'alice', 'alice'])
  })

  test('of many at once: one look, and each its one replay', async () => {
    const { auth, backend } = await cookieBench({ server: implicit })
    later(500_000)
    await auth.fetch('protected')
    backend.clearLog()
    const responses = await Promise.all(Array.from({ length: 10 }, () => auth.fetch('protected', post)))
    expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([200]))
    expect([backend.count('protected'), backend.count('whoami'), backend.count('refresh')]).toEqual([
      20, 1, 0,
    ])
  })

  test('that comes again is handed back, and ends no session, though there is no refresh token', async () => {
    const { auth, backend, came } = await cookieBench({ server: implicit, preset: { refresh: false } })
    later(500_000)
    await auth.fetch('protected')
    backend.clearLog()
    const body = { msg: 'CSRF double submit tokens do not match', error: 'authorization_required' }
    backend.fault('protected', { status: 401, body }, { times: 2 })
    const response = await auth.fetch('protected', post)
    expect([response.status, await response.json()]).toEqual([401, body])
    expect(came()).toEqual(['POST protected 401', 'GET whoami 200', 'POST protected 401'])
    expect(auth.history.filter(({ type }) => type === 'reauthRequired' || type === 'loggedOut')).toEqual([])
    expect((await auth.fetch('protected', post)).status).toBe(200)
  })

  test('is cured without whoami, too', async () => {
    const { auth, backend, came } = await cookieBench({ server: implicit, preset: { whoami: undefined } })
    later(500_000)
    await auth.fetch('protected')
    backend.clearLog()
    expect((await auth.fetch('protected', post)).status).toBe(200)
    expect(came()).toEqual(['POST protected 401', 'POST protected 200'])
  })

  test('14: of a stream comes back, and the next call goes through', async () => {
    const { auth, backend, came } = await cookieBench({ server: implicit })
    later(500_000)
    await auth.fetch('protected')
    backend.clearLog()
    const init = { method: 'POST', body: new Blob(['once']).stream(), duplex: 'half' }
    expect((await auth.fetch('protected', init)).status).toBe(401)
    expect((await auth.fetch('protected', post)).status).toBe(200)
    expect(came()).toEqual(['POST protected 401', 'GET whoami 200', 'POST protected 200'])
  })

  test('of the refresh is cured by one more try, and not by another refresh', async () => {
    const { auth, page, backend, came } = await cookieBench({ server: { dialect, refresh: 'rotating' } })
    const held = door('/refresh')
    const slow = page({ beneath: held.beneath })
    await slow.fetch('protected')
    later()
    // Its CSRF value is written down already when another page replaces the cookies.
    const call = slow.fetch('protected', post)
    await held.reached
    expect((await auth.fetch('protected')).status).toBe(200)
    backend.clearLog()
    held.open()
    expect((await call).status).toBe(200)
    expect(came().filter((one) => one.includes('refresh'))).toEqual(['POST refresh 401', 'POST refresh 200'])
    // And the first page’s value is not the last any more.
    expect((await auth.fetch('protected', post)).status).toBe(200)
    expect(backend.count('refresh')).toBe(2)
  })

  test('whose connection is gone by then leaves no rejection to nobody', async () => {
    const lost: unknown[] = []
    const note = (error: unknown): void => void lost.push(error)
    process.on('unhandledRejection', note)
    onTestFinished(() => void process.off('unhandledRejection', note))
    const cancel = (): void => {
      throw new TypeError('terminated')
    }
    const { auth, page, came } = await cookieBench({ server: { dialect, refresh: 'rotating' } })
    const held = door('/refresh')
    const slow = page({
      beneath: (next) =>
        held.beneath(async (input, init) => {
          const { status, headers, body } = await next(input, init)
          return new Response(status === 401 ? new ReadableStream({ cancel }) : body, { status, headers })
        }),
    })
    await slow.fetch('protected')
    later()
    const call = slow.fetch('protected', post)
    await held.reached
    await auth.fetch('protected')
    held.open()
    expect((await call).status).toBe(200)
    expect(came().filter((one) => one === 'POST refresh 401')).toHaveLength(1)
    await new Promise((resolve) => setImmediate(resolve))
    expect(lost).toEqual([])
  })
})

describe('6: a form goes out as who made it, or not at all', () => {
  const posts = (log: readonly { route: string; method: string }[]): number =>
    log.filter(({ route, method }) => route === 'protected' && method === 'POST').length

  test('somebody else’s cookies, of which the store knows nothing: the 401 comes back', async () => {
    const { auth, page, backend, who } = await cookieBench()
    await page().login(bob)
    expect(await who()).toBe('bob')
    backend.clearLog()
    const response = await auth.fetch('protected', post)
    expect([response.status, await response.json()]).toEqual([
      401,
      { msg: 'CSRF double submit tokens do not match' },
    ])
    expect(posts(backend.log)).toBe(1)
    expect(await who()).toBe('bob')
  })

  test('a login in another page that shares the store: likewise, without asking anybody', async () => {
    const { auth, page, backend, store } = await cookieBench({ preset: { whoami: undefined } })
    const other = page({ store })
    await other.ready
    const held = door('/protected')
    // A page that was not told yet: its store answers, but tells nobody.
    const unwatched: Store = { ...store, watch: undefined }
    const late = page({ store: unwatched, beneath: held.beneath })
    await late.ready
    const pending = late.fetch('protected', post)
    await held.reached
    await other.login(bob)
    held.open()
    expect((await pending).status).toBe(401)
    expect(posts(backend.log)).toBe(1)
    expect(late.session?.id).toBe(other.session?.id)
    expect(auth.session?.id).toBe(other.session?.id)
  })

  test('the same user again, elsewhere: the form goes out', async () => {
    const { auth, page } = await cookieBench()
    await page().login(alice)
    expect((await auth.fetch('protected', post)).status).toBe(200)
  })

  test('a refresh that brings another user’s token is none, and signs nobody out', async () => {
    const { auth, page, who } = await cookieBench()
    await page().login(bob)
    later()
    const error = await rejection(auth.fetch('protected', post))
    expect(isAuthError(error, 'refresh_unavailable')).toBe(true)
    expect(auth.session?.subject).toBe('alice')
    expect(await who()).toBe('bob')
  })

  test('another user’s password at a step-up: the cookies are his, and are taken back', async () => {
    const { auth, backend, cookies } = await cookieBench()
    expect(await rejection(auth.reauthenticate(bob))).toMatchObject({ code: 'subject_mismatch' })
    await expect.poll(cookies).toEqual({})
    expect(backend.sessionAlive('bob')).toBe(false)
    expect((await auth.fetch('protected', post)).status).toBe(401)
  })
})

describe('signing out', () => {
  test.each(dialects)('takes back both tokens and the cookies, %s dialect', async (dialect) => {
    const { auth, backend, cookies, came } = await cookieBench({ server: { dialect } })
    await auth.logout()
    expect([came(), cookies()]).toEqual([['DELETE logout 200'], {}])
    expect(backend.issued.some(({ token }) => backend.isHonoured(token))).toBe(false)
  })

  test('with a token that has run out, too', async () => {
    const { auth, cookies } = await cookieBench()
    later()
    await auth.logout()
    expect(cookies()).toEqual({})
  })

  test('with cookies that the server has replaced meanwhile, too', async () => {
    const { auth, cookies } = await cookieBench({ server: { implicitRefresh: 450_000 } })
    later(500_000)
    await auth.fetch('protected')
    await auth.logout()
    expect(cookies()).toEqual({})
  })

  test('as the library’s documentation has it: POST, with nothing asked', async () => {
    const { auth, cookies, came } = await cookieBench({ preset: { logout: { method: 'POST' } } })
    await auth.logout()
    expect([came(), cookies()]).toEqual([['POST logout 200'], {}])
  })

  test('5: a login that was under way is taken back when it comes, cookies and all', async () => {
    const held = door('/login')
    const { auth, cookies, backend } = await cookieBench({ as: false, beneath: held.beneath })
    const login = rejection(auth.login(alice))
    await held.reached
    await auth.logout()
    held.open()
    expect(await login).toMatchObject({ code: 'session_changed' })
    await expect.poll(() => [cookies(), backend.sessionAlive('alice')]).toEqual([{}, false])
    expect((await auth.fetch('protected')).status).toBe(401)
  })

  test.each([
    ['', door],
    [' though it was answered before', lateAnswer],
  ])('5: a refresh that was under way likewise,%s', async (_, holding) => {
    const held = holding('/refresh')
    const { auth, cookies, backend } = await cookieBench({ beneath: held.beneath })
    later()
    const call = rejection(auth.fetch('protected'))
    await held.reached
    await auth.logout()
    held.open()
    expect(await call).toMatchObject({ code: 'session_changed' })
    await expect.poll(() => [cookies(), backend.sessionAlive('alice')]).toEqual([{}, false])
  })

  test('5: and a new page is nobody’s', async () => {
    const { auth, page } = await cookieBench()
    await auth.logout()
    const other = page()
    expect((await other.fetch('protected')).status).toBe(401)
    expect(other.session).toBeNull()
  })
})

describe('the cookies that come last are those that stay', () => {
  test('5: of two logins the last called has session and cookies, however late the first is answered', async () => {
    const held = lateAnswer('/login')
    const { auth, who, came } = await cookieBench({ as: false, beneath: held.beneath })
    const first = auth.login(alice)
    await held.reached
    const second = auth.login(bob)
    // Time enough for it to go out, and to be answered.
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(came()).toEqual(['POST login 200'])
    held.open()
    await first
    expect((await second).subject).toBe('bob')
    expect([auth.session?.subject, await who()]).toEqual(['bob', 'bob'])
  })

  test('a login that was superseded is not taken back by what would end a later one', async () => {
    const held = door('/whoami')
    const { auth, page, backend, who } = await cookieBench({
      as: false,
      beneath: held.beneath,
      server: { signer: 'fast' },
    })
    const login = rejection(auth.login(alice))
    await held.reached
    await auth.logout()
    await page({ beneath: (next) => next, preset: { whoami: undefined } }).login(bob)
    held.open()
    expect(await login).toMatchObject({ code: 'session_changed' })
    // All there is to come has been answered by then, for nothing waits for more than microtasks.
    await new Promise((resolve) => void setImmediate(resolve))
    // Not sent: what it would prove itself by is no longer there.
    expect(backend.log.filter(({ route }) => route === 'logout').map(({ status }) => status)).toEqual([200])
    expect(await who()).toBe('bob')
  })

  test('1: a refresh that was overtaken by a password elsewhere gives nothing back: its cookies are the session’s', async () => {
    const held = lateAnswer('/refresh')
    const { auth, page, store, backend, came } = await cookieBench({ beneath: held.beneath })
    const other = page({ store, beneath: (next) => next })
    await other.ready
    later()
    const call = auth.fetch('protected', post)
    await held.reached
    await other.reauthenticate(alice)
    held.open()
    expect((await call).status).toBe(200)
    for (const one of [auth, other]) expect((await one.fetch('protected', post)).status).toBe(200)
    expect([came().filter((one) => one.includes('logout')), backend.sessionAlive('alice')]).toEqual([
      [],
      true,
    ])
  })

  test('a refresh takes the place of a fresh cookie, and the session says so', async () => {
    const { auth, record } = await cookieBench()
    await auth.refresh()
    expect(auth.session).toMatchObject({ version: 2, fresh: false })
    expect(record()).toMatchObject({ fresh: undefined })
  })

  test('a login waits for a refresh, which is finished as who began it', async () => {
    const held = door('/refresh')
    const { auth, who, came } = await cookieBench({ beneath: held.beneath })
    later()
    const call = auth.fetch('protected')
    await held.reached
    const login = auth.login(bob)
    held.open()
    expect(await (await call).json()).toMatchObject({ sub: 'alice' })
    expect((await login).subject).toBe('bob')
    expect(await who()).toBe('bob')
    expect(came().filter((one) => /login|refresh/.test(one))).toEqual(['POST refresh 200', 'POST login 200'])
  })

  test('a call to make the session fresh waits for a refresh, too, and stays fresh', async () => {
    const held = door('/refresh')
    const { auth } = await cookieBench({ beneath: held.beneath })
    later()
    const call = auth.fetch('protected')
    await held.reached
    const again = auth.reauthenticate(alice)
    held.open()
    await call
    expect((await again).fresh).toBe(true)
    expect((await auth.fetch('fresh')).status).toBe(200)
  })
})

describe('a cold start', () => {
  test('whoami says who it is, once for however many calls', async () => {
    const { page, came } = await cookieBench()
    const auth = page()
    const told = next(auth, 'loggedIn')
    const calls = Array.from({ length: 5 }, () => auth.fetch('protected', post))
    expect(new Set((await Promise.all(calls)).map(({ status }) => status))).toEqual(new Set([200]))
    expect(await told).toMatchObject({
      reason: 'initial',
      session: { subject: 'alice', version: 1, fresh: true },
    })
    expect(came()).toEqual(['GET whoami 200', ...Array.from({ length: 5 }, () => 'POST protected 200')])
  })

  test('who it is can be waited for before the first call: an application knows what to show', async () => {
    const { page, came } = await cookieBench()
    const auth = page()
    await auth.ready
    expect(auth.session).toMatchObject({ subject: 'alice', version: 1 })
    await auth.ready
    expect((await auth.fetch('protected', post)).status).toBe(200)
    expect(came()).toEqual(['GET whoami 200', 'POST protected 200'])
  })

  test('waiting for who it is ends, though nobody can say', async () => {
    const { page, backend } = await cookieBench()
    const auth = page()
    backend.fault('whoami', 'drop')
    await expect(auth.ready).resolves.toBeUndefined()
    expect(auth.session).toBeNull()
  })

  test.each([401, 422])('a %i means nobody: asked once, nothing told', async (status) => {
    const { auth, backend, came } = await cookieBench({ as: false })
    backend.fault('whoami', { status, body: { msg: 'Not you' } })
    expect((await auth.fetch('protected')).status).toBe(401)
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(came()).toEqual([`GET whoami ${status}`, 'GET protected 401', 'GET protected 401'])
    expect([auth.session, auth.history]).toEqual([null, []])
  })

  test.each(dialects)(
    'an access token that has run out: the refresh token finds out who it is, %s',
    async (dialect) => {
      const { page, came } = await cookieBench({ server: { dialect, refresh: 'rotating-reuse-detection' } })
      later()
      const auth = page()
      expect((await auth.fetch('protected', post)).status).toBe(200)
      expect(auth.session).toMatchObject({ subject: 'alice', version: 2 })
      expect(came()).toEqual(['GET whoami 401', 'POST refresh 200', 'GET whoami 200', 'POST protected 200'])
    },
  )

  test('a store that takes nothing down: whoami is asked once all the same', async () => {
    const { page, backend } = await cookieBench()
    const store = { name: 'bare', read: () => ({ record: null, now: Date.now() }) }
    const other = page({ store })
    for (let calls = 0; calls < 2; calls++) expect((await other.fetch('protected')).status).toBe(401)
    expect([other.session, backend.count('whoami')]).toEqual([null, 1])
  })

  test('nobody can say: the call is not sent as nobody, and the next one asks again', async () => {
    const { page, backend } = await cookieBench()
    const auth = page()
    for (const fault of ['drop', { status: 503 }, { status: 404 }] as const) {
      backend.fault('whoami', fault)
      const error = await rejection(auth.fetch('protected'))
      expect(isAuthError(error, 'refresh_unavailable')).toBe(true)
    }
    expect(backend.count('protected')).toBe(0)
    expect((await auth.fetch('protected')).status).toBe(200)
    backend.fault('whoami', 'drop')
    expect((await page().fetch('optional', { auth: 'optional' })).status).toBe(200)
  })

  test('without whoami the CSRF cookies say that somebody is there', async () => {
    const { page, came } = await cookieBench({ preset: { whoami: undefined } })
    const auth = page()
    expect((await auth.fetch('protected', post)).status).toBe(200)
    expect(auth.session).toMatchObject({ version: 1, subject: undefined })
    expect(came()).toEqual(['POST protected 200'])
  })

  test('a store that holds a record needs no whoami, and a tombstone is final', async () => {
    const { auth, page, backend, store, came } = await cookieBench()
    expect((await page({ store }).fetch('protected', post)).status).toBe(200)
    expect(came()).toEqual(['POST protected 200'])
    backend.fault('logout', 'drop')
    await auth.logout()
    const late = page({ store })
    expect((await late.fetch('protected')).status).toBe(401)
    expect([late.session, backend.count('whoami')]).toEqual([null, 0])
  })

  test('a store that can not be read leaves it open who it is: nobody is asked', async () => {
    const { page, backend } = await cookieBench()
    const read = (): never => {
      throw new Error('storage is denied')
    }
    const auth = page({ store: { ...memoryStore(), read } })
    await auth.ready
    expect([auth.session, backend.count('whoami')]).toEqual([undefined, 0])
  })

  test('a password asked for too early, with nobody there to prove it, keeps nobody from being found', async () => {
    const { page } = await cookieBench()
    const auth = page()
    expect(isAuthError(await rejection(auth.reauthenticate(alice)), 'not_signed_in')).toBe(true)
    await auth.ready
    expect(auth.session).toMatchObject({ subject: 'alice' })
  })

  test('5: a logout while the answer of whoami is on its way wins', async () => {
    const { page, backend } = await cookieBench()
    const held = lateAnswer('/whoami')
    const auth = page({ beneath: held.beneath })
    const call = auth.fetch('protected')
    await held.reached
    backend.fault('logout', 'drop')
    await auth.logout()
    held.open()
    expect((await call).status).toBe(401)
    expect(auth.session).toBeNull()
  })

  test('6: a login in another page that shares the store wins over whoami’s answer', async () => {
    const { page } = await cookieBench()
    const store = memoryStore()
    const held = lateAnswer('/whoami')
    const auth = page({ store, beneath: held.beneath })
    const ready = auth.ready
    await held.reached
    const { id } = await page({ store }).login(bob)
    held.open()
    await ready
    expect(auth.session).toMatchObject({ id, subject: 'bob' })
    expect(store.read()).toMatchObject({ record: { id, reason: 'login' } })
  })

  test('5: a logout while whoami is asked wins', async () => {
    const held = door('/whoami')
    const { page } = await cookieBench()
    const auth = page({ beneath: held.beneath })
    const call = auth.fetch('protected')
    await held.reached
    await auth.logout()
    held.open()
    expect((await call).status).toBe(401)
    expect(auth.session).toBeNull()
  })

  test('whoami replaces the cookie itself: it is asked once more, so that the CSRF value is known', async () => {
    const { page, came } = await cookieBench({ server: { implicitRefresh: 450_000 } })
    later(500_000)
    const auth = page()
    expect((await auth.fetch('protected', post)).status).toBe(200)
    expect(came()).toEqual(['GET whoami 200', 'GET whoami 200', 'POST protected 200'])
    expect(auth.session).toMatchObject({ subject: 'alice', fresh: false })
  })

  test('a call beside a login asks nobody; when the login was refused the next one does', async () => {
    const held = door('/login')
    const { auth, page, who, came } = await cookieBench({ as: false, beneath: held.beneath })
    const login = rejection(auth.login({ ...alice, password: 'wrong' }))
    await held.reached
    expect((await auth.fetch('protected')).status).toBe(401)
    held.open()
    await login
    // Somebody else has signed in meanwhile, with a store of his own.
    await page({ beneath: (next) => next }).login(bob)
    expect(await who()).toBe('bob')
    const { sub } = (await (await auth.fetch('protected')).json()) as { sub: string }
    expect([sub, auth.session?.subject]).toEqual(['bob', 'bob'])
    expect(came().filter((one) => one.includes('protected'))).toEqual([
      'GET protected 401',
      'GET protected 200',
    ])
  })

  test('a login while whoami is asked wins', async () => {
    const held = door('/whoami')
    const { page } = await cookieBench({ preset: { claims: () => undefined } })
    const auth = page({ beneath: held.beneath, store: memoryStore() })
    const call = auth.fetch('protected').catch((error) => error)
    await held.reached
    const login = auth.login(bob)
    held.open()
    await call
    await login
    const { sub } = (await (await auth.fetch('protected')).json()) as { sub: string }
    expect(sub).toBe('bob')
  })
})

describe('cookies that have gone', () => {
  test.each(dialects)(
    'that of the access token: the refresh token brings another, %s dialect',
    async (dialect) => {
      const { auth, jar, came } = await cookieBench({ server: { dialect } })
      for (const name of ['access_token_cookie', 'csrf_access_token'])
        jar.setCookieSync(`${name}=; Max-Age=0; Path=/`, base)
      expect((await auth.fetch('protected', post)).status).toBe(200)
      expect(came().filter((one) => !one.includes('whoami'))).toEqual([
        'POST protected 401',
        'POST refresh 200',
        'POST protected 200',
      ])
    },
  )

  test.each(dialects)('all of them: the session has ended, %s dialect', async (dialect) => {
    const { auth, jar } = await cookieBench({ server: { dialect } })
    jar.removeAllCookiesSync()
    const ended = next(auth, 'loggedOut')
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(await ended).toMatchObject({ reason: 'session_expired' })
    expect(auth.session).toBeNull()
  })
})

test('a refresh cookie that has gone ends a session whose server takes tokens from several places', async () => {
  const { auth, jar } = await cookieBench({
    server: { locations: ['headers', 'cookies'] },
    preset: { accessToken: 'memory', whoami: undefined },
  })
  jar.setCookieSync('refresh_token_cookie=; Max-Age=0; Path=/', base)
  later()
  const ended = next(auth, 'loggedOut')
  expect((await auth.fetch('protected')).status).toBe(401)
  expect(await ended).toMatchObject({ reason: 'session_expired' })
})

describe('implicit refreshing alone', () => {
  const preset = { refresh: false } as const
  const server = { implicitRefresh: 450_000 }

  test('the session lasts as long as there are calls, and nothing is refreshed by us', async () => {
    const { auth, backend, came } = await cookieBench({ server, preset })
    for (const _ of [1, 2, 3, 4, 5, 6]) {
      later(600_000)
      expect((await auth.fetch('protected', post)).status).toBe(200)
    }
    expect([auth.session?.expiresAt, backend.count('refresh')]).toEqual([undefined, 0])
    expect(came().filter((one) => one === 'POST protected 200')).toHaveLength(6)
    expect(auth.session).toMatchObject({ version: 1, subject: 'alice' })
  })

  test('when the token has run out only a password helps', async () => {
    const { auth } = await cookieBench({ server, preset })
    later()
    auth.on('reauthRequired', (event) => event.waitUntil(auth.reauthenticate(alice)))
    expect((await auth.fetch('protected', post)).status).toBe(200)
    expect(auth.session).toMatchObject({ version: 2, fresh: true })
  })
})

describe('CSRF values that no page can read', () => {
  const server = { csrfInBody: true, csrfInCookies: false }

  test('come with the answers of login, refresh and whoami', async () => {
    const { auth, page, backend, store } = await cookieBench({
      server: { ...server, refresh: 'rotating-reuse-detection' },
    })
    expect((await auth.fetch('protected', post)).status).toBe(200)
    for (const _ of [1, 2]) {
      later()
      expect((await auth.fetch('protected', post)).status).toBe(200)
    }
    for (const other of [page({ store }), page()]) {
      expect((await other.fetch('protected', post)).status).toBe(200)
    }
    expect([backend.count('refresh'), backend.reuseDetected]).toEqual([2, 0])
    later()
    await auth.logout()
    expect(backend.sessionAlive('alice')).toBe(false)
  })

  test('replaced by the server: whoami tells the new one', async () => {
    const { auth, came } = await cookieBench({ server: { ...server, implicitRefresh: 450_000 } })
    later(500_000)
    await auth.fetch('protected')
    expect((await auth.fetch('protected', post)).status).toBe(200)
    const looks = ['GET whoami 200', 'GET whoami 200']
    expect(came().slice(1)).toEqual(['POST protected 401', ...looks, 'POST protected 200'])
  })

  test('that nobody tells: reading works, and a login without any is none', async () => {
    const { page, auth } = await cookieBench({ as: false, server: { csrfInCookies: false } })
    await auth.login(alice)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect((await auth.fetch('protected', post)).status).toBe(401)
    const blind = page({ preset: { whoami: undefined } })
    expect(await rejection(blind.login(alice))).toMatchObject({ code: 'login_incomplete' })
  })

  test('that the server doesn’t want: none is sent, and the rest is the same', async () => {
    const { auth, backend } = await cookieBench({ server: { csrfProtect: false }, preset: { csrf: false } })
    expect((await auth.fetch('protected', post)).status).toBe(200)
    backend.expireAccessTokens()
    const calls = Array.from({ length: 5 }, () => auth.fetch('protected', post))
    expect(new Set((await Promise.all(calls)).map(({ status }) => status))).toEqual(new Set([200]))
    expect(backend.count('refresh')).toBe(1)
    expect(backend.log.some(({ headers }) => headers['x-csrf-token'])).toBe(false)
    await auth.logout()
    expect(backend.sessionAlive('alice')).toBe(false)
  })
})

describe('the hybrid: access token in memory, refresh token in a cookie', () => {
  const server = { locations: ['headers', 'cookies'], deliver: 'split' } as const
  const preset = { accessToken: 'memory', whoami: undefined } as const

  test('calls carry the token, the refresh its cookie and CSRF value', async () => {
    const { auth, backend, cookies } = await cookieBench({ server, preset })
    expect(auth.session).toMatchObject({ subject: 'alice', fresh: true })
    expect(await auth.getAccessToken()).toBe(backend.issued[0]?.token)
    expect((await auth.fetch('protected', post)).status).toBe(200)
    later()
    expect((await auth.fetch('protected', post)).status).toBe(200)
    const [first, refresh, second] = backend.log
    for (const one of [first, second]) {
      expect([one?.headers.cookie, one?.headers['x-csrf-token']]).toEqual([undefined, undefined])
    }
    expect([refresh?.route, refresh?.headers['x-csrf-token']]).toEqual([
      'refresh',
      cookies().csrf_refresh_token,
    ])
    expect(await auth.getAccessToken()).toBe(backend.issued.at(-1)?.token)
  })

  test('after a reload the cookie brings the session back', async () => {
    const { page, came } = await cookieBench({
      server: { ...server, refresh: 'rotating-reuse-detection' },
      preset,
    })
    const auth = page()
    expect((await auth.fetch('protected', post)).status).toBe(200)
    expect(auth.session).toMatchObject({ subject: 'alice', fresh: false })
    expect(came()).toEqual(['POST refresh 200', 'POST protected 200'])
  })

  describe('with no CSRF value to see whether there is a cookie', () => {
    const bare = { server: { ...server, csrfProtect: false }, preset: { ...preset, csrf: false } } as const

    test('a reload asks the server, which brings the session back', async () => {
      const { page, came } = await cookieBench(bare)
      const auth = page()
      await auth.ready
      expect((await auth.fetch('protected', post)).status).toBe(200)
      expect(auth.session).toMatchObject({ subject: 'alice', fresh: false })
      expect(came()).toEqual(['POST refresh 200', 'POST protected 200'])
    })

    test('nobody’s page asks once, and nobody hears of it', async () => {
      const { auth, came } = await cookieBench({ ...bare, as: false })
      const told: unknown[] = []
      auth.on('reauthRequired', (event) => void told.push(event))
      auth.on('refreshFailed', (event) => void told.push(event))
      for (const _ of [1, 2]) expect((await auth.fetch('protected')).status).toBe(401)
      expect([auth.session, told]).toEqual([null, []])
      expect(came()).toEqual(['POST refresh 401', 'GET protected 401', 'GET protected 401'])
    })

    test('who has signed out here is not brought back', async () => {
      const { auth, backend, came } = await cookieBench(bare)
      backend.fault('logout', 'drop', { times: Infinity })
      await auth.logout()
      expect((await auth.fetch('protected')).status).toBe(401)
      expect([auth.session, came().includes('POST refresh 200')]).toEqual([null, false])
    })
  })

  test('signing out takes the cookie back; before any access token has come, too', async () => {
    for (const reloaded of [false, true]) {
      const { auth, page, backend, cookies } = await cookieBench({ server, preset })
      const signedIn = reloaded ? page() : auth
      if (reloaded) {
        backend.fault('refresh', 'drop')
        await rejection(signedIn.fetch('protected'))
        expect(signedIn.session).toMatchObject({ status: 'active' })
      }
      await signedIn.logout()
      expect([cookies(), backend.sessionAlive('alice') && !reloaded]).toEqual([{}, false])
    }
  })

  test('nobody’s page asks nobody', async () => {
    const { auth, came } = await cookieBench({ as: false, server, preset })
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(came()).toEqual(['GET protected 401'])
  })
})

describe('in a server that renders', () => {
  test('the hook forwards what the browser sent, and hands on what is set', async () => {
    const { cookies, backend, page } = await cookieBench()
    later()
    const sent = Object.entries(cookies()).map(([name, value]) => `${name}=${value}`)
    const forwarded = new Map(sent.map((pair) => pair.split('=') as [string, string]))
    const out = new Headers()
    const auth = page({
      fetch: backend.fetch,
      preset: {
        cookies: {
          read: () => [...forwarded].map(([name, value]) => `${name}=${value}`).join('; '),
          write(_, setCookies) {
            for (const one of setCookies) {
              out.append('set-cookie', one)
              const [pair = ''] = one.split(';')
              forwarded.set(...(pair.split('=') as [string, string]))
            }
          },
        },
      },
    })
    expect(await (await auth.fetch('protected')).json()).toMatchObject({ sub: 'alice' })
    expect(out.getSetCookie().map((one) => one.split('=')[0])).toEqual([
      'access_token_cookie',
      'csrf_access_token',
    ])
    expect(backend.count('refresh')).toBe(1)
  })
})

describe('options', () => {
  test.each([
    [{ accessToken: 'localStorage' }, 'accessToken', "'cookie' or 'memory'"],
    [{ accessToken: 'memory', refresh: false }, 'refresh', 'an endpoint'],
    [{ refresh: true }, 'refresh', '{ path, method } of http(s) or false'],
    [{ csrf: true }, 'csrf', 'object or false'],
    [{ cookies: { read: () => '' } }, 'cookies', '{ read, write }'],
    [{ cookie: {} }, 'cookie', 'it takes'],
    [{ whoami: 'whoami' }, 'whoami', '{ path, method } of http(s)'],
  ])('%o is told by its name', (options, option, words) => {
    const error = thrown(() => flaskJwtCookies(options as never))
    expect(error).toMatchObject({ code: 'invalid_option', option })
    expect(String(error)).toContain(words)
  })

  test('a hook that throws, or answers later, is told by its name, and quotes no cookie', async () => {
    const { page } = await cookieBench()
    for (const [read, words] of [
      [() => Promise.resolve('access_token_cookie=secret'), 'gave a promise'],
      [
        () => {
          throw new Error('access_token_cookie=secret')
        },
        'threw',
      ],
    ] as const) {
      const auth = page({
        preset: { cookies: { read: read as () => string, write: () => {} }, whoami: undefined },
      })
      const error = await rejection(auth.login(alice))
      expect(error).toMatchObject({ code: 'login_unavailable' })
      expect(String((error as Error).cause)).toContain(`cookies.read() ${words}`)
      expect(leaks(error, 'secret')).toEqual([])
    }
  })

  test('8: what no header can carry is not quoted', async () => {
    const { page, jar } = await cookieBench()
    let more = ''
    const { read, write } = hookOf(jar)
    const auth = page({ preset: { cookies: { read: (url) => read(url) + more, write } } })
    await auth.login(alice)
    more = '; other=s3cret\nx'
    const error = await rejection(auth.fetch('protected'))
    expect(error).toMatchObject({ code: 'invalid_option', option: 'cookies.read' })
    expect(leaks(error, 's3cret', `${read(base)}`)).toEqual([])
  })

  test('a header for refresh tokens that differs in case alone is the same', async () => {
    const { auth } = await cookieBench({ preset: { csrf: { refreshHeader: 'x-csrf-token' } } })
    later()
    expect((await auth.fetch('protected', post)).status).toBe(200)
  })

  test('each of the two tokens may have a header of its own', async () => {
    const { auth, backend } = await cookieBench({
      server: { csrfHeader: 'X-CSRF-ACCESS', csrfRefreshHeader: 'X-CSRF-REFRESH' },
      preset: { csrf: { header: 'X-CSRF-ACCESS', refreshHeader: 'X-CSRF-REFRESH' } },
    })
    later()
    expect((await auth.fetch('protected', post)).status).toBe(200)
    const headers = backend.log.find(({ route }) => route === 'refresh')?.headers
    expect([headers?.['x-csrf-access'], typeof headers?.['x-csrf-refresh']]).toEqual([undefined, 'string'])
    await auth.logout()
    expect(backend.sessionAlive('alice')).toBe(false)
  })

  test('whoami proves itself where its method has to', async () => {
    const { auth, page, backend } = await cookieBench({
      server: { csrfMethods: ['GET', 'POST'] },
      preset: { csrf: { methods: ['GET', 'POST'] } },
    })
    expect(auth.session).toMatchObject({ subject: 'alice', fresh: true })
    const again = page({ preset: { csrf: { methods: ['GET', 'POST'] } } })
    await again.ready
    expect(again.session).toMatchObject({ subject: 'alice' })
    expect([backend.count('refresh'), backend.log.filter(({ status }) => status === 401)]).toEqual([0, []])
  })

  test('names, header and methods are the server’s', async () => {
    const names = { accessCsrfName: 'csrf_a', refreshCsrfName: 'csrf_r' }
    const { auth, backend } = await cookieBench({
      server: { cookies: names, csrfHeader: 'X-XSRF', csrfMethods: ['POST'] },
      preset: {
        csrf: { accessCookie: 'csrf_a', refreshCookie: 'csrf_r', header: 'X-XSRF', methods: ['POST'] },
      },
    })
    expect((await auth.fetch('protected', post)).status).toBe(200)
    expect((await auth.fetch('protected', { method: 'PUT' })).status).toBe(200)
    later()
    expect((await auth.fetch('protected', post)).status).toBe(200)
    expect(backend.log.map(({ headers }) => headers['x-xsrf'] !== undefined)).toEqual([
      true,
      false,
      true,
      true,
    ])
  })
})

test('5: a logout by a page that knows nobody yet: while it is being written no cookie is asked who it is of', async () => {
  const { page, backend } = await cookieBench()
  const store = handStore()
  const auth = page({ store })
  const told: string[] = []
  for (const type of ['loggedIn', 'loggedOut'] as const) auth.on(type, () => void told.push(type))
  const written = store.gate('commit')
  const signedOut = auth.logout({ revoke: false })
  await auth.ready
  expect(written.reached()).toBe(true)
  expect([auth.session, backend.count()]).toEqual([null, 0])
  written.open()
  await signedOut
  expect(store.record).toMatchObject({ ended: 'logout' })
  expect(told).toEqual([])
})
