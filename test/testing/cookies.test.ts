import { describe, expect, test } from 'vitest'
import type { BackendOptions } from '../../src/testing/index.ts'
import { type Bench, bench, claimsOf, cookiesOf, payload, start, startSeconds } from './support.ts'

const credentials = { username: 'alice', password: 'wonderland' }
const uuid = /^[0-9a-f-]{36}$/

describe('giving out cookies', () => {
  test('a login sets both pairs, the CSRF values readable and equal to the claims', async () => {
    const { send } = bench({ locations: ['cookies'] })
    const response = await send('/login', { json: credentials })
    expect(await response.json()).toEqual({ msg: 'login successful' })
    const set = cookiesOf(response)
    expect(Object.entries(set).map(([name, { attributes }]) => [name, attributes])).toEqual([
      ['access_token_cookie', 'HttpOnly; Path=/'],
      ['csrf_access_token', 'Path=/'],
      ['refresh_token_cookie', 'HttpOnly; Path=/'],
      ['csrf_refresh_token', 'Path=/'],
    ])
    expect(set.csrf_access_token?.value).toBe(claimsOf(set.access_token_cookie?.value).csrf)
    expect(set.csrf_refresh_token?.value).toBe(claimsOf(set.refresh_token_cookie?.value).csrf)
    expect(set.csrf_access_token?.value).toMatch(uuid)
  })

  test.each([
    ['csrfInCookies', { csrfInCookies: false }],
    ['csrfProtect', { csrfProtect: false }],
  ])('without %s the CSRF cookies are not sent', async (_, options) => {
    const { send } = bench({ locations: ['cookies'], ...options })
    const set = cookiesOf(await send('/login', { json: credentials }))
    expect(Object.keys(set)).toEqual(['access_token_cookie', 'refresh_token_cookie'])
  })

  test('persistence, security, SameSite and a narrower path come in Werkzeug’s order', async () => {
    const { send } = bench({
      locations: ['cookies'],
      cookies: {
        persistent: true,
        secure: true,
        sameSite: 'Lax',
        domain: 'api.test',
        refreshPath: '/refresh',
      },
    })
    const set = cookiesOf(await send('/login', { json: credentials }))
    const expires = `Expires=${new Date(start + 31_540_000_000).toUTCString()}; Max-Age=31540000`
    expect(set.access_token_cookie?.attributes).toBe(
      `Domain=api.test; ${expires}; Secure; HttpOnly; Path=/; SameSite=Lax`,
    )
    expect(set.refresh_token_cookie?.attributes).toContain('Path=/refresh;')
    expect(set.csrf_refresh_token?.attributes).toBe(
      `Domain=api.test; ${expires}; Secure; Path=/; SameSite=Lax`,
    )
  })

  /** Signed in: the cookies, as they go out again. */
  async function signedIn(options: BackendOptions = {}): Promise<Bench & { cookie: string; csrf: string[] }> {
    const one = bench({ locations: ['cookies'], ...options })
    const set = cookiesOf(await one.send('/login', { json: credentials }))
    const cookie = Object.entries(set).map(([name, { value }]) => `${name}=${value}`)
    const csrf = [set.csrf_access_token, set.csrf_refresh_token].map((given) => given?.value ?? '')
    return { ...one, cookie: cookie.join('; '), csrf }
  }

  test.each([
    ['both', 0, 0],
    ['an expired access token', 0, 900_000],
    ['both by the refresh token’s value', 1, 900_000],
  ])('DELETE /logout revokes and clears: %s', async (_, proof, passed) => {
    const { backend, send, cookie, csrf } = await signedIn()
    backend.advance(passed)
    const response = await send('/logout', { method: 'DELETE', cookie, csrf: csrf[proof] as string })
    expect(response.status).toBe(200)
    expect(Object.values(cookiesOf(response)).map(({ value }) => value)).toEqual(['', '', '', ''])
    expect(backend.issued.filter(({ token }) => backend.isHonoured(token))).toEqual([])
  })

  test('DELETE /logout does nothing without a CSRF value, or under another', async () => {
    const { backend, send, cookie } = await signedIn()
    for (const csrf of [undefined, 'wrong']) {
      const response = await send('/logout', { method: 'DELETE', cookie, csrf })
      expect([response.status, response.headers.getSetCookie()]).toEqual([401, []])
    }
    expect(backend.issued.every(({ token }) => backend.isHonoured(token))).toBe(true)
  })

  test('split: the access token in the body, the refresh token in a cookie', async () => {
    const { send } = bench({ locations: ['headers', 'cookies'], deliver: 'split' })
    const response = await send('/login', { json: credentials })
    expect(Object.keys((await response.json()) as object)).toEqual(['access_token'])
    expect(Object.keys(cookiesOf(response))).toEqual(['refresh_token_cookie', 'csrf_refresh_token'])
  })

  test('csrfInBody: login, refresh and /whoami tell the CSRF values of the cookies', async () => {
    const { ask, cookie, csrf } = await signedIn({ csrfInBody: true, csrfInCookies: false })
    expect(csrf).toEqual(['', ''])
    const told = (await ask('/whoami', { cookie })).body as Record<string, string>
    const refreshed = await ask('/refresh', {
      method: 'POST',
      cookie,
      csrf: told.csrf_refresh_token as string,
    })
    expect(refreshed.body).toEqual({ msg: 'refresh successful', csrf_access_token: expect.any(String) })
    const post = { method: 'POST', cookie, csrf: told.csrf_access_token as string }
    expect((await ask('/protected', post)).status).toBe(200)
  })

  test('POST /logout asks for nothing and clears all four', async () => {
    const { send } = bench({ locations: ['cookies'], cookies: { refreshPath: '/refresh' } })
    const response = await send('/logout', { method: 'POST' })
    expect([response.status, await response.json()]).toEqual([200, { msg: 'logout successful' }])
    const expires = 'Expires=Thu, 01 Jan 1970 00:00:00 GMT'
    expect(response.headers.getSetCookie()).toEqual([
      `access_token_cookie=; ${expires}; HttpOnly; Path=/`,
      `csrf_access_token=; ${expires}; Path=/`,
      `refresh_token_cookie=; ${expires}; HttpOnly; Path=/refresh`,
      `csrf_refresh_token=; ${expires}; Path=/`,
    ])
  })

  test('cookies may go by other names', async () => {
    const { ask, send } = bench({ locations: ['cookies'], cookies: { accessName: 'a', accessCsrfName: 'b' } })
    const set = cookiesOf(await send('/login', { json: credentials }))
    const sent = { method: 'POST', cookie: `a=${set.a?.value}`, csrf: set.b?.value }
    expect((await ask('/protected', sent)).status).toBe(200)
  })

  test('with headers and cookies both are given, unless one is asked for', async () => {
    const { backend, send } = bench({ locations: ['headers', 'cookies'] })
    const both = await send('/login', { json: credentials })
    expect(Object.keys(cookiesOf(both))).toHaveLength(4)
    expect(await both.json()).toHaveProperty('refresh_token')
    backend.settings.deliver = 'body'
    expect(cookiesOf(await send('/login', { json: credentials }))).toEqual({})
  })

  test('a cookie outlives the token in it', async () => {
    const { ask, backend, send } = bench({ locations: ['cookies'] })
    const set = cookiesOf(await send('/login', { json: credentials }))
    backend.advance(900_000)
    const cookie = `access_token_cookie=${set.access_token_cookie?.value}`
    expect((await ask('/protected', { cookie })).body).toEqual({ msg: 'Token has expired' })
  })
})

