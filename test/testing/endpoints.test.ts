import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { checksum } from '../../src/testing/index.ts'
import { bench, claimsOf } from './support.ts'

const alice = { username: 'alice', password: 'wonderland' }
const jwt = expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]{43}$/)

describe('endpoints', () => {
  test('a login gives both tokens and nothing else', async () => {
    expect(await bench().ask('/login', { json: alice })).toEqual({
      status: 200,
      body: { access_token: jwt, refresh_token: jwt },
    })
  })

  test('a fresh login gives only a fresh access token', async () => {
    const answer = await bench().ask('/fresh-login', { json: alice })
    expect(answer).toEqual({ status: 200, body: { access_token: jwt } })
    expect(claimsOf((answer.body as { access_token: string }).access_token).fresh).toBe(true)
  })

  test.each(['/login', '/fresh-login'])('%s with a wrong password, user or field is 401', async (path) => {
    for (const json of [
      { ...alice, password: 'x' },
      { ...alice, username: 'x' },
      { username: 'alice' },
      {},
      [],
    ]) {
      expect(await bench().ask(path, { json })).toEqual({
        status: 401,
        body: { msg: 'Bad username or password' },
      })
    }
  })

  test.each([
    ['malformed', 'application/json', 400, 'Bad Request'],
    ['not JSON', 'text/plain', 415, 'Unsupported Media Type'],
  ])('a login that is %s gets Flask’s page', async (_, type, status, title) => {
    const response = await bench().send('/login', { body: '{', headers: { 'Content-Type': type } })
    expect(response.status).toBe(status)
    expect(await response.text()).toContain(`<title>${status} ${title}</title>`)
  })

  test('a refresh gives only an access token', async () => {
    const { ask, login } = bench()
    const { refresh_token: token } = await login()
    expect(await ask('/refresh', { method: 'POST', token })).toEqual({
      status: 200,
      body: { access_token: jwt },
    })
  })

  test.each([
    ['access_token', 'Access token successfully revoked'],
    ['refresh_token', 'Refresh token successfully revoked'],
  ] as const)('DELETE /logout revokes the %s it is called with, and no other', async (name, msg) => {
    const { ask, backend, login } = bench()
    const tokens = await login()
    const sent = { method: 'DELETE', token: tokens[name] }
    expect(await ask('/logout', sent)).toEqual({ status: 200, body: { msg } })
    expect(await ask('/logout', sent)).toEqual({ status: 401, body: { msg: 'Token has been revoked' } })
    const other = name === 'access_token' ? tokens.refresh_token : tokens.access_token
    expect([backend.isHonoured(tokens[name]), backend.isHonoured(other)]).toEqual([false, true])
  })

  test('a logout for access tokens only refuses a refresh token', async () => {
    const { ask, login } = bench({ logout: 'access' })
    const { access_token, refresh_token } = await login()
    expect(await ask('/logout', { method: 'DELETE', token: refresh_token })).toEqual({
      status: 422,
      body: { msg: 'Only non-refresh tokens are allowed' },
    })
    expect((await ask('/logout', { method: 'DELETE', token: access_token })).body).toEqual({
      msg: 'Access token revoked',
    })
  })

  test('POST /logout is not known without cookies', async () => {
    expect((await bench().send('/logout', { method: 'POST' })).status).toBe(405)
  })
})

