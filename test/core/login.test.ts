import { describe, expect, test, vi } from 'vitest'
import {
  type Answer,
  bearer,
  createAuth,
  flaskJwt,
  isAuthError,
  memoryStore,
  type Store,
  type Tokens,
} from '../../src/index.ts'
import { mint, ok, serve } from './by-hand.ts'
import {
  alice,
  baseUrl,
  bob,
  type Client,
  deferred,
  failure,
  isPending,
  minute,
  pass,
  room,
  second,
  settle,
  summary,
  virtualTime,
} from './support.ts'

virtualTime()

const credentials = (user: object): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(user),
})

describe('login', () => {
  test('over a session leaves its tokens alive at the server, as documented; a logout first does not', async () => {
    for (const first of [false, true]) {
      const { auth, backend, signIn, inHand } = room()
      await signIn()
      const older = inHand().refresh
      if (first) await auth.logout()
      await auth.login(alice)
      const newer = inHand().refresh
      await auth.logout()
      expect([older, newer].map(backend.isHonoured)).toEqual([!first, false])
    }
  })

  test('that the server refuses says so, with its words, its status and its answer', async () => {
    const { auth, told } = room()
    const error = await failure(auth.login({ ...alice, password: 'x' }))
    if (!isAuthError(error, 'login_refused')) throw error
    expect(error).toMatchObject({ status: 401, serverMessage: 'Bad username or password' })
    expect(error.message).toContain('Bad username or password')
    expect(error.response.bodyUsed).toBe(false)
    expect(await error.response.json()).toEqual({ msg: 'Bad username or password' })
    expect([auth.session, told]).toEqual([null, []])
  })

  test('that is refused at length, or with what moves a cursor, has an error that can be logged', async () => {
    const { auth, backend } = room()
    for (const msg of ['x'.repeat(5_000_000), 'no\n\u001b[31mFAKE LINE\u001b[0m\u202e']) {
      backend.fault('login', { status: 401, body: { msg } })
      const error = await failure(auth.login(alice))
      if (!isAuthError(error, 'login_refused')) throw error
      expect(error.serverMessage).toBe(msg)
      expect(error.message.length).toBeLessThan(250)
      const words = msg[0] === 'x' ? 'x{198}' : 'no \\[31mFAKE LINE \\[0m '
      expect(error.message).toMatch(RegExp(`^The server refused the login \\(401\\): ${words}$`))
    }
  })

  test('may bring a refresh token alone', async () => {
    const backend = {
      ...flaskJwt(),
      tokens: ({ body }: Answer): Tokens => ({ refreshToken: Object(body).refresh_token }),
    }
    const { auth, routes } = room({ client: { backend } })
    expect(await auth.login(alice)).toMatchObject({ version: 1, subject: 'alice', expiresAt: undefined })
    expect(routes()).toEqual(['login'])
  })

  test('that the tutorial’s server refuses has its words too', async () => {
    const { auth } = room({ server: { dialect: 'tutorial' } })
    expect(await failure(auth.login({ ...alice, password: 'x' }))).toMatchObject({
      code: 'login_refused',
      serverMessage: 'Invalid credentials.',
    })
  })

  test.each([
    ['is refused', { status: 401, body: { msg: 'no' } }, 'login_refused'],
    ['is refused as OAuth does it', { status: 400, body: { error: 'invalid_grant' } }, 'login_refused'],
    ['answers 500', { status: 500 }, 'login_unavailable'],
    ['answers 503', { status: 503 }, 'login_unavailable'],
    ['answers 429', { status: 429 }, 'login_unavailable'],
    ['answers 408', { status: 408 }, 'login_unavailable'],
    ['is dropped', 'drop', 'login_unavailable'],
    ['brings a page', 'not-json', 'login_incomplete'],
    ['brings no token', { status: 200, body: { mfa: 'required' } }, 'login_incomplete'],
    ['brings null', { status: 200, body: { access_token: null } }, 'login_incomplete'],
    ['brings what is no token', { status: 200, body: { access_token: 'no token' } }, 'invalid_token'],
    ['brings an empty token', { status: 200, body: { access_token: '' } }, undefined],
  ] as const)('that %s leaves who is signed in as he was', async (_, fault, code) => {
    const { auth, backend, told, signIn } = room()
    await signIn()
    const before = auth.session
    backend.fault('login', fault)
    const error = await failure(auth.login(bob))
    expect(isAuthError(error, code)).toBe(true)
    expect(auth.session).toBe(before)
    expect(told).toEqual([])
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('unavailable: the status and the answer come along', async () => {
    const { auth, backend } = room()
    backend.fault('login', { status: 503, body: { msg: 'Back at noon' } })
    const error = await failure(auth.login(alice))
    if (!isAuthError(error, 'login_unavailable')) throw error
    expect(error.status).toBe(503)
    expect(await error.response?.json()).toEqual({ msg: 'Back at noon' })
  })

  test('incomplete: the answer comes along, unread, for the next step', async () => {
    const { auth, backend } = room()
    backend.fault('login', { status: 202, body: { mfa_token: 'abc' } })
    const error = await failure(auth.login(alice))
    if (!isAuthError(error, 'login_incomplete')) throw error
    expect([error.status, error.response.bodyUsed]).toEqual([202, false])
    expect(await error.response.json()).toEqual({ mfa_token: 'abc' })
  })

  test('that hangs ends within a bound', async () => {
    const { auth, backend } = room()
    backend.fault('login', 'hang')
    const outcome = failure(auth.login(alice))
    await pass(5 * minute)
    expect(await isPending(outcome)).toBe(false)
    expect(await outcome).toMatchObject({ code: 'login_unavailable' })
  })

  test.each(['drop', { status: 401 }, { status: 503 }] as const)(
    'that fails (%j) leaves no timer behind that would keep a process from its end',
    async (fault) => {
      const { auth, backend } = room()
      backend.fault('login', fault)
      await failure(auth.login(alice))
      expect(vi.getTimerCount()).toBe(0)
    },
  )

  test('sends no token of the user before', async () => {
    const { auth, signIn, tokens } = room()
    await signIn()
    await auth.login(bob)
    expect(tokens('login')).toEqual([undefined])
  })

  test('5: of two, the last called wins, whichever is answered last', async () => {
    const { auth, backend, told, hold } = room()
    const held = hold('login')
    const first = failure(auth.login(alice))
    await settle()
    expect(held.held()).toBe(true)
    const session = await auth.login(bob)
    held.release()
    expect(await first).toMatchObject({ code: 'session_changed' })
    await settle()
    expect(auth.session).toBe(session)
    expect(summary(told)).toEqual(['loggedIn: login'])
    // What came too late does not live on.
    expect(backend.sessionAlive('alice')).toBe(false)
    expect(backend.sessionAlive('bob')).toBe(true)
  })

  test('5: a logout called after it wins; its tokens are revoked', async () => {
    const { auth, backend, told, hold } = room()
    const held = hold('login')
    const login = failure(auth.login(alice))
    await settle()
    const logout = auth.logout()
    held.release()
    expect(await login).toMatchObject({ code: 'session_changed' })
    await logout
    await settle()
    expect(auth.session).toBeNull()
    expect(told).toEqual([])
    expect(backend.sessionAlive('alice')).toBe(false)
  })

  test('5: called after a logout wins over it', async () => {
    const { auth, signIn, hold } = room()
    await signIn()
    const held = hold('logout')
    const logout = auth.logout()
    const session = await auth.login(alice)
    held.release()
    await logout
    await settle()
    expect(auth.session).toBe(session)
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('as the same user is a new session', async () => {
    const { auth, told, signIn } = room()
    await signIn()
    const before = auth.session?.id
    const { id, version } = await auth.login(alice)
    expect([id === before, version]).toEqual([false, 1])
    expect(summary(told)).toContain('loggedIn: login')
  })

  test('1: while a refresh of the session before is under way: that one’s late tokens are not taken', async () => {
    const { auth, backend, signIn, hold, inHand } = room({ server: { refresh: 'rotating-reuse-detection' } })
    await signIn()
    await pass(16 * minute)
    const held = hold('refresh')
    const old = auth.fetch('protected')
    await settle()
    const { id } = await auth.login(alice)
    const mine = inHand()
    held.release()
    expect((await old).status).toBe(200)
    await settle()
    expect(auth.session).toMatchObject({ id, version: 1 })
    expect(inHand()).toEqual(mine)
    expect(backend.isHonoured(mine.refresh)).toBe(true)
    // The old session's late pair is revoked.
    const late = backend.issued.filter(({ generation }) => generation === 1)
    expect(late.map(({ token }) => backend.isHonoured(token))).toEqual([false, false])
  })
})

describe('a login flow', () => {
  test('gives a Response that is read like a login’s', async () => {
    const { auth, told, routes } = room()
    const session = await auth.login(({ fetch }) => fetch('login', credentials(alice)))
    expect(session).toMatchObject({ subject: 'alice', fresh: true })
    expect(summary(told)).toEqual(['loggedIn: login'])
    expect(routes()).toEqual(['login'])
  })

  test('gives tokens', async () => {
    const { auth, backend, inHand } = room()
    const { accessToken, refreshToken } = await backend.signIn('alice')
    await auth.login((): Tokens => ({ accessToken, refreshToken }))
    expect(inHand()).toMatchObject({ access: accessToken, refresh: refreshToken })
  })

  test('may take several steps, on a fetch that carries no token though somebody is signed in', async () => {
    const { auth, backend, signIn, tokens } = room()
    await signIn()
    await auth.login(async ({ fetch }) => {
      await fetch(new URL('protected', baseUrl))
      await fetch(new Request(`${baseUrl}optional`))
      await fetch('./optional?x=1')
      return fetch('login', credentials(bob))
    })
    expect([...tokens('protected'), ...tokens('optional')]).toEqual([undefined, undefined, undefined])
    expect(backend.log[2]?.url).toBe(`${baseUrl}optional?x=1`)
    expect(auth.session).toMatchObject({ subject: 'bob' })
  })

  test.each(['ftp://api.test/', 'http://[', 'https://alice@api.test/'])(
    'has a fetch that rejects, as every fetch does, and never throws: %s',
    async (input) => {
      const { auth } = room()
      await auth.login(async ({ fetch }) => {
        const answer = fetch(input)
        expect(await failure(answer)).toMatchObject({ code: 'invalid_input' })
        return fetch('login', credentials(alice))
      })
      expect(auth.session).toMatchObject({ subject: 'alice' })
    },
  )

  test('that throws fails the login with its own error, and changes nothing', async () => {
    const { auth, told, signIn } = room()
    await signIn()
    const mine = new Error('the popup was closed')
    await expect(
      auth.login(async () => {
        throw mine
      }),
    ).rejects.toBe(mine)
    await expect(
      auth.login(() => {
        throw mine
      }),
    ).rejects.toBe(mine)
    expect(auth.session).toMatchObject({ subject: 'alice' })
    expect(told).toEqual([])
  })

  test('that brings no good tokens is told so', async () => {
    const { auth } = room()
    expect(await failure(auth.login(() => ({ accessToken: 'no good' })))).toMatchObject({
      code: 'invalid_token',
    })
    expect(await failure(auth.login(() => new Response('{}')))).toMatchObject({ code: 'login_incomplete' })
    expect(
      await failure(auth.login(() => Response.json({ msg: 'wrong code' }, { status: 403 }))),
    ).toMatchObject({ code: 'login_refused', status: 403, serverMessage: 'wrong code' })
    expect(auth.session).toBeNull()
  })

  test('is aborted by a logout, and fails at once; tokens that it brings later are revoked', async () => {
    const { auth, backend } = room()
    const gate = deferred<Tokens>()
    let aborted: AbortSignal | undefined
    const login = failure(
      auth.login(({ signal }) => {
        aborted = signal
        return gate.promise
      }),
    )
    await settle()
    expect(aborted?.aborted).toBe(false)
    await auth.logout()
    expect(aborted?.aborted).toBe(true)
    expect(await login).toMatchObject({ code: 'session_changed' })
    const late = await backend.signIn('alice')
    gate.resolve({ accessToken: late.accessToken, refreshToken: late.refreshToken })
    await settle()
    expect(auth.session).toBeNull()
    expect(backend.sessionAlive(late.family)).toBe(false)
  })

  test('is aborted by a later login that comes through', async () => {
    const { auth } = room()
    let aborted: AbortSignal | undefined
    const first = failure(
      auth.login(({ signal }) => {
        aborted = signal
        return new Promise<Tokens>(() => {})
      }),
    )
    await settle()
    const session = await auth.login(bob)
    expect(aborted?.aborted).toBe(true)
    expect(await first).toMatchObject({ code: 'session_changed' })
    expect(auth.session).toBe(session)
  })

  test('may take its time: no bound of ours ends it', async () => {
    const { auth, backend } = room()
    const gate = deferred<Tokens>()
    const login = auth.login(() => gate.promise)
    await pass(60 * minute)
    const { accessToken } = await backend.signIn('alice')
    gate.resolve({ accessToken })
    expect(await login).toMatchObject({ subject: 'alice' })
  })
})

describe('reauthenticate', () => {
  test('makes the same session fresh: same id, version + 1', async () => {
    const { auth, told, signInStale, tokens, inHand } = room()
    await signInStale()
    const { id, version = 0 } = auth.session ?? {}
    expect(auth.session).toMatchObject({ fresh: false })
    const session = await auth.reauthenticate(alice)
    expect(session).toMatchObject({ id, version: version + 1, fresh: true, subject: 'alice' })
    expect(told).toEqual([
      { type: 'tokenRefreshed', reason: 'reauthenticated', origin: 'this context', session },
    ])
    expect((await auth.fetch('fresh')).status).toBe(200)
    expect(tokens('fresh')).toEqual([inHand().access])
  })

  test('at an endpoint of its own that gives no refresh token: the old one is kept', async () => {
    const { auth, signInStale, inHand, routes } = room({ preset: { reauth: { path: 'fresh-login' } } })
    await signInStale()
    const { refresh } = inHand()
    await auth.reauthenticate(alice)
    expect(routes()).toEqual(['fresh-login'])
    expect(inHand().refresh).toBe(refresh)
    expect((await auth.fetch('fresh')).status).toBe(200)
    await pass(16 * minute)
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('with another user’s password changes nothing, and that user’s tokens are revoked', async () => {
    const { auth, backend, told, signInStale, inHand } = room()
    await signInStale()
    const before = [auth.session, inHand()]
    expect(await failure(auth.reauthenticate(bob))).toMatchObject({ code: 'subject_mismatch' })
    await settle()
    expect([auth.session, inHand()]).toEqual(before)
    expect(told).toEqual([])
    expect(backend.sessionAlive('bob')).toBe(false)
    expect(backend.sessionAlive('alice')).toBe(true)
  })

  test('with a wrong password changes nothing', async () => {
    const { auth, told, signInStale, inHand } = room()
    await signInStale()
    const before = [auth.session, inHand()]
    expect(await failure(auth.reauthenticate({ ...alice, password: 'x' }))).toMatchObject({
      code: 'login_refused',
    })
    expect([auth.session, inHand()]).toEqual(before)
    expect(told).toEqual([])
  })

  test('with nobody signed in is not_signed_in, and sends nothing', async () => {
    const { auth, backend } = room()
    expect(await failure(auth.reauthenticate(alice))).toMatchObject({ code: 'not_signed_in' })
    expect(backend.count()).toBe(0)
  })

  test('takes a flow', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const { id } = auth.session ?? {}
    const session = await auth.reauthenticate(({ fetch }) => fetch('fresh-login', credentials(alice)))
    expect(session).toMatchObject({ id, fresh: true, version: 3 })
  })

  test('5: that a logout overtakes leaves nobody signed in, and its tokens are revoked', async () => {
    const { auth, backend, signInStale, hold } = room()
    await signInStale()
    const held = hold('login')
    const outcome = failure(auth.reauthenticate(alice))
    await settle()
    const logout = auth.logout()
    held.release()
    expect(await outcome).toMatchObject({ code: 'session_changed' })
    await logout
    await settle()
    expect(auth.session).toBeNull()
    expect(backend.sessionAlive('alice')).toBe(false)
  })

  test('6: that a login as another user overtakes changes nothing of that one', async () => {
    const { auth, backend, signInStale, hold } = room()
    await signInStale()
    const held = hold('fresh-login')
    const outcome = failure(auth.reauthenticate(({ fetch }) => fetch('fresh-login', credentials(alice))))
    await settle()
    const session = await auth.login(bob)
    held.release()
    expect(await outcome).toMatchObject({ code: 'session_changed' })
    await settle()
    expect(auth.session).toBe(session)
    const late = backend.issued.filter(({ sub, fresh }) => sub === 'alice' && fresh === true).at(-1)
    expect(backend.isHonoured(late?.token ?? '')).toBe(false)
  })

  test('beside a refresh that rotates: the late successor of the kept refresh token is kept', async () => {
    const { auth, backend, signIn, hold, inHand } = room({
      server: { refresh: 'rotating-reuse-detection' },
      preset: { reauth: { path: 'fresh-login' } },
    })
    await signIn()
    const { id } = auth.session ?? {}
    const spent = inHand().refresh
    const held = hold('refresh')
    const refreshed = auth.refresh()
    await settle()
    await auth.reauthenticate(alice)
    expect(inHand().refresh).toBe(spent)
    held.release()
    await refreshed
    expect(inHand().refresh).not.toBe(spent)
    expect(backend.isHonoured(inHand().refresh)).toBe(true)
    // And freshness, which cost a password, was not lost to it.
    expect(auth.session).toMatchObject({ id, fresh: true })
    expect((await auth.fetch('fresh')).status).toBe(200)
    await pass(16 * minute)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(backend.reuseDetected).toBe(0)
  })

  test('beside a refresh, with a refresh token of its own: what the refresh brings late is revoked', async () => {
    const { auth, backend, signIn, hold, inHand } = room({ server: { refresh: 'rotating' } })
    await signIn()
    const held = hold('refresh')
    const refreshed = auth.refresh()
    await settle()
    await auth.reauthenticate(alice)
    const mine = inHand()
    held.release()
    await refreshed
    await settle()
    expect(inHand()).toEqual(mine)
    const late = backend.issued.filter(({ generation }) => generation === 1)
    expect(late.map(({ token }) => backend.isHonoured(token))).toEqual([false, false])
    expect(backend.isHonoured(mine.refresh)).toBe(true)
  })

  test('beside a refresh that is refused: the session that the password made good stays', async () => {
    const { auth, backend, told, signIn, hold } = room()
    await signIn()
    await pass(16 * minute)
    backend.revoke({ sub: 'alice' })
    const held = hold('refresh')
    const waiting = auth.fetch('protected')
    await settle()
    const { id } = await auth.reauthenticate(alice)
    held.release()
    expect((await waiting).status).toBe(200)
    expect(auth.session).toMatchObject({ id, status: 'active', fresh: true })
    expect(summary(told)).toEqual(['tokenRefreshed: reauthenticated'])
  })
})

describe('logout', () => {
  test('clears before it returns, and tells it', async () => {
    const { auth, told, signIn, store } = room()
    await signIn()
    const done = auth.logout()
    expect(auth.session).toBeNull()
    expect(summary(told)).toEqual(['loggedOut: logout'])
    expect(store.read()).toMatchObject({ record: { ended: 'logout' } })
    await done
  })

  test('takes the refresh token back first, then the access token, so that the page may be left', async () => {
    const sent: RequestInit[] = []
    const { auth, backend, signIn, tokens, inHand } = room()
    const { auth: second } = room({
      client: {
        fetch: (input, init) => {
          if (init?.method === 'DELETE') sent.push(init)
          return backend.fetch(input, init)
        },
      },
    })
    await signIn()
    const { refresh, access } = inHand()
    await auth.logout()
    expect(tokens('logout')).toEqual([refresh, access])
    expect(backend.sessionAlive('alice')).toBe(false)
    await second.login(bob)
    await second.logout()
    expect(sent.map(({ keepalive }) => keepalive)).toEqual([true, true])
  })

  test('takes back the fresh token too that is still in use beside a refreshed one', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await auth.refresh()
    await auth.logout()
    expect(backend.issued.map(({ token }) => backend.isHonoured(token))).toEqual([false, false, false])
  })

  test('takes back a refresh token that nothing has been got with yet', async () => {
    const { backend, another } = room()
    const { refreshToken } = await backend.signIn('alice')
    const { auth } = another({ initial: { refreshToken } })
    await auth.logout()
    expect(backend.isHonoured(refreshToken)).toBe(false)
  })

  test('revoke: false leaves the tokens alive at the server', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await auth.logout({ revoke: false })
    expect(auth.session).toBeNull()
    expect(backend.count()).toBe(0)
    expect(backend.sessionAlive('alice')).toBe(true)
  })

  test.each(['drop', 'hang', 'not-json', { status: 500 }, { status: 401 }] as const)(
    'resolves within its bound though the server answers with %j',
    async (fault) => {
      const { auth, backend, signIn } = room()
      await signIn()
      backend.fault('logout', fault, { times: Number.POSITIVE_INFINITY })
      const done = auth.logout()
      expect(auth.session).toBeNull()
      await pass(20 * second)
      expect(await isPending(done)).toBe(false)
      await expect(done).resolves.toBeUndefined()
    },
  )

  test('with nobody signed in does nothing', async () => {
    const { auth, backend, told } = room()
    await auth.logout()
    expect([backend.count(), told]).toEqual([0, []])
  })

  test('twice is once', async () => {
    const { auth, backend, told, signIn } = room()
    await signIn()
    await Promise.all([auth.logout(), auth.logout()])
    expect(summary(told)).toEqual(['loggedOut: logout'])
    expect(backend.count('logout')).toBe(2)
  })

  test('5: from its call on nothing goes out with the token, but its own revocation', async () => {
    const { auth, signIn, tokens, inHand } = room()
    await signIn()
    const { access } = inHand()
    void auth.logout()
    const responses = [auth.fetch('protected'), auth.fetch('optional', { auth: 'optional' })]
    await Promise.all(responses)
    expect([...tokens('protected'), ...tokens('optional')]).toEqual([undefined, undefined])
    expect(tokens('logout')).toContain(access)
    expect(await auth.getAccessToken()).toBeNull()
  })

  test('5: during a refresh that is tried again, it is not tried again', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await pass(16 * minute)
    backend.fault('refresh', { status: 503, headers: { 'retry-after': '2' } })
    const waiting = failure(auth.fetch('protected'))
    await pass(second)
    await auth.logout()
    await pass(30 * second)
    expect(await waiting).toMatchObject({ code: 'session_changed' })
    expect(backend.count('refresh')).toBe(1)
    expect(auth.session).toBeNull()
  })

  test('5: while a request waits for the password: it goes back with its 401, and the ask is over', async () => {
    const { auth, backend, signInStale } = room()
    await signInStale()
    let signal: AbortSignal | undefined
    auth.on('reauthRequired', (event) => {
      signal = event.signal
      event.waitUntil(new Promise(() => {}))
    })
    const waiting = auth.fetch('fresh')
    await settle()
    expect(signal?.aborted).toBe(false)
    void auth.logout()
    expect(signal?.aborted).toBe(true)
    const response = await waiting
    expect([response.status, await response.json()]).toEqual([401, { msg: 'Fresh token required' }])
    expect(backend.count('fresh')).toBe(1)
  })
})

/** A store that tells nobody of changes. */
function silentStore(): Store {
  const { read, commit } = memoryStore()
  return { name: 'silent', read, commit }
}

describe.each([
  ['and tells us', memoryStore],
  ['and tells nobody', silentStore],
])('reauthenticate, while another context changes who is signed in, %s', (_, make) => {
  test.each<[string, (other: Client) => Promise<unknown>, string | undefined]>([
    ['to somebody else', (other) => other.login(bob), 'bob'],
    ['to nobody', (other) => other.logout(), undefined],
  ])('6: %s: it changes nothing, and what it brings is revoked', async (_, change, subject) => {
    const { auth, backend, signIn, hold, another, store } = room({ client: { store: make() } })
    await signIn()
    const held = hold('login')
    const outcome = failure(auth.reauthenticate(alice))
    await settle()
    await change(another().auth)
    held.release()
    expect(await outcome).toMatchObject({ code: 'session_changed' })
    await settle()
    expect(auth.session?.subject).toBe(subject)
    if (!subject) expect((await store.read()).record).not.toHaveProperty('access')
    const brought = backend.issued.filter(({ sub }) => sub === 'alice').slice(-2)
    expect(brought.map(({ token }) => backend.isHonoured(token))).toEqual([false, false])
  })
})

test('reauthenticate by a flow that brings an opaque token keeps who it is', async () => {
  const { auth, signIn } = room()
  await signIn()
  await auth.reauthenticate(async () => ({ accessToken: 'opaque' }))
  expect(auth.session).toMatchObject({ subject: 'alice', version: 2 })
})

test('reauthenticate by a flow that brings a refresh token alone is done with it', async () => {
  const { auth, backend, signIn } = room()
  await signIn()
  const { refreshToken = '' } = await backend.signIn('alice')
  expect(await auth.reauthenticate(() => ({ refreshToken }))).toMatchObject({ version: 2 })
  expect((await auth.fetch('protected')).status).toBe(200)
  expect(backend.log.find(({ route }) => route === 'refresh')?.token?.token).toBe(refreshToken)
})

test('a login as the same user as initial tokens ends nothing', async () => {
  const { backend, another } = room()
  const { accessToken, refreshToken } = await backend.signIn('alice')
  const { auth, told } = another({ store: memoryStore(), initial: { accessToken, refreshToken } })
  expect(auth.session).toMatchObject({ subject: 'alice' })
  await auth.login(alice)
  expect(summary(told)).toEqual(['loggedIn: login'])
})

test.each([
  ['flaskJwt, a refresh token too', flaskJwt({ reauth: { path: 'confirm' } }), 'refresh-2'],
  ['flaskJwt, no refresh token', flaskJwt({ reauth: { path: 'confirm' } }), undefined],
  ['bearer, a refresh token too', bearer({ reauth: { path: 'confirm' } }), 'refresh-2'],
] as const)(
  '5: what a password brings when nobody waits for it any more is revoked: %s',
  async (_, backend, refresh_token) => {
    const answer = deferred<Response>()
    const server = serve(({ path }) => {
      if (path === '/confirm') return answer.promise
      return ok(path === '/login' ? { access_token: mint('alice'), refresh_token: 'refresh-1' } : {})
    })
    const auth = createAuth({ baseUrl, backend, fetch: server.fetch })
    await auth.login(alice)
    const proof = failure(auth.reauthenticate(alice))
    await pass(31 * second)
    expect(await proof).toMatchObject({ code: 'login_unavailable' })
    const access_token = mint('alice')
    answer.resolve(ok({ access_token, refresh_token }))
    await settle()
    expect(server.tokens('/logout')).toContain(access_token)
    expect(auth.session).toMatchObject({ version: 1 })
  },
)

test('login goes to the login endpoint, though re-authentication has one of its own', async () => {
  const { auth, routes } = room({ preset: { reauth: { path: 'fresh-login' } } })
  await auth.login(alice)
  expect(routes()).toEqual(['login'])
})

test.each([
  // Lost on the way, as far as anybody can tell.
  [200, { code: 'login_unavailable', cause: { message: 'no answer within 30000 ms' } }, 0],
  [401, { code: 'login_refused', status: 401 }, 1],
] as const)(
  '10: a login whose answer, a %i, never ends fails within a bound',
  async (status, error, times) => {
    // What came of the answer is what the backend is asked about.
    const asked: Answer[] = []
    const ask = (answer: Answer): undefined => void asked.push(answer)
    const { auth } = room({
      client: {
        backend: { ...flaskJwt(), message: ask, tokens: ask },
        fetch: async () => {
          const headers = { 'content-type': 'application/json' }
          return new Response(new ReadableStream({}), { status, headers })
        },
      },
    })
    const outcome = failure(auth.login(alice))
    await pass(29 * second)
    expect(await isPending(outcome)).toBe(true)
    await pass(2 * second)
    expect(await outcome).toMatchObject(error)
    const nothing = { status, headers: expect.any(Headers), body: undefined, empty: false }
    expect(asked).toEqual(Array(times).fill(nothing))
  },
)

test('a login that hangs says so, and has neither status nor response', async () => {
  const { auth, backend } = room()
  backend.fault('login', 'hang')
  const outcome = failure(auth.login(alice))
  await pass(31 * second)
  const error = await outcome
  expect(error).toMatchObject({ code: 'login_unavailable', cause: { message: 'no answer within 30000 ms' } })
  expect(error).toHaveProperty('status', undefined)
  expect(error).toHaveProperty('response', undefined)
})

test('5: a logout does not end a login that was called later elsewhere, though that one was faster', async () => {
  const inner = memoryStore()
  let gate: Promise<void> = Promise.resolve()
  const store: Store = {
    name: 'slow',
    read: () => gate.then(() => inner.read()),
    commit: (next, expected) => gate.then(() => inner.commit?.(next, expected) as never),
  }
  const { auth, backend, signIn } = room({ client: { store } })
  await signIn()
  const { promise, resolve } = deferred()
  gate = promise
  const out = auth.logout()
  expect(auth.session).toBeNull()
  await pass(second)
  const other = room({ client: { store: inner, fetch: backend.fetch as typeof fetch } })
  const { id } = await other.auth.login(alice)
  resolve()
  await out
  await settle()
  expect(inner.read()).toMatchObject({ record: { id, version: 1 } })
  expect((await other.auth.fetch('protected')).status).toBe(200)
})
