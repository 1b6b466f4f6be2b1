import { describe, expect, test, vi } from 'vitest'
import { type Auth, type Cell, createAuth, flaskJwt } from '../../src/index.ts'
import { type HandStore, handStore, jwt, mint, ok, serve } from './by-hand.ts'
import {
  alice,
  baseUrl,
  bob,
  deferred,
  hour,
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

const wrongBy: [string, number][] = [
  ['5 hours behind', 5 * hour],
  ['5 hours ahead', -5 * hour],
  ['40 days behind', 40 * 24 * hour],
  ['40 days ahead', -40 * 24 * hour],
]

describe.each(wrongBy)('12: a client whose clock is %s', (_, difference) => {
  test('refreshes as often as any other: once a life', async () => {
    const { auth, backend } = room({ client: { refreshAhead: false } })
    backend.advance(difference)
    await auth.login(alice)
    backend.clearLog()
    for (let minutes = 0; minutes < 60; minutes++) {
      expect((await auth.fetch('protected')).status).toBe(200)
      await pass(minute)
    }
    // None was sent with a token that had run out, and none was refreshed before it had to be.
    expect(backend.count('protected')).toBe(60)
    expect(backend.count('refresh')).toBe(3)
  })

  test('does not take a good token for an expired one, nor the reverse', async () => {
    const { auth, backend, routes } = room()
    backend.advance(difference)
    const session = await auth.login(alice)
    expect(session).toMatchObject({ fresh: true, status: 'active' })
    // By this machine's own clock, wrong as it is.
    expect(Math.abs((session.expiresAt ?? 0) - (Date.now() + 15 * minute))).toBeLessThanOrEqual(second)
    backend.clearLog()
    await pass(14.9 * minute)
    await auth.fetch('protected', { auth: 'fresh' })
    await pass(0.2 * minute)
    await auth.fetch('protected')
    await settle()
    expect(routes().filter((route) => route === 'protected')).toHaveLength(2)
    expect(backend.count('refresh')).toBe(1)
  })

  test('gets the age of a token right that comes long after the store was asked', async () => {
    const { auth, backend } = room()
    backend.advance(difference)
    await pass(10 * minute)
    const { expiresAt } = await auth.login(alice)
    expect(expiresAt).toBe(Date.now() + 15 * minute - second)
  })

  test('gets the age of a stored token right in another context', async () => {
    const { auth, backend, another, routes } = room()
    backend.advance(difference)
    await auth.login(alice)
    await pass(10 * minute)
    backend.clearLog()
    const { auth: other } = another()
    expect((await other.fetch('protected')).status).toBe(200)
    expect(routes()).toEqual(['protected'])
    await pass(6 * minute)
    expect((await other.fetch('protected')).status).toBe(200)
    expect(routes()).toEqual(['protected', 'refresh', 'protected'])
  })

  test('takes a token that was handed over for as old as it is, once it knows the server’s time', async () => {
    const { auth, backend } = room({ client: { refreshAhead: false } })
    backend.advance(difference)
    await auth.login(alice)
    await auth.setTokens(await backend.signIn('alice'))
    await pass(14 * minute)
    await auth.fetch('protected')
    expect(backend.count('refresh')).toBe(0)
    await pass(minute)
    await auth.fetch('protected')
    expect(backend.count('refresh')).toBe(1)
  })

  test('shows the same end of it in whichever context, and whenever that came', async () => {
    const { auth, another, backend } = room()
    backend.advance(difference)
    const { expiresAt } = await auth.login(alice)
    await pass(5 * minute)
    const { auth: other } = another()
    expect(other.session).toMatchObject({ expiresAt })
  })

  test('numeric freshness lasts as long as it should', async () => {
    const { auth, backend } = room({ server: { fresh: 5 * minute } })
    backend.advance(difference)
    await auth.login(alice)
    await pass(4.9 * minute)
    expect(auth.session).toMatchObject({ fresh: true })
    expect((await auth.fetch('fresh')).status).toBe(200)
    await pass(0.2 * minute)
    expect(auth.session).toMatchObject({ fresh: false })
  })
})

/** A store with a clock of its own, which nobody sets. */
function steadyStore(ahead = 0): HandStore {
  const begun = performance.now()
  return handStore(() => start + ahead + performance.now() - begun)
}

async function logOutWhileSetAhead(auth: Auth, store: HandStore): Promise<void> {
  const read = store.gate('read')
  const out = auth.logout()
  vi.setSystemTime(Date.now() + hour)
  read.open()
  await out
}

describe('12: a clock that is set', () => {
  test('back by hours changes nothing: a life is counted by what stands still for nobody', async () => {
    const { auth, backend, signIn, routes } = room({ client: { refreshAhead: false } })
    await signIn()
    await pass(5 * minute)
    vi.setSystemTime(Date.now() - 5 * hour)
    backend.advance(5 * hour)
    expect((await auth.fetch('protected')).status).toBe(200)
    await pass(11 * minute)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(routes()).toEqual(['protected', 'refresh', 'protected'])
    await pass(10 * minute)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(backend.count('refresh')).toBe(1)
  })

  test('back by hours does not make a cool-down last for hours', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await pass(16 * minute)
    backend.fault('refresh', { status: 429, headers: { 'retry-after': '60' } })
    await auth.fetch('protected').catch(() => {})
    vi.setSystemTime(Date.now() - 5 * hour)
    backend.advance(5 * hour)
    await pass(61 * second)
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('back by hours does not make a claim last for hours', async () => {
    const { auth, backend, signIn, another, hold } = room()
    await signIn()
    const { auth: other } = another()
    await pass(16 * minute)
    hold('refresh')
    const lost = auth.fetch('protected').catch(() => {})
    await settle()
    vi.setSystemTime(Date.now() - 5 * hour)
    backend.advance(5 * hour)
    await pass(20 * second)
    await lost
    expect((await other.fetch('protected')).status).toBe(200)
  })

  test('ahead by hours does not end the claim of another: 3: its refresh token is not sent beside it', async () => {
    const { auth, backend, signIn, another, hold } = room({ server: { refresh: 'rotating-reuse-detection' } })
    await signIn()
    const { auth: other } = another()
    const answer = hold('refresh')
    const first = auth.refresh()
    await settle()
    expect(answer.held()).toBe(true)
    vi.setSystemTime(Date.now() + hour)
    backend.advance(-hour)
    const second = other.refresh()
    await settle()
    answer.release()
    await Promise.all([first, second])
    expect(backend.count('refresh')).toBe(1)
    expect(backend.reuseDetected).toBe(0)
  })

  test('ahead by hours makes no login later than it was: 5: a logout that is called after it, elsewhere, stands', async () => {
    // Its time is not that of the clock that is set.
    const store = handStore(() => start + performance.now())
    const { auth, backend, another } = room({ client: { store } })
    await auth.login(alice)
    const { auth: other } = another()
    await other.ready
    vi.setSystemTime(Date.now() + hour)
    const { commit } = store
    store.commit = () => Promise.reject(new Error('out of order'))
    await other.setTokens(await backend.signIn('alice'))
    expect(other.session).toMatchObject({ version: 1 })
    store.commit = commit
    await pass(50)
    await auth.logout()
    await pass(minute)
    expect(store.record).toMatchObject({ ended: 'logout' })
    expect([auth.session, other.session]).toEqual([null, null])
  })

  test('ahead by an hour during a logout makes it no older: 5: a login of just before it, elsewhere, is over', async () => {
    const store = steadyStore()
    const { auth, another } = room({ client: { store } })
    await auth.login(alice)
    const { auth: other } = another()
    await other.login(bob)
    await pass(second)
    await logOutWhileSetAhead(auth, store)
    expect(store.record).toMatchObject({ ended: 'logout' })
  })

  test('by a sleep before a logout makes it no older, however late the store answers: 5: a login of before it is over', async () => {
    const store = handStore()
    let late = 0
    const read = async (): Promise<Cell> => {
      const cell = await store.read()
      if (late) await new Promise<void>((resolve) => void setTimeout(resolve, late))
      return cell
    }
    const { auth, another } = room({ client: { store: { ...store, read, watch: undefined } } })
    const { auth: other } = another({ store })
    await auth.ready
    vi.setSystemTime(Date.now() + hour)
    await other.login(bob)
    await pass(5 * second)
    late = 7 * second
    const out = auth.logout()
    await pass(8 * second)
    await out
    expect(store.record).toMatchObject({ ended: 'logout' })
  })

  test('by a sleep while the store is asked for the first time makes no logout later: a login meanwhile, elsewhere, stands', async () => {
    const store = handStore()
    const { auth: other, another } = room({ client: { store } })
    await other.login(alice)
    const reads = [store.gate('read'), store.gate('read')]
    const { auth } = another()
    const out = auth.logout()
    await settle()
    vi.setSystemTime(Date.now() + hour / 3)
    const { id } = await other.login(bob)
    vi.setSystemTime(Date.now() + (hour * 2) / 3)
    for (const read of reads) read.open()
    await out
    expect(store.record).toMatchObject({ id, subject: 'bob' })
  })

  test('ahead by an hour while the store is asked for the first time makes no logout older by as much: 5: a login of 50 minutes before is over', async () => {
    const store = steadyStore(5 * hour)
    const { auth: other, another } = room({ client: { store } })
    await other.login(bob)
    await pass(50 * minute)
    const { auth } = another()
    await logOutWhileSetAhead(auth, store)
    expect(store.record).toMatchObject({ ended: 'logout' })
  })

  test('by an hour’s sleep during a logout makes it no later: 5: a login meanwhile, elsewhere, stands', async () => {
    const store = handStore()
    const { auth, another } = room({ client: { store } })
    await auth.login(alice)
    const { auth: other } = another()
    await other.ready
    const read = store.gate('read')
    const out = auth.logout()
    vi.setSystemTime(Date.now() + hour / 3)
    const { id } = await other.login(bob)
    vi.setSystemTime(Date.now() + (hour * 2) / 3)
    read.open()
    await out
    expect(store.record).toMatchObject({ id, subject: 'bob' })
    expect(other.session).toMatchObject({ id, status: 'active' })
  })

  test('ahead by hours while a token is being written does not end it: a server is asked before a person is', async () => {
    const store = steadyStore()
    const { auth, backend, hold, told } = room({ client: { store }, server: { refresh: 'single-use' } })
    await auth.login(alice)
    backend.expireAccessTokens()
    const answer = hold('protected')
    const late = auth.fetch('protected')
    await settle()
    const exchange = hold('refresh')
    const prompt = auth.fetch('protected')
    await settle()
    const commit = store.gate('commit')
    exchange.release()
    await settle()
    expect(commit.reached()).toBe(true)
    vi.setSystemTime(Date.now() + hour)
    backend.advance(-hour)
    commit.open()
    expect((await prompt).status).toBe(200)
    answer.release()
    expect((await late).status).toBe(200)
    expect([backend.count('refresh'), summary(told)]).toEqual([
      2,
      expect.not.arrayContaining(['reauthRequired: session_expired']),
    ])
    expect(auth.session).toMatchObject({ status: 'active', version: 2 })
  })

  test('ahead by hours costs a refresh at the most, and no loop', async () => {
    const { auth, backend, told, signIn } = room()
    await signIn()
    await pass(5 * minute)
    vi.setSystemTime(Date.now() + 5 * hour)
    backend.advance(-5 * hour)
    for (const _ of times(10, () => 0)) {
      expect((await auth.fetch('protected')).status).toBe(200)
      await pass(10 * second)
    }
    // It may as well have been a sleep, which the other clock does not see.
    expect(backend.count('refresh')).toBeLessThanOrEqual(1)
    expect(told.filter(({ type }) => type === 'loggedOut' || type === 'refreshFailed')).toEqual([])
  })
})

describe('12: the server outranks the clock', () => {
  test('a token that it turns down before its time is refreshed', async () => {
    const { auth, backend, signIn, routes } = room()
    await signIn()
    backend.expireAccessTokens()
    await auth.fetch('protected')
    expect(routes()).toEqual(['protected', 'refresh', 'protected'])
  })

  test('a token that it takes after its time is not the client’s to know: it was refreshed', async () => {
    const { auth, backend, signIn } = room({ server: { leeway: hour } })
    await signIn()
    await pass(16 * minute)
    expect(await statuses(times(3, () => auth.fetch('protected')))).toEqual([200, 200, 200])
    expect(backend.count('refresh')).toBe(1)
  })

  test('a server whose own clock jumps ahead has its 401 answered with a refresh', async () => {
    const { auth, backend, told, signIn, routes } = room()
    await signIn()
    backend.advance(hour)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(routes()).toEqual(['protected', 'refresh', 'protected'])
    expect(summary(told)).toContain('tokenRefreshed: rejected')
  })
})

describe('15: timers are hints', () => {
  test('a life of months is no timer that fires at once', async () => {
    const { auth, backend, signIn } = room({
      server: { accessLifetime: 90 * 24 * hour, refreshLifetime: null },
    })
    await signIn()
    await pass(30 * 24 * hour)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(backend.count()).toBe(1)
    expect(auth.session?.expiresAt).toBeGreaterThan(Date.now() + 50 * 24 * hour)
  })

  test('a bound beyond 2^31 ms is a long one, not none', async () => {
    const { auth, signInStale } = room({ client: { reauthTimeout: 2 ** 33 } })
    await signInStale()
    let answered = false
    auth.on('reauthRequired', (event) => event.waitUntil(new Promise(() => {})))
    void auth.fetch('fresh').then(() => {
      answered = true
    })
    await pass(hour)
    expect(answered).toBe(false)
    await auth.logout()
    await settle()
    expect(answered).toBe(true)
  })

  test('nothing runs in the background', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await settle()
    expect(vi.getTimerCount()).toBe(0)
    await pass(24 * hour)
    expect(backend.count()).toBe(0)
    expect(auth.session).toMatchObject({ version: 1 })
  })
})

test('12: a login flow in which a person takes an hour tells of no skew', async () => {
  const { auth, backend, told } = room()
  await auth.login(async () => {
    await pass(60 * minute)
    const { accessToken, refreshToken } = await backend.signIn('alice')
    return Response.json({ access_token: accessToken, refresh_token: refreshToken })
  })
  expect(summary(told)).toEqual(['loggedIn: login'])
})

test('12: nor does one in which half a minute is taken add that to what the clock is off', async () => {
  const server = serve(() => ok({ access_token: mint('alice', { iat: Date.now() / 1000 + 20 }) }))
  const { auth, told } = room({ client: { fetch: server.fetch } })
  const login = auth.login(async ({ fetch }) => {
    await new Promise<void>((resolve) => void setTimeout(resolve, 28 * second))
    return fetch('login')
  })
  await pass(28 * second)
  await login
  expect(summary(told)).toEqual(['loggedIn: login'])
})

test('12: a machine that slept while it was signing in is not taken for a clock that is wrong', async () => {
  const held = deferred()
  const server = serve(async () => {
    const login = { access_token: mint('alice'), refresh_token: 'spare' }
    await held.promise
    return ok(login)
  })
  const { auth, told } = room({ client: { fetch: server.fetch } })
  const login = auth.login(alice)
  await settle()
  vi.setSystemTime(Date.now() + 8 * hour)
  held.resolve()
  await login
  expect(summary(told)).toEqual(['loggedIn: login'])
})

test('12: a clock that is set while a login is on its way costs it nothing', async () => {
  const body = deferred()
  const server = serve(async ({ path }) => {
    if (path !== '/login') return ok()
    vi.setSystemTime(Date.now() + 3_600_000)
    return new Response(
      new ReadableStream({
        async pull(controller) {
          await body.promise
          controller.enqueue(
            new TextEncoder().encode(JSON.stringify({ access_token: mint('alice'), refresh_token: 'spare' })),
          )
          controller.close()
        },
      }),
      { headers: { 'content-type': 'application/json' } },
    )
  })
  const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: server.fetch })
  const login = auth.login(alice).catch((error) => error)
  await pass(100)
  body.resolve()
  await pass(100)
  expect(await login).toMatchObject({ subject: 'alice' })
  expect(server.tokens('/logout')).toEqual([])
})

