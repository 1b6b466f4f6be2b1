/**
 * The other invariants by their numbers in the design, in one process under virtual time. To be read as the
 * specification; what else follows from them, and every order of things, is in test/core and test/model. The last
 * one, which takes seconds, is in herd.test.ts.
 */
import { inspect } from 'node:util'
import { describe, expect, test, vi } from 'vitest'
import {
  alice,
  failure,
  minute,
  pass,
  reported,
  room,
  second,
  settle,
  start,
  summary,
  times,
  virtualTime,
} from '../core/support.ts'

virtualTime()

describe('invariant 4: only a definite refusal ends a session', () => {
  test.each([
    ['a network error', 'drop'],
    ['an answer that got lost', 'drop-after'],
    ['silence', 'hang'],
    ['a redirect', { status: 302, headers: { location: 'https://elsewhere.test/' } }],
    ['a 403', { status: 403 }],
    ['a 404', { status: 404 }],
    ['a 408', { status: 408 }],
    ['a 429', { status: 429, headers: { 'retry-after': '60' } }],
    ['a 500', { status: 500 }],
    ['a 503', { status: 503 }],
    ['HTML', 'not-json'],
  ] as const)('%s keeps it', async (_, fault) => {
    const { auth, backend, told, signIn } = room()
    await signIn()
    backend.expireAccessTokens()
    const { remove } = backend.fault('refresh', fault, { times: Number.POSITIVE_INFINITY })
    const call = failure(auth.fetch('protected'))
    await pass(9 * second)
    const error = await call
    expect(error).toMatchObject({ code: 'refresh_unavailable', retryAt: expect.any(Number) })
    expect(auth.session?.status).toBe('active')
    expect(summary(told)).not.toContain('loggedOut: session_expired')
    remove()
    await pass(61 * second)
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('a refusal does; the caller gets the server’s own 401, unread', async () => {
    const { auth, backend, told, signIn } = room()
    await signIn()
    backend.expireAccessTokens()
    backend.fault('refresh', { status: 401, body: { msg: 'Token has been revoked' } })
    const response = await auth.fetch('protected')
    expect([response.status, response.bodyUsed]).toEqual([401, false])
    expect(auth.session).toBeNull()
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
  })

  test('while the access token still works a refused refresh does not sign out', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.fault('refresh', { status: 401, body: { msg: 'Token has been revoked' } })
    await auth.refresh().catch(() => {})
    expect(auth.session?.status).toBe('active')
    expect((await auth.fetch('protected')).status).toBe(200)
  })
})

test('invariant 7: a call is sent twice at the most, and once more after a login that the application asked for', async () => {
  const { auth, backend, signIn, routes } = room()
  await signIn()
  const refused = { status: 401, body: { msg: 'Token has expired' } }
  const fault = backend.fault('protected', refused, { times: Number.POSITIVE_INFINITY })
  expect((await auth.fetch('protected')).status).toBe(401)
  expect(routes()).toEqual(['protected', 'refresh', 'protected'])
  fault.remove()

  backend.clearLog()
  auth.on('reauthRequired', (event) => event.waitUntil(auth.reauthenticate(alice)))
  backend.expireAccessTokens()
  const response = await auth.fetch('fresh', { method: 'DELETE' })
  expect(response.status).toBe(200)
  expect(routes()).toEqual(['fresh', 'refresh', 'fresh', 'login', 'fresh'])
})

describe('invariant 8: tokens go home only', () => {
  test('no other origin gets one, nor does one stand in a URL', async () => {
    const seen: Request[] = []
    const { auth, signIn, backend } = room({
      client: {
        fetch: (input, init) => {
          const request = new Request(input, init)
          seen.push(request.clone())
          const home = new URL(request.url).origin === 'https://api.test'
          return home ? (backend.fetch(request) as Promise<Response>) : Promise.resolve(new Response())
        },
      },
    })
    await signIn()
    await auth.fetch('protected')
    await auth.fetch('https://elsewhere.test/x')
    await auth.fetch('https://api.test:8443/x')
    await auth.fetch('https://api.test.elsewhere.test/x')
    for (const { url, headers } of seen) {
      if (new URL(url).origin !== 'https://api.test') expect(headers.get('authorization')).toBeNull()
      expect(url).not.toMatch(/eyJ|token/)
    }
    expect(seen.at(-4)?.headers.get('authorization')).toMatch(/^Bearer /)
  })

  test('no error, event, snapshot or history shows one', async () => {
    const { auth, backend, told, signIn, inHand } = room()
    await signIn()
    const before = inHand()
    backend.expireAccessTokens()
    await auth.fetch('protected')
    backend.expireAccessTokens()
    backend.fault('refresh', 'not-json')
    const error = await failure(auth.fetch('protected'))
    const shown = [error, told, auth.session, auth.history, auth].map(
      (what) => inspect(what, { depth: 9, showHidden: true }) + JSON.stringify(what),
    )
    for (const { token } of backend.issued) expect(shown.join()).not.toContain(token)
    expect(before.access.length).toBeGreaterThan(20)
  })
})

describe('invariant 10: nothing waits without bound', () => {
  test('not on an exchange, a store or a listener', async () => {
    const errors = reported()
    const { auth, backend, signIn } = room()
    await signIn()
    auth.on('refreshFailed', () => new Promise(() => {}))
    auth.on('refreshFailed', () => {
      throw new Error('a listener’s own')
    })
    backend.expireAccessTokens()
    backend.fault('refresh', 'hang')
    const call = failure(auth.fetch('protected'))
    await pass(8 * second)
    expect((await call).code).toBe('refresh_unavailable')
    expect(errors).toHaveLength(1)

    const never = new Promise<never>(() => {})
    const { auth: stuck } = room({
      client: { store: { name: 'stuckStore', read: () => never, commit: () => never } },
    })
    const first = failure(stuck.fetch('protected'))
    await pass(minute)
    expect((await first).code).toBe('refresh_unavailable')
    await stuck.ready
  })

  test('the one wait for a person has reauthTimeout', async () => {
    const { auth, signInStale } = room({ client: { reauthTimeout: 5 * second } })
    await signInStale()
    let signal: AbortSignal | undefined
    auth.on('reauthRequired', (event) => {
      signal = event.signal
      event.waitUntil(new Promise(() => {}))
    })
    const call = auth.fetch('fresh')
    await settle()
    expect(signal?.aborted).toBe(false)
    await pass(5 * second)
    expect((await call).status).toBe(401)
    expect(signal?.aborted).toBe(true)
  })
})

describe('invariant 11: a valid token never waits', () => {
  test('the fetch beneath is called in the same tick', async () => {
    const fetched: string[] = []
    const { auth, backend, signIn } = room({
      client: {
        fetch: (input, init) => {
          fetched.push(String(input))
          return backend.fetch(new Request(input, init)) as Promise<Response>
        },
      },
    })
    await signIn()
    fetched.length = 0
    const call = auth.fetch('protected')
    expect(fetched).toEqual(['https://api.test/protected'])
    await call
  })

  test('inside refreshAhead the request goes out at once, and the refresh runs beside it', async () => {
    const { auth, backend, hold, inHand, signInStale } = room()
    await signInStale()
    const { access } = inHand()
    await pass((backend.settings.accessLifetime ?? 0) - 30 * second)
    const exchange = hold('refresh')
    const call = auth.fetch('protected')
    expect((await call).status).toBe(200)
    expect(inHand().access).toBe(access)
    exchange.release()
    await settle()
    expect(inHand().access).not.toBe(access)
  })

  test('refreshing ahead never costs freshness: a fresh token stays in use to its own end', async () => {
    const { auth, backend, inHand, signIn, tokens } = room()
    await signIn()
    const { access } = inHand()
    await pass((backend.settings.accessLifetime ?? 0) - 30 * second)
    await auth.fetch('protected')
    await settle()
    expect(inHand()).toMatchObject({ fresh: access })
    expect((await auth.fetch('fresh')).status).toBe(200)
    await pass(30 * second)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(tokens('protected').at(-1)).toBe(inHand().access)
  })
})

test.each([
  ['two hours ahead', 2 * 60 * minute],
  ['two hours behind', -2 * 60 * minute],
  ['ten years behind', -10 * 365 * 24 * 60 * minute],
])('invariant 12: a client whose clock is %s makes no request more than another', async (_, offset) => {
  const { auth, signInStale, routes } = room({ server: { clock: { now: () => Date.now() - offset } } })
  vi.setSystemTime(start + offset)
  await signInStale()
  for (const _ of times(10, Number)) {
    expect((await auth.fetch('protected')).status).toBe(200)
    await pass(minute)
  }
  expect(routes().filter((route) => route === 'refresh')).toEqual([])
  await pass(6 * minute)
  expect((await auth.fetch('protected')).status).toBe(200)
  expect(routes().filter((route) => route === 'refresh')).toHaveLength(1)
})

test('invariant 13: a server that turns down every token it gives draws five refreshes, and no more', async () => {
  const { auth, backend, signIn, routes } = room()
  await signIn()
  const refused = { status: 401, body: { msg: 'Token has expired' } }
  backend.fault('protected', refused, { times: Number.POSITIVE_INFINITY })
  for (const _ of times(20, Number)) {
    expect((await auth.fetch('protected')).status).toBe(401)
    await pass(second)
  }
  expect(routes().filter((route) => route === 'refresh')).toHaveLength(5)
  expect(auth.session?.status).toBe('active')
})

describe('invariant 14: a body is replayed byte for byte or not at all', () => {
  const text = 'äöü, byte for byte'
  const form = (): FormData => {
    const data = new FormData()
    data.set('field', text)
    return data
  }
  test.each<[string, () => BodyInit]>([
    ['a string', () => text],
    ['bytes', () => new TextEncoder().encode(text)],
    ['a blob', () => new Blob([text])],
    ['search parameters', () => new URLSearchParams({ field: text })],
    ['a form', form],
  ])('%s is sent again as it was', async (_, make) => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.expireAccessTokens()
    expect((await auth.fetch('protected', { method: 'POST', body: make() })).status).toBe(200)
    const [first, again] = backend.log.filter(({ route }) => route === 'protected')
    expect(again?.body).toBe(first?.body)
    expect(again?.headers['content-type']).toBe(first?.headers['content-type'])
    expect(first?.body?.length).toBeGreaterThan(10)
  })

  test('a stream is one-shot: its 401 comes back, and the session is refreshed for the next try', async () => {
    const { auth, backend, signIn, routes } = room()
    await signIn()
    backend.expireAccessTokens()
    const init = { method: 'POST', body: new Response(text).body, duplex: 'half' } as RequestInit
    expect((await auth.fetch('protected', init)).status).toBe(401)
    await settle()
    expect(routes()).toEqual(['protected', 'refresh'])
    expect((await auth.fetch('protected')).status).toBe(200)
  })
})

describe('invariant 15: timers are hints', () => {
  test('a token of sixty days sets no timer that would fire at once', async () => {
    const set = vi.spyOn(globalThis, 'setTimeout')
    const { auth, signIn } = room({
      server: { accessLifetime: 60 * 24 * 60 * minute },
      client: { reauthTimeout: 60 * 24 * 60 * minute },
    })
    await signIn()
    auth.on('reauthRequired', (event) => event.waitUntil(new Promise(() => {})))
    await auth.fetch('protected')
    await auth.refresh()
    void auth.fetch('fresh', { auth: 'fresh' }).catch(() => {})
    await pass(minute)
    for (const [, delay = 0] of set.mock.calls) expect(delay).toBeLessThan(2 ** 31)
  })

  test('none runs in the background: validity is judged when a token is used', async () => {
    const { auth, signIn, routes } = room()
    await signIn()
    await auth.fetch('protected')
    await settle()
    expect(vi.getTimerCount()).toBe(0)
    await pass(24 * 60 * minute)
    expect(routes()).toEqual(['protected'])
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(routes()).toEqual(['protected', 'refresh', 'protected'])
  })
})
