/** What the backend’s own endpoints answer, and what is made of it: large, odd, late or refused. */

import { inspect } from 'node:util'
import { describe, expect, test, vi } from 'vitest'
import { safeCause } from '../../src/errors.ts'
import {
  bearer,
  createAuth,
  flaskJwt,
  isAuthError,
  type LiveRecord,
  memoryStore,
  oauth2,
} from '../../src/index.ts'
import { jwt, mint, ok, refuse, serve, stamps } from './by-hand.ts'
import {
  alice,
  baseUrl,
  deferred,
  failure,
  isPending,
  opaque,
  pass,
  room,
  second,
  settle,
  times,
  virtualTime,
} from './support.ts'

virtualTime()

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

test('a refusal of the refresh that is too large to be read is none', async () => {
  const page = new Response('x'.repeat(17_000_000), {
    status: 401,
    headers: { 'content-type': 'text/plain' },
  })
  const { auth } = room({ client: { backend: bearer(), fetch: serve(() => page).fetch } })
  await auth.setTokens({ refreshToken: opaque })
  expect(await failure(auth.refresh())).toMatchObject({ code: 'refresh_unavailable' })
  expect(auth.session).toMatchObject({ status: 'active' })
})

describe('a login that', () => {
  const login = (said: unknown): Promise<Error> => {
    const backend = { ...flaskJwt(), message: () => said as never }
    const { auth } = room({ client: { backend, fetch: serve(() => refuse('no')).fetch } })
    return failure(auth.login(alice))
  }

  test('is refused in a text with a token quotes none', async () => {
    const token = mint('alice')
    const error = await login(`${token} is over`)
    expect(error.message).toBe('The server refused the login (401): [token] is over')
    expect(error).toMatchObject({ serverMessage: `${token} is over` })
  })

  test.each([Symbol('no'), Object.create(null), 5])('is refused in no text is refused: %o', async (said) => {
    expect(await login(said)).toMatchObject({ code: 'login_refused', serverMessage: undefined })
  })

  test('can’t be sent quotes nothing of its headers', async () => {
    const backend = {
      ...flaskJwt(),
      login: () => ({ path: 'login', headers: { 'x-key': `a\n${opaque}` } }),
    }
    const { auth } = room({
      client: { backend, fetch: async (input, init) => new Response(new Request(input, init).body) },
    })
    const error = await failure(auth.login(alice))
    expect(error).toMatchObject({ code: 'login_unavailable' })
    expect(inspect(error, { depth: 9 })).not.toContain(opaque)
  })
})

test('what a login’s error says is not hidden by headers of a letter', async () => {
  const backend = { ...flaskJwt(), login: () => ({ path: 'login', headers: { 'x-v': '1' } }) }
  const fetch = async (): Promise<never> => {
    throw new TypeError('connect ECONNREFUSED 127.0.0.1:4141')
  }
  const { auth } = room({ client: { backend, fetch } })
  expect(await failure(auth.login(alice))).toMatchObject({
    cause: { message: 'connect ECONNREFUSED 127.0.0.1:4141' },
  })
})

test('4: an empty Retry-After is none: the cool-down grows', async () => {
  const headers = { 'retry-after': '' }
  const server = serve(() => new Response('{}', { status: 500, headers }))
  const { auth } = room({ client: { fetch: server.fetch } })
  await auth.setTokens({ refreshToken: opaque })
  for (let call = 0; call < 20; call++) await failure(auth.fetch('protected'))
  expect(server.sent.length).toBeLessThan(5)
})

test('an error’s text that is made for it is copied in no time', () => {
  const begun = performance.now()
  const { message } = safeCause(new Error('eyJ-'.repeat(100_000)))
  expect(message.length).toBeLessThanOrEqual(2000)
  expect(performance.now() - begun).toBeLessThan(500)
})

test('what is said of the members of an object is short, however many there are', async () => {
  const { auth } = room()
  const error = await failure(auth.setTokens(new Uint8Array(10_000) as never))
  expect(isAuthError(error, 'invalid_token')).toBe(true)
  expect(error.message.length).toBeLessThan(300)
})

