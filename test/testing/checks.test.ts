import { describe, expect, test } from 'vitest'
import type { BackendOptions, Claims } from '../../src/testing/index.ts'
import { type Bench, bench, payload, type Sent, segment, startSeconds } from './support.ts'

const header = segment('{"alg":"HS256","typ":"JWT"}')
const past = startSeconds - 5
const future = startSeconds + 100
const parserText = 'Expecting value: line 1 column 1 (char 0)'

type TokenOf = (bench: Bench) => string | Promise<string>
const signed =
  (changes: Claims): TokenOf =>
  ({ backend }) =>
    backend.sign(payload(changes))
const refresh = { type: 'refresh', fresh: false }
const foreign = (changes: Claims): Promise<string> =>
  bench({ secret: 'the key of somebody else, also long enough' }).backend.sign(payload(changes))

/** What the default dialect says, and the kind of answer that the tutorial makes of it. */
type Row = [
  situation: string,
  status: number,
  msg: string,
  tutorial: keyof typeof tutorial,
  token: TokenOf,
  sent?: Sent & { path?: string },
  options?: BackendOptions,
]

/** Section 11. */
const tutorial = {
  expired: { message: 'The token has expired.', error: 'token_expired' },
  invalid: { message: 'Signature verification failed.', error: 'invalid_token' },
  missing: {
    description: 'Request does not contain an access token.',
    error: 'authorization_required',
  },
  stale: { description: 'The token is not fresh.', error: 'fresh_token_required' },
  revoked: { description: 'The token has been revoked.', error: 'token_revoked' },
}

const cookies: BackendOptions = { locations: ['cookies'] }
const fresh = { path: '/fresh' }
const toRefresh = { path: '/refresh', method: 'POST' }

const precedence: Row[] = [
  [
    'an expired refresh token on an access route',
    401,
    'Token has expired',
    'expired',
    signed({ ...refresh, exp: past }),
  ],
  [
    'an expired access token on the refresh route',
    401,
    'Token has expired',
    'expired',
    signed({ exp: past }),
    toRefresh,
  ],
  [
    'expired and not fresh, on a fresh route',
    401,
    'Token has expired',
    'expired',
    signed({ exp: past, fresh: false }),
    fresh,
  ],
  ['expired and badly signed', 422, 'Signature verification failed', 'invalid', () => foreign({ exp: past })],
  ['expired and without sub', 422, 'Missing claim: sub', 'invalid', signed({ exp: past, sub: undefined })],
  [
    'expired with a sub that is no string',
    422,
    'Subject must be a string',
    'invalid',
    signed({ exp: past, sub: 1 }),
  ],
  [
    'not yet valid and expired',
    422,
    'The token is not yet valid (iat)',
    'invalid',
    signed({ iat: future, exp: past }),
  ],
  ['revoked and expired', 401, 'Token has expired', 'expired', signed({ jti: 'revoked', exp: past })],
  [
    'revoked and not fresh, on a fresh route',
    401,
    'Fresh token required',
    'stale',
    signed({ jti: 'revoked', fresh: false }),
    fresh,
  ],
  [
    'a revoked refresh token on an access route',
    422,
    'Only non-refresh tokens are allowed',
    'invalid',
    signed({ ...refresh, jti: 'revoked' }),
  ],
  [
    'a badly signed token of another algorithm',
    422,
    'The specified alg value is not allowed',
    'invalid',
    () => `${segment('{"alg":"HS512"}')}.${segment('{}')}.abcd`,
  ],
  [
    'a payload that is not JSON, of another algorithm',
    422,
    `Invalid payload string: ${parserText}`,
    'invalid',
    () => `${segment('{"alg":"none"}')}.${segment('nope')}.`,
  ],
]

const cookiePrecedence: Row[] = [
  [
    'an expired cookie without a CSRF header',
    401,
    'Missing CSRF token',
    'missing',
    signed({ exp: past }),
    { method: 'POST' },
    cookies,
  ],
  [
    'an expired cookie with a wrong CSRF value',
    401,
    'CSRF double submit tokens do not match',
    'missing',
    signed({ exp: past }),
    { method: 'POST', csrf: 'wrong' },
    cookies,
  ],
  [
    'an expired cookie with the right CSRF value',
    401,
    'Token has expired',
    'expired',
    signed({ exp: past }),
    { method: 'POST', csrf: 'a-csrf-value' },
    cookies,
  ],
  [
    'a malformed cookie without a CSRF header',
    401,
    'Missing CSRF token',
    'missing',
    () => 'abc',
    { method: 'POST' },
    cookies,
  ],
  [
    'a badly signed cookie with a wrong CSRF value',
    422,
    'Signature verification failed',
    'invalid',
    () => foreign({}),
    { method: 'POST', csrf: 'wrong' },
    cookies,
  ],
  [
    'a refresh token in the access cookie with a wrong CSRF value',
    401,
    'CSRF double submit tokens do not match',
    'missing',
    signed(refresh),
    { method: 'POST', csrf: 'wrong' },
    cookies,
  ],
  [
    'a CSRF value where the token has no such claim',
    422,
    'Missing claim: csrf',
    'invalid',
    signed({ csrf: undefined }),
    { method: 'POST', csrf: 'x' },
    cookies,
  ],
]

