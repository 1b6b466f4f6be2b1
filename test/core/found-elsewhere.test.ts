/** What those found who came with other runtimes, other servers and a stopwatch, held. */
import { getEventListeners } from 'node:events'
import { describe, expect, test, vi } from 'vitest'
import {
  type Backend,
  bearer,
  createAuth,
  flaskJwt,
  flaskJwtCookies,
  type LiveRecord,
  type Store,
  type Tombstone,
} from '../../src/index.ts'
import { handStore, mint, ok, refuse, serve } from './by-hand.ts'
import {
  alice,
  baseUrl,
  deferred,
  failure,
  isPending,
  minute,
  pass,
  room,
  second,
  settle,
  start,
  statuses,
  summary,
  times,
  virtualTime,
} from './support.ts'

virtualTime()

describe('a context that was frozen or busy when its timer was due', () => {
  const frozen = async () => {
    const { auth, signIn, hold, told } = room({ server: { refresh: 'rotating-reuse-detection' } })
    await signIn()
    await pass(16 * minute)
    const { release } = hold('refresh')
    const call = auth.fetch('protected')
    await settle()
    // Its timers go off late, and before what has come meanwhile is read.
    vi.setSystemTime(start + 20 * minute)
    await pass(8 * second)
    return { call, release, told }
  }

  test('1: reads the answer to its refresh that has come meanwhile', async () => {
    const { call, release, told } = await frozen()
    release()
    await settle()
    expect((await call).status).toBe(200)
    expect(summary(told)).not.toContain('refreshFailed: timeout')
  })

  test('10: and waits no longer than it takes to read', async () => {
    const { call, release, told } = await frozen()
    const failed = failure(call)
    await pass(250)
    expect(await failed).toMatchObject({ code: 'refresh_unavailable' })
    expect(summary(told)).toEqual(['refreshFailed: timeout'])
    release()
  })
})

test('what can be asked for again is not waited for beyond a late timer: of before it may be old news', async () => {
  const store = handStore()
  const gate = store.gate('read')
  const { auth, told } = room({ client: { store } })
  vi.setSystemTime(start + 20 * minute)
  await pass(8 * second)
  expect(summary(told)).toEqual(['storeUnavailable: read'])
  expect(auth.session).toBeUndefined()
  gate.open()
})

describe('a 401 that tells nothing, to a token within its life, with no refresh token to find out with', () => {
  const signedIn = (routes: Record<string, number>) => {
    const server = serve(({ path }) => new Response(null, { status: routes[path] ?? 200 }))
    const initial = { accessToken: mint('alice') }
    return { ...room({ client: { backend: bearer(), fetch: server.fetch, initial } as never }), server }
  }

  test('4: may be about the route: it is handed back, and the session lives', async () => {
    const { auth, told, server } = signedIn({ '/password': 401 })
    for (const _ of times(3, Number)) {
      expect((await auth.fetch('password', { method: 'POST' })).status).toBe(401)
      expect((await auth.fetch('profile')).status).toBe(200)
    }
    expect([auth.session?.status, summary(told)]).toEqual(['active', []])
    expect(server.sent).toHaveLength(6)
  })

  test('is about the token where another route says the same, and a login is asked for', async () => {
    const { auth, told } = signedIn({ '/profile': 401, '/orders': 401 })
    expect((await auth.fetch('profile')).status).toBe(401)
    expect(auth.session).toMatchObject({ status: 'active' })
    expect((await auth.fetch('orders')).status).toBe(401)
    expect([auth.session, summary(told)]).toEqual([
      null,
      ['reauthRequired: session_expired', 'loggedOut: session_expired'],
    ])
  })

  test('is forgotten where it is taken somewhere: the next route that says so is the first', async () => {
    const { auth, told } = signedIn({ '/password': 401, '/admin': 401 })
    for (const path of ['password', 'profile', 'admin', 'profile', 'password']) await auth.fetch(path)
    expect([auth.session?.status, summary(told)]).toEqual(['active', []])
  })

  test('is another thing than one that names the token: a login is asked for', async () => {
    const { auth, told } = room({
      client: {
        initial: { accessToken: mint('alice') },
        fetch: async () => Response.json({ msg: 'Signature verification failed' }, { status: 422 }),
      },
    })
    expect((await auth.fetch('profile')).status).toBe(422)
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
  })

  test('is about the token where nobody knows how long that lives', async () => {
    const fetch = async () => new Response(null, { status: 401 })
    const { auth, told } = room({
      client: { backend: bearer(), fetch, initial: { accessToken: 'opaque' } } as never,
    })
    expect((await auth.fetch('profile')).status).toBe(401)
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
  })
})

