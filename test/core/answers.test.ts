/** What follows from an answer, and from what a caller asks of a request. */
import { describe, expect, test } from 'vitest'
import { type Answer, flaskJwt } from '../../src/index.ts'
import {
  alice,
  baseUrl,
  bob,
  failure,
  minute,
  pass,
  room,
  second,
  settle,
  statuses,
  summary,
  times,
  virtualTime,
} from './support.ts'

virtualTime()

const always = { times: Number.POSITIVE_INFINITY }

describe('a 401 that tells nothing', () => {
  test('is worth one refresh; if the replay has it again, it is handed back', async () => {
    const { auth, backend, signIn, routes } = room()
    await signIn()
    backend.fault('protected', { status: 401 }, always)
    const response = await auth.fetch('protected')
    expect([response.status, await response.text()]).toEqual([401, ''])
    expect(routes()).toEqual(['protected', 'refresh', 'protected'])
  })

  test('is handed back for that method and path from then on, until another answer comes', async () => {
    const { auth, backend, signInStale, routes } = room()
    await signInStale()
    const fault = backend.fault('protected', { status: 401 }, always)
    await auth.fetch('protected')
    backend.clearLog()
    expect(await statuses(times(5, () => auth.fetch('protected?page=2')))).toEqual(times(5, () => 401))
    expect(routes()).toEqual(times(5, () => 'protected'))
    // Another path, and another method, are another matter.
    backend.fault('optional', { status: 401 })
    expect((await auth.fetch('optional')).status).toBe(200)
    expect(backend.count('refresh')).toBe(1)
    await auth.fetch('protected', { method: 'PUT' })
    expect(backend.count('refresh')).toBe(2)
    fault.remove()
    expect((await auth.fetch('protected')).status).toBe(200)
    backend.clearLog()
    backend.fault('protected', { status: 401 })
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(routes()).toEqual(['protected', 'refresh', 'protected'])
  })

  test('is remembered of a hundred routes, and then of none', async () => {
    const server = room()
    const { auth } = room({
      client: {
        refreshLimit: { exchanges: 1_000, interval: 1 },
        fetch: async (input, init) =>
          String(input).includes('/route-')
            ? new Response(null, { status: 401 })
            : server.backend.fetch(input, init),
      },
    })
    await auth.setTokens(await server.backend.signIn('alice'))
    const refreshes = async (route: number): Promise<number> => {
      const before = server.backend.count('refresh')
      await auth.fetch(`route-${route}`)
      return server.backend.count('refresh') - before
    }
    for (let route = 0; route <= 100; route++) expect(await refreshes(route)).toBe(1)
    expect([await refreshes(0), await refreshes(0), await refreshes(1)]).toEqual([0, 0, 1])
  })

  test.each(['signIn', 'signInStale'] as const)(
    'to a HEAD on an expired token is cured by the refresh (%s)',
    async (way) => {
      const given = room()
      const { auth, backend, routes } = given
      await given[way]()
      backend.expireAccessTokens()
      expect((await auth.fetch('protected', { method: 'HEAD' })).status).toBe(200)
      expect(routes()).toEqual(['protected', 'refresh', 'protected'])
      // The other answer tells after all that the token was no good.
      await auth.fetch('protected', { method: 'HEAD' })
      expect(backend.count()).toBe(4)
    },
  )

  test('is cured by the refresh on every route, where a server says no more than that', async () => {
    const given = room()
    const { auth, backend, signIn } = given
    await signIn()
    backend.expireAccessTokens()
    const { auth: other } = given.another({
      fetch: async (input, init) => {
        const answer = await backend.fetch(input, init)
        return answer.status === 401 ? new Response(null, { status: 401 }) : answer
      },
    })
    expect(await statuses(times(5, () => other.fetch('protected')))).toEqual(times(5, () => 200))
    expect((await other.fetch('optional')).status).toBe(200)
    expect(backend.count('refresh')).toBe(1)
    expect(auth.session).toMatchObject({ version: 2 })
  })

  test('for many requests at once is worth one refresh in all', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.fault('protected', { status: 401 }, always)
    expect(await statuses(times(20, () => auth.fetch('protected')))).toEqual(times(20, () => 401))
    expect(backend.count('refresh')).toBe(1)
  })

  test('signs nobody out', async () => {
    const { auth, backend, told, signIn } = room()
    await signIn()
    backend.fault('protected', { status: 401 }, always)
    for (const _ of times(10, () => 0)) await auth.fetch('protected')
    expect(auth.session).toMatchObject({ status: 'active' })
    expect(summary(told)).toEqual(['tokenRefreshed: rejected'])
  })
})

