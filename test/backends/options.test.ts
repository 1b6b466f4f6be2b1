/** What the presets take, at run time and by their types. */
import { runInNewContext } from 'node:vm'
import { describe, expect, expectTypeOf, test } from 'vitest'
import {
  type Backend,
  bearer,
  createAuth,
  djRestAuth,
  flaskJwt,
  flaskJwtCookies,
  isAuthError,
  oauth2,
  type Session,
  simpleJwt,
  type UsernamePassword,
} from '../../src/index.ts'
import { leaks, thrown } from '../support.ts'

const web = { tokenEndpoint: '/token', clientId: 'web' }

test('oauth2 takes further words that refuse a refresh token', () => {
  const { refused } = oauth2({ ...web, refusals: ['Refresh token expired.', 'gone'] })
  const answer = (body: object) => ({ status: 400, headers: new Headers(), body, empty: false })
  expect(refused(answer({ error: 'invalid_request', error_description: 'Refresh token expired.' }))).toBe(
    true,
  )
  expect(refused(answer({ error: 'gone' }))).toBe(true)
  expect(refused(answer({ error: 'invalid_request' }))).toBe(false)
})

test('each token goes into the JSON of a logout by its own name, if none is given', () => {
  const bodies = (logout: object): unknown[] => {
    const backend = bearer({
      refreshTokenKey: 'data.refresh',
      logout: { send: 'body', tokens: 'both', ...logout },
    })
    return (['access', 'refresh'] as const).map((kind) => backend.logout?.('t', kind, false)?.body)
  }
  expect(bodies({})).toEqual(['{"access_token":"t"}', '{"refresh":"t"}'])
  expect(bodies({ key: 'token' })).toEqual(['{"token":"t"}', '{"token":"t"}'])
})

