/** What a review found, held: answers that nobody thought of, callers in odd places, listeners and dialogs. */
import { Readable } from 'node:stream'
import { describe, expect, test, vi } from 'vitest'
import { createAuth, flaskJwt, type LiveRecord, memoryStore } from '../../src/index.ts'
import { createKy } from '../../src/ky.ts'
import { jwt, mint, ok, refuse, type Sent, serve, stamps } from './by-hand.ts'
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
  times,
  virtualTime,
} from './support.ts'

virtualTime()

describe('a server that gives the very same access token again', () => {
  test('3: has its new refresh token taken, and the old one is never sent again', async () => {
    let live = 'refresh-0'
    let exchanges = 0
    const server = serve(({ path, token }) => {
      if (path === '/refresh') {
        if (token !== live) return refuse('Token has been revoked')
        live = `refresh-${++exchanges}`
      }
      // No jti: two tokens of one second are the same.
      return ok({ access_token: jwt({ ...stamps(), sub: 'alice' }), refresh_token: live })
    })
    const { auth } = room({ client: { fetch: server.fetch } })
    await auth.login(alice)
    for (const round of [1, 2, 3]) {
      await auth.refresh()
      expect(auth.session).toMatchObject({ version: round + 1 })
      await pass(1.3 * second)
    }
    expect(server.tokens('/refresh')).toEqual(['refresh-0', 'refresh-1', 'refresh-2'])
  })

  test('has its new refresh token taken after a re-authentication', async () => {
    let logins = 0
    const server = serve(() =>
      ok({ access_token: jwt({ ...stamps(), sub: 'alice' }), refresh_token: `refresh-${logins++}` }),
    )
    const store = memoryStore()
    const { auth } = room({ client: { store, fetch: server.fetch } })
    await auth.login(alice)
    expect(await auth.reauthenticate(alice)).toMatchObject({ version: 2 })
    const { record } = store.read() as { record: LiveRecord }
    expect(record.refreshToken).toBe('refresh-1')
  })

  test('13: costs one exchange for a 401 that was a slip, and no later call waits', async () => {
    let slips = 1
    const server = serve(({ path }) =>
      path === '/items' && slips-- > 0
        ? refuse('Token has expired')
        : ok({ access_token: 'stable', refresh_token: 'refresh' }),
    )
    const { auth } = room({ client: { fetch: server.fetch } })
    await auth.login(alice)
    await pass(second)
    const seen: number[] = []
    for (const _ of times(5, () => 0)) {
      const call = auth.fetch('items').catch(({ code }) => ({ status: code }))
      expect(await isPending(call)).toBe(false)
      seen.push((await call).status)
    }
    expect(seen).toEqual([401, 200, 200, 200, 200])
    expect(server.tokens('/refresh')).toHaveLength(1)
  })
})

describe('14: where Request.body is not implemented', () => {
  const form = new FormData()
  form.set('name', 'value')
  test.each<[string, RequestInit['body']]>([
    ['text', 'hello'],
    ['a form', form],
  ])('a Request with %s is replayed with its body', async (_, body) => {
    const { backend, another } = room()
    // As `fetch` does it: what is given is made a Request first, and its body is used up.
    const { auth } = another({ fetch: (input, init) => backend.fetch(new Request(input, init)) })
    vi.spyOn(Request.prototype, 'body', 'get').mockReturnValue(undefined as never)
    await auth.login(alice)
    backend.expireAccessTokens()
    const request = new Request(`${baseUrl}protected`, { method: 'POST', body })
    expect((await auth.fetch(request)).status).toBe(200)
    const bodies = backend.log.filter(({ route }) => route === 'protected').map((entry) => entry.body)
    expect(bodies).toHaveLength(2)
    expect(bodies[0]).toContain(body === form ? 'name="name"' : 'hello')
    expect(bodies[1]).toBe(bodies[0])
  })

  test('a POST of ky is replayed with its body', async () => {
    const { backend, another } = room()
    const { auth } = another({ fetch: (input, init) => backend.fetch(new Request(input, init)) })
    vi.spyOn(Request.prototype, 'body', 'get').mockReturnValue(undefined as never)
    await auth.login(alice)
    backend.expireAccessTokens()
    const response = await createKy(auth).post('protected', { json: { a: 1 } })
    expect(await response.json()).toMatchObject({ body: '{"a":1}' })
  })
})

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

