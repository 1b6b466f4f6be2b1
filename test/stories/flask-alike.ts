/**
 * Whether the fake of `stayfresh/testing` answers as the real library does: the same requests to both, what comes back side
 * by side. Tokens are signed here, with a key that both have, so that both are asked about the very same ones.
 */
import { createHmac } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Backend, createBackend } from '../../src/testing/index.ts'
import { type Flask, type FlaskApp, SECRET } from '../servers/flask.ts'
import type { Dialect } from './flask.ts'

interface Asked {
  route?: string
  method?: string
  headers?: Record<string, string>
  body?: string
}

const text = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

function sign(claims: object, { alg = 'HS256', secret = SECRET } = {}): string {
  const signed = `${text({ alg, typ: 'JWT' })}.${text(claims)}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

const now = Math.floor(Date.now() / 1000)
let count = 0
const claims = (more: object = {}): object => ({
  fresh: false,
  iat: now - 10,
  jti: `jti-${++count}`,
  type: 'access',
  sub: 'alice',
  nbf: now - 10,
  csrf: 'of-access',
  exp: now + 600,
  ...more,
})
const past = { iat: now - 600, nbf: now - 600, exp: now - 60 }
const refresh = { type: 'refresh', csrf: 'of-refresh' }

const access = sign(claims())
const tokens = {
  access,
  refresh: sign(claims(refresh)),
  fresh: sign(claims({ fresh: true })),
  'fresh for a while': sign(claims({ fresh: now + 60.5 })),
  'fresh no more': sign(claims({ fresh: now - 60.5 })),
  expired: sign(claims(past)),
  'expired refresh': sign(claims({ ...past, ...refresh })),
  'expired fresh': sign(claims({ ...past, fresh: true })),
  revoked: sign(claims({ jti: 'revoked' })),
  'revoked fresh': sign(claims({ jti: 'revoked', fresh: true })),
  'revoked refresh': sign(claims({ jti: 'revoked', ...refresh })),
  'revoked expired': sign(claims({ jti: 'revoked', ...past })),
  'of another key': sign(claims(), { secret: 'another key' }),
  'expired, of another key': sign(claims(past), { secret: 'another key' }),
  'of another algorithm': sign(claims(), { alg: 'none' }),
  'of the future': sign(claims({ iat: now + 300, nbf: now - 10 })),
  'not yet valid': sign(claims({ nbf: now + 300 })),
  'without sub': sign(claims({ sub: undefined })),
  'expired without sub': sign(claims({ ...past, sub: undefined })),
  'without csrf': sign(claims({ csrf: undefined })),
  'without type or fresh': sign(claims({ type: undefined, fresh: undefined })),
  'without exp': sign(claims({ exp: undefined })),
  'an exp that is no number': sign(claims({ exp: 'soon' })),
  'an iat that is no number': sign(claims({ iat: 'once' })),
  'an nbf that is no number': sign(claims({ nbf: 'once' })),
  'a word': 'abc',
  'two segments': 'abc.def',
  'three segments': `${Buffer.from('?').toString('base64url')}.def.ghi`,
  'a cut one': access.slice(0, -3),
  'a payload that is a list': sign([1]),
  'a payload that is no JSON': `${access.split('.')[0]}.${Buffer.from('?').toString('base64url')}.c2ln`,
}

const bearer = (authorization: string, more?: Asked): Asked => ({ ...more, headers: { authorization } })
const cookie = (cookie: string, csrf?: string, more?: Asked): Asked => ({
  ...more,
  headers: { cookie, ...(csrf !== undefined && { 'x-csrf-token': csrf }) },
})

/** What is asked where tokens are in headers. */
const inHeaders: Record<string, Asked> = Object.fromEntries([
  ...Object.entries(tokens).flatMap(([name, token]) =>
    ['protected', 'fresh', 'optional', 'refresh'].map((route) => [
      `${route}: ${name}`,
      bearer(`Bearer ${token}`, { route, method: route === 'refresh' ? 'POST' : 'GET' }),
    ]),
  ),
  ...['protected', 'optional', 'refresh'].map((route) => [
    `${route}: nothing`,
    { route, method: route === 'refresh' ? 'POST' : 'GET' },
  ]),
  ...Object.entries({
    'no scheme': access,
    'another scheme': 'Basic YTpi',
    'small letters': `bearer ${access}`,
    'the scheme alone': 'Bearer',
    'the scheme and a space': 'Bearer ',
    'three words': `Bearer ${access} more`,
    'two of them': `Bearer ${access}, Bearer ${access}`,
    'after another': `Basic YTpi, Bearer ${access}`,
    'before another': `Bearer ${access}, Basic YTpi`,
    commas: `,Bearer ${access},`,
    spaces: `Bearer    ${access}`,
    'a comma alone': ',',
    'the token of nobody': 'Bearer undefined',
  }).flatMap(([name, value]) =>
    ['protected', 'optional'].map((route) => [`${route}: a header with ${name}`, bearer(value, { route })]),
  ),
  ['a token in a cookie where none is looked for', cookie(`access_token_cookie=${access}`)],
  ['HEAD with an expired token', bearer(`Bearer ${tokens.expired}`, { method: 'HEAD' })],
  ['OPTIONS', { method: 'OPTIONS' }],
  ['GET refresh', { route: 'refresh', method: 'GET' }],
  ['an unknown route', { route: 'nowhere' }],
])

const accessCookie = `access_token_cookie=${access}`
const refreshCookie = `refresh_token_cookie=${tokens.refresh}`

/** What is asked where they are in cookies. */
const inCookies: Record<string, Asked> = {
  nothing: {},
  'a POST with nothing': { method: 'POST' },
  'nothing where nothing will do': { route: 'optional' },
  'a refresh with nothing': { route: 'refresh', method: 'POST' },
  'a token in the header where none is looked for': bearer(`Bearer ${access}`),
  'a GET': cookie(accessCookie),
  'a GET with a wrong value': cookie(accessCookie, 'wrong'),
  'an empty cookie': cookie('access_token_cookie='),
  'a cookie in quotation marks': cookie(`access_token_cookie="${access}"`),
  'the refresh token alone': cookie(refreshCookie),
  'the refresh token in the place of the other': cookie(`access_token_cookie=${tokens.refresh}`),
  'a stale one': cookie(accessCookie, undefined, { route: 'fresh' }),
  'a malformed one': cookie('access_token_cookie=abc'),
  ...Object.fromEntries(
    (['POST', 'PUT', 'PATCH', 'DELETE'] as const).flatMap((method) => [
      [`a ${method}`, cookie(accessCookie, 'of-access', { method })],
      [`a ${method} without a value`, cookie(accessCookie, undefined, { method })],
      [`a ${method} with a wrong value`, cookie(accessCookie, 'wrong', { method })],
      [`a ${method} with an empty value`, cookie(accessCookie, '', { method })],
    ]),
  ),
  'a POST with the value of the refresh token': cookie(`${accessCookie}; ${refreshCookie}`, 'of-refresh', {
    method: 'POST',
  }),
  'a POST with the value as a field of a form': {
    method: 'POST',
    headers: { cookie: accessCookie, 'content-type': 'application/x-www-form-urlencoded' },
    body: 'csrf_token=of-access',
  },
  ...Object.fromEntries(
    (['expired', 'revoked', 'without csrf', 'of another key', 'expired fresh', 'a word'] as const).flatMap(
      (name) =>
        [undefined, 'wrong', 'of-access'].flatMap((csrf) =>
          ['protected', 'optional', 'fresh'].map((route) => [
            `a POST, ${route}: ${name}, ${csrf ? `with ${csrf}` : 'without a value'}`,
            cookie(`access_token_cookie=${tokens[name]}`, csrf, { route, method: 'POST' }),
          ]),
        ),
    ),
  ),
  ...Object.fromEntries(
    (['refresh', 'access', 'expired refresh', 'revoked refresh', 'a word'] as const).flatMap((name) =>
      [undefined, 'of-access', 'of-refresh'].map((csrf) => [
        `a refresh: ${name}, ${csrf ? `with ${csrf}` : 'without a value'}`,
        cookie(`${accessCookie}; refresh_token_cookie=${tokens[name]}`, csrf, {
          route: 'refresh',
          method: 'POST',
        }),
      ]),
    ),
  ),
}

const credentials = (username: string, password: string): Asked => ({
  route: 'login',
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ username, password }),
})

/** What came back, but for what differs from one token to the next. */
async function tell(response: Response): Promise<object> {
  const type = response.headers.get('content-type')
  const body = await response.text()
  const cookies = response.headers.getSetCookie()
  return {
    status: response.status,
    type,
    challenge: response.headers.get('www-authenticate'),
    allow: response.headers.get('allow')?.split(', ').sort(),
    body: type?.includes('html') ? '' : masked(body),
    cookies: cookies.map((one) => masked(one.replace(/(csrf_\w+_token=)[^;]+/, '$1…'))),
  }
}

/**
 * Tokens by what they say. Not whether there is a `csrf` claim: before 4.7 only tokens that are looked for in cookies have
 * one, later ones always, as the fake’s. Where it counts, the answers differ by it.
 */
function masked(given: string): string {
  return given.replace(/eyJ[\w-]*\.([\w-]+)\.[\w-]+/g, (_, payload: string) => {
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
    const { exp, iat, nbf, fresh, type, sub, csrf: __, ...others } = claims
    return `<${type} of ${sub}, fresh ${fresh}, from ${nbf - iat} to ${exp - iat} s, with ${Object.keys(others)}>`
  })
}

export function alike(flask: () => Flask, dialect: Dialect, mode: 'headers' | 'cookies'): void {
  describe(`What stayfresh/testing answers is what Flask-JWT-Extended answers, ${dialect} dialect, ${mode}`, () => {
    let app: FlaskApp
    let fake: Backend
    beforeAll(async () => {
      app = await flask().open({ dialect, tokens: mode })
      fake = createBackend({ dialect, locations: [mode], secret: SECRET, refresh: 'reusable' })
      await app.revoke({ jti: 'revoked' })
      fake.revoke('revoked')
    })

    async function both({ route = 'protected', ...init }: Asked): Promise<[object, object]> {
      const real = await fetch(`${app.url}${route}`, { ...init, redirect: 'manual' })
      const answer = await fake.fetch(new Request(`http://127.0.0.1/${route}`, init))
      return [await tell(answer), await tell(real)]
    }

    const asked = { ...(mode === 'headers' ? inHeaders : inCookies) }
    asked['a login'] = credentials('alice', 'wonderland')
    asked['a login with a wrong password'] = credentials('alice', 'wrong')
    asked['a login of nobody'] = credentials('nobody', 'wrong')

    test(`to ${Object.keys(asked).length} requests`, async () => {
      const answers = await Promise.all(
        Object.entries(asked).map(async ([name, init]) => [name, await both(init)] as const),
      )
      const [faked, real] = [0, 1].map((which) =>
        Object.fromEntries(answers.map(([name, pair]) => [name, pair[which as 0 | 1]])),
      )
      expect(faked).toEqual(real)
    })
  })
}