describe('endpoints of the tutorial', () => {
  const tutorial = { dialect: 'tutorial' } as const

  test('a new user registers and logs in', async () => {
    const { ask } = bench(tutorial)
    const json = { username: 'carol', password: 'secret' }
    expect(await ask('/register', { json })).toEqual({
      status: 201,
      body: { message: 'User created successfully.' },
    })
    expect((await ask('/register', { json })).status).toBe(409)
    expect((await ask('/login', { json })).status).toBe(200)
  })

  test('a login makes fresh tokens, a failure has no error member', async () => {
    const { ask, login } = bench(tutorial)
    expect(claimsOf((await login()).access_token).fresh).toBe(true)
    expect(await ask('/login', { json: { ...alice, password: 'x' } })).toEqual({
      status: 401,
      body: { code: 401, status: 'Unauthorized', message: 'Invalid credentials.' },
    })
  })

  test('a missing field is the application’s own 422', async () => {
    expect(await bench(tutorial).ask('/login', { json: { username: 'alice' } })).toEqual({
      status: 422,
      body: {
        code: 422,
        status: 'Unprocessable Entity',
        errors: { json: { password: ['Missing data for required field.'] } },
      },
    })
  })

  test('malformed JSON is a 400', async () => {
    const headers = { 'Content-Type': 'application/json' }
    expect(await bench(tutorial).ask('/login', { body: '{', headers })).toEqual({
      status: 400,
      body: { code: 400, status: 'Bad Request', errors: { json: ['Invalid JSON body.'] } },
    })
  })

  test('a refresh token works once, and no new one is given', async () => {
    const { ask, login } = bench(tutorial)
    const sent = { method: 'POST', token: (await login()).refresh_token }
    expect(await ask('/refresh', sent)).toEqual({ status: 200, body: { access_token: jwt } })
    expect(await ask('/refresh', sent)).toMatchObject({ status: 401, body: { error: 'token_revoked' } })
  })

  test('a logout revokes the access token and leaves the refresh token', async () => {
    const { ask, backend, login } = bench(tutorial)
    const { access_token: token, refresh_token } = await login()
    const sent = { method: 'POST', token }
    expect(await ask('/logout', sent)).toEqual({ status: 200, body: { message: 'Successfully logged out' } })
    expect(await ask('/logout', sent)).toMatchObject({ status: 401, body: { error: 'token_revoked' } })
    expect(backend.isHonoured(refresh_token)).toBe(true)
  })

  test('an administrator’s route is a 401 that is not about the token', async () => {
    const { ask, login } = bench({
      ...tutorial,
      users: { alice: 'wonderland', bob: { password: 'builder', claims: { is_admin: true } } },
    })
    expect(await ask('/admin', { method: 'DELETE', token: (await login()).access_token })).toEqual({
      status: 401,
      body: { code: 401, status: 'Unauthorized', message: 'Admin privilege required.' },
    })
    expect((await ask('/admin', { method: 'DELETE', token: (await login('bob')).access_token })).status).toBe(
      200,
    )
  })

  test('a refresh token whose identity is a number is invalid at every refresh', async () => {
    const { ask, login } = bench({
      ...tutorial,
      users: { alice: { password: 'wonderland', sub: '1', refreshClaims: { sub: 1 } } },
    })
    const { access_token, refresh_token } = await login()
    expect((await ask('/protected', { token: access_token })).status).toBe(200)
    expect(await ask('/refresh', { method: 'POST', token: refresh_token })).toMatchObject({
      status: 401,
      body: { error: 'invalid_token' },
    })
  })

  test('its own routes are unknown in the default dialect', async () => {
    const { send } = bench()
    expect([(await send('/register', { json: alice })).status, (await send('/admin')).status]).toEqual([
      404, 404,
    ])
  })
})

describe('what an application adds', () => {
  test.each([
    ['default', { msg: 'Validation failed', errors: { price: ['Missing data for required field.'] } }],
    [
      'tutorial',
      {
        code: 422,
        status: 'Unprocessable Entity',
        errors: { json: { price: ['Missing data for required field.'] } },
      },
    ],
  ] as const)('its own 422 has more than one member in the dialect %s', async (dialect, body) => {
    const { ask, login } = bench({ dialect })
    const { access_token: token } = await login()
    expect(await ask('/validated', { token, json: { name: 'x' } })).toEqual({ status: 422, body })
    expect((await ask('/validated', { token, json: { name: 'x', price: 1 } })).status).toBe(200)
    expect((await ask('/validated', { json: {} })).status).toBe(401)
  })

  const everyByte = Uint8Array.from({ length: 70_000 }, (_, at) => (at * 7) % 256)

  test.each(['POST', 'PUT', 'PATCH', 'DELETE'])('/protected echoes what came by %s', async (method) => {
    const { ask, login } = bench()
    const { access_token: token } = await login()
    const headers = { 'Content-Type': 'application/octet-stream' }
    expect(await ask('/protected', { method, token, body: everyByte, headers })).toEqual({
      status: 200,
      body: {
        sub: 'alice',
        method,
        content_type: 'application/octet-stream',
        body: new TextDecoder().decode(everyByte),
        base64: Buffer.from(everyByte).toString('base64'),
      },
    })
  })

  test('with ?raw the bytes come back as they went', async () => {
    const { login, send } = bench()
    const { access_token: token } = await login()
    const headers = { 'Content-Type': 'image/png' }
    const response = await send('/protected?raw', { token, body: everyByte, headers })
    expect(response.headers.get('Content-Type')).toBe('image/png')
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(everyByte)
  })

  test('/upload counts and digests', async () => {
    const { ask, backend, login } = bench()
    const { access_token: token } = await login()
    expect((await ask('/upload', { method: 'PUT', token, body: everyByte })).body).toEqual({
      bytes: everyByte.length,
      checksum: checksum(everyByte),
      sha256: createHash('sha256').update(everyByte).digest('hex'),
    })
    expect(backend.log.at(-1)?.body).toBeUndefined()
    expect((await ask('/upload', { method: 'PUT', body: everyByte })).status).toBe(401)
  })

  test('the checksum is FNV-1a', () => {
    const vector = (text: string): string => checksum(new TextEncoder().encode(text))
    expect([vector(''), vector('a'), vector('foobar')]).toEqual(['811c9dc5', 'e40c292c', 'bf9cf968'])
  })

  test.each([
    ['', 302],
    ['&status=307', 307],
  ])('/redirect%s points elsewhere with %i and asks for nothing', async (query, status) => {
    const response = await bench().send(`/redirect?to=https%3A%2F%2Felsewhere.test%2F${query}`, {
      method: 'POST',
    })
    expect([response.status, response.headers.get('Location')]).toEqual([status, 'https://elsewhere.test/'])
  })

  test('/whoami tells what the token tells', async () => {
    const { ask, login } = bench({ fresh: 1_500 })
    const { access_token: token } = await login()
    const { sub, fresh, exp, iat } = claimsOf(token)
    expect((await ask('/whoami', { token })).body).toEqual({ sub, fresh, exp, iat })
  })
})

