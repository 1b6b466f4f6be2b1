import { describe, expect, test } from 'vitest'
import type { TokenLocation } from '../../src/testing/index.ts'
import { bench, payload } from './support.ts'

const wrongScheme = "Missing 'Bearer' type in 'Authorization' header. Expected 'Authorization: Bearer <JWT>'"
const badHeader = "Bad Authorization header. Expected 'Authorization: Bearer <JWT>'"

describe('the header', () => {
  test.each([
    ['Bearer T', 200, undefined],
    ['Bearer   T', 200, undefined],
    ['Basic abc, Bearer T', 200, undefined],
    ['Bearer T, Basic abc', 200, undefined],
    ['Bearer T,', 200, undefined],
    [',Bearer T', 200, undefined],
    ['', 401, 'Missing Authorization Header'],
    [',', 401, 'Missing Authorization Header'],
    ['bearer T', 401, wrongScheme],
    ['BEARER T', 401, wrongScheme],
    ['BearerX T', 401, wrongScheme],
    ['Basic abc', 401, wrongScheme],
    ['T', 401, wrongScheme],
    ['Bearer T, Bearer T', 401, wrongScheme],
    ['Bearer', 422, badHeader],
    ['Bearer T more', 422, badHeader],
  ])('"%s" gives %i', async (header, status, msg) => {
    const { ask, login } = bench()
    const Authorization = header.replaceAll('T', (await login()).access_token)
    const answer = await ask('/protected', { headers: { Authorization } })
    expect(answer.status).toBe(status)
    if (msg !== undefined) expect(answer.body).toEqual({ msg })
  })

  test('no header at all', async () => {
    expect(await bench().ask('/protected')).toEqual({
      status: 401,
      body: { msg: 'Missing Authorization Header' },
    })
  })

  test('without a type the header is the bare token', async () => {
    const { ask, login } = bench({ headerType: '' })
    const { access_token: token } = await login()
    expect((await ask('/protected', { headers: { Authorization: token } })).status).toBe(200)
    expect(await ask('/protected', { token })).toEqual({
      status: 422,
      body: { msg: "Bad Authorization header. Expected 'Authorization: <JWT>'" },
    })
  })

  test('another header, type and message key are used throughout', async () => {
    const { ask, backend, login } = bench({ headerName: 'X-Auth', headerType: 'JWT', messageKey: 'error' })
    const { access_token: token } = await login()
    expect((await ask('/protected', { headers: { 'X-Auth': `JWT ${token}` } })).status).toBe(200)
    expect(backend.log.at(-1)?.token).toMatchObject({ where: 'header', token, sub: 'alice' })
    expect((await ask('/protected', { token })).body).toEqual({ error: 'Missing X-Auth Header' })
    expect((await ask('/protected', { headers: { 'X-Auth': `Bearer ${token}` } })).body).toEqual({
      error: "Missing 'JWT' type in 'X-Auth' header. Expected 'X-Auth: JWT <JWT>'",
    })
  })
})

