/** What a review of the mends found, held: most of it had been right before them. */
import { describe, expect, test } from 'vitest'
import { bearer, type Cell, createAuth, flaskJwtCookies, memoryStore, type Store } from '../../src/index.ts'
import { handStore, mint, ok, refuse, serve } from './by-hand.ts'
import {
  alice,
  baseUrl,
  deferred,
  minute,
  pass,
  room,
  settle,
  summary,
  times,
  virtualTime,
} from './support.ts'

virtualTime()

describe('a 401 that tells nothing to a call for which a token is optional, with no refresh token', () => {
  test('sends it again without one', async () => {
    const fetch = async (_: unknown, init?: RequestInit) => {
      const token = new Headers(init?.headers).get('authorization')
      return new Response(null, { status: token ? 401 : 200 })
    }
    const { auth } = room({
      client: { backend: bearer(), fetch, initial: { accessToken: mint('alice') } } as never,
    })
    expect((await auth.fetch('news', { auth: 'optional' })).status).toBe(200)
  })
  test('so it does where the refresh token was refused before', async () => {
    const fetch = async (input: unknown, init?: RequestInit) => {
      const token = new Headers(init?.headers).get('authorization')
      if (String(input).endsWith('refresh')) return new Response(null, { status: 401 })
      return new Response(null, { status: token ? 401 : 200 })
    }
    const { auth } = room({
      client: {
        backend: bearer(),
        fetch,
        initial: { accessToken: mint('alice'), refreshToken: 'spare' },
      } as never,
    })
    expect((await auth.fetch('news', { auth: 'optional' })).status).toBe(200)
    expect((await auth.fetch('news', { auth: 'optional' })).status).toBe(200)
  })
})

describe('a URL that can be cloned, such as Next’s', () => {
  class ApiUrl extends URL {
    clone() {
      return new ApiUrl(this.href)
    }
  }
  test('8: gets no token where it leads elsewhere', async () => {
    const seen: [string, string | null][] = []
    const fetch = async (input: unknown, init?: RequestInit) => {
      seen.push([String(input), new Headers(init?.headers).get('authorization')])
      return ok()
    }
    const { auth } = room({ client: { fetch, initial: { accessToken: mint('alice') } } as never })
    await auth.fetch(new ApiUrl('https://evil.example/x'))
    await auth.fetch(new ApiUrl('https://api.test/x'))
    expect(seen[0]).toEqual(['https://evil.example/x', null])
    expect(seen[1]?.[0]).toBe('https://api.test/x')
  })
  test('is a URL in a flow, too', async () => {
    const { auth } = room()
    await auth.login(({ fetch }) =>
      fetch(new ApiUrl('https://api.test/login') as never, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(alice),
      }),
    )
    expect(auth.session).toMatchObject({ subject: 'alice' })
  })
})

test('a store that has null for what is not there answers a commit with them, too: the session is refreshed', async () => {
  const store = handStore()
  const none = {
    subject: null,
    access: null,
    fresh: null,
    claim: null,
    retryAt: null,
    failures: null,
    due: null,
  }
  const filled = ({ record, ...rest }: Cell): Cell => {
    const there = Object.entries(record ?? {}).filter(([, value]) => value !== undefined)
    return { ...rest, record: record && ({ ...none, ...Object.fromEntries(there) } as never) }
  }
  const { read, commit } = store as Required<Store>
  store.read = async () => filled(await read())
  store.commit = async (next, expected) => filled(await commit(next, expected))
  const server = serve(({ path }) =>
    path === '/refresh' ? ok({ access_token: mint('alice'), refresh_token: 'next' }) : ok(),
  )
  const { auth, told } = room({
    client: { store, fetch: server.fetch, backend: bearer(), initial: { refreshToken: 'opaque' } } as never,
  })
  await auth.ready
  expect((await auth.fetch('protected')).status).toBe(200)
  expect(summary(told)).toEqual(['loggedIn: initial', 'tokenRefreshed: expired'])
})