describe('an answer that is not about the token', () => {
  test.each<[string, number, object | string]>([
    [
      'a 401 of the application’s own',
      401,
      { code: 401, status: 'Unauthorized', message: 'Admin privilege required.' },
    ],
    ['a 403', 403, { msg: 'Token has expired' }],
    ['a 404', 404, '<h1>Not Found</h1>'],
    ['a 422 of its own validation', 422, { msg: 'Validation failed', errors: { name: ['missing'] } }],
    ['a 500', 500, { msg: 'Token has expired' }],
    ['a 401 that is a page', 401, '<h1>Unauthorized</h1>'],
    ['a 401 for a user who is gone', 401, { msg: 'Error loading the user alice' }],
    ['a 401 about a missing header', 401, { msg: 'Missing Authorization Header' }],
    ['a 400 about the claims', 400, { msg: 'User claims verification failed' }],
    ['a 200 that says so', 200, { msg: 'Token has expired' }],
  ])('is handed back untouched: %s', async (_, status, body) => {
    const { auth, backend, told, signIn, routes } = room()
    await signIn()
    backend.fault('protected', { status, body, headers: { 'x-own': 'kept' } })
    const response = await auth.fetch('protected')
    expect([response.status, response.bodyUsed, response.headers.get('x-own')]).toEqual([
      status,
      false,
      'kept',
    ])
    const text = await response.text()
    expect(typeof body === 'string' ? text : JSON.parse(text)).toEqual(body)
    expect(routes()).toEqual(['protected'])
    expect(told).toEqual([])
  })

  test('the tutorial’s 401 of its own neither refreshes nor asks', async () => {
    const { auth, signIn, told, routes } = room({ server: { dialect: 'tutorial', refresh: 'reusable' } })
    await signIn()
    const response = await auth.fetch('admin', { method: 'DELETE' })
    expect(await response.json()).toMatchObject({ message: 'Admin privilege required.' })
    expect([routes(), told]).toEqual([['admin'], []])
  })

  test('a token that the server takes for a bad one is refreshed: 422', async () => {
    const { auth, backend, signIn, routes } = room()
    await signIn()
    backend.fault('protected', { status: 422, body: { msg: 'Signature verification failed' } })
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(routes()).toEqual(['protected', 'refresh', 'protected'])
  })
})

describe('auth: false', () => {
  test('takes no token along, and its 401 comes back', async () => {
    const { auth, signIn, tokens, told } = room()
    await signIn()
    expect((await auth.fetch('protected', { auth: false })).status).toBe(401)
    expect([tokens('protected'), tokens('refresh'), told]).toEqual([[undefined], [], []])
  })

  test('a Request goes out as it is, with nothing added that would make another of it', async () => {
    const sent: unknown[][] = []
    const fetch = async (...given: unknown[]): Promise<Response> => {
      sent.push(given)
      return new Response()
    }
    const { auth } = room({ client: { fetch: fetch as never } })
    const request = new Request('https://api.test/open', { headers: { 'x-one': '1' } })
    await auth.fetch(request, { auth: false })
    expect(sent).toEqual([[request, {}]])
    expect(sent[0]?.[0]).toBe(request)
  })

  test('waits for nothing', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await pass(16 * minute)
    const response = auth.fetch('optional', { auth: false })
    expect(backend.count()).toBe(1)
    expect((await response).status).toBe(200)
    expect(backend.count('refresh')).toBe(0)
  })

  test('an Authorization of the caller’s own is left alone', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    for (const headers of [
      { authorization: 'Basic abc' },
      [['Authorization', 'Basic abc']],
      new Headers({ authorization: 'Basic abc' }),
    ]) {
      expect((await auth.fetch('protected', { headers: headers as HeadersInit })).status).toBe(401)
    }
    expect(backend.log.map(({ headers }) => headers.authorization)).toEqual(times(3, () => 'Basic abc'))
    expect(backend.count('refresh')).toBe(0)
  })
})