describe('what Flask adds', () => {
  test('an unknown path is a 404 page', async () => {
    for (const path of ['/', '/nowhere', '/protected/', '/toString', '/unknown', '/constructor']) {
      const response = await bench().send(path)
      expect([path, response.status]).toEqual([path, 404])
      expect(response.headers.get('Content-Type')).toBe('text/html; charset=utf-8')
      expect(await response.text()).toBe(
        '<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.</p>\n',
      )
    }
  })

  test('a wrong method is a 405 page that names the right ones', async () => {
    const response = await bench().send('/login')
    expect([response.status, response.headers.get('Allow')]).toEqual([405, 'POST, OPTIONS'])
    expect(await response.text()).toContain('<p>The method is not allowed for the requested URL.</p>')
  })

  test('POST /logout is among the right methods only where it is known', async () => {
    const { backend, send } = bench()
    const allow = async (): Promise<string | null> => (await send('/logout')).headers.get('Allow')
    expect(await allow()).toBe('DELETE, OPTIONS')
    backend.settings.dialect = 'tutorial'
    expect(await allow()).toBe('DELETE, POST, OPTIONS')
  })

  test('a method nobody has heard of is a 405', async () => {
    expect((await bench().send('/protected', { method: 'PROPFIND' })).status).toBe(405)
  })

  test('requests of two backends at once keep to their own', async () => {
    const benches = [bench({ prefix: 'a' }), bench({ prefix: 'b', dialect: 'tutorial' })] as const
    const [a, b] = await Promise.all(benches.map(({ send }) => send('/b/register', { json: {} })))
    expect([a?.status, b?.status]).toEqual([404, 422])
    expect(benches.map(({ backend }) => backend.log.map(({ route }) => route))).toEqual([
      ['unknown'],
      ['register'],
    ])
  })

  test.each(['api', '/api', '/api/', 'api/'])(
    'under the prefix "%s" the routes live there alone',
    async (prefix) => {
      const { send } = bench({ prefix })
      expect((await send('/api/protected')).status).toBe(401)
      expect((await send('/protected')).status).toBe(404)
      expect((await send('/apiprotected')).status).toBe(404)
    },
  )

  test.each(['https://api.test/v1/', 'api?x', '#api'])('a prefix that is no path is named: %s', (prefix) => {
    expect(() => bench({ prefix })).toThrow(new TypeError(`prefix: a path such as "/api/", not "${prefix}"`))
  })

  test('an option that there is none of is named, and those that there are', () => {
    expect(() => bench({ lifetime: 1 } as never)).toThrow(
      /^createBackend knows no option "lifetime"; it knows prefix, users, api, .*accessLifetime, /,
    )
  })

  test('any origin will do, and so will a URL, a string or a Request', async () => {
    const { backend } = bench()
    const url = 'http://elsewhere.test:81/protected'
    const { fetch } = backend
    for (const input of [url, new URL(url), new Request(url)]) expect((await fetch(input)).status).toBe(401)
    expect((await fetch(new Request(url), { method: 'OPTIONS' })).status).toBe(200)
  })

  test('a body can be sent only once', async () => {
    const { backend } = bench()
    const request = new Request('https://api.test/login', { method: 'POST', body: '{}' })
    await backend.fetch(request)
    await expect(backend.fetch(request)).rejects.toThrow(TypeError)
  })
})
