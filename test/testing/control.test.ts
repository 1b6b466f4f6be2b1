import { afterEach, describe, expect, test, vi } from 'vitest'
import { createBackend } from '../../src/testing/index.ts'
import { bench, claimsOf, payload, start } from './support.ts'

afterEach(() => {
  vi.useRealTimers()
})

describe('the clock', () => {
  test('is Date, also one that is faked later, plus what was advanced', () => {
    const backend = createBackend()
    vi.useFakeTimers({ now: start })
    expect(backend.now()).toBe(start)
    backend.advance(5_000)
    backend.advance(-1_000)
    expect(backend.now()).toBe(start + 4_000)
    vi.setSystemTime(start + 1)
    expect(backend.now()).toBe(start + 4_001)
  })

  test('can be the test’s own', async () => {
    let now = start
    const { ask, login } = bench({ clock: { now: () => now } })
    const { access_token: token } = await login()
    now += 899_999
    expect((await ask('/protected', { token })).status).toBe(200)
    now += 1
    expect((await ask('/protected', { token })).body).toEqual({ msg: 'Token has expired' })
  })

  test('lifetimes change for the tokens to come', async () => {
    const { backend, login } = bench()
    backend.settings.accessLifetime = 5_000
    backend.settings.refreshLifetime = null
    const { access_token, refresh_token } = await login()
    expect(claimsOf(access_token).exp).toBe(start / 1000 + 5)
    expect(claimsOf(refresh_token)).not.toHaveProperty('exp')
    backend.advance(5_000)
    expect([backend.isHonoured(access_token), backend.isHonoured(refresh_token)]).toEqual([false, true])
  })
})

describe('latency', () => {
  test('goes through the given sleep, before and after processing', async () => {
    const slept: [number, boolean][] = []
    const { backend, send } = bench({
      latency: { '*': 5, protected: { before: 10, after: 20 } },
      sleep: async (ms) => {
        slept.push([ms, backend.log.at(-1)?.processed ?? false])
      },
    })
    await send('/protected')
    await send('/optional')
    expect(slept).toEqual([
      [10, false],
      [20, true],
      [5, false],
    ])
    backend.settings.latency = {}
    await send('/protected')
    expect(slept).toHaveLength(3)
  })

  test.each([
    [{ 'GET items': 3_000 }, 'latency: there is no route "GET items"; there are login, '],
    [{ refesh: 3_000 }, '"api" is every one of your own'],
    [{ refresh: '3 s' }, 'latency: "refresh" takes milliseconds, or { before, after } of them'],
    [{ refresh: -1 }, 'latency: "refresh" takes milliseconds'],
    [{ refresh: { until: 10 } }, 'latency: "refresh" takes milliseconds'],
  ])('of what is no route, or no time, is refused at once: %o', (latency, message) => {
    expect(() => createBackend({ latency: latency as never })).toThrow(message)
    const { settings } = createBackend({ latency: { api: 10 } })
    expect(() => Object.assign(settings, { latency })).toThrow(message)
    expect(settings.latency).toEqual({ api: 10 })
  })

  test('is real time by default', async () => {
    vi.useFakeTimers()
    const { send } = bench({ latency: { protected: 1_000 } })
    let answered = false
    const answer = send('/protected').then(() => {
      answered = true
    })
    await vi.advanceTimersByTimeAsync(999)
    expect(answered).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    await answer
  })

  test('a token that expires on the way is expired', async () => {
    const { backend, login, send } = bench({ sleep: async (ms) => backend.advance(ms) })
    const { access_token: token } = await login()
    backend.advance(899_000)
    backend.settings.latency = { protected: { after: 1_000 } }
    expect((await send('/protected', { token })).status).toBe(200)
    backend.advance(-1_000)
    backend.settings.latency = { protected: { before: 1_000 } }
    expect((await send('/protected', { token })).status).toBe(401)
  })
})