const answers: Row[] = [
  ['an expired access token', 401, 'Token has expired', 'expired', signed({ exp: past })],
  [
    'an expired refresh token',
    401,
    'Token has expired',
    'expired',
    signed({ ...refresh, exp: past }),
    toRefresh,
  ],
  ['a revoked access token', 401, 'Token has been revoked', 'revoked', signed({ jti: 'revoked' })],
  [
    'a revoked refresh token',
    401,
    'Token has been revoked',
    'revoked',
    signed({ ...refresh, jti: 'revoked' }),
    toRefresh,
  ],
  [
    'a token that is not fresh on a fresh route',
    401,
    'Fresh token required',
    'stale',
    signed({ fresh: false }),
    fresh,
  ],
  [
    'a token without the fresh claim on a fresh route',
    401,
    'Fresh token required',
    'stale',
    signed({ fresh: undefined }),
    fresh,
  ],
  [
    'a refresh token on an access route',
    422,
    'Only non-refresh tokens are allowed',
    'invalid',
    signed(refresh),
  ],
  [
    'an access token on the refresh route',
    422,
    'Only refresh tokens are allowed',
    'invalid',
    signed({}),
    toRefresh,
  ],
  [
    'a token without type on the refresh route',
    422,
    'Only refresh tokens are allowed',
    'invalid',
    signed({ type: undefined }),
    toRefresh,
  ],
  ['a token without sub', 422, 'Missing claim: sub', 'invalid', signed({ sub: undefined })],
]

const pyjwt: Row[] = (
  [
    ['abc', 'Not enough segments', () => 'abc'],
    ['undefined', 'Not enough segments', () => 'undefined'],
    ['null', 'Not enough segments', () => 'null'],
    ['two segments', 'Not enough segments', () => 'a.b'],
    ['a header that is not base64', 'Invalid header padding', () => 'a.b.c'],
    ['a header of other characters', 'Invalid header padding', () => '!!!!.e30.e30'],
    ['a header that is not JSON', `Invalid header string: ${parserText}`, () => `${segment('nope')}.e30.e30`],
    [
      'a header that is not an object',
      'Invalid header string: must be a json object',
      () => `${segment('[]')}.e30.e30`,
    ],
    ['a payload that is not base64', 'Invalid payload padding', () => `${header}.a.abcd`],
    [
      'a payload that is not JSON',
      `Invalid payload string: ${parserText}`,
      () => `${header}.${segment('nope')}.abcd`,
    ],
    [
      'a payload that is not an object',
      'Invalid payload string: must be a json object',
      ({ backend }) => backend.sign([]),
    ],
    ['a signature that is not base64', 'Invalid crypto padding', () => `${header}.${segment('{}')}.a`],
    ['a signature in another spelling', 'Invalid crypto padding', () => `${header}.${segment('{}')}.AB`],
    ['another key', 'Signature verification failed', () => foreign({})],
    ['a payload tampered with', 'Signature verification failed', tampered],
    [
      'the algorithm none',
      'The specified alg value is not allowed',
      () => `${segment('{"alg":"none"}')}.${segment(JSON.stringify(payload()))}.`,
    ],
    [
      'another algorithm',
      'The specified alg value is not allowed',
      ({ backend }) => backend.sign(payload(), { alg: 'HS384' }),
    ],
    ['iat in the future', 'The token is not yet valid (iat)', signed({ iat: future })],
    ['iat not a number', 'Issued At claim (iat) must be an integer.', signed({ iat: 'x' })],
    ['nbf in the future', 'The token is not yet valid (nbf)', signed({ nbf: future })],
    ['nbf not a number', 'Not Before claim (nbf) must be an integer.', signed({ nbf: 'x' })],
    ['exp not a number', 'Expiration Time claim (exp) must be an integer.', signed({ exp: 'x' })],
    ['sub a number', 'Subject must be a string', signed({ sub: 7 })],
    ['sub null', 'Subject must be a string', signed({ sub: null })],
    ['jti not a string', 'JWT ID must be a string', signed({ jti: 7 })],
    ['aud wrong', "Audience doesn't match", signed({ aud: 'x' }), { audience: 'us' }],
    ['aud absent', 'Token is missing the "aud" claim', signed({}), { audience: 'us' }],
    ['iss wrong', 'Invalid issuer', signed({ iss: 'x' }), { issuer: 'us' }],
    ['iss absent', 'Token is missing the "iss" claim', signed({}), { issuer: 'us' }],
  ] as [string, string, TokenOf, BackendOptions?][]
).map(([situation, msg, token, options]) => [situation, 422, msg, 'invalid', token, {}, options])

