import { inspect } from 'node:util'
import { describe, expect, test, vi } from 'vitest'
import { type Answer, flaskJwt, type Tokens } from '../../src/index.ts'
import { fakeTokens } from '../../src/testing/index.ts'
import {
  alice,
  bob,
  failure,
  minute,
  pass,
  reported,
  room,
  second,
  settle,
  start,
  summary,
  type Told,
  times,
  virtualTime,
} from './support.ts'

virtualTime()

describe('what is told', () => {
  test('a login: the session, why, and that it was here', async () => {
    const { auth, told } = room()
    const session = await auth.login(alice)
    expect(told).toEqual([{ type: 'loggedIn', reason: 'login', origin: 'this context', session }])
    expect(auth.session).toBe(session)
  })

  test('a refresh: why, by what brought it about', async () => {
    const { auth, backend, told, signInStale } = room()
    await signInStale()
    await auth.refresh()
    backend.expireAccessTokens()
    await auth.fetch('protected')
    await pass(16 * minute)
    await auth.fetch('protected')
    await auth.getAccessToken({ minValidity: 20 * minute })
    await auth.reauthenticate(alice)
    expect(summary(told)).toEqual([
      'tokenRefreshed: requested',
      'tokenRefreshed: rejected',
      'tokenRefreshed: expired',
      'tokenRefreshed: requested',
      'tokenRefreshed: reauthenticated',
    ])
    expect(told.at(-1)).toMatchObject({ session: auth.session, origin: 'this context' })
  })

  test('a refresh for who sends the token himself: why', async () => {
    const { auth, told, signInStale, inHand } = room()
    await signInStale()
    const { access } = inHand()
    // To the millisecond.
    expect(await auth.getAccessToken({ minValidity: 899 * second })).toBe(access)
    await auth.getAccessToken({ minValidity: 899 * second + 1 })
    await auth.getAccessToken({ rejected: inHand().access })
    await pass(16 * minute)
    await auth.getAccessToken()
    expect(summary(told)).toEqual([
      'tokenRefreshed: requested',
      'tokenRefreshed: rejected',
      'tokenRefreshed: expired',
    ])
  })

  test('a token that was turned down and can not be refreshed: the session is over', async () => {
    const { auth, backend, told, signIn, inHand } = room()
    await signIn()
    backend.fault('refresh', { status: 401, body: { msg: 'Token has been revoked' } })
    expect(await auth.getAccessToken({ rejected: inHand().access })).toBeNull()
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
  })

  test('a refresh ahead of the expiry: that it was ahead', async () => {
    const { auth, told, signIn } = room()
    await signIn()
    await pass(14.5 * minute)
    await auth.fetch('protected')
    await settle()
    expect(summary(told)).toEqual(['tokenRefreshed: ahead'])
  })

  test('a logout: who it was', async () => {
    const { auth, told, signIn } = room()
    await signIn()
    await auth.logout()
    expect(told).toEqual([{ type: 'loggedOut', reason: 'logout', subject: 'alice', origin: 'this context' }])
  })

  test('another user: the first is out before the second is in', async () => {
    const { auth, told, signIn } = room()
    await signIn()
    await auth.login(bob)
    expect(told).toMatchObject([
      { type: 'loggedOut', reason: 'replaced', subject: 'alice' },
      { type: 'loggedIn', reason: 'login', session: { subject: 'bob' } },
    ])
  })

  test('a refresh that failed: why, with what status, and when to try again', async () => {
    const { auth, backend, told, signIn } = room()
    await signIn()
    backend.fault('refresh', { status: 500 })
    backend.fault('refresh', 'drop')
    expect(await failure(auth.refresh())).toMatchObject({ code: 'refresh_unavailable' })
    expect(await failure(auth.refresh())).toMatchObject({ code: 'refresh_unavailable' })
    expect(told).toEqual([
      { type: 'refreshFailed', reason: 'status', status: 500, retryAt: start, origin: 'this context' },
      {
        type: 'refreshFailed',
        reason: 'network',
        status: undefined,
        retryAt: start + second,
        origin: 'this context',
      },
    ])
    expect(auth.session).toMatchObject({ status: 'active' })
  })

  test('a failed refresh is told once, however many wait for it', async () => {
    const { auth, backend, told, signIn } = room()
    await signIn()
    await pass(16 * minute)
    backend.fault('refresh', { status: 500 })
    await Promise.all(times(20, () => failure(auth.fetch('protected'))))
    expect(summary(told)).toEqual(['refreshFailed: status'])
  })

  test('a wrong clock: by how much it is off', async () => {
    const { auth, backend, told } = room()
    backend.advance(3 * 60 * minute)
    await auth.login(alice)
    await auth.refresh()
    const skews = told.filter(({ type }) => type === 'clockSkew')
    expect(skews).toMatchObject([{ reason: 'token', origin: 'this context' }])
    const [{ skew }] = skews as [Extract<Told, { type: 'clockSkew' }>]
    // A stamp was cut to whole seconds: on average half of one has passed since.
    expect(skew).toBe(3 * 60 * minute + 500)
  })

  /** A backend whose answers tell how long a token lives. */
  const telling = {
    ...flaskJwt(),
    tokens: ({ body }: Answer): Tokens => {
      const { access_token: accessToken, expires_in: expiresIn } = body as Record<string, never>
      return { accessToken, expiresIn }
    },
  }

  test.each<[string, object, number | undefined]>([
    ['an opaque token', {}, undefined],
    ['a token that has an older one’s iat', { iat: start / second - 7200, exp: start / second + 60 }, 60],
    ['a token whose iat is no time', { iat: 'soon', exp: start / second + 60 }, undefined],
  ])('%s tells nothing of the clock', async (_, claims, expiresIn) => {
    const { auth, backend, told } = room({ client: { backend: telling } })
    const token = Object.keys(claims).length ? fakeTokens({ claims: claims as never }).accessToken : 'opaque'
    backend.fault('login', { status: 200, body: { access_token: token, expires_in: expiresIn } })
    await auth.login(alice)
    expect(summary(told)).toEqual(['loggedIn: login'])
  })

  test('a token that a flow brings tells nothing of the clock: it may be of any age', async () => {
    const { auth, told } = room()
    const at = start / second + 7200
    await auth.login(async () => fakeTokens({ claims: { iat: at, exp: at + 900 } }))
    expect(summary(told)).toEqual(['loggedIn: login'])
  })

  test.each([
    ['its life', 7200, 900],
    ['a life that is five seconds shorter', 7200, 895],
    ['its life, half a minute from ours,', 29.5, 900],
  ])('a token that came with %s tells of the clock all the same', async (_, ahead, expiresIn) => {
    const { auth, backend, told } = room({ client: { backend: telling } })
    const at = start / second + ahead
    const { accessToken } = fakeTokens({ claims: { iat: at, exp: at + 900 } })
    backend.fault('login', { status: 200, body: { access_token: accessToken, expires_in: expiresIn } })
    await auth.login(alice)
    expect(summary(told)).toContain('clockSkew: token')
  })

  test('users who are not known by name: the first is out before the second is in', async () => {
    const { auth, told } = room()
    await auth.setTokens({ accessToken: 'opaque-1' })
    await auth.setTokens({ accessToken: 'opaque-2' })
    expect(summary(told)).toEqual(['loggedIn: set_tokens', 'loggedOut: replaced', 'loggedIn: set_tokens'])
  })

  test('a clock that goes wrong later is told of with the next refresh', async () => {
    const { auth, backend, told, signIn } = room()
    await signIn()
    backend.advance(2 * 60 * minute)
    await auth.refresh()
    expect(summary(told)).toEqual(['tokenRefreshed: requested', 'clockSkew: token'])
  })

  test('a right clock is not told of', async () => {
    const { auth, told, signIn } = room()
    await signIn()
    await pass(300)
    await auth.refresh()
    expect(summary(told)).toEqual(['tokenRefreshed: requested'])
  })

  test('no token, in any event', async () => {
    const { auth, backend, told, signInStale } = room()
    await auth.login(bob)
    await signInStale()
    backend.fault('refresh', 'not-json')
    await failure(auth.refresh())
    await auth.fetch('fresh')
    await auth.refresh()
    await auth.logout()
    expect(told.map(({ type }) => type)).toEqual([
      'refreshFailed',
      'reauthRequired',
      'tokenRefreshed',
      'loggedOut',
    ])
    const all = inspect(told, { depth: null, showHidden: true, getters: true }) + JSON.stringify(told)
    for (const { token, jti, claims } of backend.issued) {
      expect(all).not.toContain(token)
      expect(all).not.toContain(token.split('.')[2])
      expect(all).not.toContain(String(claims.csrf))
      // The claims themselves are there, or this would test nothing.
      if (jti === backend.issued.at(-1)?.jti) expect(all).toContain(jti)
    }
  })
})