describe('double submit', () => {
  test.each([
    ['GET', undefined, 200, undefined],
    ['POST', undefined, 401, 'Missing CSRF token'],
    ['PUT', undefined, 401, 'Missing CSRF token'],
    ['PATCH', undefined, 401, 'Missing CSRF token'],
    ['DELETE', undefined, 401, 'Missing CSRF token'],
    ['POST', 'wrong', 401, 'CSRF double submit tokens do not match'],
    ['POST', 'a-csrf-value', 200, undefined],
    ['DELETE', 'a-csrf-value', 200, undefined],
  ])('%s with the value %s gives %i', async (method, csrf, status, msg) => {
    const { ask, backend } = bench({ locations: ['cookies'] })
    const cookie = `access_token_cookie=${await backend.sign(payload())}`
    const answer = await ask('/protected', { method, csrf, cookie })
    expect(answer.status).toBe(status)
    if (msg !== undefined) expect(answer.body).toEqual({ msg })
  })

  test('HEAD needs none', async () => {
    const { backend, send } = bench({ locations: ['cookies'] })
    const cookie = `access_token_cookie=${await backend.sign(payload())}`
    expect((await send('/protected', { method: 'HEAD', cookie })).status).toBe(200)
  })

  test('the refresh route wants the refresh token’s value, and every exchange changes the access token’s', async () => {
    const { ask, send } = bench({ locations: ['cookies'] })
    const set = cookiesOf(await send('/login', { json: credentials }))
    const cookie = Object.entries(set)
      .map(([name, { value }]) => `${name}=${value}`)
      .join('; ')
    const wrong = await ask('/refresh', { method: 'POST', cookie, csrf: set.csrf_access_token?.value })
    expect(wrong).toEqual({ status: 401, body: { msg: 'CSRF double submit tokens do not match' } })
    const response = await send('/refresh', { method: 'POST', cookie, csrf: set.csrf_refresh_token?.value })
    expect([response.status, await response.json()]).toEqual([200, { msg: 'refresh successful' }])
    const next = cookiesOf(response)
    expect(Object.keys(next)).toEqual(['access_token_cookie', 'csrf_access_token'])
    expect(next.csrf_access_token?.value).not.toBe(set.csrf_access_token?.value)
  })

  test.each([
    ['with JWT_CSRF_CHECK_FORM a form field will do', true, 'a-csrf-value', 200],
    ['but not a wrong one', true, 'wrong', 401],
    ['without it none will', false, 'a-csrf-value', 401],
  ])('%s', async (_, csrfCheckForm, value, status) => {
    const { ask, backend } = bench({ locations: ['cookies'], csrfCheckForm })
    const cookie = `access_token_cookie=${await backend.sign(payload())}`
    const body = new URLSearchParams({ csrf_token: value })
    expect((await ask('/protected', { cookie, body })).status).toBe(status)
  })

  test('a token in the header needs none if headers come first, cookies that come first do', async () => {
    const { ask, backend } = bench({ locations: ['headers', 'cookies'] })
    const token = await backend.sign(payload())
    const sent = { method: 'POST', token, cookie: `access_token_cookie=${token}` }
    expect((await ask('/protected', sent)).status).toBe(200)
    backend.settings.locations = ['cookies', 'headers']
    expect((await ask('/protected', sent)).body).toEqual({ msg: 'Missing CSRF token' })
  })

  test('methods and header are settings', async () => {
    const { ask, backend } = bench({ locations: ['cookies'], csrfMethods: ['GET'], csrfHeader: 'X-XSRF' })
    const cookie = `access_token_cookie=${await backend.sign(payload())}`
    expect((await ask('/protected', { method: 'POST', cookie })).status).toBe(200)
    expect((await ask('/protected', { cookie, csrf: 'a-csrf-value' })).status).toBe(401)
    expect((await ask('/protected', { cookie, headers: { 'X-XSRF': 'a-csrf-value' } })).status).toBe(200)
  })
})