async function tampered({ login }: Bench): Promise<string> {
  const [head, , signature] = (await login()).access_token.split('.')
  return `${head}.${segment(JSON.stringify(payload({ sub: 'bob' })))}.${signature}`
}

async function answerTo(
  row: Row,
  dialect: 'default' | 'tutorial',
): Promise<{ status: number; body: unknown }> {
  const [, , , , tokenOf, { path = '/protected', ...sent } = {}, options] = row
  const b = bench({ ...options, dialect })
  b.backend.revoke('revoked')
  const token = await tokenOf(b)
  if (!options?.locations) return b.ask(path, { ...sent, token })
  return b.ask(path, { ...sent, cookie: `access_token_cookie=${token}` })
}

describe.each([
  ['precedence', precedence],
  ['precedence with cookies', cookiePrecedence],
  ['answers', answers],
  ['what PyJWT says', pyjwt],
] as const)('%s', (_, rows) => {
  test.each(rows)('%s → %i %s', async (...row) => {
    expect(await answerTo(row, 'default')).toEqual({ status: row[1], body: { msg: row[2] } })
  })

  test.each(rows)('the tutorial’s answer to: %s', async (...row) => {
    expect(await answerTo(row, 'tutorial')).toEqual({ status: 401, body: tutorial[row[3]] })
  })
})

describe('the application’s own rules', () => {
  test.each(['default', 'tutorial'] as const)(
    'claims that it refuses give 400 in the dialect %s',
    async (dialect) => {
      const { ask, login } = bench({
        dialect,
        verifyClaims: ({ sub }) => sub !== 'alice',
        lookupUser: () => false,
      })
      const { access_token: token } = await login()
      expect(await ask('/protected', { token })).toEqual({
        status: 400,
        body: { msg: 'User claims verification failed' },
      })
    },
  )

  test.each(['default', 'tutorial'] as const)(
    'a user who is gone gives 401 in the dialect %s',
    async (dialect) => {
      const { ask, login } = bench({ dialect, lookupUser: (sub) => sub !== 'alice' })
      const { access_token: token } = await login()
      expect(await ask('/protected', { token })).toEqual({
        status: 401,
        body: { msg: 'Error loading the user alice' },
      })
      expect((await ask('/protected', { token: (await login('bob')).access_token })).status).toBe(200)
    },
  )

  test('both come after the blocklist, and a refresh token they refuse is not spent', async () => {
    const { ask, backend, login } = bench({ refresh: 'single-use' })
    const { access_token, refresh_token } = await login()
    backend.settings.lookupUser = () => false
    expect((await ask('/refresh', { method: 'POST', token: refresh_token })).status).toBe(401)
    expect(backend.isHonoured(refresh_token)).toBe(true)
    backend.revoke(access_token)
    expect((await ask('/protected', { token: access_token })).body).toEqual({ msg: 'Token has been revoked' })
  })
})

describe('what an answer looks like', () => {
  test('one JSON object with one member, compact, a newline at the end, and no header of HTTP authentication or caching', async () => {
    const response = await bench().send('/protected')
    const text = await response.text()
    expect(text).toBe('{"msg":"Missing Authorization Header"}\n')
    expect(Object.fromEntries(response.headers)).toEqual({
      'content-type': 'application/json',
      'content-length': String(text.length),
    })
  })

  test('the tutorial’s members are sorted, as Flask sorts them', async () => {
    const response = await bench({ dialect: 'tutorial' }).send('/protected', { token: 'abc' })
    expect(await response.text()).toBe(
      '{"error":"invalid_token","message":"Signature verification failed."}\n',
    )
  })
})