describe('an abort', () => {
  test('frees the caller at once, while the server goes on', async () => {
    let arrive = (): void => {}
    const { backend, login, send } = bench({
      refresh: 'single-use',
      sleep: () => new Promise<void>((resolve) => (arrive = resolve)),
    })
    const { refresh_token: token } = await login()
    backend.settings.latency = { refresh: 1 }
    const controller = new AbortController()
    const answer = send('/refresh', { method: 'POST', token, signal: controller.signal })
    await new Promise((resolve) => setImmediate(resolve))
    const reason = new Error('enough')
    controller.abort(reason)
    await expect(answer).rejects.toBe(reason)
    expect(backend.isHonoured(token)).toBe(true)
    arrive()
    await vi.waitFor(() =>
      expect(backend.log.at(-1)).toMatchObject({ processed: true, status: 200, delivered: false }),
    )
    expect(backend.isHonoured(token)).toBe(false)
  })

  test('before the request keeps it from arriving', async () => {
    const { backend, send } = bench()
    await expect(send('/protected', { signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    })
    expect(backend.count()).toBe(0)
  })
})

describe('the log', () => {
  test('tells all of a request', async () => {
    const { backend, login, send } = bench({ refresh: 'rotating' })
    const { refresh_token: token } = await login()
    backend.advance(1_000)
    await send('/refresh?x=1', { method: 'POST', token, headers: { 'X-Custom': 'y' }, body: 'hello' })
    const issued = backend.issued.find((each) => each.token === token)
    const presented = {
      where: 'header',
      token,
      kind: 'refresh',
      jti: claimsOf(token).jti,
      sub: 'alice',
      family: issued?.family,
      generation: 0,
    }
    expect(backend.log[1]).toEqual({
      id: 2,
      time: start + 1_000,
      method: 'POST',
      url: 'https://api.test/refresh?x=1',
      path: '/refresh',
      route: 'refresh',
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'text/plain;charset=UTF-8',
        'x-custom': 'y',
      },
      body: 'hello',
      tokens: [presented],
      token: presented,
      processed: true,
      status: 200,
      delivered: true,
      error: undefined,
      detail: undefined,
      fault: undefined,
      issued: backend.issued.slice(2),
    })
  })

  test('has an entry as soon as the request arrives', async () => {
    const { backend, send } = bench()
    const answer = send('/protected')
    expect(backend.count('protected')).toBe(1)
    expect(backend.log).toMatchObject([{ processed: false, status: undefined, delivered: false }])
    await answer
    expect(backend.log).toMatchObject([{ processed: true, status: 401, delivered: true }])
  })

  test.each([
    ['missing', 'Missing Authorization Header', undefined],
    ['invalid', 'Not enough segments', 'abc'],
    ['expired', 'Token has expired', payload({ exp: 1 })],
    ['stale', 'Fresh token required', payload({ fresh: false })],
    ['revoked', 'Token has been revoked', payload({ jti: 'revoked' })],
  ])('names a refusal %s with the default text, whatever the dialect', async (error, detail, presented) => {
    const { backend, send } = bench({ dialect: 'tutorial' })
    backend.revoke('revoked')
    const token = typeof presented === 'object' ? await backend.sign(presented) : presented
    await send('/fresh', { token })
    expect(backend.log).toMatchObject([{ error, detail, status: 401 }])
  })

  test('shows every token, the one that the route reads first', async () => {
    const { backend, send } = bench({ locations: ['cookies', 'headers', 'query_string', 'json'] })
    const { accessToken, refreshToken } = await backend.signIn('alice')
    const cookie = `access_token_cookie=${accessToken}; refresh_token_cookie=${refreshToken}`
    const kinds = (): unknown[] =>
      backend.log.at(-1)?.tokens.map(({ where, kind }) => `${where} ${kind}`) ?? []
    await send('/protected', { cookie, headers: { Authorization: `bearer ${refreshToken}` } })
    expect(kinds()).toEqual(['cookie access', 'cookie refresh', 'header refresh'])
    await send('/refresh?jwt=unheard-of', { cookie, json: { refresh_token: refreshToken } })
    expect(kinds()).toEqual(['cookie refresh', 'cookie access', 'query undefined', 'json refresh'])
    expect(backend.log.at(-1)?.token?.token).toBe(refreshToken)
  })

  test('a token sent twice with one request is one use', async () => {
    const { backend, send } = bench({ locations: ['headers', 'cookies'] })
    const { accessToken: token } = await backend.signIn('alice')
    await send('/protected', { token, cookie: `access_token_cookie=${token}` })
    expect(backend.log[0]?.tokens).toHaveLength(2)
    expect(backend.uses(String(claimsOf(token).jti))).toBe(1)
  })

  test('counts by route and by token id, until it is cleared', async () => {
    const { backend, login, send } = bench()
    const { access_token: token, refresh_token } = await login()
    backend.fault('protected', 'drop')
    await send('/protected', { token }).catch(() => {})
    await send('/protected', { token })
    await send('/refresh', { method: 'POST', token: refresh_token })
    await send('/nowhere')
    const jti = String(claimsOf(token).jti)
    expect([
      backend.count('protected'),
      backend.count('refresh'),
      backend.count('unknown'),
      backend.count(),
    ]).toEqual([2, 1, 1, 5])
    expect([backend.uses(jti), backend.uses('never'), backend.faultsFired()]).toEqual([2, 0, 1])
    const lastId = backend.log.at(-1)?.id ?? 0
    backend.clearLog()
    expect([backend.log.length, backend.count(), backend.uses(jti), backend.faultsFired()]).toEqual([
      0, 0, 0, 0,
    ])
    await send('/nowhere')
    expect(backend.log[0]?.id).toBe(lastId + 1)
    expect(backend.issued).toHaveLength(3)
  })
})