describe('auth: "optional"', () => {
  const optional = { auth: 'optional' } as const

  test('with a good token goes with it', async () => {
    const { auth, signIn } = room()
    await signIn()
    expect(await (await auth.fetch('optional', optional)).json()).toMatchObject({ sub: 'alice' })
  })

  test('with nobody signed in goes without', async () => {
    const { auth } = room()
    expect(await (await auth.fetch('optional', optional)).json()).toMatchObject({ sub: null })
  })

  test('with an expired one goes with the one that is made good', async () => {
    const { auth, signIn, routes } = room()
    await signIn()
    await pass(16 * minute)
    expect(await (await auth.fetch('optional', optional)).json()).toMatchObject({ sub: 'alice' })
    expect(routes()).toEqual(['refresh', 'optional'])
  })

  test.each([
    ['fails', { status: 500 }],
    ['can not be reached', 'drop'],
  ] as const)('with an expired one goes without, if the refresh %s; the session lives', async (_, fault) => {
    const { auth, backend, signIn } = room()
    await signIn()
    await pass(16 * minute)
    backend.fault('refresh', fault)
    expect(await (await auth.fetch('optional', optional)).json()).toMatchObject({ sub: null })
    expect(auth.session).toMatchObject({ status: 'active' })
  })

  test('with an expired one goes without, if the refresh is refused; nobody is asked for a password', async () => {
    const { auth, backend, told, signIn } = room()
    await signIn()
    await pass(16 * minute)
    backend.revoke({ sub: 'alice' })
    expect(await (await auth.fetch('optional', optional)).json()).toMatchObject({ sub: null })
    expect(told.filter(({ type }) => type === 'reauthRequired')).toEqual([])
  })

  test('that was turned down, and can not be made good, goes again without', async () => {
    const { auth, backend, signIn, tokens, inHand } = room()
    await signIn()
    backend.expireAccessTokens()
    backend.fault('refresh', { status: 500 })
    expect(await (await auth.fetch('optional', optional)).json()).toMatchObject({ sub: null })
    expect(tokens('optional')).toEqual([inHand().access, undefined])
  })

  test('in a cool-down goes without, at once', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await pass(16 * minute)
    backend.fault('refresh', { status: 429, headers: { 'retry-after': '600' } })
    await failure(auth.fetch('protected'))
    backend.clearLog()
    expect(await (await auth.fetch('optional', optional)).json()).toMatchObject({ sub: null })
    expect(backend.log.map(({ route }) => route)).toEqual(['optional'])
  })
})

describe('8: other origins', () => {
  test('get no token', async () => {
    const seen: (string | null)[] = []
    const given = room()
    const { auth } = given.another({
      fetch: async (_, init) => {
        seen.push(new Headers(init?.headers).get('authorization'))
        return Response.json({})
      },
    })
    await given.signIn()
    await settle()
    for (const url of [
      'https://elsewhere.test/x',
      'http://api.test/x',
      'https://api.test:8443/x',
      '//other.test/x',
    ]) {
      await auth.fetch(url)
    }
    expect(seen).toEqual([null, null, null, null])
  })

  test('that were allowed get it', async () => {
    const seen: (string | null)[] = []
    const given = room()
    const { auth } = given.another({
      origins: ['https://files.test'],
      fetch: async (_, init) => {
        seen.push(new Headers(init?.headers).get('authorization'))
        return Response.json({})
      },
    })
    await given.signIn()
    await settle()
    await auth.fetch('https://files.test/x')
    await auth.fetch('https://evil.files.test/x')
    expect(seen).toEqual([`Bearer ${given.inHand().access}`, null])
  })

  test('whose 401 came after a redirect says nothing of our token', async () => {
    const given = room()
    const { auth, told } = given.another({
      fetch: async (input, init) => {
        if (!String(input).endsWith('/away')) return given.backend.fetch(input, init)
        const answer = Response.json({ msg: 'Token has expired' }, { status: 401 })
        Object.defineProperty(answer, 'redirected', { value: true })
        Object.defineProperty(answer, 'url', { value: 'https://elsewhere.test/away' })
        return answer
      },
    })
    await given.signIn()
    told.length = 0
    expect((await auth.fetch('away')).status).toBe(401)
    expect(given.routes()).toEqual([])
    expect(told).toEqual([])
  })

  test('where a fetch leads by itself are home: what comes from there was no redirect', async () => {
    const inside = (response: Response, input: unknown): Response =>
      Object.defineProperty(response, 'url', { value: String(input).replace('api.test', 'api.internal') })
    const { auth, backend, signIn, routes } = room({
      client: { fetch: async (input, init) => inside(await backend.fetch(input, init), input) },
    })
    await signIn()
    backend.expireAccessTokens()
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(routes()).toEqual(['protected', 'refresh', 'protected'])
  })

  test.each([
    ['POST', 1],
    ['DELETE', 1],
    ['GET', 2],
    ['HEAD', 2],
    ['OPTIONS', 2],
  ])('an unsafe request that was redirected at home is not carried out twice: %s', async (method, sends) => {
    const given = room()
    let sent = 0
    const { auth } = given.another({
      fetch: async (input, init) => {
        if (!String(input).endsWith('/order')) return given.backend.fetch(input, init)
        sent++
        const answer = Response.json({ msg: 'Token has expired' }, { status: 401 })
        Object.defineProperty(answer, 'redirected', { value: true })
        Object.defineProperty(answer, 'url', { value: `${baseUrl}receipt` })
        return answer
      },
    })
    await given.signIn()
    await settle()
    expect((await auth.fetch('order', { method })).status).toBe(401)
    expect(sent).toBe(sends)
    expect(given.backend.count('refresh')).toBe(1)
  })
})