describe('an answer of the backend’s own endpoints', () => {
  const avatar = 'A'.repeat(70_000)

  test('of more than 64 KB signs in', async () => {
    const server = serve(() => ok({ access_token: mint('alice'), refresh_token: 'refresh', avatar }))
    const { auth } = room({ client: { fetch: server.fetch } })
    expect(await auth.login(alice)).toMatchObject({ subject: 'alice' })
  })

  test('under the name of HTML signs in', async () => {
    const server = serve(
      () =>
        new Response(JSON.stringify({ access_token: mint('alice') }), {
          headers: { 'content-type': 'text/html; charset=utf-8' },
        }),
    )
    const { auth } = room({ client: { fetch: server.fetch } })
    expect(await auth.login(alice)).toMatchObject({ subject: 'alice' })
  })

  test('3: of more than 64 KB refreshes, and the refresh token that it replaced is not sent again', async () => {
    let given = 0
    const server = serve(({ path }) =>
      ok({
        access_token: mint('alice'),
        refresh_token: `refresh-${given++}`,
        avatar: path === '/refresh' ? avatar : '',
      }),
    )
    const { auth } = room({ client: { fetch: server.fetch } })
    await auth.login(alice)
    await auth.refresh().catch(() => {})
    await auth.refresh().catch(() => {})
    expect(server.tokens('/refresh')).toEqual(['refresh-0', 'refresh-1'])
  })

  test.each([
    ['0', () => '0'],
    ['a date that is now', () => new Date().toUTCString()],
  ])(
    '4: that asks to be asked again after %s is asked with growing pauses all the same',
    async (_, value) => {
      const { auth, backend, signIn } = room({ client: { refreshTimeout: 2 * second } })
      await signIn()
      const headers = { 'retry-after': value(), date: new Date().toUTCString() }
      backend.fault('refresh', { status: 503, headers }, { times: Number.POSITIVE_INFINITY })
      const outcome = failure(auth.refresh())
      await pass(2 * second)
      expect(await outcome).toMatchObject({ code: 'refresh_unavailable' })
      expect(backend.count('refresh')).toBeLessThan(7)
    },
  )

  test('5: to a login that was given up comes too late: its tokens do not live on', async () => {
    const { backend, another, hold } = room()
    const headers = { 'content-type': 'text/html' }
    const { auth } = another({
      fetch: async (input, init) => {
        const { status, body } = await backend.fetch(input, init)
        return new Response(body, { status, headers })
      },
    })
    const answer = hold('login')
    const login = failure(auth.login(alice))
    await pass(31 * second)
    expect(await login).toMatchObject({ code: 'login_unavailable' })
    answer.release()
    await settle()
    expect(auth.session).toBeNull()
    expect(backend.sessionAlive('alice')).toBe(false)
  })

  test('that refuses a refresh is given to each of 3,000 waiters to be read', {
    timeout: 30_000,
  }, async () => {
    const { auth } = room({ client: { initial: { refreshToken: 'unknown' } } })
    const calls = await Promise.all(times(3000, () => auth.fetch('protected')))
    const read = await Promise.allSettled(calls.map((response) => response.text()))
    expect(read.filter(({ status }) => status === 'rejected')).toHaveLength(0)
  })
})

describe('10: a 401 whose body', () => {
  test.each(['hangs', 'breaks off'])(
    '%s tells as little as an empty one: it is worth a refresh',
    async (how) => {
      let answers = 0
      const start = (controller: ReadableStreamDefaultController): void => {
        controller.enqueue(new TextEncoder().encode('{"msg":"Tok'))
        if (how === 'breaks off') setTimeout(() => controller.error(new TypeError('terminated')), 10)
      }
      const server = serve(({ path }) => {
        if (path !== '/items') return ok({ access_token: mint('alice'), refresh_token: 'refresh' })
        if (answers++) return ok()
        const headers = { 'content-type': 'application/json' }
        return new Response(new ReadableStream({ start }), { status: 401, headers })
      })
      const { auth } = room({ client: { fetch: server.fetch, refreshTimeout: second } })
      await auth.login(alice)
      const response = auth.fetch('items')
      await pass(2 * second)
      expect((await response).status).toBe(200)
      expect(server.tokens('/refresh')).toHaveLength(1)
    },
  )
})

