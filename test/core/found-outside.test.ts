/** What those found who came from outside, held: hostile answers and records, and a session that began with half its tokens. */
import { describe, expect, test, vi } from 'vitest'
import { flaskJwt, type LiveRecord, simpleJwt } from '../../src/index.ts'
import { leaks } from '../support.ts'
import { handStore, jwt, mint, ok, refuse, serve } from './by-hand.ts'
import {
  alice,
  bob,
  failure,
  minute,
  pass,
  type Room,
  room,
  second,
  settle,
  summary,
  virtualTime,
} from './support.ts'

virtualTime()

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

test('a refusal whose reason phrase is of another charset is handed back all the same', async () => {
  const { auth } = room({
    client: {
      initial: { refreshToken: 'spare' },
      fetch: async () =>
        Object.defineProperty(refuse('Token has expired'), 'statusText', { value: 'N\ufffdo\n autorizado' }),
    },
  })
  const answer = await auth.fetch('protected')
  expect(answer).toMatchObject({ status: 401, statusText: '' })
})

test('10: an error whose body stalls is handed back in time, and can be cancelled', async () => {
  const cancelled = vi.fn()
  const body = () =>
    new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode('{"msg":')),
      cancel: cancelled,
    })
  const headers = { 'content-type': 'application/json' }
  const { auth } = room({
    client: {
      initial: { accessToken: mint('alice') },
      fetch: async () => new Response(body(), { status: 500, headers }),
    },
  })
  const answer = auth.fetch('protected')
  await pass(8 * second)
  const { status, body: left } = await answer
  expect(status).toBe(500)
  await left?.cancel()
  expect(cancelled).toHaveBeenCalledOnce()
})

test('what is lost of a login’s answer is no answer without tokens', async () => {
  const broken = new ReadableStream({ start: (controller) => controller.error(new Error('reset')) })
  const { auth } = room({ client: { fetch: async () => new Response(broken) } })
  expect(await failure(auth.login(alice))).toMatchObject({
    code: 'login_unavailable',
    cause: { message: 'reset' },
  })
})

test('10: a login is bounded as a whole, and what it brings later is revoked', async () => {
  let late: ReadableStreamDefaultController<Uint8Array> | undefined
  const server = serve(async ({ path }) => {
    if (path !== '/login') return ok()
    await new Promise((resolve) => void setTimeout(resolve, 20 * second))
    return new Response(
      new ReadableStream({
        start(controller) {
          late = controller
        },
      }),
    )
  })
  const { auth } = room({ client: { fetch: server.fetch } })
  const outcome = failure(auth.login(alice))
  await pass(30 * second)
  expect(await outcome).toMatchObject({ code: 'login_unavailable' })
  const token = mint('alice')
  late?.enqueue(new TextEncoder().encode(JSON.stringify({ access_token: token })))
  late?.close()
  await settle()
  expect(server.tokens('/logout')).toEqual([token])
})

test('8: a store’s error that quotes what it could not take shows no token, nor does its code', async () => {
  const tokens = ['opaque+ACCESS/1', 'opaque+REFRESH/1']
  const store = handStore()
  store.commit = async (next) => {
    const quoted = JSON.stringify(next)
    const name = `driver for ${tokens[0]}`
    throw Object.assign(new Error(`too long: ${quoted} ${encodeURIComponent(tokens[1] ?? '')}`), {
      code: quoted,
      name,
    })
  }
  const { auth, told } = room({ client: { store } })
  await auth.setTokens({ accessToken: tokens[0] as string, refreshToken: tokens[1] as string })
  expect(summary(told)[0]).toBe('storeUnavailable: commit')
  const { error } = told[0] as unknown as { error: Error & { code: string } }
  expect(leaks(error, ...tokens, ...tokens.map(encodeURIComponent))).toEqual([])
  expect(error.message).toContain('too long')
})

test.each(['calledAt', 'due', 'retryAt', 'ended'])(
  'a record whose %s is of no use counts as none, and gives way to the next login',
  async (field) => {
    const store = handStore()
    const first = room({ client: { store } }).auth
    await first.login(alice)
    first.dispose()
    store.record = {
      ...(store.record as LiveRecord),
      [field]: { toString: 1, valueOf: 1 },
      revision: 'theirs',
    } as never
    const { auth } = room({ client: { store } })
    await auth.ready
    expect(auth.session).toBeNull()
    await auth.login(bob)
    expect(store.record).toMatchObject({ subject: 'bob' })
    expect((await auth.fetch('protected')).status).toBe(200)
  },
)

test('12: a stamp beyond all numbers is no clock', async () => {
  const { auth, told } = room({
    client: { fetch: serve(() => ok({ access_token: mint('alice', { iat: 1e308, exp: 1e308 }) })).fetch },
  })
  await auth.login(alice)
  expect(summary(told)).toEqual(['loggedIn: login'])
  await auth.setTokens({ accessToken: mint('alice') })
  expect((auth.session?.expiresAt ?? 0) > Date.now()).toBe(true)
})