describe('a bad option is refused by its name', () => {
  test.each<[string, string, () => unknown]>([
    ['bearer', 'loginn', () => bearer({ loginn: {} } as never)],
    ['bearer', 'accessTokenKey', () => bearer({ accessTokenKey: 7 } as never)],
    ['bearer', 'refusals', () => bearer({ refusals: 'gone' } as never)],
    ['bearer', 'logout', () => bearer({ logout: null } as never)],
    ['bearer', 'options', () => bearer(null as never)],
    ['bearer: refresh', 'url', () => bearer({ refresh: { url: 'auth/refresh' } } as never)],
    ['bearer: refresh', 'send', () => bearer({ refresh: { send: 'header' } } as never)],
    ['bearer: login', 'members', () => bearer({ login: { members: 'mode=json' } } as never)],
    ['bearer: login', 'form', () => bearer({ login: { form: 'yes' } } as never)],
    ['bearer: reauth', 'path', () => bearer({ reauth: { path: 5 } } as never)],
    ['bearer: logout', 'tokens', () => bearer({ logout: { tokens: 'all' } } as never)],
    ['bearer', 'refusals', () => bearer({ refusals: [5] as never })],
    ['bearer', 'refusals', () => bearer({ refusals: ['gone', null] as never })],
    [
      'flaskJwtCookies: csrf',
      'accesscookie',
      () => flaskJwtCookies({ csrf: { accesscookie: 'x' } as never }),
    ],
    ['flaskJwtCookies: csrf', 'accessCookie', () => flaskJwtCookies({ csrf: { accessCookie: 5 as never } })],
    ['flaskJwtCookies: csrf', 'accessKey', () => flaskJwtCookies({ csrf: { accessKey: null as never } })],
    ['flaskJwtCookies: csrf', 'header', () => flaskJwtCookies({ csrf: { header: 'bad header' } })],
    ['flaskJwtCookies: csrf', 'header', () => flaskJwtCookies({ csrf: { header: '' } })],
    ['flaskJwtCookies: csrf', 'header', () => flaskJwtCookies({ csrf: { header: 5 as never } })],
    ['flaskJwtCookies: csrf', 'methods', () => flaskJwtCookies({ csrf: { methods: 'POST' as never } })],
    ['flaskJwtCookies: csrf', 'methods', () => flaskJwtCookies({ csrf: { methods: null as never } })],
    ['flaskJwtCookies: csrf', 'methods', () => flaskJwtCookies({ csrf: { methods: [5] as never } })],
    ['flaskJwt', 'refreshPath', () => flaskJwt({ refreshPath: 'token/refresh' } as never)],
    ['flaskJwt', 'logout', () => flaskJwt({ logout: true } as never)],
    ['flaskJwt', 'login', () => flaskJwt({ login: { url: 'auth/login' } } as never)],
    ['flaskJwt', 'refresh', () => flaskJwt({ refresh: { path: 5 } } as never)],
    ['flaskJwt', 'refreshToken', () => flaskJwt({ refreshToken: 'singleUse' } as never)],
    ['flaskJwt', 'options', () => flaskJwt('/api/' as never)],
    ['simpleJwt', 'revoked', () => simpleJwt({ revoked: 'ignore' } as never)],
    ['simpleJwt', 'rotation', () => simpleJwt({ rotation: true } as never)],
    ['simpleJwt', 'login', () => simpleJwt({ login: 'token/' } as never)],
    ['djRestAuth', 'subject', () => djRestAuth({ subject: 'user_id' } as never)],
    ['oauth2', 'tokenEndpoint', () => oauth2({ clientId: 'web' } as never)],
    ['oauth2', 'clientId', () => oauth2({ tokenEndpoint: '/token' } as never)],
    ['oauth2', 'clientId', () => oauth2({ ...web, clientId: '' })],
    ['oauth2', 'refusals', () => oauth2({ ...web, refusals: [5] as never })],
    ['flaskJwtCookies: csrf', 'refreshHeader', () => flaskJwtCookies({ csrf: { refreshHeader: 'a b' } })],
    ['oauth2', 'authenticate', () => oauth2({ ...web, authenticate: 'private_key_jwt' as never })],
    ['oauth2', 'clientSecret', () => oauth2({ ...web, authenticate: 'client_secret_post' })],
    ['oauth2', 'options', () => oauth2(undefined as never)],
  ])('%s: %s', (preset, option, run) => {
    const error = thrown(run)
    if (!isAuthError(error, 'invalid_option')) throw error
    expect(error).toBeInstanceOf(TypeError)
    expect(error.option).toBe(option)
    expect(error.message).toContain(preset)
    expect(error.message).toContain(option)
  })

  test('with the names that were given', () => {
    const login = { url: 'login', form: true } as never
    expect(() => flaskJwt({ login })).toThrow(
      'flaskJwt: login takes { path, method } of http(s), got { url, form }',
    )
    for (const tokens of ['none', 'all']) {
      expect(() => flaskJwt({ logout: { tokens } as never })).toThrow('flaskJwt: logout takes')
    }
    for (const preset of [flaskJwt, bearer, simpleJwt]) {
      expect(() => preset({ signals: { gone: 'expird' as never } })).toThrow(
        /signals takes .*expired \| .*got { gone }/,
      )
    }
  })

  test('where it would make no request at each use', () => {
    const paths = ['ftp://x/', 'javascript:alert(1)', 'mailto:a@b.test', 'http://[/', 'https://alice:w@x/']
    const methods = ['', ' ', 'POST ', 'P OST', 'TRACE', 'trace', 'CONNECT']
    const requests = [...paths.map((path) => ({ path })), ...methods.map((method) => ({ method }))]
    for (const request of requests) {
      for (const endpoint of ['login', 'reauth', 'refresh', 'logout']) {
        for (const preset of [flaskJwt, flaskJwtCookies, bearer, simpleJwt, djRestAuth]) {
          const error = thrown(() => preset({ [endpoint]: request }))
          expect(error).toMatchObject({ code: 'invalid_option', option: endpoint })
          expect(String(error)).toMatch(/: (login|reauth|refresh|logout) takes { path, method } of http\(s\)/)
        }
      }
    }
    // A slip, though nothing is given by it.
    expect(thrown(() => flaskJwt({ login: { pth: undefined } as never }))).toMatchObject({ option: 'login' })
    for (const path of paths) {
      for (const option of ['tokenEndpoint', 'revocationEndpoint']) {
        const error = thrown(() => oauth2({ ...web, [option]: path }))
        expect(error).toMatchObject({ code: 'invalid_option', option })
      }
    }
    for (const path of [
      '',
      '/',
      '?a=b',
      './a:b',
      '../x',
      '//x/y',
      '/a@b',
      'https://x',
      'http://[::1]:5000/a',
    ])
      for (const method of ['GET', 'patch', 'M-SEARCH', undefined]) {
        flaskJwt({ refresh: { path, method } })
        bearer({ refresh: { path, method, send: 'bearer' } })
        if (method !== 'GET') simpleJwt({ refresh: { path, method } })
      }
    expect(thrown(() => simpleJwt({ refresh: { method: 'GET' } }))).toMatchObject({
      option: 'refresh',
      message: expect.stringMatching(/^simpleJwt: refresh takes a method that takes a body/),
    })
  })

  test('where it is no plain object: no name would be found in it', () => {
    for (const options of [[], [{}], new Map(), Promise.resolve({}), () => ({}), 5, new Date(0)]) {
      for (const preset of [flaskJwt, flaskJwtCookies, bearer, simpleJwt, djRestAuth, oauth2]) {
        expect(thrown(() => preset(options as never))).toMatchObject({
          code: 'invalid_option',
          option: 'options',
          message: `${preset.name} takes an object of options`,
        })
      }
    }
    expect(thrown(() => bearer({ login: new Map() as never }))).toMatchObject({ option: 'options' })
    // Of another realm, of a module, of a class, without a prototype.
    const members = { refresh: { path: 'token/refresh' } }
    for (const options of [
      runInNewContext('({ refresh: { path: "token/refresh" } })') as typeof members,
      Object.assign(Object.create(null) as object, members),
      { ...members, [Symbol.toStringTag]: 'Module' },
      { ...members, [Symbol.toStringTag]: 'AuthConfig' },
    ])
      expect(flaskJwt(options).refresh('t').path).toBe('token/refresh')
  })

  test('what is wrong is never quoted: it may be a secret', () => {
    const error = thrown(() => oauth2({ ...web, clientSecret: ['s3cret'] as never })) as Error
    expect(error.message).toBe('oauth2: clientSecret takes string, got an array')
    const mistaken = thrown(() => flaskJwt({ refreshToken: 't0ken' as never })) as Error
    expect(mistaken.message).toBe("flaskJwt: refreshToken takes 'reusable' or 'single-use', got string")
  })
})

