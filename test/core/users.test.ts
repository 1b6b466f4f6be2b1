/** Whose session it is: nothing of one user reaches another. */
import { describe, expect, test, vi } from 'vitest'
import { createAuth, flaskJwt, flaskJwtCookies, memoryStore, simpleJwt } from '../../src/index.ts'
import { createKy } from '../../src/ky.ts'
import { handStore, jwt, mint, ok, refuse, serve, stamps } from './by-hand.ts'
import {
  alice,
  baseUrl,
  bob,
  deferred,
  failure,
  hour,
  minute,
  pass,
  room,
  second,
  sentTo,
  settle,
  virtualTime,
} from './support.ts'

virtualTime()

const subject = ({ tenant, sub }: { tenant?: string; sub?: string }) => `${tenant}:${sub}`

test.each([
  ['flaskJwt', flaskJwt(), { sub: 'alice' }, { sub: 'bob' }],
  ['simpleJwt', simpleJwt(), { user_id: 1 }, { user_id: 2 }],
])(
  '6: who is signed in by a refresh token alone is known from the start, and no other goes on as him: %s',
  async (_, backend, his, theirs) => {
    const server = serve(({ path }) =>
      path.includes('refresh')
        ? refuse('Token has expired')
        : ok({ access_token: mint('bob', theirs), access: mint('bob', theirs), refresh: 'other' }),
    )
    const initial = { refreshToken: jwt({ jti: 'one', ...his }) }
    const { auth } = room({ client: { backend: backend as never, fetch: server.fetch, initial } })
    const { subject } = auth.session ?? {}
    expect(subject).toBe(String(Object.values(his)[0]))
    expect(await failure(auth.reauthenticate(bob))).toMatchObject({ code: 'subject_mismatch' })
    expect(auth.session).toMatchObject({ subject })
  },
)

describe('whose token it is', () => {
  test('6: users whose numbers differ beyond 2⁵³ are not taken for one', async () => {
    const numbers: Record<string, string> = { alice: '1234567890123456789', bob: '1234567890123456788' }
    const owners = new Map<string | undefined, string>()
    const held = deferred()
    const server = serve(async ({ path, username = '' }) => {
      if (path === '/login') {
        const { iat, exp } = stamps()
        const token = jwt(`{"sub":${numbers[username]},"iat":${iat},"exp":${exp},"jti":"${username}"}`)
        owners.set(token, username)
        return ok({ access_token: token, refresh_token: `refresh-${username}` })
      }
      await held.promise
      return server.tokens('/transfer').length > 1 ? ok() : refuse('Token has expired')
    })
    const { auth } = room({ client: { fetch: server.fetch } })
    await auth.login(alice)
    const transfer = auth.fetch('transfer', { method: 'POST', body: 'all that I have' })
    await auth.login(bob)
    held.resolve()
    expect((await transfer).status).toBe(401)
    expect(server.tokens('/transfer').map((token) => owners.get(token))).toEqual(['alice'])
  })

  test('6: who proved another user’s password is turned away, though whose session it is came out only meanwhile', async () => {
    const { backend, another, hold } = room()
    const { refreshToken } = await backend.signIn('alice')
    // Where a refresh token doesn't tell.
    const preset = { ...flaskJwt(), refreshClaims: false }
    const { auth } = another({ store: memoryStore(), initial: { refreshToken }, backend: preset })
    expect(auth.session).toMatchObject({ subject: undefined })
    const login = hold('login')
    const proof = failure(auth.reauthenticate(bob))
    await settle()
    await auth.refresh()
    expect(auth.session).toMatchObject({ subject: 'alice' })
    login.release()
    expect(await proof).toMatchObject({ code: 'subject_mismatch' })
    expect(auth.session).toMatchObject({ subject: 'alice', claims: { sub: 'alice' } })
    expect(await (await auth.fetch('whoami')).json()).toMatchObject({ sub: 'alice' })
    await settle()
    expect(backend.sessionAlive('bob')).toBe(false)
  })
})

test('4: a refresh token that says less of its user than an access token does names nobody, and is refreshed', async () => {
  const server = serve(({ path }) =>
    path === '/refresh' ? ok({ access_token: mint('alice', { tenant: 'acme' }) }) : ok(),
  )
  const auth = createAuth({
    baseUrl,
    backend: flaskJwt({ subject: subject as never }),
    fetch: server.fetch,
    initial: { refreshToken: jwt({ ...stamps(), sub: 'alice', type: 'refresh' }) },
  })
  expect((await auth.fetch('items')).status).toBe(200)
  expect(auth.session).toMatchObject({ subject: 'acme:alice' })
  expect(server.tokens('/logout')).toEqual([])
})

test('4: nor does a cookie’s handle, which says nothing', async () => {
  vi.stubGlobal('document', { cookie: 'csrf_refresh_token=abcdef', baseURI: baseUrl })
  const server = serve(({ path }) =>
    path === '/refresh' ? ok({ access_token: mint('alice', { tenant: 'acme' }) }) : ok(),
  )
  const auth = createAuth({
    baseUrl,
    backend: flaskJwtCookies({ accessToken: 'memory', subject: subject as never }),
    fetch: server.fetch,
    store: memoryStore(),
  })
  await auth.ready
  expect((await auth.fetch('items')).status).toBe(200)
  expect(auth.session).toMatchObject({ subject: 'acme:alice' })
})

test.each([true, false])(
  '6: a retry of ky goes out as who made the request, or not at all (store read before: %s)',
  async (known) => {
    const { auth, another, backend } = room({ client: { store: handStore() } })
    await auth.login(alice)
    const who: unknown[] = []
    const { auth: page } = another({
      fetch: (input, init) => {
        const { path, token } = sentTo(input, init)
        if (path !== '/inbox') return backend.fetch(input as Request, init) as Promise<Response>
        who.push(JSON.parse(atob(token?.split('.')[1] ?? '')).sub)
        return Promise.resolve(new Response('', { status: who.length === 1 ? 503 : 200 }))
      },
    })
    if (known) await page.ready
    const call = failure(createKy(page).get('inbox'))
    await settle()
    await page.login(bob)
    await pass(minute)
    expect(await call).toMatchObject({ code: 'session_changed' })
    expect(who).toEqual(['alice'])
  },
)

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