describe('a refresh that was plainly not processed', () => {
  test('3: is not tried again with less time than an answer takes', async () => {
    let refreshes = 0
    const server = serve(async ({ path }) => {
      if (path !== '/refresh') return refuse('Token has expired')
      if (refreshes++) return ok({ access_token: mint('alice') })
      await new Promise((resolve) => void setTimeout(resolve, 900))
      return new Response(null, { status: 503, headers: { 'retry-after': '1' } })
    })
    const initial = { accessToken: jwt({ sub: 'alice' }), refreshToken: 'spare' }
    const { auth } = room({ client: { fetch: server.fetch, refreshTimeout: 2 * second, initial } })
    const call = failure(auth.fetch('items'))
    await pass(5 * second)
    expect([await call, refreshes]).toMatchObject([{ code: 'refresh_unavailable' }, 1])
  })

  test('4: is tried again while there is', async () => {
    let refreshes = 0
    const server = serve(({ path }) => {
      if (path !== '/refresh') return ok()
      if (refreshes++) return ok({ access_token: mint('alice') })
      return new Response(null, { status: 503, headers: { 'retry-after': '5' } })
    })
    const initial = { refreshToken: 'spare' }
    const { auth } = room({ client: { fetch: server.fetch, initial } })
    const call = auth.fetch('items')
    await pass(6 * second)
    expect([(await call).status, refreshes]).toEqual([200, 2])
  })
})

test('a login that was answered with nothing of the kind is not a wrong password', async () => {
  for (const answer of [Response.error(), new Response(null, { status: 304 })]) {
    const { auth } = room({ client: { fetch: async () => answer } })
    expect(await failure(auth.login(alice))).toMatchObject({ code: 'login_unavailable' })
  }
})

test('a refresh token alone that is refused gives a 401, in whatever status the server says so', async () => {
  const backend = oauth2({ tokenEndpoint: 'token', clientId: 'web' })
  const server = serve(() => Response.json({ error: 'invalid_grant' }, { status: 400 }))
  const auth = createAuth({ baseUrl, backend, fetch: server.fetch, initial: { refreshToken: 'spare' } })
  const answer = await auth.fetch('items')
  expect([answer.status, await answer.json()]).toEqual([401, { error: 'invalid_grant' }])
})

test('a refresh that meets an error which its backend does not know says so, and which', async () => {
  const server = serve(() => Response.json({ message: 'Nope' }, { status: 401 }))
  const auth = createAuth({
    baseUrl,
    backend: flaskJwt(),
    fetch: server.fetch,
    initial: { refreshToken: 'spare' },
  })
  const { message } = await failure(auth.fetch('items'))
  expect(message).toBe(
    'The access token could not be refreshed (status 401, not known as a refusal); the session lives',
  )
})

test('a refusal of megabytes is held once, though a thousand wait for it', async () => {
  const answer = deferred<Response>()
  const { auth } = room({
    client: {
      initial: { refreshToken: 'spare' },
      fetch: async () => answer.promise,
    },
  })
  const calls = times(1_000, () => auth.fetch('protected'))
  await settle()
  const blob = vi.spyOn(Response.prototype, 'arrayBuffer')
  answer.resolve(Response.json({ msg: 'Token has expired', padding: 'x'.repeat(2 ** 20) }, { status: 401 }))
  const answers = await Promise.all(calls)
  expect(answers.map(({ status }) => status)).toEqual(times(1_000, () => 401))
  expect(await answers.at(-1)?.json()).toMatchObject({ msg: 'Token has expired' })
  expect(blob).not.toHaveBeenCalled()
})

test('what is lost of a login’s answer is no answer without tokens', async () => {
  const broken = new ReadableStream({ start: (controller) => controller.error(new Error('reset')) })
  const { auth } = room({ client: { fetch: async () => new Response(broken) } })
  expect(await failure(auth.login(alice))).toMatchObject({
    code: 'login_unavailable',
    cause: { message: 'reset' },
  })
})
