/** When a refresh happens, how often, and what comes of one that fails. */
import { describe, expect, test, vi } from 'vitest'
import { flaskJwt, isAuthError, type LiveRecord, memoryStore, type StoreRecord } from '../../src/index.ts'
import { handStore, mint, ok, serve } from './by-hand.ts'
import {
  alice,
  bob,
  type Client,
  deferred,
  failure,
  hour,
  isPending,
  minute,
  pass,
  type Room,
  type RoomOptions,
  reported,
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

describe('11: a valid token never waits', () => {
  test('the fetch beneath is called in the same tick', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    const response = auth.fetch('protected')
    expect(backend.count('protected')).toBe(1)
    await response
  })

  test('inside refreshAhead the request goes out at once, and the refresh runs beside it', async () => {
    const { auth, backend, signIn, hold, inHand, tokens } = room()
    await signIn()
    const { access } = inHand()
    await pass(14 * minute + second)
    const held = hold('refresh')
    const responses = times(5, () => auth.fetch('protected'))
    expect(backend.count('protected')).toBe(5)
    expect(await statuses(responses)).toEqual(times(5, () => 200))
    expect(new Set(tokens('protected'))).toEqual(new Set([access]))
    expect(backend.count('refresh')).toBe(1)
    held.release()
    await settle()
    expect(auth.session).toMatchObject({ version: 2 })
  })

  test('outside of it nothing is refreshed', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    // A second less than the whole life is believed; see invariant 12.
    await pass(14 * minute - 3 * second)
    await auth.fetch('protected')
    await settle()
    expect(backend.count('refresh')).toBe(0)
  })

  test('refreshAhead is at most half of a life', async () => {
    const { auth, backend, signIn } = room({ server: { accessLifetime: minute } })
    await signIn()
    await pass(28 * second)
    await auth.fetch('protected')
    await settle()
    expect(backend.count('refresh')).toBe(0)
    await pass(4 * second)
    await auth.fetch('protected')
    await settle()
    expect(backend.count('refresh')).toBe(1)
  })

  test('refreshAhead: false refreshes at the end, and not before', async () => {
    const { auth, backend, signIn, routes } = room({ client: { refreshAhead: false } })
    await signIn()
    await pass(15 * minute - 2 * second)
    await auth.fetch('protected')
    await settle()
    expect(backend.count('refresh')).toBe(0)
    await pass(3 * second)
    await auth.fetch('protected')
    expect(routes()).toEqual(['protected', 'refresh', 'protected'])
  })

  test('refreshAhead: false refreshes at the end a token that is not fresh, too', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.1)
    const { auth, backend, signInStale } = room({ client: { refreshAhead: false } })
    await signInStale()
    await pass(14 * minute)
    await auth.fetch('protected')
    await settle()
    expect(backend.count('refresh')).toBe(0)
  })

  test('a refresh ahead that fails is nobody’s failure, and is not repeated with every request', async () => {
    const { auth, backend, told, signIn } = room()
    await signIn()
    await pass(14 * minute + second)
    backend.fault('refresh', { status: 500 }, { times: Number.POSITIVE_INFINITY })
    for (const _ of times(20, () => 0)) {
      expect((await auth.fetch('protected')).status).toBe(200)
      await settle()
    }
    expect(backend.count('refresh')).toBe(1)
    expect(summary(told)).toEqual(['refreshFailed: status'])
    await pass(10 * second)
    backend.clearFaults()
    await auth.fetch('protected')
    await settle()
    expect(auth.session).toMatchObject({ version: 2 })
  })

  test('a refresh ahead that hangs holds no request up', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await pass(14 * minute + second)
    backend.fault('refresh', 'hang')
    expect(await statuses(times(5, () => auth.fetch('protected')))).toEqual(times(5, () => 200))
    await pass(10 * second)
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('a refresh ahead that is refused signs nobody out while the token works', async () => {
    const { auth, backend, told, signIn, inHand } = room()
    await signIn()
    backend.revoke(inHand().refresh)
    await pass(14 * minute + second)
    expect((await auth.fetch('protected')).status).toBe(200)
    await settle()
    expect((await auth.fetch('protected')).status).toBe(200)
    expect([auth.session?.status, told.length, backend.count('refresh')]).toEqual(['active', 0, 1])
  })

  test('14: inside refreshAhead a stream waits for the refresh, for it can go out once', async () => {
    const { auth, backend, told, signInStale, hold, inHand, tokens } = room()
    await signInStale()
    await pass(14.5 * minute)
    const held = hold('refresh')
    const init = { method: 'POST', body: new Blob(['once']).stream(), duplex: 'half' }
    const response = auth.fetch('protected', init)
    expect(await isPending(response)).toBe(true)
    expect(backend.count('protected')).toBe(0)
    held.release()
    expect((await response).status).toBe(200)
    expect(tokens('protected')).toEqual([inHand().access])
    expect(summary(told)).toEqual(['tokenRefreshed: ahead'])
  })

  test('14: a stream goes out with the valid token if that refresh fails', async () => {
    const { auth, backend, signInStale, inHand, tokens } = room()
    await signInStale()
    const { access } = inHand()
    await pass(14.5 * minute)
    backend.fault('refresh', { status: 500 })
    const init = { method: 'POST', body: new Blob(['once']).stream(), duplex: 'half' }
    expect((await auth.fetch('protected', init)).status).toBe(200)
    expect(tokens('protected')).toEqual([access])
  })
})

describe('11: refreshing ahead never costs freshness', () => {
  test('a fresh token stays in use to its own end; the refreshed one takes over then', async () => {
    const { auth, backend, signIn, inHand, tokens } = room()
    await signIn()
    const { access: fresh } = inHand()
    await pass(14.5 * minute)
    await auth.fetch('fresh')
    await settle()
    const { access: refreshed } = inHand()
    expect(refreshed).not.toBe(fresh)
    expect(auth.session).toMatchObject({ version: 2, fresh: true })
    await pass(20 * second)
    expect((await auth.fetch('fresh', { auth: 'fresh' })).status).toBe(200)
    await pass(20 * second)
    expect(auth.session).toMatchObject({ version: 2, fresh: false })
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(tokens('fresh')).toEqual([fresh, fresh])
    expect(tokens('protected')).toEqual([refreshed])
    expect(backend.count('refresh')).toBe(1)
  })

  test('a token that is fresh until a time keeps it, refreshed or not', async () => {
    // The refreshed one is not due again within this test.
    vi.spyOn(Math, 'random').mockReturnValue(0.99)
    const { auth, backend, signIn } = room({ server: { accessLifetime: minute, fresh: 45 * second } })
    await signIn()
    await pass(35 * second)
    await auth.fetch('protected')
    await settle()
    expect(auth.session).toMatchObject({ version: 2, fresh: true })
    await pass(5 * second)
    expect((await auth.fetch('fresh', { auth: 'fresh' })).status).toBe(200)
    await pass(10 * second)
    expect(auth.session).toMatchObject({ fresh: false })
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(backend.count('refresh')).toBe(1)
  })

  test('a fresh token that the server turns down, and the refreshed one beside it: a call does not pay for both', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await auth.refresh()
    backend.expireAccessTokens()
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(auth.session).toMatchObject({ fresh: false })
    backend.clearLog()
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(backend.count()).toBe(1)
  })

  test('where refreshing spends what is not replaced, nothing is refreshed ahead', async () => {
    const { auth, backend, signIn } = room({
      server: { refresh: 'single-use' },
      preset: { refreshToken: 'single-use' },
    })
    await signIn()
    await pass(14.9 * minute)
    await auth.fetch('protected')
    await settle()
    expect(backend.count('refresh')).toBe(0)
  })
})