test('the refresh limit is told once, however many calls meet it', async () => {
  const server = serve(({ path }) =>
    path === '/refresh'
      ? ok({ access_token: mint('alice') })
      : path === '/login'
        ? ok({ access_token: mint('alice'), refresh_token: 'spare' })
        : refuse('Token has expired'),
  )
  const { auth, told } = room({ client: { fetch: server.fetch } })
  await auth.login(alice)
  for (const _ of times(20, Number)) expect((await auth.fetch('protected')).status).toBe(401)
  expect(server.tokens('/refresh')).toHaveLength(5)
  expect(summary(told).filter((one) => one.startsWith('refreshFailed'))).toEqual([
    'refreshFailed: refresh_limit',
  ])
})

describe('a store', () => {
  test('that forgets to say what time it is, is no store that can be asked, and costs no refresh for each call', async () => {
    const store = handStore(() => undefined as never)
    const { auth, told, backend } = room({ client: { store, initial: { accessToken: mint('alice') } } })
    await auth.ready
    expect(told).toMatchObject([
      { error: { message: 'handStore: now takes ms since the epoch, got undefined' } },
    ])
    await Promise.allSettled(times(5, () => auth.fetch('protected')))
    expect(backend.count('refresh')).toBe(0)
  })

  test('that has null for what is not there holds the session all the same', async () => {
    const store = handStore()
    const { auth, another, backend } = room({ client: { store } })
    await auth.login(alice)
    const none = { fresh: null, claim: null, retryAt: null, failures: null, begun: null, due: null }
    store.record = { ...none, ...(store.record as LiveRecord) } as never
    for (const [name, value] of Object.entries(store.record as object))
      if (value === undefined) Object.assign(store.record as object, { [name]: null })
    const next = another().auth
    await next.ready
    expect(next.session).toMatchObject({ subject: 'alice', status: 'active' })
    backend.expireAccessTokens()
    expect((await next.fetch('protected')).status).toBe(200)
    expect(backend.count('refresh')).toBe(1)
  })
})

test('a signal that thousands of calls share has one listener, and none when they are over', async () => {
  const fresh = deferred<Response>()
  const server = serve(({ path }) => (path === '/refresh' ? fresh.promise : ok()))
  const { auth } = room({ client: { fetch: server.fetch, initial: { refreshToken: 'spare' } } })
  const { signal } = new AbortController()
  const listening = () => getEventListeners(signal, 'abort').length
  const calls = times(100, () => auth.fetch('protected', { signal }))
  await settle()
  expect(listening()).toBe(1)
  fresh.resolve(ok({ access_token: mint('alice') }))
  expect(await statuses(calls)).toEqual(times(100, () => 200))
  expect(listening()).toBe(0)
})

test('9: an abort frees each that waits on a signal still, though others who waited on it are over', async () => {
  const answers = [deferred<Response>(), deferred<Response>(), deferred<Response>()]
  const fetch = async (input: unknown) => answers[Number(String(input).at(-1))]?.promise as Promise<Response>
  const { auth } = room({ client: { fetch, initial: { accessToken: mint('alice') } } })
  const controller = new AbortController()
  const call = (index: number) => auth.fetch(`items/${index}`, { signal: controller.signal })
  const over = call(0)
  const waiting = failure(call(1))
  answers[0]?.resolve(ok())
  await over
  const later = failure(call(2))
  controller.abort()
  expect(await Promise.all([isPending(waiting), isPending(later)])).toEqual([false, false])
  expect(await Promise.all([waiting, later])).toMatchObject(times(2, () => ({ name: 'AbortError' })))
})

