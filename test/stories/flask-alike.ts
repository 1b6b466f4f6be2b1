/**
 * Whether the fake of `stayfresh/testing` answers as the real library does: the same requests to both, what comes back side
 * by side. Tokens are signed here, with a key that both have, so that both are asked about the very same ones.
 */
import { createHmac } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { type BackendOptions, createBackend } from '../../src/testing/index.ts'
import { type Flask, type FlaskSetup, SECRET } from '../servers/flask.ts'

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
    cookies: cookies.map((one) =>
      masked(
        one.replace(/(csrf_\w+_token=)[^;]+/, '$1…').replace(/(Expires=)(?!Thu, 01 Jan 1970)[^;]+/, '$1…'),
      ),
    ),
  }
}

/**
 * Tokens by what they say. Not whether there is a `csrf` claim: with 4.4 only tokens that are looked for in cookies have
 * one, with 4.7 all of them, as the fake’s do. Where it counts, the answers differ by it.
 */
function masked(given: string): string {
  return given.replace(/eyJ[\w-]*\.([\w-]+)\.[\w-]+/g, (_, payload: string) => {
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
    const { exp, iat, nbf, fresh, type, sub, csrf: __, ...others } = claims
    return `<${type} of ${sub}, fresh ${fresh}, from ${nbf - iat} to ${exp - iat} s, with ${Object.keys(others)}>`
  })
}

const signedIn = `${accessCookie}; ${refreshCookie}`

/** Settings of the library's, the same of the fake's, and what is asked under them. */
const settings: [name: string, setup: FlaskSetup, same: BackendOptions, asked: Record<string, Asked>][] = [
  [
    'tokens in all places',
    { config: { JWT_TOKEN_LOCATION: ['headers', 'cookies', 'json', 'query_string'] }, tokens: 'split' },
    { locations: ['headers', 'cookies', 'json', 'query_string'], deliver: 'split' },
    {
      nothing: {},
      'a refresh with nothing': { route: 'refresh', method: 'POST' },
      'a good header, a cookie without its value': {
        method: 'POST',
        headers: { authorization: `Bearer ${access}`, cookie: accessCookie },
      },
      'a bad header, a good cookie': { headers: { authorization: 'Bearer abc', cookie: accessCookie } },
      'another scheme, a good cookie': { headers: { authorization: 'Basic abc', cookie: accessCookie } },
      'an expired header, a good cookie': {
        headers: { authorization: `Bearer ${tokens.expired}`, cookie: accessCookie },
      },
      'in the query': { route: `protected?jwt=${access}` },
      'an expired one in the query': { route: `protected?jwt=${tokens.expired}` },
      ...Object.fromEntries(
        [{ access_token: access }, { access_token: '' }, {}, [], { refresh_token: tokens.refresh }].map(
          (body) => [
            `JSON: ${JSON.stringify(body).slice(0, 20)}`,
            { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) },
          ],
        ),
      ),
      'no JSON': { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{' },
      'a login': credentials('alice', 'wonderland'),
    },
  ],
  [
    'cookies with every attribute',
    {
      tokens: 'cookies',
      config: {
        JWT_COOKIE_SECURE: true,
        JWT_COOKIE_SAMESITE: 'Strict',
        JWT_COOKIE_DOMAIN: 'example.org',
        JWT_SESSION_COOKIE: false,
        JWT_REFRESH_COOKIE_PATH: '/refresh',
      },
    },
    {
      locations: ['cookies'],
      cookies: {
        secure: true,
        sameSite: 'Strict',
        domain: 'example.org',
        persistent: true,
        refreshPath: '/refresh',
      },
    },
    {
      'a login': credentials('alice', 'wonderland'),
      'a refresh': cookie(signedIn, 'of-refresh', { route: 'refresh', method: 'POST' }),
      'a logout': cookie(signedIn, 'of-access', { route: 'logout', method: 'DELETE' }),
    },
  ],
  [
    'cookies without double submit',
    { tokens: 'cookies', config: { JWT_COOKIE_CSRF_PROTECT: false } },
    { locations: ['cookies'], csrfProtect: false },
    {
      'a login': credentials('alice', 'wonderland'),
      'a POST': cookie(accessCookie, undefined, { method: 'POST' }),
      'a refresh': cookie(signedIn, undefined, { route: 'refresh', method: 'POST' }),
    },
  ],
  [
    'cookies that are replaced on any answer',
    { tokens: 'cookies', implicit: 3_600_000 },
    { locations: ['cookies'], implicitRefresh: 3_600_000 },
    {
      'a call': cookie(accessCookie),
      'a call without a value': cookie(accessCookie, undefined, { method: 'POST' }),
      'an expired one': cookie(`access_token_cookie=${tokens.expired}`),
      'a stale one': cookie(accessCookie, undefined, { route: 'fresh' }),
      'an optional one that is not there': { route: 'optional' },
      'a refresh': cookie(signedIn, 'of-refresh', { route: 'refresh', method: 'POST' }),
      'a logout': cookie(signedIn, 'of-access', { route: 'logout', method: 'DELETE' }),
    },
  ],
  [
    'a bare token, another key for the text, tolerance',
    { config: { JWT_HEADER_TYPE: '', JWT_ERROR_MESSAGE_KEY: 'detail', JWT_DECODE_LEEWAY: 90 } },
    { headerType: '', messageKey: 'detail', leeway: 90_000 },
    {
      nothing: {},
      'a bare token': bearer(access),
      'two words': bearer(`Bearer ${access}`),
      'one that has just run out': bearer(tokens.expired),
      'one that is no longer fresh': bearer(tokens['fresh no more'], { route: 'fresh' }),
    },
  ],
]

export function alike(flask: () => Flask): void {
  describe('What stayfresh/testing answers is what Flask-JWT-Extended answers', () => {
    async function compare(setup: FlaskSetup, same: BackendOptions, asked: Record<string, Asked>) {
      const app = await flask().open(setup)
      const fake = createBackend({ secret: SECRET, refresh: 'reusable', ...same })
      await app.revoke({ jti: 'revoked' })
      fake.revoke('revoked')
      const faked: Record<string, object> = {}
      const real: Record<string, object> = {}
      // By turns: a logout is for what comes after it, too.
      for (const [name, { route = 'protected', ...init }] of Object.entries(asked)) {
        faked[name] = await tell(await fake.fetch(new Request(`http://127.0.0.1/${route}`, init)))
        real[name] = await tell(await fetch(`${app.url}${route}`, init))
      }
      expect(faked).toEqual(real)
    }

    const logins = {
      'a login': credentials('alice', 'wonderland'),
      'a login with a wrong password': credentials('alice', 'wrong'),
      'a login of nobody': credentials('nobody', 'wrong'),
    }
    for (const dialect of ['default', 'tutorial'] as const) {
      for (const [tokens, asked] of Object.entries({ headers: inHeaders, cookies: inCookies })) {
        const place = tokens as 'headers' | 'cookies'
        test(`${dialect} dialect, tokens in ${place}: ${Object.keys(asked).length} requests`, () =>
          compare({ dialect, tokens: place }, { dialect, locations: [place] }, { ...asked, ...logins }))
      }
    }
    for (const [name, setup, same, asked] of settings) {
      test(`${name}: ${Object.keys(asked).length} requests`, () => compare(setup, same, asked))
    }
  })
}