describe('a refresh token in a cookie that nothing shows', () => {
  const backend = () => flaskJwtCookies({ accessToken: 'memory', csrf: false })
  test('is never spent over a store without commit', async () => {
    const server = serve(({ path }) => (path === '/refresh' ? ok({ access_token: mint('alice') }) : ok()))
    const auth = createAuth({
      baseUrl,
      backend: backend(),
      fetch: server.fetch,
      store: { name: 'ro', read: () => ({ record: null, now: Date.now() }) },
    })
    await auth.ready
    await auth.fetch('protected')
    expect(server.sent.map(({ path }) => path)).not.toContain('/refresh')
  })
  test('5: is taken back with what it brings after a logout', async () => {
    const answer = deferred<Response>()
    const server = serve(({ path }) => (path === '/refresh' ? answer.promise : ok()))
    const auth = createAuth({ baseUrl, backend: backend(), fetch: server.fetch, store: memoryStore() })
    void auth.ready
    await settle()
    expect(server.sent.map(({ path }) => path)).toEqual(['/refresh'])
    const out = auth.logout()
    await settle()
    const access = mint('alice')
    answer.resolve(ok({ access_token: access }))
    await out
    await pass(minute)
    expect(auth.session).toBe(null)
    expect(server.sent.map(({ path }) => path)).toEqual(['/refresh', '/logout', '/logout'])
    expect(server.tokens('/logout')).toContain(access)
  })
})

test('the refresh limit is told, though a failure came just before', async () => {
  let n = 0
  const server = serve(({ path }) => {
    if (path === '/refresh') {
      if (++n === 5) return new Response(null, { status: 500 })
      return ok({ access_token: mint('alice') })
    }
    return path === '/login'
      ? ok({ access_token: mint('alice'), refresh_token: 'spare' })
      : Response.json({ msg: 'Token has expired' }, { status: 401 })
  })
  const { auth, told } = room({ client: { fetch: server.fetch } })
  await auth.login(alice)
  for (const _ of times(20, Number)) await auth.fetch('protected').catch(() => {})
  expect(summary(told).filter((one) => one.startsWith('refreshFailed'))).toContain(
    'refreshFailed: refresh_limit',
  )
})

test('the body of a refusal is handed on by a fetch whose Blob is its own', async () => {
  const foreign = Object.defineProperty({}, Symbol.toStringTag, { value: 'Blob' })
  const refusal = (): Response => {
    const response = refuse('Token has expired')
    const clone = response.clone.bind(response)
    return Object.assign(response, { clone: () => Object.assign(clone(), { blob: async () => foreign }) })
  }
  const fetch = (async () => refusal()) as never
  const { auth } = room({ client: { fetch, initial: { refreshToken: 'spare' } } })
  expect(await (await auth.fetch('protected')).json()).toEqual({ msg: 'Token has expired' })
})

test('10: a store that hangs, and notices that go on coming, hold a call up for no longer than the bound', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  store.read = () => new Promise(() => {})
  let over = 0
  const from = Date.now()
  store.notify()
  void auth
    .fetch('protected')
    .catch(() => {})
    .then(() => {
      over = Date.now() - from
    })
  for (let i = 0; i < 120; i++) {
    await pass(1000)
    store.notify()
  }
  expect(over).toBeGreaterThan(0)
  expect(over).toBeLessThanOrEqual(25_000)
})

test('10: notices that come faster than they can be read hold a call up for some readings, and not to the bound', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  store.trip.back = 100
  store.notify()
  const call = auth.fetch('protected')
  let over = 0
  void call.then(() => {
    over ||= Date.now() - from
  })
  const from = Date.now()
  for (let i = 0; i < 100; i++) {
    await pass(60)
    store.notify()
  }
  expect((await call).status).toBe(200)
  expect(over).toBeLessThanOrEqual(20 * 100)
})

test('a fetch that says nothing of redirects may tell a relative URL', async () => {
  const fetch = async (input: unknown) => {
    const r = Response.json({}, { status: 200 })
    return Object.defineProperties(r, {
      redirected: { value: undefined },
      url: { value: new URL(String(input)).pathname },
    })
  }
  const { auth } = room({ client: { fetch, initial: { accessToken: mint('alice') } } as never })
  expect((await auth.fetch('protected')).status).toBe(200)
})