describe('a fetch beneath', () => {
  test('9: that heeds no signal frees its caller at an abort all the same', async () => {
    const never = deferred<Response>()
    const { auth } = room({ client: { initial: { accessToken: mint('alice') }, fetch: () => never.promise } })
    const controller = new AbortController()
    const call = failure(auth.fetch('items', { signal: controller.signal }))
    controller.abort()
    expect(await isPending(call)).toBe(false)
    expect(await call).toMatchObject({ name: 'AbortError' })
  })

  test('refuses what can be listened to and is no signal: its caller is told so', async () => {
    const { auth } = room({ client: { initial: { accessToken: mint('alice') }, fetch } })
    const signal = { aborted: false, addEventListener() {} } as unknown as AbortSignal
    const told = failure(auth.fetch('items', { signal }))
    expect(await isPending(told)).toBe(false)
    expect(await told).toBeInstanceOf(TypeError)
  })

  test('10: that fails with a cause which leads back to itself holds no claim, and fails in our words', async () => {
    const loop = new TypeError('outer')
    loop.cause = new Error('inner', { cause: loop })
    let down = false
    const server = serve(() => {
      if (down) throw loop
      return ok({ access_token: mint('alice'), refresh_token: 'refresh' })
    })
    const store = memoryStore()
    const { auth } = room({ client: { store, fetch: server.fetch } })
    await auth.login(alice)
    down = true
    expect(await failure(auth.refresh())).toMatchObject({
      code: 'refresh_unavailable',
      cause: { name: 'TypeError', message: 'outer' },
    })
    const { record } = store.read() as { record: LiveRecord }
    expect(record.claim).toBeUndefined()
    expect(await failure(auth.login(alice))).toMatchObject({ code: 'login_unavailable' })
  })

  test('whose Response is of another class may be what a flow gives', async () => {
    const server = serve(() => foreign(ok({ access_token: mint('alice') })))
    const { auth } = room({ client: { fetch: server.fetch } })
    expect(await auth.login(({ fetch }) => fetch('login'))).toMatchObject({ subject: 'alice' })
  })

  test.each([
    ['to be seen (React Native)', undefined],
    ['but a stream of Node’s own (node-fetch)', Readable.from([])],
  ])('whose Response has no body %s is read, refreshed and replayed as any other', async (_, body) => {
    let live = mint('alice')
    const answer = ({ path, token }: Sent): Response => {
      if (path === '/login') return ok({ access_token: live, refresh_token: 'refresh' })
      if (path === '/refresh') return ok({ access_token: live })
      return token === live ? ok({ hello: 'alice' }) : refuse('Token has expired')
    }
    const server = serve((sent) => foreign(answer(sent), { body }))
    const { auth } = room({ client: { fetch: server.fetch } })
    await auth.login(alice)
    live = mint('alice')
    const response = await auth.fetch('protected')
    expect([response.status, await response.text()]).toEqual([200, '{"hello":"alice"}'])
    expect(server.sent.map(({ path }) => path)).toEqual(['/login', '/protected', '/refresh', '/protected'])
    await auth.logout()
    expect(server.tokens('/logout')).toEqual(['refresh', live])
  })

  test('whose Response has no body to be seen is not looked into beyond what an error of an API takes', async () => {
    const long = Response.json({ msg: 'Token has expired', more: 'x'.repeat(70_000) }, { status: 401 })
    const server = serve(({ path }) =>
      path === '/login'
        ? ok({ access_token: mint('alice'), refresh_token: 'refresh' })
        : foreign(long, { body: undefined }),
    )
    const { auth } = room({ client: { fetch: server.fetch } })
    await auth.login(alice)
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(server.sent.map(({ path }) => path)).toEqual(['/login', '/protected'])
  })
})

/** A Response of another fetch's own class; `body`: what it shows in its body's place. */
function foreign(inner: Response, shown?: { body: unknown }): Response {
  return {
    status: inner.status,
    ok: inner.ok,
    headers: inner.headers,
    body: shown ? shown.body : inner.body,
    text: () => inner.text(),
    clone: () => foreign(inner.clone(), shown),
    [Symbol.toStringTag]: 'Response',
  } as unknown as Response
}