test('12: how long an opaque token lasts that was set is the same for who reads it later', async () => {
  const { auth, another } = room({ client: { store: handStore() } })
  await auth.setTokens({ accessToken: 'opaque', refreshToken: 'spare', expiresIn: 900 })
  await pass(10 * minute)
  const { auth: other } = another()
  await other.ready
  expect(other.session?.expiresAt).toBe(start + 15 * minute)
})

test('a token that ends after all dates ends at the last of them', async () => {
  const { auth } = room()
  await auth.setTokens({ accessToken: jwt({ sub: 'alice', iat: 1, exp: 1e300 }) })
  expect(new Date(auth.session?.expiresAt ?? Number.NaN).getTime()).toBe(8.64e15)
})

test('12: a token that is set tells by itself since when it lasts, if it can', async () => {
  const { auth } = room()
  const iat = start / 1000 - 600
  await auth.setTokens({ accessToken: jwt({ sub: 'alice', iat, exp: iat + 900 }), expiresIn: 900 })
  expect(auth.session?.expiresAt).toBeLessThanOrEqual(start + 300 * second)
})

test('12: a stamp beyond all numbers is no clock', async () => {
  const { auth, told } = room({
    client: { fetch: serve(() => ok({ access_token: mint('alice', { iat: 1e308, exp: 1e308 }) })).fetch },
  })
  await auth.login(alice)
  expect(summary(told)).toEqual(['loggedIn: login'])
  await auth.setTokens({ accessToken: mint('alice') })
  expect((auth.session?.expiresAt ?? 0) > Date.now()).toBe(true)
})