test('bearer’s headers are named in any case, and may be Headers: none is sent twice, and the token goes first', () => {
  const names = { 'Content-Type': 'application/vnd.api+json', 'X-Key': 'k', Authorization: 'Basic abc' }
  for (const headers of [names, new Headers(names) as never]) {
    const backend = bearer({ headers, refresh: { send: 'bearer' } })
    const own = { accept: 'application/json', 'content-type': 'application/vnd.api+json', 'x-key': 'k' }
    expect(backend.login({ username: 'alice', password: 'wonderland' }).headers).toEqual({
      ...own,
      authorization: 'Basic abc',
    })
    expect(backend.refresh('refresh-1').headers).toEqual({ ...own, authorization: 'Bearer refresh-1' })
  }
})

test.each(['k3y\nwith: a line', 'k3y\0', 'k3y—dash'])(
  'a header of bearer’s that no request can carry is refused at once, and not quoted: %j',
  (value) => {
    const error = thrown(() => bearer({ headers: { 'x-key': value } }))
    if (!isAuthError(error, 'invalid_option')) throw error
    expect([error.option, leaks(error, 'k3y')]).toEqual(['headers', []])
  },
)

test('credentials may be a form, with each preset', () => {
  const pairs = { grant_type: 'password', username: 'alice', password: 'wonder land' }
  const form = new FormData()
  for (const [name, value] of Object.entries(pairs)) form.append(name, value)
  for (const given of [pairs, new URLSearchParams(pairs), form] as never[]) {
    for (const preset of [flaskJwt(), bearer(), simpleJwt()])
      expect(JSON.parse(String(preset.login(given).body))).toEqual(pairs)
    const { body } = oauth2({ ...web, parameters: { audience: 'a' } }).login(given)
    expect(Object.fromEntries(new URLSearchParams(String(body)))).toEqual({
      ...pairs,
      audience: 'a',
      client_id: 'web',
    })
  }
})

test('an endpoint of bearer() that takes a form is given one, its members too', () => {
  const backend = bearer({ login: { path: 'token', form: true, members: { scope: 'a b' } } })
  for (const request of [backend.login, backend.reauth]) {
    const { path, headers, body } =
      request?.({ username: 'alice', password: 'ö&=', otp: undefined } as never) ?? {}
    expect(path).toBe('token')
    expect(new Headers(headers).get('content-type')).toBe('application/x-www-form-urlencoded')
    expect(body).toBe('scope=a+b&username=alice&password=%C3%B6%26%3D')
  }
  expect(JSON.parse(String(backend.refresh('spare').body))).toEqual({ refresh_token: 'spare' })
})

test('credentials may be a form’s, and what is nothing in them is not sent as a word', () => {
  const form = new FormData()
  form.set('username', 'alice')
  for (const given of [form, new URLSearchParams({ username: 'alice' }), { username: 'alice' }]) {
    expect(JSON.parse(String(flaskJwt().login(given as never).body))).toEqual({ username: 'alice' })
    const { login } = bearer({ login: { form: true } })
    expect(login(given as never).body).toBe('username=alice')
  }
  expect(bearer({ login: { form: true } }).login({ username: 'a', otp: null } as never).body).toBe(
    'username=a',
  )
})