describe('16: no herd', () => {
  test('the first refresh of a token that is not fresh is drawn over its life; later ones keep their distance', async () => {
    const random = vi.spyOn(Math, 'random').mockReturnValue(0.25)
    const { auth, backend, signInStale } = room()
    await signInStale()
    // A tenth, and a quarter of the rest, of the 14 minutes (less a second) that lie before refreshAhead.
    await pass(4.4 * minute)
    await auth.fetch('protected')
    await settle()
    expect(backend.count('refresh')).toBe(0)
    await pass(0.2 * minute)
    await auth.fetch('protected')
    await settle()
    expect(backend.count('refresh')).toBe(1)
    for (const round of [2, 3]) {
      random.mockReturnValue(0.01)
      await pass(13.9 * minute)
      await auth.fetch('protected')
      await settle()
      expect(backend.count('refresh')).toBe(round - 1)
      await pass(0.2 * minute)
      await auth.fetch('protected')
      await settle()
      expect(backend.count('refresh')).toBe(round)
    }
  })

  test('a token that has only come is not refreshed, whatever is drawn', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0)
    const { auth, backend, signInStale } = room()
    await signInStale()
    await pass(1.3 * minute)
    await auth.fetch('protected')
    await settle()
    expect(backend.count('refresh')).toBe(0)
    await pass(0.2 * minute)
    await auth.fetch('protected')
    await settle()
    expect(backend.count('refresh')).toBe(1)
  })

  test('clients that signed in together do not refresh together', async () => {
    let next = 0
    vi.spyOn(Math, 'random').mockImplementation(() => (next++ % 10) / 10)
    const rooms = times(10, () => room())
    for (const { signInStale } of rooms) await signInStale()
    const at: number[] = []
    for (let time = 0; time < 14; time++) {
      for (const [index, { auth, backend }] of rooms.entries()) {
        await auth.fetch('protected')
        await settle()
        if (at[index] === undefined && backend.count('refresh')) at[index] = time
      }
      await pass(minute)
    }
    expect(new Set(at).size).toBeGreaterThanOrEqual(8)
  })
})

describe('16: no herd, after an outage', () => {
  test('clients that came back together draw their next refresh anew', async () => {
    const random = vi.spyOn(Math, 'random').mockReturnValue(0.999)
    const { auth, backend, signInStale } = room()
    await signInStale()
    await pass(15 * minute)
    backend.fault('refresh', { status: 500 })
    await failure(auth.fetch('protected'))
    random.mockReturnValue(0.25)
    await auth.fetch('protected')
    expect(backend.count('refresh')).toBe(2)
    // A tenth, and a quarter of the rest, of the 14 minutes (less a second) that lie before refreshAhead.
    await pass(4.4 * minute)
    await auth.fetch('protected')
    await settle()
    expect(backend.count('refresh')).toBe(2)
    await pass(0.2 * minute)
    await auth.fetch('protected')
    await settle()
    expect(backend.count('refresh')).toBe(3)
    // From then on they keep their distance.
    await pass(13.8 * minute)
    await auth.fetch('protected')
    await settle()
    expect(backend.count('refresh')).toBe(3)
  })
})

describe('13: no refresh loop', () => {
  const always = { times: Number.POSITIVE_INFINITY }
  const turnedDown = { status: 401, body: { msg: 'Token has expired' } }

  test('a server that turns down every token it gives draws a bounded number of exchanges', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.fault('protected', turnedDown, always)
    for (let time = 0; time < 29; time++) {
      expect(await statuses(times(10, () => auth.fetch('protected')))).toEqual(times(10, () => 401))
      await pass(second)
    }
    expect(backend.count('refresh')).toBeLessThanOrEqual(5)
    expect(backend.count('refresh')).toBeGreaterThan(0)
    expect(auth.session).toMatchObject({ status: 'active' })
  })

  test('a request whose token is valid is never failed by it', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.fault('protected', turnedDown, always)
    for (let time = 0; time < 20; time++) {
      await auth.fetch('protected')
      expect((await auth.fetch('optional')).status).toBe(200)
      await pass(100)
    }
    expect(backend.count('refresh')).toBe(5)
  })

  test('what is handed back then is the server’s own 401, and no error', async () => {
    const { auth, backend, signIn } = room({ client: { refreshLimit: { exchanges: 1, interval: minute } } })
    await signIn()
    backend.fault('protected', turnedDown, always)
    await auth.fetch('protected')
    const response = await auth.fetch('protected')
    expect([response.status, response.bodyUsed]).toEqual([401, false])
    expect(await response.json()).toEqual({ msg: 'Token has expired' })
    expect(backend.count('refresh')).toBe(1)
  })

  test('after the interval it is tried again', async () => {
    const { auth, backend, signIn } = room({
      client: { refreshLimit: { exchanges: 2, interval: 10 * second } },
    })
    await signIn()
    backend.fault('protected', turnedDown, always)
    for (const _ of times(5, () => 0)) await auth.fetch('protected')
    expect(backend.count('refresh')).toBe(2)
    backend.clearFaults()
    backend.expireAccessTokens()
    await pass(11 * second)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(backend.count('refresh')).toBe(3)
  })

  test('refreshes that the application asks for count too, and fail with the time to wait for', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    for (const _ of times(5, () => 0)) await auth.refresh()
    const error = await failure(auth.refresh())
    if (!isAuthError(error, 'refresh_unavailable')) throw error
    expect(error.retryAt - Date.now()).toBeGreaterThan(0)
    expect(error.retryAt - Date.now()).toBeLessThanOrEqual(30 * second)
    expect(backend.count('refresh')).toBe(5)
    expect((await auth.fetch('protected')).status).toBe(200)
    await pass(error.retryAt - Date.now())
    await auth.refresh()
    expect(backend.count('refresh')).toBe(6)
  })

  test('opaque tokens that tell no life count all', async () => {
    const { auth, backend } = room()
    let count = 0
    backend.fault('protected', turnedDown, always)
    const { refreshToken } = await backend.signIn('alice')
    await auth.setTokens({ accessToken: 'opaque', refreshToken })
    for (; count < 12; count++) {
      backend.fault('refresh', { status: 200, body: { access_token: `opaque-${count}` } })
      await auth.fetch('protected')
    }
    expect(backend.count('refresh')).toBe(5)
  })

  test('a token that was used for half of its life may be refreshed, however many were not', async () => {
    const { auth, backend, signIn } = room({ client: { refreshLimit: { exchanges: 1, interval: hour } } })
    await signIn()
    await auth.refresh()
    expect(await failure(auth.refresh())).toMatchObject({ code: 'refresh_unavailable' })
    await pass(8 * minute)
    await auth.refresh()
    expect(backend.count('refresh')).toBe(2)
  })

  test('what the store keeps of it does not grow', async () => {
    const { auth, signIn, store } = room()
    await signIn()
    for (let time = 0; time < 5; time++) {
      for (const _ of times(3, () => 0)) await auth.refresh()
      await pass(31 * second)
    }
    expect((store.read() as { record: LiveRecord }).record.begun).toHaveLength(3)
  })

  test('what was written before the clock was set back counts no more', async () => {
    const { auth, backend, signIn, store } = room({
      client: { refreshLimit: { exchanges: 1, interval: hour } },
    })
    await signIn()
    const { record } = store.read() as { record: LiveRecord }
    const begun = [Date.now() + 10 * minute]
    await store.commit?.({ ...record, begun, revision: 'ahead' }, record.revision)
    await auth.refresh()
    expect(backend.count('refresh')).toBe(1)
  })

  test('tokens that live for seconds are refreshed as they need to be, however often that is', async () => {
    const { auth, backend, signIn } = room({ server: { accessLifetime: 2 * second } })
    await signIn()
    for (let time = 0; time < 30; time++) {
      expect((await auth.fetch('protected')).status).toBe(200)
      await pass(2.1 * second)
    }
    expect(backend.count('refresh')).toBeGreaterThanOrEqual(29)
  })
})