describe('the other locations', () => {
  test.each([
    ['/protected', 'access_token_cookie', 'refresh_token_cookie'],
    ['/refresh', 'refresh_token_cookie', 'access_token_cookie'],
  ])('%s reads the %s alone', async (path, own, other) => {
    const { ask, login, backend } = bench({ locations: ['cookies'], deliver: 'body', csrfProtect: false })
    const { access_token, refresh_token } = await login()
    const token = path === '/refresh' ? refresh_token : access_token
    expect((await ask(path, { method: 'POST', cookie: `a=b; ${own}=${token}; c=d` })).status).toBe(200)
    expect(await ask(path, { method: 'POST', cookie: `${other}=${token}` })).toEqual({
      status: 401,
      body: { msg: `Missing cookie "${own}"` },
    })
    expect(backend.count()).toBe(3)
  })

  test('a route for either type reads the access cookie', async () => {
    const { ask, login } = bench({ locations: ['cookies'], deliver: 'body', csrfProtect: false })
    const { refresh_token } = await login()
    expect(
      (await ask('/logout', { method: 'DELETE', cookie: `refresh_token_cookie=${refresh_token}` })).body,
    ).toEqual({
      msg: 'Missing cookie "access_token_cookie"',
    })
  })

  test.each([
    ['', '', 401, "Missing 'jwt' query paramater"],
    ['', '?jwt=', 401, "Missing 'jwt' query paramater"],
    ['', '?jwt=T', 200, undefined],
    ['p:', '?jwt=p:T', 200, undefined],
    ['p:', '?jwt=T', 422, "Invalid value for query parameter 'jwt'. Expected the value to start with 'p:'"],
  ])('with the prefix "%s" the query "%s" gives %i', async (queryStringPrefix, query, status, msg) => {
    const { ask, login } = bench({ locations: ['query_string'], queryStringPrefix })
    const answer = await ask(`/protected${query.replace('T', (await login()).access_token)}`)
    expect(answer.status).toBe(status)
    if (msg !== undefined) expect(answer.body).toEqual({ msg })
  })

  test.each([
    ['application/json', '{"access_token":"T"}', 200, undefined],
    ['application/json; charset=utf-8', '{"access_token":"T"}', 200, undefined],
    ['text/plain', '{"access_token":"T"}', 401, 'Invalid content-type. Must be application/json.'],
    ['application/json', '{"access_token":""}', 401, 'Missing "access_token" key in json data.'],
    ['application/json', '{"refresh_token":"T"}', 401, 'Missing "access_token" key in json data.'],
    ['application/json', '{', 401, 'Missing "access_token" key in json data.'],
    ['application/json', '[]', 401, 'Missing "access_token" key in json data.'],
  ])('%s with the body %s gives %i', async (type, text, status, msg) => {
    const { ask, login } = bench({ locations: ['json'] })
    const body = text.replace('T', (await login()).access_token)
    const answer = await ask('/protected', { body, headers: { 'Content-Type': type } })
    expect(answer.status).toBe(status)
    if (msg !== undefined) expect(answer.body).toEqual({ msg })
  })

  test('a refresh route reads the refresh_token member', async () => {
    const { ask, login } = bench({ locations: ['json'] })
    const { refresh_token } = await login()
    expect((await ask('/refresh', { json: { refresh_token } })).status).toBe(200)
    expect((await ask('/refresh', { json: { access_token: refresh_token } })).body).toEqual({
      msg: 'Missing "refresh_token" key in json data.',
    })
  })
})

describe('several locations', () => {
  const all: TokenLocation[] = ['headers', 'cookies', 'json', 'query_string']
  test.each([
    [
      all,
      'Missing JWT in headers, cookies, json or query_string (Missing Authorization Header; Missing cookie "access_token_cookie"; Invalid content-type. Must be application/json.; Missing \'jwt\' query paramater)',
    ],
    [
      ['cookies', 'headers'],
      'Missing JWT in cookies or headers (Missing cookie "access_token_cookie"; Missing Authorization Header)',
    ],
  ] as [TokenLocation[], string][])(
    '%o, none of which has a token, are all named in order',
    async (locations, msg) => {
      expect(await bench({ locations }).ask('/protected')).toEqual({ status: 401, body: { msg } })
    },
  )

  test('an empty place leads on to the next', async () => {
    const { ask, login } = bench({ locations: ['headers', 'cookies'] })
    const { access_token } = await login()
    expect((await ask('/protected', { cookie: `access_token_cookie=${access_token}` })).status).toBe(200)
    const headers = { Authorization: 'Basic abc' }
    expect((await ask('/protected', { cookie: `access_token_cookie=${access_token}`, headers })).status).toBe(
      200,
    )
  })

  test('any other failure ends the search: a bad header is not rescued by a good cookie', async () => {
    const { ask, login } = bench({ locations: ['headers', 'cookies'] })
    const cookie = `access_token_cookie=${(await login()).access_token}`
    expect((await ask('/protected', { token: 'abc', cookie })).body).toEqual({ msg: 'Not enough segments' })
    expect((await ask('/protected', { headers: { Authorization: 'Bearer' }, cookie })).body).toEqual({
      msg: badHeader,
    })
  })

  test('whichever comes first decides: an expired cookie is not rescued by a good header', async () => {
    const { ask, backend, login } = bench({ locations: ['cookies', 'headers'] })
    const cookie = `access_token_cookie=${await backend.sign(payload({ exp: 1 }))}`
    const { access_token: token } = await login()
    expect((await ask('/protected', { token, cookie })).body).toEqual({ msg: 'Token has expired' })
  })
})

describe('methods', () => {
  test('OPTIONS skips all checks', async () => {
    const response = await bench().send('/protected', { method: 'OPTIONS' })
    expect(response.status).toBe(200)
    expect(response.headers.get('Allow')).toBe('GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS')
    expect(await response.text()).toBe('')
  })

  test('an error to HEAD has the status and no body', async () => {
    const response = await bench().send('/protected', { method: 'HEAD' })
    expect(response.status).toBe(401)
    expect(response.body).toBeNull()
    expect(response.headers.get('Content-Type')).toBe('application/json')
  })
})