describe('listeners', () => {
  test('one that throws holds nothing up, and its error goes to console.error', async () => {
    const errors = reported()
    const { auth } = room()
    const heard: string[] = []
    auth.on('loggedIn', () => {
      throw new Error('mine')
    })
    auth.on('loggedIn', () => void heard.push('the next'))
    await auth.login(alice)
    expect(heard).toEqual(['the next'])
    expect(errors).toEqual([new Error('mine')])
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('where there is a reportError, the error goes there', async () => {
    const errors = reported()
    const reportError = vi.fn()
    vi.stubGlobal('reportError', reportError)
    const { auth } = room()
    auth.on('loggedIn', () => {
      throw new Error('mine')
    })
    await auth.login(alice)
    expect(reportError.mock.calls).toEqual([[new Error('mine')]])
    expect(errors).toEqual([])
  })

  test('one that rejects is reported just so', async () => {
    const errors = reported()
    const { auth } = room()
    auth.on('loggedIn', async () => {
      throw new Error('mine, later')
    })
    await auth.login(alice)
    await settle()
    expect(errors).toEqual([new Error('mine, later')])
  })

  test.each(['loggedIn', 'tokenRefreshed', 'refreshFailed', 'loggedOut'] as const)(
    'one of %s that never comes to an end holds nothing up',
    async (type) => {
      const { auth, backend } = room()
      let called = 0
      auth.on(type, () => {
        called++
        return new Promise(() => {})
      })
      await auth.login(alice)
      backend.expireAccessTokens()
      expect((await auth.fetch('protected')).status).toBe(200)
      backend.fault('refresh', { status: 500 })
      await failure(auth.refresh())
      expect((await auth.fetch('protected')).status).toBe(200)
      await auth.logout()
      expect(called).toBe(1)
    },
  )

  test('a logout from within tokenRefreshed: what waited is not sent, and nobody is signed in', async () => {
    const { auth, backend, told, signIn, routes } = room()
    await signIn()
    await pass(16 * minute)
    auth.on('tokenRefreshed', () => void auth.logout())
    expect(await failure(auth.fetch('protected'))).toMatchObject({ code: 'session_changed' })
    await settle()
    expect(summary(told)).toEqual(['tokenRefreshed: expired', 'loggedOut: logout'])
    expect(auth.session).toBeNull()
    expect(routes()).toEqual(['refresh', 'logout', 'logout'])
    expect(backend.sessionAlive('alice')).toBe(false)
  })

  test('a logout from within tokenRefreshed: what had its 401 gets it back', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.expireAccessTokens()
    auth.on('tokenRefreshed', () => auth.logout())
    const response = await auth.fetch('protected')
    expect([response.status, await response.json()]).toEqual([401, { msg: 'Token has expired' }])
    expect(backend.count('protected')).toBe(1)
  })

  test('a fetch from within loggedIn goes out as who has just signed in', async () => {
    const { auth, tokens, inHand } = room()
    const bodies: Promise<unknown>[] = []
    auth.on('loggedIn', () => {
      bodies.push(auth.fetch('protected').then((response) => response.json()))
    })
    await auth.login(alice)
    await auth.login(bob)
    expect(await Promise.all(bodies)).toMatchObject([{ sub: 'alice' }, { sub: 'bob' }])
    expect(tokens('protected')[1]).toBe(inHand().access)
  })

  test('an awaited fetch within tokenRefreshed does not wait for itself', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.expireAccessTokens()
    const inner: number[] = []
    auth.on('tokenRefreshed', async () => {
      inner.push((await auth.fetch('protected')).status)
    })
    expect((await auth.fetch('protected')).status).toBe(200)
    await settle()
    expect(inner).toEqual([200])
    expect(backend.count('refresh')).toBe(1)
  })

  test('one that calls back into auth does not change the order for the others', async () => {
    const { auth } = room()
    const heard: string[] = []
    auth.on('loggedIn', () => void auth.logout())
    auth.on('loggedIn', () => void heard.push('loggedIn'))
    auth.on('loggedOut', () => void heard.push('loggedOut'))
    await auth.login(alice).catch(() => {})
    expect(heard).toEqual(['loggedIn', 'loggedOut'])
    expect(auth.session).toBeNull()
  })

  test('one that has unsubscribed hears nothing more, not even of the event under way', async () => {
    const { auth } = room()
    const heard: string[] = []
    auth.on('loggedIn', () => {
      heard.push('first')
      offSecond()
    })
    const offSecond = auth.on('loggedIn', () => void heard.push('second'))
    await auth.login(alice)
    await auth.login(alice)
    expect(heard).toEqual(['first', 'first'])
  })

  test('the same one, twice, is two; each ends alone, and ending twice does nothing', async () => {
    const { auth } = room()
    const listener = vi.fn()
    const off = auth.on('loggedIn', listener)
    auth.on('loggedIn', listener)
    await auth.login(alice)
    expect(listener).toHaveBeenCalledTimes(2)
    off()
    off()
    await auth.login(alice)
    expect(listener).toHaveBeenCalledTimes(3)
  })

  test('one that comes during an event hears from the next one on', async () => {
    const { auth } = room()
    const late = vi.fn()
    const off = auth.on('loggedIn', () => {
      auth.on('loggedIn', late)
      off()
    })
    await auth.login(alice)
    expect(late).not.toHaveBeenCalled()
    await auth.login(bob)
    expect(late).toHaveBeenCalledTimes(1)
  })
})