describe('4: a cool-down', () => {
  const down = { times: Number.POSITIVE_INFINITY }

  test('grows from the second failure in a row: 1 s, 2 s, … 30 s', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await pass(16 * minute)
    backend.fault('refresh', { status: 500 }, down)
    const pauses: number[] = []
    for (const round of times(9, (index) => index + 1)) {
      const error = await failure(auth.fetch('protected'))
      if (!isAuthError(error, 'refresh_unavailable')) throw error
      expect(backend.count('refresh')).toBe(round)
      pauses.push(error.retryAt - Date.now())
      await pass(error.retryAt - Date.now())
    }
    expect(pauses).toEqual([0, 1, 2, 4, 8, 16, 30, 30, 30].map((pause) => pause * second))
  })

  test('fails what needs a refresh at once, with the time to wait for, and sends nothing', async () => {
    const { auth, backend, told, signIn } = room()
    await signIn()
    await pass(16 * minute)
    backend.fault('refresh', { status: 500 }, { times: 2 })
    await failure(auth.fetch('protected'))
    await failure(auth.fetch('protected'))
    const until = Date.now() + second
    for (const wait of [0, 400, 500]) {
      await pass(wait)
      for (const error of await Promise.all(times(5, () => failure(auth.fetch('protected'))))) {
        expect(error).toMatchObject({ code: 'refresh_unavailable', retryAt: until })
      }
      expect(await failure(auth.getAccessToken())).toMatchObject({ retryAt: until })
    }
    expect(backend.count()).toBe(2)
    expect(told).toHaveLength(2)
    await pass(101)
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('begins anew after a success', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    for (const _ of [1, 2, 3]) {
      await pass(16 * minute)
      backend.fault('refresh', { status: 500 })
      const error = await failure(auth.fetch('protected'))
      expect(error).toMatchObject({ code: 'refresh_unavailable', retryAt: Date.now() })
      expect((await auth.fetch('protected')).status).toBe(200)
    }
  })

  test('is seen by another context', async () => {
    const { auth, backend, signIn, another } = room()
    await signIn()
    await pass(16 * minute)
    backend.fault('refresh', { status: 429, headers: { 'retry-after': '100' } })
    const { auth: other } = another()
    const first = await failure(auth.fetch('protected'))
    await pass(second)
    const second_ = await failure(other.fetch('protected'))
    if (!isAuthError(first, 'refresh_unavailable') || !isAuthError(second_, 'refresh_unavailable'))
      throw first
    expect(Math.abs(second_.retryAt - first.retryAt)).toBeLessThanOrEqual(1)
    expect(backend.count('refresh')).toBe(1)
    await pass(100 * second)
    expect((await other.fetch('protected')).status).toBe(200)
  })

  test('does not fail a request whose token is valid', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.fault('refresh', { status: 500 }, down)
    for (const _ of [1, 2, 3]) await failure(auth.refresh())
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(backend.count('refresh')).toBe(2)
  })

  test('a Retry-After that is a date is read by the server’s own clock', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await pass(16 * minute)
    const there = Date.now() + 5 * hour
    backend.fault('refresh', {
      status: 503,
      headers: { date: new Date(there).toUTCString(), 'retry-after': new Date(there + minute).toUTCString() },
    })
    expect(await failure(auth.fetch('protected'))).toMatchObject({ retryAt: Date.now() + minute })
  })

  test.each(['soon', '-5', '-40', '5 minutes', '40,5', '45;', '45 jan', ''])(
    'heeds no Retry-After of "%s"',
    async (value) => {
      const { auth, backend, signIn } = room()
      await signIn()
      backend.fault('refresh', { status: 500, headers: { 'retry-after': value } })
      expect(await failure(auth.refresh())).toMatchObject({ retryAt: start })
    },
  )

  test('heeds a Retry-After in parts of a second, and takes it for no year', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.fault('refresh', { status: 500, headers: { 'retry-after': '45.5' } })
    expect(await failure(auth.refresh())).toMatchObject({ retryAt: start + 45.5 * second })
  })

  test('is none after a Retry-After of 0, though it is the second failure', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.fault('refresh', { status: 500, headers: { 'retry-after': '0' } }, { times: 2 })
    await failure(auth.refresh())
    expect(await failure(auth.refresh())).toMatchObject({ retryAt: start })
  })

  test.each([
    // Without a zone it is a date where we are; the day after will do.
    ['asctime(), which HTTP still allows', 'Sat Jan 16 08:00:00 2027'],
    ['ISO 8601, which it never did', '2027-01-16T08:00:00Z'],
  ])('heeds a Retry-After in the form of %s', async (_, date) => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.fault('refresh', { status: 500, headers: { 'retry-after': date } })
    expect(await failure(auth.refresh())).toMatchObject({ retryAt: start + hour })
  })

  test('is not begun by a failure that comes after a password', async () => {
    const { auth, backend, told, signIn, hold } = room()
    await signIn()
    backend.fault('refresh', { status: 500, headers: { 'retry-after': '60' } })
    const held = hold('refresh')
    const late = auth.refresh()
    await settle()
    await auth.reauthenticate(alice)
    held.release()
    expect(await late).toMatchObject({ version: 2 })
    expect(await auth.refresh()).toMatchObject({ version: 3 })
    expect(summary(told)).toEqual(['tokenRefreshed: reauthenticated', 'tokenRefreshed: requested'])
  })

  test('ends with a password', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await pass(16 * minute)
    backend.fault('refresh', { status: 429, headers: { 'retry-after': '3000' } })
    await failure(auth.fetch('protected'))
    await auth.reauthenticate({ username: 'alice', password: 'wonderland' })
    expect((await auth.fetch('protected')).status).toBe(200)
    await pass(16 * minute)
    expect((await auth.fetch('protected')).status).toBe(200)
  })
})