describe('7: two sends at the most', () => {
  test('a replay that is turned down comes back', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.fault('protected', { status: 401, body: { msg: 'Token has expired' } }, always)
    const response = await auth.fetch('protected', { method: 'POST', body: 'x' })
    expect([response.status, response.bodyUsed]).toEqual([401, false])
    expect(backend.count('protected')).toBe(2)
    expect(backend.count('refresh')).toBe(1)
  })

  test('a replay that asks for a password may be sent once more after it', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.expireAccessTokens()
    auth.on('reauthRequired', (event) =>
      event.waitUntil(auth.reauthenticate({ username: 'alice', password: 'wonderland' })),
    )
    expect((await auth.fetch('fresh', { method: 'POST', body: 'x' })).status).toBe(200)
    expect(backend.log.map(({ route }) => route)).toEqual(['fresh', 'refresh', 'fresh', 'login', 'fresh'])
  })

  test('2: a late 401, when the token in hand has run out too, is refreshed first', async () => {
    const { auth, backend, told, signIn, hold } = room()
    await signIn()
    backend.expireAccessTokens()
    const held = hold('protected')
    const late = auth.fetch('protected')
    await settle()
    await auth.fetch('optional')
    await pass(16 * minute)
    held.release()
    expect((await late).status).toBe(200)
    expect(backend.count('refresh')).toBe(2)
    expect(backend.count('protected')).toBe(2)
    expect(summary(told)).toEqual(['tokenRefreshed: rejected', 'tokenRefreshed: expired'])
  })
})