describe('tokens in the test’s hand', () => {
  test('every token given out is listed', async () => {
    const { backend, login, ask } = bench({ refresh: 'rotating' })
    const first = await login()
    const second = (await ask('/refresh', { method: 'POST', token: first.refresh_token }))
      .body as typeof first
    expect(backend.issued.map(({ token }) => token)).toEqual([
      first.access_token,
      first.refresh_token,
      second.access_token,
      second.refresh_token,
    ])
    const claims = claimsOf(first.access_token)
    const { jti, iat, exp } = claims
    expect(backend.issued[0]).toMatchObject({
      kind: 'access',
      sub: 'alice',
      fresh: true,
      jti,
      iat,
      exp,
      claims,
    })
  })

  test('signIn gives out a pair without a request', async () => {
    const { ask, backend } = bench({ users: { alice: { password: 'x', sub: '7' } } })
    const { accessToken, family } = await backend.signIn('alice')
    expect(backend.count()).toBe(0)
    expect((await ask('/whoami', { token: accessToken })).body).toMatchObject({ sub: '7', fresh: true })
    expect(backend.sessionAlive(family)).toBe(true)
    await expect(backend.signIn('nobody')).rejects.toThrow(
      new RangeError('signIn: there is no user "nobody"'),
    )
  })

  test('access tokens can expire early, those to come do not', async () => {
    const { ask, backend, login } = bench()
    const { access_token: token, refresh_token } = await login()
    backend.expireAccessTokens()
    expect(await ask('/protected', { token })).toEqual({ status: 401, body: { msg: 'Token has expired' } })
    expect([backend.isHonoured(token), backend.isHonoured(refresh_token)]).toEqual([false, true])
    const { access_token: next } = await login()
    expect((await ask('/protected', { token: next })).status).toBe(200)
    backend.advance(-1_000)
    expect((await ask('/protected', { token: next })).body).toEqual({
      msg: 'The token is not yet valid (iat)',
    })
    expect(backend.isHonoured(next)).toBe(false)
  })

  test('a token is revoked by itself or by its id', async () => {
    const { backend } = bench()
    const { accessToken, refreshToken } = await backend.signIn('alice')
    backend.revoke(accessToken)
    expect([backend.isHonoured(accessToken), backend.isHonoured(refreshToken)]).toEqual([false, true])
    expect(backend.sessionAlive('alice')).toBe(true)
    backend.revoke(String(claimsOf(refreshToken).jti))
    expect([backend.isHonoured(refreshToken), backend.sessionAlive('alice')]).toEqual([false, false])
  })

  test('a user’s sessions end together, later ones stand', async () => {
    const { ask, backend } = bench()
    const first = await backend.signIn('alice')
    const second = await backend.signIn('alice')
    const bob = await backend.signIn('bob')
    backend.revoke({ sub: 'alice' })
    const third = await backend.signIn('alice')
    const honoured = [first, second, bob, third].map(({ refreshToken }) => backend.isHonoured(refreshToken))
    expect(honoured).toEqual([false, false, true, true])
    backend.revoke({ family: third.family })
    expect([backend.sessionAlive('alice'), backend.sessionAlive('bob')]).toEqual([false, true])
    expect((await ask('/refresh', { method: 'POST', token: third.refreshToken })).body).toEqual({
      msg: 'Token has been revoked',
    })
  })

  test('only tokens given out here are honoured, and only untampered', async () => {
    const { backend } = bench()
    const { accessToken } = await backend.signIn('alice')
    const foreign = await backend.sign(payload())
    for (const token of ['', 'abc', `${accessToken}x`, foreign]) expect(backend.isHonoured(token)).toBe(false)
    expect(backend.isHonoured(accessToken)).toBe(true)
  })

  test('a new password and a new user count at once', async () => {
    const { ask, backend } = bench()
    backend.users.set('alice', { password: 'changed' })
    expect((await ask('/login', { json: { username: 'alice', password: 'wonderland' } })).status).toBe(401)
    expect((await ask('/login', { json: { username: 'alice', password: 'changed' } })).status).toBe(200)
  })
})

describe('a restart', () => {
  test('forgets every revocation', async () => {
    const { ask, backend, login } = bench({ dialect: 'tutorial' })
    const { access_token, refresh_token } = await login()
    const other = await backend.signIn('bob')
    await ask('/logout', { method: 'POST', token: access_token })
    await ask('/refresh', { method: 'POST', token: refresh_token })
    backend.revoke({ sub: 'bob' })
    const tokens = [access_token, refresh_token, other.accessToken]
    expect(tokens.map(backend.isHonoured)).toEqual([false, false, false])
    backend.restart()
    expect(tokens.map(backend.isHonoured)).toEqual([true, true, true])
    expect((await ask('/refresh', { method: 'POST', token: refresh_token })).status).toBe(200)
  })

  test('but not what reuse detection knows', async () => {
    const { ask, backend, login } = bench({ refresh: 'rotating-reuse-detection' })
    const reused = await login()
    await ask('/refresh', { method: 'POST', token: reused.refresh_token })
    await ask('/refresh', { method: 'POST', token: reused.refresh_token })
    const spent = await login()
    await ask('/refresh', { method: 'POST', token: spent.refresh_token })
    backend.restart()
    expect(backend.isHonoured(reused.access_token)).toBe(false)
    expect(backend.isHonoured(spent.refresh_token)).toBe(false)
  })
})