test('a password is proved again as at the login, but for what is said of it', () => {
  const given = { username: 'alice', password: 'wonderland' }
  const flask = flaskJwt({ login: { path: 'auth/login' }, reauth: { method: 'PUT' } })
  expect(flask.reauth?.(given)).toMatchObject({ path: 'auth/login', method: 'PUT' })
  const form = bearer({ login: { path: 'token', form: true }, reauth: { path: 'fresh' } })
  expect(form.reauth?.(given)).toMatchObject({ path: 'fresh', body: 'username=alice&password=wonderland' })
})

test.each(['both', 'access', 'refresh', undefined] as const)(
  'flaskJwt() revokes what it is told to: %s',
  (tokens) => {
    const { logout } = flaskJwt({ logout: { tokens } })
    const revokes = (['access', 'refresh'] as const).filter((kind) => logout?.('token', kind))
    expect(revokes).toEqual(tokens === 'access' || tokens === 'refresh' ? [tokens] : ['access', 'refresh'])
  },
)

describe('a member of an endpoint that is undefined was not given', () => {
  const none = { path: undefined, method: undefined }
  const all = { login: none, reauth: none, refresh: none, logout: none }
  const credentials = { username: 'alice', password: 'wonderland' }

  test.each<[string, (options?: object) => Backend]>([
    ['flaskJwt', flaskJwt],
    ['flaskJwtCookies', (options) => flaskJwtCookies({ whoami: {}, ...options })],
    ['simpleJwt', simpleJwt],
    ['djRestAuth', djRestAuth],
    ['bearer', bearer],
  ])('%s', (_, preset) => {
    const requests = (backend: Backend): object[] =>
      [
        backend.login(credentials),
        backend.reauth?.(credentials),
        backend.refresh('refresh-1'),
        backend.logout?.('refresh-1', 'refresh', true),
        backend.logout?.('access-1', 'access', true),
        backend.restore?.('https://api.test/', undefined),
      ].map((spec) => ({ method: 'POST', ...JSON.parse(JSON.stringify(spec ?? {})) }))
    expect(requests(preset(all))).toEqual(requests(preset()))
  })

  test('and leaves the one beneath it: that of the login for the password', () => {
    const { reauth } = simpleJwt({ login: { path: 'enter/' }, reauth: { path: undefined } })
    expect(reauth?.(credentials).path).toBe('enter/')
    const { restore } = flaskJwtCookies({ whoami: { path: undefined, method: undefined } })
    expect(restore?.('https://api.test/', undefined)).toMatchObject({ path: 'whoami', method: 'GET' })
  })
})

describe('types', () => {
  interface Claims {
    user_id: number
    role: 'admin' | 'user'
  }

  test('credentials and claims are a preset’s own, or the user’s', async () => {
    const baseUrl = 'https://api.test/'
    const django = createAuth({ baseUrl, backend: simpleJwt<Claims, { email: string; password: string }>() })
    expectTypeOf(django.session).toEqualTypeOf<Session<Claims> | null | undefined>()
    expectTypeOf(django.login).parameter(0).exclude<(...given: never) => unknown>().toEqualTypeOf<{
      email: string
      password: string
    }>()
    const plain = createAuth({ baseUrl, backend: bearer() })
    expectTypeOf(plain.login)
      .parameter(0)
      .exclude<(...given: never) => unknown>()
      .toEqualTypeOf<UsernamePassword>()
    const oauth = createAuth({ baseUrl, backend: oauth2(web) })
    expectTypeOf(oauth.login).toBeCallableWith({
      grant_type: 'authorization_code',
      code: 'c',
      code_verifier: 'v',
    })
    // @ts-expect-error a code belongs to its grant
    expectTypeOf(oauth.login).toBeCallableWith({ grant_type: 'password', code: 'c' })
    // @ts-expect-error the client is required
    expect(() => oauth2({ tokenEndpoint: '/token' })).toThrow('clientId')
    // @ts-expect-error no such signal
    expect(() => flaskJwt({ signals: { x: 'exipred' } })).toThrow('signals')
    for (const auth of [django, plain, oauth]) auth.dispose()
  })

  test('what a step-up asks for is on the event', () => {
    const auth = createAuth({ baseUrl: 'https://api.test/', backend: oauth2(web) })
    auth.on('reauthRequired', (event) => {
      expectTypeOf(event.acrValues).toEqualTypeOf<string | undefined>()
      expectTypeOf(event.maxAge).toEqualTypeOf<number | undefined>()
    })
    auth.dispose()
  })
})