describe('an answer', () => {
  test('is looked into from 400 on', async () => {
    const seen: number[] = []
    const backend = {
      ...flaskJwt(),
      classify: ({ status }: Answer) => {
        seen.push(status)
        return status === 400 ? ('expired' as const) : ('other' as const)
      },
    }
    const { auth, backend: server, signIn, routes } = room({ client: { backend } })
    await signIn()
    for (const status of [200, 304, 399, 400]) {
      server.fault('protected', { status, body: status === 304 ? undefined : {} })
      await auth.fetch('protected')
    }
    expect(seen).toEqual([400])
    expect(routes().slice(-3)).toEqual(['protected', 'refresh', 'protected'])
  })

  test('without a body is an empty one for who classifies it, whatever its status', async () => {
    const seen: unknown[] = []
    const backend = {
      ...flaskJwt(),
      classify: ({ status, body, empty }: Answer) => {
        seen.push([status, body, empty])
        return 'other' as const
      },
    }
    const answers = [new Response(null, { status: 403 })]
    const fetch = async (): Promise<Response> => answers.shift() as Response
    const { auth } = room({ client: { backend, fetch } })
    await auth.setTokens({ accessToken: 'opaque' })
    await auth.fetch('protected')
    expect(seen).toEqual([[403, undefined, true]])
  })

  test('once there lets go of what was kept for a replay: who makes the body hears of it', async () => {
    const fetch = async (input: string | URL | Request): Promise<Response> => {
      // Settled once the copy is cancelled, too.
      void (input as Request).body?.cancel()
      return new Response()
    }
    const { auth } = room({ client: { fetch } })
    await auth.setTokens({ accessToken: 'opaque' })
    let cancelled = false
    const body = new ReadableStream({
      cancel() {
        cancelled = true
      },
    })
    const init = { method: 'POST', body, duplex: 'half' } as RequestInit
    await auth.fetch(new Request('https://api.test/items', init))
    await settle()
    expect(cancelled).toBe(true)
  })

  test('12: that says nothing of a token which has run out on the way is about the token', async () => {
    const { auth, backend, signIn, hold, routes } = room()
    await signIn()
    await pass(14.9 * minute)
    backend.fault('protected', { status: 401, body: { msg: 'Admin privilege required.' } })
    const held = hold('protected')
    const waiting = auth.fetch('protected')
    await pass(minute)
    held.release()
    expect((await waiting).status).toBe(200)
    expect(routes().filter((route) => route === 'protected')).toHaveLength(2)
  })

  // Stamps are whole seconds, so that a life is cut by one: by our clock the token is over, and by the server's not yet.
  test.each([
    ['is the application’s own', 'Admin privilege required.'],
    ['has found none', 'Missing Authorization Header'],
  ])('12: nor is the second that its life is cut by waited for: a 401 that %s', async (_, msg) => {
    const { auth, backend, signIn, hold, routes } = room({ client: { refreshAhead: false } })
    await signIn()
    await pass(14.9 * minute)
    backend.fault('protected', { status: 401, body: { msg } })
    const held = hold('protected')
    const waiting = auth.fetch('protected')
    await pass(5.5 * second)
    held.release()
    expect((await waiting).status).toBe(200)
    expect(routes()).toEqual(['protected', 'refresh', 'protected'])
  })

  test('12: and with no refresh token it is asked about', async () => {
    const { auth, backend, told, hold } = room()
    const { accessToken } = await backend.signIn('alice')
    await auth.setTokens({ accessToken })
    auth.on('reauthRequired', (event) => event.waitUntil(auth.reauthenticate(alice)))
    await pass(14.9 * minute)
    backend.fault('protected', { status: 401, body: { msg: 'Admin privilege required.' } })
    const held = hold('protected')
    const waiting = auth.fetch('protected')
    await pass(5.5 * second)
    told.length = 0
    held.release()
    expect((await waiting).status).toBe(200)
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'tokenRefreshed: reauthenticated'])
  })

  test('that is no 401 and says nothing of it is handed back, though it has run out on the way', async () => {
    const { auth, backend, signIn, hold } = room({ client: { refreshAhead: false } })
    await signIn()
    await pass(14.9 * minute)
    backend.fault('protected', { status: 403, body: { msg: 'Admin privilege required.' } })
    const held = hold('protected')
    const waiting = auth.fetch('protected')
    await pass(minute)
    held.release()
    expect((await waiting).status).toBe(403)
    expect(backend.count('refresh')).toBe(0)
  })
})

test('2: a 401 that comes after the same user has signed in anew is replayed with what that brought', async () => {
  const { auth, backend, signIn, hold, tokens, inHand } = room()
  await signIn()
  backend.expireAccessTokens()
  const held = hold('protected')
  const waiting = auth.fetch('protected')
  await settle()
  await auth.login(alice)
  held.release()
  expect((await waiting).status).toBe(200)
  expect(tokens('protected')[1]).toBe(inHand().access)
  expect(backend.count('refresh')).toBe(0)
})

test('11: a fresh token that runs out on its way is followed by the refreshed one beside it, for no refresh', async () => {
  const { auth, backend, signIn, hold, tokens, inHand } = room()
  await signIn()
  await pass(14 * minute)
  await auth.refresh()
  await pass(0.9 * minute)
  const held = hold('protected')
  backend.fault('protected', { status: 401, body: { msg: 'Token has expired' } })
  const waiting = auth.fetch('protected')
  await pass(minute)
  held.release()
  expect((await waiting).status).toBe(200)
  expect(tokens('protected')[1]).toBe(inHand().access)
  expect(backend.count('refresh')).toBe(1)
})

test('6: a 401 that comes after somebody else has signed in costs that one nothing', async () => {
  const { auth, backend, signIn, hold } = room()
  await signIn()
  backend.fault('protected', { status: 401, body: { msg: 'Token has expired' } })
  const held = hold('protected')
  const waiting = auth.fetch('protected')
  await settle()
  await auth.login(bob)
  held.release()
  expect((await waiting).status).toBe(401)
  expect(backend.count('refresh')).toBe(0)
})