describe('4: inside an exchange', () => {
  test.each([429, 503])(
    '%i is tried again, with growing pauses, as long as the bound allows',
    async (status) => {
      const { auth, backend, told, signIn } = room()
      await signIn()
      await pass(16 * minute)
      backend.fault('refresh', { status }, { times: Number.POSITIVE_INFINITY })
      const outcome = failure(auth.fetch('protected'))
      await pass(8 * second)
      expect(await outcome).toMatchObject({ code: 'refresh_unavailable' })
      const at = backend.log.map(({ time }) => time)
      expect(at.length).toBeGreaterThan(3)
      expect(at.length).toBeLessThan(10)
      expect((at.at(-1) ?? 0) - (at[0] ?? 0)).toBeLessThanOrEqual(8 * second)
      // However many tries, it is one exchange that failed.
      expect(summary(told)).toEqual(['refreshFailed: status'])
    },
  )

  test.each([500, 502, 504, 408, 404, 403, 400])('%i is not tried again', async (status) => {
    const { auth, backend, signIn } = room()
    await signIn()
    await pass(16 * minute)
    backend.fault('refresh', { status }, { times: Number.POSITIVE_INFINITY })
    const outcome = failure(auth.fetch('protected'))
    await pass(8 * second)
    expect(await outcome).toMatchObject({ code: 'refresh_unavailable' })
    expect(backend.count('refresh')).toBe(1)
    expect(auth.session).toMatchObject({ status: 'active' })
  })

  test.each([
    [0, 125],
    [0.5, 187.5],
  ])('the first pause is drawn between an eighth and a quarter of a second: %d', async (drawn, wait) => {
    const { auth, backend, signIn } = room()
    await signIn()
    vi.spyOn(Math, 'random').mockReturnValue(drawn)
    backend.fault('refresh', { status: 503 })
    const refreshed = auth.refresh()
    await pass(wait - 1)
    expect(backend.count('refresh')).toBe(1)
    await pass(2)
    expect(backend.count('refresh')).toBe(2)
    await refreshed
  })

  test('3: a refusal is one whatever its status: the token is not sent again', async () => {
    const backend = { ...flaskJwt(), refused: () => true }
    const { auth, signIn, tokens, backend: server } = room({ client: { backend } })
    await signIn()
    server.fault('refresh', { status: 503 })
    await auth.refresh()
    await pass(8 * second)
    expect(tokens('refresh')).toHaveLength(1)
  })

  test('a Retry-After that leaves no time for another try is not waited for', async () => {
    const { auth, backend, told } = room()
    await auth.setTokens(await backend.signIn('alice'))
    backend.fault('refresh', { status: 503, headers: { 'retry-after': '8' } })
    expect(await failure(auth.refresh())).toMatchObject({ code: 'refresh_unavailable' })
    expect(told.at(-1)).toMatchObject({ reason: 'status', status: 503, retryAt: Date.now() + 8 * second })
  })

  test('a try that was answered at once leaves time for another, however late it is', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.fault('refresh', { status: 503, headers: { 'retry-after': '4' } })
    backend.fault('refresh', { status: 503 })
    const refreshed = auth.refresh()
    await pass(8 * second)
    expect(await refreshed).toMatchObject({ version: 2 })
    expect(backend.count('refresh')).toBe(3)
  })

  test('3: a page that slept before the next try sends nothing more: its claim may have run out', async () => {
    const { auth, backend, told, signIn, tokens } = room()
    await signIn()
    backend.fault('refresh', { status: 503, headers: { 'retry-after': '2' } })
    const outcome = failure(auth.refresh())
    await pass(second)
    vi.setSystemTime(Date.now() + hour)
    await pass(second)
    expect(await outcome).toMatchObject({ code: 'refresh_unavailable' })
    expect(tokens('refresh')).toHaveLength(1)
    expect(told).toMatchObject([{ type: 'refreshFailed', reason: 'timeout' }])
  })

  test('5: a logout before the next try ends it, and nothing is told to have failed', async () => {
    const { auth, backend, told, signIn, tokens } = room()
    await signIn()
    backend.fault('refresh', { status: 503, headers: { 'retry-after': '2' } })
    const outcome = auth.refresh()
    await pass(second)
    await auth.logout()
    await pass(8 * second)
    expect(await outcome).toBeNull()
    expect(tokens('refresh')).toHaveLength(1)
    expect(summary(told)).toEqual(['loggedOut: logout'])
  })

  test('5: one that fails after a logout is not told to have failed, though the logout is still being written', async () => {
    const store = handStore()
    const { auth, backend, told, hold } = room({ client: { store } })
    await auth.login(alice)
    told.length = 0
    backend.fault('refresh', { status: 500 })
    const held = hold('refresh')
    const outcome = auth.refresh().catch(() => {})
    await settle()
    const writing = store.gate('commit')
    const done = auth.logout()
    await settle()
    held.release()
    await outcome
    expect(summary(told)).toEqual(['loggedOut: logout'])
    writing.open()
    await done
  })

  test('a try that hangs after another one ends with refreshTimeout of both', async () => {
    let calls = 0
    const { backend, auth, told } = room({
      client: {
        fetch: async () => {
          if (++calls > 1) return new Promise<Response>(() => {})
          return new Response(null, { status: 503, headers: { 'retry-after': '5' } })
        },
      },
    })
    await auth.setTokens(await backend.signIn('alice'))
    told.length = 0
    const outcome = failure(auth.refresh())
    await pass(7.9 * second)
    expect([calls, await isPending(outcome)]).toEqual([2, true])
    await pass(0.2 * second)
    expect(await outcome).toMatchObject({ code: 'refresh_unavailable' })
    expect(told).toMatchObject([{ reason: 'timeout' }])
  })

  /** A client, and what its fetch beneath was told of one endpoint, which hangs or answers. */
  async function watched(path: string, hangs: boolean) {
    const given: RequestInit[] = []
    const server = room()
    const { auth } = room({
      client: {
        fetch: (input, init) => {
          if (!String(input).endsWith(path)) return server.backend.fetch(input, init)
          given.push(init ?? {})
          return hangs ? new Promise<Response>(() => {}) : server.backend.fetch(input, init)
        },
      },
    })
    await auth.setTokens(await server.backend.signIn('alice'))
    return { auth, given }
  }

  test('the fetch beneath is told when the bound is reached, and when nothing more is wanted of it', async () => {
    const { auth, given } = await watched('/refresh', true)
    const outcome = failure(auth.refresh())
    await pass(7.9 * second)
    expect(given[0]?.signal?.aborted).toBe(false)
    // In the same turn: an answer that comes just after it would be lost.
    vi.advanceTimersByTime(0.2 * second)
    expect(given[0]?.signal?.aborted).toBe(true)
    await outcome
    const answered = await watched('/refresh', false)
    await answered.auth.refresh()
    expect(answered.given[0]?.signal?.aborted).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('10: a revocation that hangs ends with the same bound, and outlives the page', async () => {
    const { auth, given } = await watched('/logout', true)
    const done = auth.logout()
    await pass(7.9 * second)
    expect(given).toMatchObject([{ keepalive: true }, { keepalive: true }])
    expect(given.map(({ signal }) => signal?.aborted)).toEqual([false, false])
    expect(await isPending(done)).toBe(true)
    await pass(0.2 * second)
    expect(given.map(({ signal }) => signal?.aborted)).toEqual([true, true])
    await done
    const answered = await watched('/logout', false)
    await answered.auth.logout()
    expect(vi.getTimerCount()).toBe(0)
  })

  test('a backend that fails is no network that does', async () => {
    reported()
    const backend = {
      ...flaskJwt(),
      refresh: () => {
        throw new Error('mine')
      },
    }
    const { auth, told, signIn } = room({ client: { backend } })
    await signIn()
    await failure(auth.refresh())
    expect(told).toMatchObject([{ type: 'refreshFailed', reason: 'bad_answer' }])
  })

  test('a backend that gives a refresh token alone has given nothing: the session is kept', async () => {
    const backend = { ...flaskJwt(), tokens: () => ({ refreshToken: 'alone' }) }
    const { auth, told, backend: server } = room({ client: { backend } })
    await auth.setTokens(await server.signIn('alice'))
    told.length = 0
    expect(await failure(auth.refresh())).toMatchObject({ code: 'refresh_unavailable' })
    expect(told).toMatchObject([{ type: 'refreshFailed', reason: 'bad_answer', status: 200 }])
    expect(auth.session).toMatchObject({ version: 1 })
  })

  test('4: a refusal that comes with a 200 is one, if the backend says so; a page is none, and no waiter gets it', async () => {
    const page = new Response('<h1>Sign in</h1>', { headers: { 'content-type': 'text/html' } })
    const said = Response.json({ errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] })
    const answers = [page, said]
    const backend = { ...flaskJwt(), refused: () => true }
    const initial = { refreshToken: 'refresh' }
    const { auth, told } = room({
      client: { backend, initial, fetch: async () => answers.shift() ?? ok({}) },
    })
    expect(await failure(auth.fetch('protected'))).toMatchObject({ code: 'refresh_unavailable' })
    expect(auth.session).toMatchObject({ status: 'active' })
    expect(await failure(auth.fetch('protected'))).toMatchObject({ code: 'session_changed' })
    expect(summary(told)).toEqual([
      'refreshFailed: bad_answer',
      'reauthRequired: session_expired',
      'loggedOut: session_expired',
    ])
  })

  test('what is wrong with a token is told in the cause', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.fault('refresh', { status: 200, body: { access_token: 'a b' } })
    const { cause } = await failure(auth.refresh())
    expect(cause).toMatchObject({
      message: 'the refresh answer.accessToken takes a b64token (RFC 6750 section 2.1), got string',
    })
  })

  test('a hanging exchange ends with refreshTimeout, though the fetch beneath heeds no signal', async () => {
    const { backend } = room()
    const deaf = deferred<Response>()
    const { auth: other, told } = room({
      client: {
        refreshTimeout: 3 * second,
        initial: { accessToken: (await backend.signIn('alice')).accessToken, refreshToken: 'refresh' },
        fetch: () => deaf.promise,
      },
    })
    await pass(16 * minute)
    const outcome = failure(other.fetch('protected'))
    await pass(2.9 * second)
    expect(await isPending(outcome)).toBe(true)
    await pass(0.2 * second)
    expect(await outcome).toMatchObject({ code: 'refresh_unavailable' })
    expect(summary(told)).toEqual(['refreshFailed: timeout'])
  })

  test('10: a refreshTimeout of 0 leaves no time: nothing is sent, and nothing waited for', async () => {
    const { auth, backend, store, told } = room({ client: { refreshTimeout: 0 } })
    await auth.setTokens(await backend.signIn('alice'))
    expect(await failure(auth.refresh())).toMatchObject({ code: 'refresh_unavailable' })
    const { record } = store.read() as { record: LiveRecord }
    const claim = { by: 'another', until: Date.now() + minute, span: minute }
    await store.commit?.({ ...record, claim, revision: 'theirs' }, record.revision)
    const outcome = failure(auth.refresh())
    expect(await isPending(outcome)).toBe(false)
    expect(await outcome).toMatchObject({ code: 'refresh_unavailable' })
    expect(summary(told).slice(1)).toEqual(['refreshFailed: timeout', 'refreshFailed: busy'])
    expect(backend.count('refresh')).toBe(0)
  })

  test('over a fetch whose bodies can not be given up, a failure is told as what it is', async () => {
    const { auth, backend, told } = room({
      client: {
        async fetch(input, init) {
          const response = await backend.fetch(input, init)
          // As node-fetch has it: a stream of Node's kind.
          if (!response.ok) Object.defineProperty(response, 'body', { value: { destroy() {} } })
          return response
        },
      },
    })
    await auth.setTokens(await backend.signIn('alice'))
    backend.fault('refresh', { status: 500 })
    await failure(auth.refresh())
    expect(told.at(-1)).toMatchObject({ type: 'refreshFailed', reason: 'status', status: 500 })
  })

  test('a body that never ends ends with refreshTimeout', async () => {
    const { auth, backend, told, signIn } = room({ client: { refreshTimeout: 3 * second } })
    await signIn()
    await pass(16 * minute)
    backend.fault('refresh', 'stall-body')
    const outcome = failure(auth.fetch('protected'))
    await pass(3.1 * second)
    expect(await outcome).toMatchObject({ code: 'refresh_unavailable' })
    expect(summary(told)).toEqual(['refreshFailed: timeout'])
  })

  test.each([
    ['a page', { status: 200, body: '<p>hello' }],
    ['nothing', { status: 200 }],
    ['no access token', { status: 200, body: { ok: true } }],
    ['null', { status: 200, body: { access_token: null } }],
    ['what is no token', { status: 200, body: { access_token: 'a b' } }],
    ['a refresh token alone', { status: 200, body: { refresh_token: 'abc' } }],
    ['a refresh token that is none', { status: 200, body: { access_token: 'abc', refresh_token: 'a b' } }],
    ['a redirect', { status: 302, headers: { location: 'https://elsewhere.test/' } }],
  ])('an answer that brings %s keeps the session', async (_, fault) => {
    const { auth, backend, told, signIn, inHand } = room()
    await signIn()
    const before = inHand()
    await pass(16 * minute)
    backend.fault('refresh', fault)
    expect(await failure(auth.fetch('protected'))).toMatchObject({ code: 'refresh_unavailable' })
    expect(told).toMatchObject([
      fault.status === 200
        ? { type: 'refreshFailed', reason: 'bad_answer', status: 200, origin: 'this context' }
        : { type: 'refreshFailed', reason: 'network' },
    ])
    expect(inHand()).toEqual(before)
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test.each([301, 302, 303, 307, 308, 'opaqueredirect'])(
    'an answer of %s is a redirect, which no token follows',
    async (kind) => {
      const given = room()
      await given.signIn()
      const status = typeof kind === 'number' ? kind : 200
      const answer = new Response(null, { status })
      // What a browser gives for redirect: 'manual', and nobody can make.
      if (status === 200) Object.defineProperty(answer, 'type', { value: kind })
      const { auth } = given.another({ fetch: async () => answer })
      const { code, cause } = await failure(auth.refresh())
      expect([code, cause]).toEqual(['refresh_unavailable', new Error('It was answered with a redirect')])
    },
  )

  test('9: goes on though everybody who waited has gone, and what it brings is kept', async () => {
    const { auth, backend, signIn, hold, inHand } = room({ server: { refresh: 'rotating-reuse-detection' } })
    await signIn()
    await pass(16 * minute)
    const held = hold('refresh')
    const controller = new AbortController()
    const waiting = times(3, () => failure(auth.fetch('protected', { signal: controller.signal })))
    await settle()
    controller.abort()
    for (const error of await Promise.all(waiting)) expect(error).toMatchObject({ name: 'AbortError' })
    held.release()
    await settle()
    expect(auth.session).toMatchObject({ version: 2 })
    expect(backend.isHonoured(inHand().refresh)).toBe(true)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(backend.count('refresh')).toBe(1)
  })

  test('9: a call that was aborted before it began sends nothing and refreshes nothing', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    await pass(16 * minute)
    const error = await failure(auth.fetch('protected', { signal: AbortSignal.abort(new Error('before')) }))
    expect(error).toEqual(new Error('before'))
    await settle()
    expect(backend.count('protected')).toBe(0)
  })

  /** An exchange of the first version that has no answer yet, and a password that brought the second meanwhile. */
  async function overtaken() {
    const given = room()
    await given.signIn()
    const held = given.hold('refresh')
    const first = given.auth.refresh()
    await settle()
    expect(held.held()).toBe(true)
    await given.auth.reauthenticate(alice)
    given.told.length = 0
    return { ...given, held, first }
  }

  test('that has no answer does not hold up that of a newer version', async () => {
    const { auth, held, first } = await overtaken()
    const newer = auth.refresh()
    await settle()
    expect(auth.session).toMatchObject({ version: 3 })
    held.release()
    await Promise.all([first, newer])
  })

  test('1: that ends late takes nothing from that of a newer version: who asks after it shares that one', async () => {
    const { auth, backend, hold, held, first, told } = await overtaken()
    backend.fault('refresh', { status: 500 })
    const newer = hold('refresh')
    const outcomes = [failure(auth.refresh())]
    await settle()
    expect(newer.held()).toBe(true)
    held.release()
    await first
    outcomes.push(failure(auth.refresh()))
    await settle()
    newer.release()
    for (const error of await Promise.all(outcomes))
      expect(error).toMatchObject({ code: 'refresh_unavailable' })
    expect(backend.count('refresh')).toBe(2)
    expect(summary(told)).toEqual(['refreshFailed: status'])
  })

  test('1: 1,000 requests, refresh() and getAccessToken() share one', async () => {
    const { auth, backend, signIn } = room({ server: { refresh: 'rotating-reuse-detection' } })
    await signIn()
    await pass(16 * minute)
    await Promise.all([
      ...times(1000, () => auth.fetch('protected')),
      ...times(10, () => auth.refresh()),
      ...times(10, () => auth.getAccessToken()),
    ])
    expect(backend.count('refresh')).toBe(1)
    expect(backend.count()).toBe(1001)
  })
})