describe('implicit refresh', () => {
  const implicit = { locations: ['cookies'], implicitRefresh: 300_000 } as const

  test('a token that expires within the window gets a successor, not fresh, on any answer', async () => {
    const { backend, send } = bench(implicit)
    const set = cookiesOf(await send('/login', { json: credentials }))
    const sent = { cookie: `access_token_cookie=${set.access_token_cookie?.value}` }
    backend.advance(600_000)
    expect(cookiesOf(await send('/protected', sent))).toEqual({})
    backend.advance(1)
    const response = await send('/protected', sent)
    const next = cookiesOf(response)
    expect(Object.keys(next)).toEqual(['access_token_cookie', 'csrf_access_token'])
    expect(claimsOf(next.access_token_cookie?.value)).toMatchObject({
      fresh: false,
      sub: 'alice',
      exp: startSeconds + 1500,
    })
    const csrf = set.csrf_access_token?.value
    const invalid = await send('/validated', { ...sent, csrf, json: {} })
    expect([invalid.status, Object.keys(cookiesOf(invalid))]).toEqual([
      422,
      ['access_token_cookie', 'csrf_access_token'],
    ])
    expect(backend.families()).toHaveLength(1)
  })

  test('a request in flight with the new cookie and the old value gets a mismatch, cured by the new value', async () => {
    const { ask, backend, send } = bench(implicit)
    const set = cookiesOf(await send('/login', { json: credentials }))
    backend.advance(700_000)
    const next = cookiesOf(
      await send('/whoami', { cookie: `access_token_cookie=${set.access_token_cookie?.value}` }),
    )
    const sent = { method: 'POST', cookie: `access_token_cookie=${next.access_token_cookie?.value}` }
    expect((await ask('/protected', { ...sent, csrf: set.csrf_access_token?.value })).body).toEqual({
      msg: 'CSRF double submit tokens do not match',
    })
    expect((await ask('/protected', { ...sent, csrf: next.csrf_access_token?.value })).status).toBe(200)
  })

  test('a refused token gets none', async () => {
    const { backend, send } = bench(implicit)
    const set = cookiesOf(await send('/login', { json: credentials }))
    backend.advance(900_000)
    const cookie = `access_token_cookie=${set.access_token_cookie?.value}`
    expect(cookiesOf(await send('/protected', { cookie }))).toEqual({})
  })
})