test('a call that is over leaves no listener behind, on whatever signal', async () => {
  const listen = vi.spyOn(EventTarget.prototype, 'addEventListener')
  const server = serve(({ path }) => (path === '/refresh' ? ok({ access_token: mint('alice') }) : ok()))
  const { auth } = room({ client: { fetch: server.fetch, initial: { refreshToken: 'spare' } } })
  const { signal } = new AbortController()
  expect(await statuses(times(3, () => auth.fetch('protected', { signal })))).toEqual(times(3, () => 200))
  const heard = new Set(listen.mock.contexts as EventTarget[])
  expect(heard.size).toBeGreaterThan(1)
  expect([...heard].flatMap((target) => getEventListeners(target, 'abort'))).toEqual([])
})

test('a token is decoded once, whoever asks what it says', async () => {
  const { auth, backend } = room()
  await auth.login(alice)
  backend.expireAccessTokens()
  const decode = vi.spyOn(globalThis, 'atob')
  await auth.fetch('protected')
  // Of the new access token, whose payload alone is looked into.
  expect(decode).toHaveBeenCalledTimes(1)
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

test.each([
  ['token', 'expired', 2],
  ['grant', 'expired', 0],
  ['grant', 'reauthenticated', 2],
  ['grant', 'login', 2],
] as const)(
  '4: what a refresh brings too late, where a logout ends the %s and the session went on by %s: %i tokens are taken back',
  async (revokes, reason, count) => {
    const answer = deferred<Response>()
    const server = serve(({ path }) => (path === '/refresh' ? answer.promise : ok()))
    const store = handStore()
    const backend = { ...flaskJwt(), revokes }
    const { auth } = room({ client: { store, fetch: server.fetch, backend } })
    await auth.setTokens({ accessToken: mint('alice'), refreshToken: 'refresh-1' })
    const refreshed = auth.refresh()
    await settle()
    // By who has waited the claim out: a page that was left, and comes back later.
    const { claim: _, ...claimed } = store.record as LiveRecord
    const access = { token: mint('alice'), at: Date.now() }
    // A login is another session.
    const id = reason === 'login' ? 'another' : claimed.id
    store.record = {
      ...claimed,
      id,
      version: 2,
      reason,
      access,
      refreshToken: 'refresh-2',
      revision: 'theirs',
    }
    answer.resolve(ok({ access_token: mint('alice'), refresh_token: 'refresh-3' }))
    await refreshed
    await settle()
    expect(server.tokens('/logout')).toHaveLength(count)
    expect(auth.session).toMatchObject({ version: 2 })
  },
)

test.each(['token', 'grant'] as const)(
  '5: what a refresh brings after a logout is taken back, where that ends the %s',
  async (revokes) => {
    const answer = deferred<Response>()
    const server = serve(({ path }) => (path === '/refresh' ? answer.promise : ok()))
    const { auth, told } = room({
      client: {
        fetch: server.fetch,
        backend: { ...flaskJwt(), revokes },
        initial: { accessToken: mint('alice'), refreshToken: 'spare' },
      },
    })
    const refreshed = auth.refresh()
    await settle()
    await auth.logout()
    answer.resolve(ok({ access_token: mint('alice'), refresh_token: 'late' }))
    expect(await refreshed).toBeNull()
    await settle()
    expect(server.tokens('/logout')).toContain('late')
    expect(summary(told)).toEqual(['loggedOut: logout'])
  },
)

test('5: a store is told of a logout in its tick, and one that fails at it hears of it all the same', async () => {
  const store = handStore()
  const told: unknown[] = []
  store.end = (...given) => {
    told.push(given)
    throw new Error('denied')
  }
  const { auth, another } = room({ client: { store } })
  const { id } = await auth.login(alice)
  await pass(second)
  const logout = auth.logout()
  expect(told).toEqual([[id, start + second, 1]])
  await logout
  expect(store.record).toMatchObject({ id, ended: 'logout' })
  void another().auth.logout()
  // Knows of none that it has revoked.
  expect(told.at(-1)).toEqual([undefined, start + second, 0])
  void another().auth.logout({ revoke: false })
  expect(told.at(-1)).toEqual([undefined, start + second, Infinity])
})

test('5: a session that a store has ended for a context that is gone has its tokens revoked, but for cookies', async () => {
  const session = { id: 'its', version: 2, calledAt: start, reason: 'expired', revision: 'a' } as const
  const tokens = { access: { token: mint('alice'), at: start }, refreshToken: 'refresh-2' }
  const over: Tombstone = { id: 'its', version: 2, calledAt: start, ended: 'logout', revision: 'b' }
  for (const [backend, ended, revoked] of [
    [flaskJwt(), { ...session, ...tokens, fresh: { token: mint('alice', { jti: 'fresh' }) } }, 3],
    [flaskJwt(), { ...session, access: 'nonsense' }, 0],
    [flaskJwt(), over, 0],
    [flaskJwtCookies({ csrf: false }), { ...session, ...tokens }, 0],
  ] as const) {
    const server = serve(() => ok())
    const store: Store = {
      name: 'marked',
      read: () => ({ record: over, now: start, ended: ended as LiveRecord }),
    }
    const auth = createAuth({ baseUrl, backend: backend as Backend, store, fetch: server.fetch })
    await settle()
    expect(auth.session).toBe(null)
    expect(server.sent).toHaveLength(revoked)
  }
})

describe('a fetch over XMLHttpRequest, that tells no redirect but where it was led,', () => {
  const led = (url: string) =>
    Object.defineProperties(refuse('Token has been revoked'), {
      redirected: { value: undefined },
      url: { value: url },
    })

  test.each([
    ['elsewhere', `${baseUrl}login?next=refresh`, 'refresh_unavailable'],
    ['to another origin', 'https://elsewhere.test/refresh', 'refresh_unavailable'],
    ['nowhere', `${baseUrl}refresh?_=1#top`, 401],
    ['nowhere, and says nothing', '', 401],
  ])('4: does not end a session by the refusal of a stranger: %s', async (_, url, outcome) => {
    const { auth } = room({ client: { initial: { refreshToken: 'spare' }, fetch: async () => led(url) } })
    const got = await auth.fetch('protected').then(
      ({ status }) => status,
      ({ code }) => code,
    )
    expect(got).toBe(outcome)
  })

  test('4: nor by that of another origin to a call', async () => {
    const { auth } = room({
      client: {
        initial: { accessToken: mint('alice') },
        fetch: async () => led('https://elsewhere.test/protected'),
      },
    })
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(auth.session).toMatchObject({ status: 'active' })
  })
})

test('an abort whose signal keeps no reason is an AbortError', async () => {
  const { auth, signIn, hold } = room()
  await signIn()
  const held = hold('protected')
  const controller = new AbortController()
  Object.defineProperty(controller.signal, 'reason', { value: undefined })
  const call = failure(auth.fetch('protected', { signal: controller.signal }))
  await settle()
  controller.abort()
  expect(await call).toMatchObject({ name: 'AbortError', message: 'The call was aborted' })
  held.release()
  expect(await failure(auth.fetch('protected', { signal: controller.signal }))).toMatchObject({
    name: 'AbortError',
  })
})

test('14: a body without a tag or a text of its own goes out as it is, and one with a text as that', async () => {
  class Form {
    readonly parts = []
  }
  const bodies: unknown[] = []
  const fetch = async (_: unknown, init?: RequestInit) => {
    bodies.push(init?.body)
    return ok()
  }
  const { auth } = room({ client: { initial: { accessToken: mint('alice') }, fetch: fetch as never } })
  const form = new Form()
  for (const body of [form, 7, [1, 2]]) await auth.fetch('protected', { method: 'POST', body: body as never })
  expect(bodies[0]).toBe(form)
  expect(bodies.slice(1)).toEqual(['7', '1,2'])
})