describe('10: a claim of another context', () => {
  const claimed = async (span: number, client?: RoomOptions['client']): Promise<Room> => {
    const given = room({ client })
    await given.signIn()
    await pass(16 * minute)
    const { record } = given.store.read() as { record: LiveRecord }
    const claim = { by: 'another', until: Date.now() + span, span }
    await given.store.commit?.({ ...record, claim, revision: 'theirs' }, record.revision)
    return given
  }

  test('that lasts is waited for as long as an exchange may take, and no longer', async () => {
    const { auth, backend, told } = await claimed(5 * minute)
    const began = Date.now()
    const outcome = failure(auth.fetch('protected'))
    await pass(7.9 * second)
    expect(await isPending(outcome)).toBe(true)
    await pass(0.2 * second)
    expect(await outcome).toMatchObject({
      code: 'refresh_unavailable',
      message: 'The access token could not be refreshed (busy); the session lives',
      retryAt: began + 5 * minute,
    })
    expect(summary(told)).toEqual(['refreshFailed: busy'])
    expect(backend.count('refresh')).toBe(0)
  })

  test('that lasts is waited for as long as refreshTimeout says, though that is a minute', async () => {
    const { auth, told } = await claimed(5 * minute, { refreshTimeout: minute })
    const outcome = failure(auth.fetch('protected'))
    await pass(59 * second)
    expect(await isPending(outcome)).toBe(true)
    await pass(1.1 * second)
    await outcome
    expect(summary(told)).toEqual(['refreshFailed: busy'])
  })

  test('is not believed beyond ten minutes, whatever the store says of it', async () => {
    const { auth } = await claimed(5 * hour)
    const until = Date.now() + 10 * minute
    const outcome = failure(auth.fetch('protected'))
    await pass(8.1 * second)
    expect(await outcome).toMatchObject({ code: 'refresh_unavailable', retryAt: until })
  })

  test('that runs out is followed by one of our own, within a quarter of a second', async () => {
    const { auth, backend } = await claimed(2 * second)
    const response = auth.fetch('protected')
    await pass(1.9 * second)
    expect(backend.count('refresh')).toBe(0)
    await pass(0.35 * second)
    expect(backend.count('refresh')).toBe(1)
    expect((await response).status).toBe(200)
  })

  test('that is followed by tokens is waited for no longer, and leaves no timer', async () => {
    const { auth, backend, store } = await claimed(5 * minute)
    const response = auth.fetch('protected')
    await settle()
    const { record } = store.read() as { record: LiveRecord }
    const { accessToken } = await backend.signIn('alice')
    const access = { token: accessToken, at: Date.now() }
    const next = { ...record, version: 2, access, fresh: undefined, claim: undefined, revision: 'newer' }
    await store.commit?.(next, record.revision)
    expect((await response).status).toBe(200)
    expect(backend.count('refresh')).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('and one of our own lasts a quarter longer than the exchange may take', async () => {
    const { auth, signIn, hold, store } = room()
    await signIn()
    const held = hold('refresh')
    const refreshed = auth.refresh()
    await settle()
    const { record } = store.read() as { record: LiveRecord }
    expect(record.claim).toMatchObject({ span: 10 * second, until: Date.now() + 10 * second })
    held.release()
    await refreshed
    expect((store.read() as { record: LiveRecord }).record.claim).toBeUndefined()
  })
})

test('3: no exchange is begun under a claim that could run out before it ends, however slow the store is', async () => {
  const store = handStore()
  const left: number[] = []
  const { backend, another } = room({ client: { store } })
  const { auth } = another({
    fetch: (input, init) => {
      const { claim } = (store.record ?? {}) as Partial<LiveRecord>
      if (claim) left.push(claim.until - Date.now())
      return backend.fetch(input, init)
    },
  })
  await auth.login(alice)
  await auth.refresh()
  expect(left).toEqual([10 * second])
  // Every answer takes 3 s to come back: a claim of 10 s has too little left by the time that it is heard of.
  store.trip.back = 3 * second
  const refreshed = auth.refresh()
  await pass(30 * second)
  await refreshed
  expect(left).toEqual([10 * second, 9 * second])
})

test('1: a record that another has changed while it is being claimed is judged anew', async () => {
  const store = handStore()
  const { auth, told, tokens } = room({ client: { store } })
  await auth.login(alice)
  told.length = 0
  const [reading, claiming] = [store.gate('read'), store.gate('read')]
  const refreshed = auth.refresh()
  reading.open()
  await settle()
  expect(claiming.reached()).toBe(true)
  store.record = { ...(store.record as LiveRecord), failures: 1, revision: 'theirs' }
  claiming.open()
  expect(await refreshed).toMatchObject({ version: 2 })
  expect(tokens('refresh')).toHaveLength(1)
  expect(summary(told)).toEqual(['tokenRefreshed: requested'])
})

test('5: a logout elsewhere that is heard of while a claim is being written: nothing is sent, nothing is told to have failed', async () => {
  const store = handStore()
  const { auth, told, tokens } = room({ client: { store } })
  const { id } = await auth.login(alice)
  told.length = 0
  const claiming = store.gate('commit')
  const refreshed = auth.refresh()
  await settle()
  expect(claiming.reached()).toBe(true)
  store.record = { revision: 'theirs', id, version: 1, calledAt: Date.now(), ended: 'logout' }
  store.notify({ revision: 'theirs', id, version: 1, ended: 'logout' })
  claiming.open()
  expect(await refreshed).toBeNull()
  expect(tokens('refresh')).toEqual([])
  expect(summary(told)).toEqual(['loggedOut: logout (elsewhere)'])
})

describe('in a store that tells nobody of changes', () => {
  const silent = (): Room => room({ client: { store: { ...memoryStore(), watch: undefined } } })

  test('6: a refresh that finds another user signed in spends nothing of his', async () => {
    const { auth, another, signIn, tokens } = silent()
    await signIn()
    await another().auth.login(bob)
    expect(await auth.refresh()).toMatchObject({ subject: 'bob', version: 1 })
    expect(tokens('refresh')).toEqual([])
  })

  test('5: a refresh that finds the session ended elsewhere is none that failed', async () => {
    const { auth, another, signIn, told, tokens } = silent()
    await signIn()
    await another().auth.logout()
    expect(await auth.refresh()).toBeNull()
    expect(tokens('refresh')).toEqual([])
    expect(summary(told)).toEqual(['loggedOut: logout (elsewhere)'])
  })
})

test('a store that takes every commit and keeps none ends no session: a refresh fails, and nothing is sent', async () => {
  const now = (record: StoreRecord | null) => ({ record, now: Date.now() })
  const { auth, told, signIn, tokens } = room({
    client: { store: { name: 'forgetful', read: () => now(null), commit: (next) => now(next) } },
  })
  await signIn()
  expect(await failure(auth.refresh())).toMatchObject({ code: 'refresh_unavailable' })
  expect(summary(told)).toEqual(['refreshFailed: store'])
  expect(tokens('refresh')).toEqual([])
  expect(auth.session).toMatchObject({ subject: 'alice' })
})

test('why the store could not be asked is told in the cause', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  store.read = () => Promise.reject(new Error('the disk is full'))
  expect(await failure(auth.refresh())).toMatchObject({ cause: { message: 'the disk is full' } })
})

describe('what a refresh brings too late', () => {
  /** A refresh whose answer a password has overtaken, and what the logins and it bring. */
  async function late(given: {
    first?: string
    login?: string
    refresh: string
    access?: string
    cookies?: 'both'
    meanwhile?: (auth: Client) => Promise<unknown>
  }) {
    const { first = mint('alice'), login, refresh, access: brought = mint('alice'), cookies } = given
    const { meanwhile = (auth: Client) => auth.reauthenticate(alice) } = given
    const answer = deferred()
    let logins = 0
    const server = serve(async ({ path }) => {
      if (path === '/login') {
        return logins++
          ? ok({ access_token: mint('alice'), refresh_token: login })
          : ok({ access_token: first, refresh_token: 'refresh-1' })
      }
      if (path !== '/refresh') return ok()
      await answer.promise
      return ok({ access_token: brought, refresh_token: refresh })
    })
    const { auth, inHand } = room({ client: { fetch: server.fetch, backend: { ...flaskJwt(), cookies } } })
    await auth.login(alice)
    const refreshed = auth.refresh()
    await settle()
    await meanwhile(auth)
    const { access } = inHand()
    answer.resolve()
    await refreshed
    await settle()
    return { auth, inHand, access, brought, revoked: server.tokens('/logout') }
  }

  test('is taken back, but for the refresh token that the session still lives by', async () => {
    const { auth, inHand, access, brought, revoked } = await late({ refresh: 'refresh-1' })
    expect(auth.session).toMatchObject({ version: 2 })
    expect(inHand()).toMatchObject({ access, refresh: 'refresh-1' })
    expect(revoked).toEqual([brought])
  })

  test('is taken back, with the refresh token, where a password has brought another', async () => {
    const { inHand, access, brought, revoked } = await late({ login: 'refresh-2', refresh: 'refresh-3' })
    expect(inHand()).toMatchObject({ access, refresh: 'refresh-2' })
    expect(new Set(revoked)).toEqual(new Set(['refresh-3', brought]))
  })

  test('6: is taken back where the password has told whose session it is, and it is another’s', async () => {
    const access = mint('bob')
    const { auth, brought, revoked } = await late({ first: 'opaque', refresh: 'refresh-2', access })
    expect(auth.session).toMatchObject({ version: 2, subject: 'alice' })
    expect(new Set(revoked)).toEqual(new Set(['refresh-2', brought]))
  })

  test('is kept where the password has left the session with the refresh token that is spent', async () => {
    const { auth, inHand, brought, revoked } = await late({ refresh: 'refresh-2' })
    expect(auth.session).toMatchObject({ version: 3, fresh: false })
    expect(inHand()).toMatchObject({ access: brought, refresh: 'refresh-2' })
    expect(revoked).toEqual([])
  })

  test('5: is taken back where the session has been replaced by one that has no access token yet', async () => {
    const { auth, inHand, brought, revoked } = await late({
      refresh: 'refresh-2',
      meanwhile: (auth) => auth.setTokens({ refreshToken: 'given' }),
    })
    expect(auth.session).toMatchObject({ version: 1 })
    expect(inHand()).toMatchObject({ access: '', refresh: 'given' })
    expect(new Set(revoked)).toEqual(new Set(['refresh-2', brought]))
  })

  describe('in cookies', () => {
    const meanwhile = (accessToken: string) => (auth: Client) => auth.setTokens({ accessToken })

    test.each([
      ['the session knows', mint('alice'), 'opaque'],
      ['it tells itself', 'opaque', mint('alice')],
    ])(
      'is not taken back under a later login of the user that %s: those are his',
      async (_, first, access) => {
        const { revoked } = await late({
          first,
          access,
          refresh: '~',
          cookies: 'both',
          meanwhile: meanwhile(mint('alice')),
        })
        expect(revoked).toEqual([])
      },
    )

    test('6: is taken back under another user’s', async () => {
      const { auth, brought, revoked } = await late({
        refresh: '~',
        cookies: 'both',
        meanwhile: meanwhile(mint('bob')),
      })
      expect(auth.session).toMatchObject({ subject: 'bob' })
      expect(revoked).toEqual([brought])
    })
  })

  describe('for the store to say whether it was written,', () => {
    /** What is taken back where the store is found with `theirs` in it. */
    async function unsaid(theirs: (claimed: LiveRecord) => Partial<StoreRecord>): Promise<unknown[]> {
      const answer = deferred()
      const server = serve(async ({ path }) => {
        if (path !== '/refresh') return ok()
        await answer.promise
        return ok({ access_token: brought, refresh_token: 'refresh-2' })
      })
      const brought = mint('alice')
      const store = handStore()
      const { auth } = room({ client: { store, fetch: server.fetch } })
      await auth.setTokens({ accessToken: mint('alice'), refreshToken: 'refresh-1' })
      const refreshed = auth.refresh()
      await settle()
      const writing = store.gate('commit')
      answer.resolve()
      await settle()
      expect(writing.reached()).toBe(true)
      const claimed = store.record as LiveRecord
      const access = { token: mint('alice'), at: Date.now() }
      const last = { ...claimed, access, refreshToken: 'theirs', claim: undefined, revision: 'theirs' }
      store.record = { ...last, ...theirs(claimed) } as StoreRecord
      // Until it isn't waited for any longer, and is asked again.
      await pass(10 * second)
      await refreshed
      return server.tokens('/logout').map((token) => (token === brought ? 'access' : token))
    }

    test('and has been followed by what was made of it, is not taken back', async () => {
      expect(await unsaid(({ version }) => ({ version: version + 2 }))).toEqual([])
    })

    test.each<[string, (claimed: LiveRecord) => Partial<StoreRecord>]>([
      ['a password was faster', ({ version }) => ({ version: version + 1 })],
      ['another has signed in', () => ({ id: 'another', version: 9, subject: 'bob' })],
      [
        'the user has signed out since it was made more of',
        ({ version }) => ({ version: version + 2, ended: 'logout' }),
      ],
    ])('5: is taken back where %s', async (_, theirs) => {
      expect(new Set(await unsaid(theirs))).toEqual(new Set(['refresh-2', 'access']))
    })
  })

  test('5: is taken back once, though it was decided while the store was away', async () => {
    const store = handStore()
    const { auth, hold, tokens, backend } = room({ client: { store }, server: { refresh: 'rotating' } })
    await auth.login(alice)
    const held = hold('refresh')
    const refreshed = auth.refresh()
    await settle()
    const { read } = store
    store.read = () => Promise.reject(new Error('out of order'))
    await auth.logout()
    held.release()
    await refreshed
    store.read = read
    await pass(minute)
    expect(store.record).toMatchObject({ ended: 'logout' })
    const brought = backend.issued.filter(({ generation }) => generation === 1).map(({ token }) => token)
    expect(brought).toHaveLength(2)
    for (const token of brought) expect(tokens('logout').filter((one) => one === token)).toHaveLength(1)
  })
})

test('5: after logout() nothing of the session is written any more, though the logout itself is still being written', async () => {
  const store = handStore()
  const { auth, backend, hold } = room({ client: { store }, server: { refresh: 'rotating' } })
  await auth.login(alice)
  const held = hold('refresh')
  const refreshed = auth.refresh()
  await settle()
  const writing = store.gate('commit')
  const done = auth.logout()
  await settle()
  expect(writing.reached()).toBe(true)
  held.release()
  await refreshed
  await settle()
  expect(store.record).toMatchObject({ version: 1 })
  writing.open()
  await done
  expect(store.record).toMatchObject({ ended: 'logout' })
  expect(backend.sessionAlive('alice')).toBe(false)
})

test('a backend is told which token is which when they are taken back', async () => {
  const taken: unknown[] = []
  const backend = {
    ...flaskJwt(),
    logout: (token: string, kind: string) => {
      taken.push([token, kind])
      return { path: 'logout' }
    },
  }
  const { auth, signIn, inHand } = room({ client: { backend } })
  await signIn()
  const { access, refresh } = inHand()
  await auth.logout()
  expect(taken).toEqual([
    [refresh, 'refresh'],
    [access, 'access'],
  ])
})

test('a backend may say whose token it is', async () => {
  const backend = { ...flaskJwt(), subject: ({ jti }: { jti?: string }) => jti && 'alice of the east' }
  const { auth, signIn } = room({ client: { backend } })
  await signIn()
  expect(auth.session).toMatchObject({ subject: 'alice of the east' })
})

test('where nothing can be written, what another has refreshed meanwhile is found', async () => {
  const { auth, another, store, signIn, inHand, tokens } = room()
  await signIn()
  const { auth: reader } = another({ store: { name: 'read-only', read: store.read } })
  await pass(16 * minute)
  await auth.refresh()
  expect((await reader.fetch('protected')).status).toBe(200)
  expect(tokens('protected')).toEqual([inHand().access])
  expect(tokens('refresh')).toHaveLength(1)
})

test('where nothing can be written no refresh token is spent: the server’s own 401 comes back', async () => {
  const { backend, signIn, store } = room()
  await signIn()
  await pass(16 * minute)
  const { auth } = room({
    client: { store: { name: 'read-only', read: store.read }, fetch: backend.fetch as typeof fetch },
  })
  expect((await auth.fetch('protected')).status).toBe(401)
  expect(backend.count('refresh')).toBe(0)
})