test('a fetch that fails with what can’t be read is a network that does, and the next call goes out at once', async () => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  let down = true
  const server = serve(({ path }) => (path === '/refresh' ? ok({ access_token: mint('alice') }) : ok()))
  const { auth, told } = room({
    client: {
      initial: { refreshToken: 'spare' },
      fetch: (...given) => (down ? Promise.reject(proxy) : server.fetch(...given)),
    },
  })
  expect(await failure(auth.fetch('protected'))).toMatchObject({ code: 'refresh_unavailable' })
  expect(told.at(-1)).toMatchObject({ type: 'refreshFailed', reason: 'network' })
  down = false
  expect((await auth.fetch('protected')).status).toBe(200)
})

describe('a server that ends the access token which it replaces', () => {
  const revokes = (bench: Room): void => {
    const { access } = bench.inHand()
    bench.backend.revoke(access)
  }

  test.each(['auth', 'other'] as const)(
    '4: does not end the session while it is refreshed: by a call of %s',
    async (who) => {
      const bench = room()
      await bench.signIn()
      const { auth, another, told, hold } = bench
      const { auth: other } = another()
      await other.ready
      const exchange = hold('refresh')
      const refresh = auth.refresh()
      await settle()
      revokes(bench)
      const call = { auth, other }[who].fetch('protected')
      await settle()
      exchange.release()
      expect((await call).status).toBe(200)
      await refresh
      expect(summary(told)).toEqual(['tokenRefreshed: requested'])
      expect([auth.session?.version, other.session?.version]).toEqual([2, 2])
      expect(bench.routes().filter((route) => route === 'refresh')).toHaveLength(1)
    },
  )

  test('4: nor where the answer to the refresh was lost', async () => {
    const bench = room()
    await bench.signIn()
    const { auth, backend } = bench
    backend.fault('refresh', 'drop-after')
    expect(await failure(auth.refresh())).toMatchObject({ code: 'refresh_unavailable' })
    revokes(bench)
    await pass(minute)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(auth.session).toMatchObject({ version: 2, status: 'active' })
  })

  test.each([403, 404])('asks, where a refresh says a plain no by a %i', async (status) => {
    const bench = room()
    await bench.signIn()
    const { auth, backend, told } = bench
    backend.fault('refresh', 'drop-after')
    await failure(auth.refresh())
    revokes(bench)
    told.length = 0
    backend.fault('refresh', { status, body: { msg: 'No such thing' } })
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(summary(told)).toEqual([
      'refreshFailed: status',
      'reauthRequired: token_revoked',
      'loggedOut: token_revoked',
    ])
  })

  test.each([408, 421, 425])('4: but not by a %i, which says nothing of the token', async (status) => {
    const bench = room()
    await bench.signIn()
    const { auth, backend } = bench
    backend.fault('refresh', 'drop')
    await failure(auth.refresh())
    revokes(bench)
    backend.fault('refresh', { status })
    expect(await failure(auth.fetch('protected'))).toMatchObject({ code: 'refresh_unavailable' })
    await pass(minute)
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('asks at once, with no refresh token left', async () => {
    const bench = room()
    await bench.signIn()
    const { auth, backend, told } = bench
    backend.fault('refresh', 'drop-after')
    await failure(auth.refresh())
    backend.revoke(bench.inHand().refresh)
    await auth.refresh().catch(() => {})
    revokes(bench)
    told.length = 0
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(summary(told)).toEqual(['reauthRequired: token_revoked', 'loggedOut: token_revoked'])
  })

  test('but one that is revoked by itself does', async () => {
    const bench = room()
    await bench.signInStale()
    revokes(bench)
    expect((await bench.auth.fetch('protected')).status).toBe(401)
    expect(bench.auth.session).toBeNull()
    expect(bench.routes()).not.toContain('refresh')
  })
})

test('10: a bearer token is taken back for as long as a refresh may take, and no longer', async () => {
  let signal: AbortSignal | null | undefined
  const bench = room({
    client: {
      refreshTimeout: 8 * second,
      fetch(input, init) {
        if (!`${input}`.endsWith('/logout')) return bench.backend.fetch(input as string, init)
        signal = init?.signal
        return new Promise(() => {})
      },
    },
  })
  const { auth, hold } = bench
  const answer = hold('login')
  const first = failure(auth.login(alice))
  await settle()
  await auth.login(bob)
  answer.release()
  await first
  await pass(8 * second - 1)
  expect(signal?.aborted).toBe(false)
  await pass(1)
  expect(signal?.aborted).toBe(true)
})