describe('a listener', () => {
  test.each(['reportError', 'console.error'])(
    'that throws silences nobody, though %s throws too',
    async (where) => {
      const rethrow = (error: unknown): never => {
        throw error
      }
      if (where === 'reportError') vi.stubGlobal('reportError', rethrow)
      else vi.spyOn(console, 'error').mockImplementation(rethrow)
      const { auth } = room()
      const told: string[] = []
      auth.on('loggedIn', () => {
        throw new Error('a listener of the application’s')
      })
      for (const type of ['loggedIn', 'tokenRefreshed', 'loggedOut'] as const) {
        auth.on(type, () => void told.push(type))
      }
      await auth.login(alice)
      await auth.refresh()
      await auth.logout()
      expect(told).toEqual(['loggedIn', 'tokenRefreshed', 'loggedOut'])
    },
  )
})

describe('a dialog', () => {
  test('6: that is still open for who was signed in before is over, and who is signed in now gets his own', async () => {
    const { auth, backend, signInStale } = room()
    await signInStale()
    const asked: (string | undefined)[] = []
    const signals: AbortSignal[] = []
    auth.on('reauthRequired', ({ session: { subject }, signal, waitUntil }) => {
      asked.push(subject)
      signals.push(signal)
      waitUntil(subject === 'bob' ? auth.reauthenticate(bob) : new Promise(() => {}))
    })
    const first = auth.fetch('fresh')
    await settle()
    await auth.login(bob)
    backend.expireAccessTokens()
    await auth.fetch('protected')
    const next = auth.fetch('fresh')
    await settle()
    expect(asked).toEqual(['alice', 'bob'])
    expect(signals[0]?.aborted).toBe(true)
    expect((await next).status).toBe(200)
    expect((await first).status).toBe(401)
  })
})

describe('what the application hands over', () => {
  test('as options on a prototype is refused at once, and not lost', () => {
    class Config {
      get baseUrl(): string {
        return baseUrl
      }
      get backend(): ReturnType<typeof flaskJwt> {
        return flaskJwt()
      }
    }
    expect(() => createAuth(new Config())).toThrow(expect.objectContaining({ code: 'invalid_option' }))
    const inherited = Object.create({ baseUrl, backend: flaskJwt() })
    expect(() => createAuth(inherited)).toThrow(expect.objectContaining({ code: 'invalid_option' }))
  })

  test('to logout() may be null', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await auth.logout(null as never)
    expect(auth.session).toBeNull()
    expect(backend.sessionAlive('alice')).toBe(false)
  })

  test('of claims comes back frozen all the way down', () => {
    const accessToken = mint('alice', { roles: ['user'], of: { team: { name: 'a' } } })
    const { auth } = room({ client: { initial: { accessToken } } })
    const claims = auth.session?.claims as unknown as { roles: string[]; of: { team: { name: string } } }
    expect(() => claims.roles.push('admin')).toThrow(TypeError)
    expect(() => Object.assign(claims.of.team, { name: 'b' })).toThrow(TypeError)
    expect(auth.session?.claims).toMatchObject({ roles: ['user'], of: { team: { name: 'a' } } })
  })
})

describe('dispose() in the tick of', () => {
  const calls = {
    'reauthenticate()': (auth: Client) => auth.reauthenticate(alice),
    'login()': (auth: Client) => auth.login(bob),
  }

  test('reauthenticate() ends it as disposed, and nothing is changed', async () => {
    const { auth, store, signIn } = room()
    await signIn()
    const { record } = store.read() as { record: LiveRecord }
    const outcome = failure(auth.reauthenticate(alice))
    auth.dispose()
    expect(await outcome).toMatchObject({ code: 'disposed' })
    await pass(minute)
    expect((store.read() as { record: LiveRecord }).record).toEqual(record)
  })

  test.each(Object.entries(calls))('%s sends no password', async (_, call) => {
    const { auth, backend, signIn } = room()
    await signIn()
    const outcome = failure(call(auth))
    auth.dispose()
    await outcome
    await settle()
    expect(backend.count('login')).toBe(0)
  })
})