describe('time', () => {
  test.each([
    ['exp equal to the current second is expired', { exp: startSeconds }, 0, 401],
    ['exp a second ahead is not', { exp: startSeconds + 1 }, 0, 200],
    ['a fractional exp is truncated', { exp: startSeconds + 0.9 }, 0, 401],
    ['digits in a string pass for a number', { exp: String(startSeconds + 1) }, 0, 200],
    ['leeway keeps an expired token alive', { exp: startSeconds - 4 }, 5_000, 200],
    ['and ends with its last second', { exp: startSeconds - 5 }, 5_000, 401],
    ['iat of this second is valid', { iat: startSeconds }, 0, 200],
    ['leeway lets iat and nbf be ahead', { iat: startSeconds + 5, nbf: startSeconds + 5 }, 5_000, 200],
    ['but no further', { iat: startSeconds + 6 }, 5_000, 422],
    ['a token without exp never expires', { exp: undefined }, 0, 200],
  ] as [string, Claims, number, number][])('%s', async (_, changes, leeway, status) => {
    const { ask, backend } = bench({ leeway })
    expect((await ask('/protected', { token: await backend.sign(payload(changes)) })).status).toBe(status)
  })

  test('a token of sub alone is an access token that neither expires nor is fresh', async () => {
    const { ask, backend } = bench()
    const token = await backend.sign({ sub: 'alice' })
    backend.advance(1e12)
    expect(await ask('/whoami', { token })).toEqual({
      status: 200,
      body: { sub: 'alice', fresh: false, exp: null, iat: null },
    })
    expect((await ask('/fresh', { token })).body).toEqual({ msg: 'Fresh token required' })
  })

  test('a type other than refresh passes on access routes', async () => {
    const { ask, backend } = bench()
    expect((await ask('/protected', { token: await backend.sign(payload({ type: 'other' })) })).status).toBe(
      200,
    )
  })

  test('a numeric freshness holds up to its moment, leeway or not', async () => {
    const { ask, backend, login } = bench({ fresh: 60_500, leeway: 10_000 })
    const { access_token: token } = await login()
    backend.advance(60_500)
    expect((await ask('/fresh', { token })).status).toBe(200)
    backend.advance(1)
    expect((await ask('/fresh', { token })).body).toEqual({ msg: 'Fresh token required' })
    expect((await ask('/protected', { token })).status).toBe(200)
  })

  test('freshness without end lasts until the token expires', async () => {
    const { ask, backend, login } = bench()
    const { access_token: token } = await login()
    backend.advance(899_999)
    expect((await ask('/fresh', { token })).status).toBe(200)
    backend.advance(1)
    expect((await ask('/fresh', { token })).body).toEqual({ msg: 'Token has expired' })
  })

  test('refreshing never makes fresh, a login and a fresh login do', async () => {
    const { ask, login } = bench()
    const { refresh_token } = await login()
    const token = async (path: string, sent: Sent): Promise<string> =>
      ((await ask(path, sent)).body as { access_token: string }).access_token
    const refreshed = await token('/refresh', { method: 'POST', token: refresh_token })
    expect((await ask('/fresh', { token: refreshed })).body).toEqual({ msg: 'Fresh token required' })
    const again = await token('/fresh-login', { json: { username: 'alice', password: 'wonderland' } })
    expect((await ask('/fresh', { token: again })).status).toBe(200)
  })

  test('without JWT_VERIFY_SUB a sub may be a number', async () => {
    const { ask, backend } = bench({ verifySub: false })
    expect((await ask('/whoami', { token: await backend.sign(payload({ sub: 7 })) })).body).toMatchObject({
      sub: 7,
    })
  })
})

describe('optional routes', () => {
  test.each([
    ['no header', undefined, 200],
    ['another scheme', 'Basic abc', 200],
    ['a malformed token', 'Bearer abc', 422],
    ['Bearer alone', 'Bearer', 422],
  ])('%s', async (_, header, status) => {
    const headers = header === undefined ? undefined : { Authorization: header }
    const answer = await bench().ask('/optional', { headers })
    expect(answer.status).toBe(status)
    if (status === 200) expect(answer.body).toMatchObject({ sub: null })
  })

  test.each([
    ['expired', payload({ exp: past }), 401],
    ['revoked', payload({ jti: 'revoked' }), 401],
    ['good', payload(), 200],
  ])('a token that is %s', async (_, claims, status) => {
    const { ask, backend } = bench()
    backend.revoke('revoked')
    const answer = await ask('/optional', { token: await backend.sign(claims) })
    expect(answer.status).toBe(status)
    if (status === 200) expect(answer.body).toMatchObject({ sub: 'alice' })
  })

  test('a failing double submit is not forgiven', async () => {
    const { ask, backend } = bench(cookies)
    const cookie = `access_token_cookie=${await backend.sign(payload())}`
    expect((await ask('/optional', { method: 'POST', cookie })).body).toEqual({ msg: 'Missing CSRF token' })
  })
})
