/** What `bearer()` can be told of servers that speak in their own way: each as its tutorial or its manual has it. */
import { describe, expect, test } from 'vitest'
import { type BearerOptions, bearer, flaskJwt } from '../../src/index.ts'
import { read } from './support.ts'

const bodyOf = ({ body }: { body?: unknown }): unknown => JSON.parse(`${body}`)
const text = { 'content-type': 'text/plain' }
const json = { 'content-type': 'application/json' }

describe('what goes out', () => {
  test('a key is a path, beside what else is there: Cognito', () => {
    const { refresh } = bearer({
      refresh: {
        key: 'AuthParameters.REFRESH_TOKEN',
        members: { AuthFlow: 'REFRESH_TOKEN_AUTH', AuthParameters: { SECRET_HASH: 'h' } },
      },
    })
    expect(bodyOf(refresh('r1'))).toEqual({
      AuthFlow: 'REFRESH_TOKEN_AUTH',
      AuthParameters: { SECRET_HASH: 'h', REFRESH_TOKEN: 'r1' },
    })
  })

  test('in a form it is a name', () => {
    const { refresh } = bearer({ refresh: { key: 'token.refresh', form: true } })
    expect(refresh('r1').body).toBe('token.refresh=r1')
  })

  test('the access token goes along where the server asks for both, and not where there is none', () => {
    const { refresh } = bearer({ refresh: { accessKey: 'accessToken', key: 'refreshToken' } })
    expect(bodyOf(refresh('r1', { token: 'a1' }))).toEqual({ accessToken: 'a1', refreshToken: 'r1' })
    expect(bodyOf(refresh('r1'))).toEqual({ refreshToken: 'r1' })
    const asBearer = bearer({ refresh: { send: 'bearer', accessKey: 'old.access' } }).refresh('r1', {
      token: 'a1',
    })
    expect(asBearer.headers).toMatchObject({ authorization: 'Bearer r1' })
    expect(bodyOf(asBearer)).toEqual({ old: { access: 'a1' } })
  })

  test('credentials go over the members of their endpoint, a proof over those of the login', () => {
    const { login, reauth } = bearer({
      login: { path: 'in', members: { mode: 'json', otp: '' } },
      reauth: { members: { mode: 'proof' } },
    })
    expect(bodyOf(login({ otp: '1' } as never))).toEqual({ mode: 'json', otp: '1' })
    expect(bodyOf(reauth?.({ otp: '2' } as never) ?? {})).toEqual({ mode: 'proof', otp: '2' })
  })

  test.each(['accessTokenKey', 'refreshTokenKey'] as const)('%s takes no empty list', (option) => {
    const message = `bearer: ${option} takes a string, or some of them`
    expect(() => bearer({ [option]: [] })).toThrow(
      expect.objectContaining({ code: 'invalid_option', option, message }),
    )
  })

  test.each<[string, BearerOptions]>([
    ['login', { login: { method: 'GET' } }],
    ['reauth', { reauth: { method: 'head' } }],
    ['refresh', { refresh: { method: 'GET' } }],
    ['refresh', { refresh: { method: 'GET', send: 'bearer', members: { a: 1 } } }],
    ['refresh', { refresh: { method: 'GET', send: 'bearer', accessKey: 'access' } }],
    ['logout', { logout: { method: 'GET', send: 'body' } }],
  ])('a body goes with no GET: %s is refused', (option, options) => {
    expect(() => bearer(options)).toThrow(
      expect.objectContaining({
        code: 'invalid_option',
        option,
        message: `bearer: ${option} takes a method that takes a body, or send: 'bearer' and no members`,
      }),
    )
  })
})

describe('what comes', () => {
  test('tokens by another name at the refresh than at the login: bezkoder’s Spring, Firebase', async () => {
    const { tokens, refresh } = bearer({
      accessTokenKey: ['token', 'accessToken'],
      refreshTokenKey: ['refreshToken', 'refresh_token'],
    })
    expect(tokens(await read({ status: 200, body: { token: 'a1', refreshToken: 'r1' } }))).toMatchObject({
      accessToken: 'a1',
      refreshToken: 'r1',
    })
    expect(
      tokens(await read({ status: 200, body: { accessToken: 'a2', refresh_token: 'r2' } })),
    ).toMatchObject({
      accessToken: 'a2',
      refreshToken: 'r2',
    })
    expect(bodyOf(refresh('r1'))).toEqual({ refreshToken: 'r1' })
    expect(() => bearer({ accessTokenKey: [1] as never })).toThrow(
      /accessTokenKey takes a string, or some of them/,
    )
  })

  test('a status that says it alone: res.sendStatus(403)', async () => {
    const backend = bearer({ signals: { 403: 'unknown' }, refusals: ['403'] })
    const forbidden = await read({ status: 403, body: 'Forbidden', headers: text })
    expect([backend.classify(forbidden), backend.refused(forbidden)]).toEqual([{ signal: 'unknown' }, true])
    // What it says in words comes first, and a page of somebody else's is no answer of it.
    const said = await read({ status: 403, body: { code: 'TOKEN_EXPIRED' } })
    expect(backend.classify(said)).toEqual({ signal: 'expired' })
    const page = await read({ status: 403, body: '<h1>No</h1>', headers: { 'content-type': 'text/html' } })
    expect(backend.refused(page)).toBe(false)
    expect(bearer().refused(forbidden)).toBe(false)
  })

  test('a number as a code, with any status: RuoYi', async () => {
    const backend = bearer({ signals: { 50014: 'expired' }, refusals: ['50008'] })
    expect(backend.classify(await read({ status: 401, body: { code: 50014 } }))).toEqual({
      signal: 'expired',
    })
    expect(backend.refused(await read({ status: 200, body: { code: 50008 } }))).toBe(true)
  })

  test('a JSON text that is all of the body: res.status(403).json("…")', async () => {
    const backend = bearer({
      signals: { 'Token is not valid!': 'expired' },
      refusals: ['Refresh token is not valid!'],
    })
    const body = (said: string) => ({ status: 403, body: JSON.stringify(said), headers: json })
    expect(backend.classify(await read(body('Token is not valid!')))).toEqual({ signal: 'expired' })
    expect(backend.refused(await read(body('Refresh token is not valid!')))).toBe(true)
    expect(backend.message?.(await read(body('Wrong password!')))).toBe('Wrong password!')
  })

  test('a code of JSON:API', async () => {
    const answer = await read({ status: 401, body: { errors: [{ code: 'token_expired' }] } })
    expect(bearer().classify(answer)).toEqual({ signal: 'expired' })
  })
})

test('flaskJwt: loaders and answers of your own may nest what they say', async () => {
  const backend = flaskJwt({
    messageKey: 'error.message',
    accessTokenKey: 'data.access_token',
    refreshTokenKey: 'data.refresh_token',
    signals: { STALE: 'step_up' },
  })
  const loader = (message: string) => read({ status: 401, body: { error: { message } } })
  expect(backend.classify(await loader('Token has expired'))).toBe('expired')
  expect(backend.refused(await loader('Token has been revoked'))).toBe(true)
  expect(backend.classify(await read({ status: 401, body: { code: 'STALE' } }))).toBe('step_up')
  expect(backend.message?.(await loader('Bad password'))).toBe('Bad password')
  const data = { access_token: 'a1', refresh_token: 'r1' }
  expect(backend.tokens(await read({ status: 200, body: { data } }))).toEqual({
    accessToken: 'a1',
    refreshToken: 'r1',
  })
})
