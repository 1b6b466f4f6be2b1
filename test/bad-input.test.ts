/** What is wrong is refused at the door: by an AuthError that names it and quotes no token, with nothing lost by it. */
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import {
  type AuthError,
  type AuthErrorCode,
  type AuthEventType,
  type AuthOptions,
  createAuth,
  flaskJwt,
  isAuthError,
  type Tokens,
} from '../src/index.ts'
import { createBackend, type FaultAnswer } from '../src/testing/index.ts'
import { type Bench, base, bench, later, leaks, rejection, thrown, tutorial } from './support.ts'

const password = 'wonderland'
const credentials = { username: 'alice', password }

/** Checks what every error of ours has in common, and gives it back as what it is. */
function checked<Code extends AuthErrorCode>(
  error: unknown,
  code: Code,
  ...secrets: string[]
): AuthError<Code> {
  if (!isAuthError(error, code)) throw error
  expect(isAuthError(error)).toBe(true)
  for (const other of ['invalid_option', 'invalid_input', 'invalid_token', 'disposed'] as const) {
    expect(isAuthError(error, other)).toBe(other === (code as string))
  }
  expect(error).toBeInstanceOf(TypeError)
  expect(error.name).toBe('AuthError')
  expect(error.message).not.toBe('')
  expect(leaks(error, ...secrets)).toEqual([])
  return error
}

/** The options of a client that would work, but for what is given. */
const optionsWith = (given: object): AuthOptions =>
  ({ baseUrl: base, backend: flaskJwt(), ...given }) as AuthOptions

/** The error that an option brings at once. */
function refused(given: object, option: string, ...secrets: string[]): AuthError<'invalid_option'> {
  const error = checked(
    thrown(() => createAuth(optionsWith(given))),
    'invalid_option',
    ...secrets,
  )
  expect(error.option).toBe(option)
  expect(error.message).toContain(option)
  return error
}

describe('options', () => {
  test('are required', () => {
    for (const [nothing, option] of [
      [undefined, 'options'],
      [null, 'options'],
      ['https://api.test/', '0'],
      [5, 'baseUrl'],
    ]) {
      const error = checked(
        thrown(() => createAuth(nothing as never)),
        'invalid_option',
      )
      expect(error.option).toBe(option)
    }
  })

  test('without a baseUrl are refused', () => {
    for (const baseUrl of [undefined, null, '', 5, {}]) refused({ baseUrl }, 'baseUrl')
    checked(
      thrown(() => createAuth({ backend: flaskJwt() } as never)),
      'invalid_option',
    )
  })

  test('without a backend are refused', () => {
    for (const backend of [undefined, null, 'flask', {}, flaskJwt]) refused({ backend }, 'backend')
    for (const member of ['login', 'refresh', 'tokens', 'classify']) {
      refused({ backend: { ...flaskJwt(), [member]: undefined } }, 'backend')
    }
  })

  test('with a baseUrl that is a URL are taken', () => {
    expect(createAuth(optionsWith({ baseUrl: new URL('https://api.test/v1') })).baseUrl).toBe(
      'https://api.test/v1/',
    )
  })

  test.each([
    'ftp://api.test/',
    'file:///api',
    'data:,api',
    'blob:https://api.test/1',
    'about:blank',
    'mailto:a@b.test',
    'localhost:5000',
  ])('with a baseUrl that is not http(s) are refused: %s', (baseUrl) => {
    refused({ baseUrl }, 'baseUrl')
  })

  test.each(['https://', 'http://[', 'https://a b/'])(
    'with a baseUrl that is no URL are refused: %s',
    (baseUrl) => {
      refused({ baseUrl }, 'baseUrl')
    },
  )

  test.each(['https://user@api.test/', 'https://user:hunter2@api.test/', 'https://:hunter2@api.test/'])(
    'with userinfo in the baseUrl are refused, and it is not quoted: %s',
    (baseUrl) => {
      refused({ baseUrl }, 'baseUrl', 'hunter2')
      refused({ baseUrl: new URL(baseUrl) }, 'baseUrl', 'hunter2')
    },
  )

  test.each(['/api/', 'api', './api', '//api.test/', ''])(
    'with a relative baseUrl ("%s") wait for a document',
    async (path) => {
      if (path === '') {
        refused({ baseUrl: path }, 'baseUrl')
        return
      }
      const server = createBackend()
      const fetch = vi.fn(server.fetch)
      const initial = await server.signIn('alice')
      const auth = createAuth(optionsWith({ baseUrl: path, fetch, initial }))
      expect(auth.session?.subject).toBe('alice')
      const errors = [await rejection(auth.fetch('protected')), thrown(() => auth.baseUrl)]
      for (const error of errors) {
        expect(checked(error, 'invalid_option').option).toBe('baseUrl')
        expect((error as Error).message).toContain('baseUrl')
      }
      expect(fetch).not.toHaveBeenCalled()

      vi.stubGlobal('document', { baseURI: 'https://app.test/page/index.html' })
      await auth.fetch('protected')
      const directory = { '/api/': 'https://app.test/api/', '//api.test/': 'https://api.test/' }[path]
      expect(auth.baseUrl).toBe(directory ?? 'https://app.test/page/api/')
      expect(server.log).toMatchObject([
        { url: `${auth.baseUrl}protected`, token: { token: initial.accessToken } },
      ])
    },
  )

  test.each<[string, (auth: Bench['auth']) => Promise<unknown>]>([
    ['login', (auth) => auth.login(credentials)],
    ['refresh', (auth) => auth.refresh()],
    ['reauthenticate', (auth) => auth.reauthenticate(credentials)],
  ])('with a relative baseUrl without a document are told so by %s, too', async (_, call) => {
    const server = createBackend()
    const fetch = vi.fn(server.fetch)
    const initial = await server.signIn('alice')
    const auth = createAuth(optionsWith({ baseUrl: '/api/', fetch, initial }))
    expect(checked(await rejection(call(auth)), 'invalid_option').option).toBe('baseUrl')
    expect(fetch).not.toHaveBeenCalled()
    expect(auth.session?.status).toBe('active')
  })

  test('with a relative baseUrl look at the document once, so that its base may change', async () => {
    const auth = createAuth(optionsWith({ baseUrl: '/api', fetch: createBackend().fetch }))
    vi.stubGlobal('document', { baseURI: 'https://app.test/page' })
    expect(auth.baseUrl).toBe('https://app.test/api/')
    vi.stubGlobal('document', { baseURI: 'https://evil.test/page' })
    expect(auth.baseUrl).toBe('https://app.test/api/')
  })

  test.each([
    ['/api', 'https://app.test/api/'],
    ['api', 'https://app.test/assets/api/'],
  ])('with a relative baseUrl ("%s") in a Worker resolve it against the Worker’s script', (path, base) => {
    vi.stubGlobal('location', new URL('https://app.test/assets/worker.js'))
    expect(createAuth(optionsWith({ baseUrl: path })).baseUrl).toBe(base)
  })

  test.each(['blob:https://app.test/6f0b', 'data:text/javascript,0', 'about:blank', '', undefined])(
    'with a relative baseUrl where nothing is relative to the location (%s) are told of no document',
    (href) => {
      vi.stubGlobal('location', { href })
      const auth = createAuth(optionsWith({ baseUrl: '/api' }))
      expect(
        checked(
          thrown(() => auth.baseUrl),
          'invalid_option',
        ).message,
      ).toBe('baseUrl takes an absolute URL where there is no document')
    },
  )

  test('with a relative baseUrl in an http: document that is not loopback are refused at first use', async () => {
    vi.stubGlobal('document', { baseURI: 'http://app.test/' })
    const auth = createAuth(optionsWith({ baseUrl: '/api' }))
    expect(checked(await rejection(auth.fetch('items')), 'invalid_option').option).toBe('baseUrl')
    expect(createAuth(optionsWith({ baseUrl: '/api', allowInsecure: true })).baseUrl).toBe(
      'http://app.test/api/',
    )
  })

  test.each([
    'http://api.test/',
    'http://192.168.0.1/',
    'http://10.0.0.1/',
    'http://0.0.0.0/',
    'http://128.0.0.1/',
    'http://localhost.evil.test/',
    'http://127.0.0.1.evil.test/',
    'http://notlocalhost/',
    'http://localhost@evil.test/',
    'http://[::2]/',
    'http://[::ffff:192.168.0.1]/',
  ])('with http: to a host that is not loopback are refused: %s', (baseUrl) => {
    refused({ baseUrl }, 'baseUrl')
  })

  test('say that https: is missing', () => {
    expect(refused({ baseUrl: 'http://api.test/' }, 'baseUrl').message).toMatch(/https.*allowInsecure/)
  })

  test.each([
    'http://localhost/',
    'http://localhost:5000/api/',
    'http://LOCALHOST/',
    'http://app.localhost/',
    'http://a.b.localhost:80/',
    'http://127.0.0.1/',
    'http://127.255.255.254:8080/',
    'http://127.1/',
    'http://[::1]/',
    'http://[::1]:8080/',
    'http://[0:0:0:0:0:0:0:1]/',
  ])('with http: to loopback are taken: %s', (baseUrl) => {
    expect(createAuth(optionsWith({ baseUrl })).baseUrl).toBe(new URL(baseUrl).href)
  })

  test('with allowInsecure take http: to any host, and it takes nothing but true or false', async () => {
    const server = createBackend()
    const initial = await server.signIn('alice')
    const auth = createAuth(
      optionsWith({ baseUrl: 'http://api.test', allowInsecure: true, fetch: server.fetch, initial }),
    )
    expect((await auth.fetch('protected')).status).toBe(200)
    for (const allowInsecure of ['yes', 1, null]) refused({ allowInsecure }, 'allowInsecure')
    refused({ baseUrl: 'http://api.test/', allowInsecure: false }, 'baseUrl')
  })

  test.each([
    'https://files.test/path',
    'https://files.test/?q',
    'https://files.test?q',
    'https://files.test/#part',
    'https://user:hunter2@files.test',
    'files.test',
    '//files.test',
    '/files',
    '*',
    '',
    'null',
    'ftp://files.test',
    'data:,x',
    'http://files.test',
  ])('with an entry of origins that is more or less than an origin are refused: "%s"', (entry) => {
    refused({ origins: [entry] }, 'origins', 'hunter2')
    refused({ origins: ['https://other.test', entry] }, 'origins', 'hunter2')
  })

  test('with origins that are no array are refused', () => {
    for (const origins of ['https://files.test', null, {}, new Set(['https://files.test']), [5], [null]]) {
      refused({ origins }, 'origins')
    }
  })

  test('with origins give them the token, and no other', async () => {
    const { auth, sent, tokens } = await bench({ origins: ['https://files.test', 'http://localhost:5000/'] })
    const to = [
      'https://files.test/x',
      'http://localhost:5000/x',
      'https://files.test:444/x',
      'http://localhost:5001/x',
    ]
    for (const url of [...to, 'http://files.test/x', 'https://a.files.test/x', 'http://api.test/x'])
      await auth.fetch(url)
    expect(
      sent.map(({ headers }) => headers.get('authorization') === `Bearer ${tokens.accessToken}`),
    ).toEqual([true, true, false, false, false, false, false])
  })

  test.each(['retries', 'baseURL', 'refreshahead', '', 'constructor', 'toString'])(
    'that are unknown are refused, and the known ones named: "%s"',
    (option) => {
      const { message } = refused({ [option]: 1 }, option)
      expect(message).toContain('refreshAhead')
    },
  )

  test('that are undefined are as good as left out', () => {
    const names = [
      'store',
      'initial',
      'origins',
      'refreshAhead',
      'refreshTimeout',
      'refreshLimit',
      'reauthTimeout',
      'fetch',
    ]
    const options = Object.fromEntries([...names, 'allowInsecure'].map((name) => [name, undefined]))
    expect(createAuth(optionsWith(options)).session).toBeNull()
  })

  const noTimes: unknown[] = [
    -1,
    -0.001,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    '1000',
    '',
    null,
    true,
    [],
    {},
    10n,
  ]

  describe.each<[string, (time: unknown) => object]>([
    ['refreshAhead', (refreshAhead) => ({ refreshAhead })],
    ['refreshTimeout', (refreshTimeout) => ({ refreshTimeout })],
    ['reauthTimeout', (reauthTimeout) => ({ reauthTimeout })],
    ['refreshLimit', (interval) => ({ refreshLimit: { exchanges: 5, interval } })],
  ])('with a time in %s', (option, make) => {
    test.each(noTimes.map((time) => [time]))('that is none are refused: %s', (time) => {
      expect(refused(make(time), option).message).toMatch(/milliseconds/)
    })

    test.each([0, 1, 1.5, 2 ** 31, Number.MAX_SAFE_INTEGER])('that is one are taken: %s', (time) => {
      expect(createAuth(optionsWith(make(time))).session).toBeNull()
    })
  })

  test('with refreshAhead: false are taken', () => {
    expect(createAuth(optionsWith({ refreshAhead: false })).session).toBeNull()
  })

  test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '5', null, undefined])(
    'with a refreshLimit of %s exchanges are refused',
    (exchanges) => {
      refused({ refreshLimit: { exchanges, interval: 30_000 } }, 'refreshLimit')
    },
  )

  test('with a refreshLimit that is none are refused', () => {
    for (const refreshLimit of [5, 'none', null, [], {}, { exchanges: 5 }, { interval: 5 }]) {
      refused({ refreshLimit }, 'refreshLimit')
    }
  })

  test('with a store or a fetch that is none are refused', () => {
    for (const store of ['memory', null, {}, { read: 1 }]) refused({ store }, 'store')
    for (const fetch of ['fetch', null, {}]) refused({ fetch }, 'fetch')
  })

  test('with initial tokens in another shape are refused, and not quoted', async () => {
    const { accessToken } = await createBackend().signIn('alice')
    refused({ initial: accessToken }, 'initial', accessToken)
  })

  test('of getAccessToken are refused if minValidity is no time', async () => {
    const { auth, backend } = await bench()
    for (const minValidity of noTimes) {
      const error = await rejection(auth.getAccessToken({ minValidity: minValidity as number }))
      expect(checked(error, 'invalid_option').option).toBe('minValidity')
    }
    expect(backend.count()).toBe(0)
  })

  test('of getAccessToken may be null, as good as left out', async () => {
    const { auth, tokens } = await bench()
    expect(await auth.getAccessToken(null as never)).toBe(tokens.accessToken)
  })
})

describe('a listener', () => {
  // Every one, by the types.
  const types = Object.keys({
    loggedIn: 1,
    loggedOut: 1,
    tokenRefreshed: 1,
    refreshFailed: 1,
    reauthRequired: 1,
    clockSkew: 1,
    storeUnavailable: 1,
  } satisfies Record<AuthEventType, 1>) as AuthEventType[]

  test('for any type of event is taken', async () => {
    const { auth } = await bench()
    for (const type of types) expect(auth.on(type, () => {})).toBeTypeOf('function')
  })

  test.each(['loggedout', 'LoggedOut', '', 'toString', undefined, null, Symbol('loggedOut')])(
    'for a type that does not exist is refused, and the types are named: %s',
    async (type) => {
      const { auth } = await bench()
      const error = checked(
        thrown(() => auth.on(type as never, () => {})),
        'invalid_input',
      )
      for (const known of types) expect(error.message).toContain(known)
    },
  )

  test.each([5, 'x', undefined, null, {}])('that is no function is refused: %j', async (listener) => {
    const { auth } = await bench()
    for (const listen of [
      () => auth.on('loggedIn', listener as never),
      () => auth.subscribe(listener as never),
    ]) {
      expect(checked(thrown(listen), 'invalid_input').message).toContain('function')
    }
  })
})

describe('a token', () => {
  // Each has something that can be found again, should it be quoted.
  const noTokens: unknown[] = [
    '',
    ' ',
    'sécret',
    'sec ret',
    'secret\r\nx-evil: 1',
    'secret\0',
    'sec"ret',
    'sec,ret',
    '=secret',
    'Bearer secret',
    'sec=ret',
    5,
    true,
    {},
    ['secret'],
    { toString: () => 'secret' },
    Symbol('secret'),
    12345678901234567890n,
  ]
  const secrets = ['sécret', 'sec ret', 'secret', 'sec"ret', 'sec,ret', 'sec=ret', '12345678901234567890']
  const field = (error: AuthError<'invalid_token'>, name: string): void => {
    expect(error.field).toContain(name)
    expect(error.message).toContain(name)
  }

  describe.each(['accessToken', 'refreshToken'] as const)('in %s that is no b64token', (name) => {
    /** What is around it is right. */
    const around = async (value: unknown): Promise<Tokens> => {
      const { accessToken, refreshToken } = await createBackend().signIn('bob')
      return { accessToken, refreshToken, [name]: value } as Tokens
    }

    test.each(noTokens.map((value) => [value]))('is refused in initial: %s', async (value) => {
      const initial = await around(value)
      const { accessToken, refreshToken } = initial
      const others = [accessToken, refreshToken].filter((one) => one !== value) as string[]
      const error = checked(
        thrown(() => createAuth(optionsWith({ initial }))),
        'invalid_token',
        ...secrets,
        ...others,
      )
      field(error, name)
      expect(error.field).toContain('initial')
    })

    test.each(noTokens.map((value) => [value]))(
      'is refused by setTokens, and the session stays: %s',
      async (value) => {
        const { auth, backend } = await bench()
        const before = auth.session
        const error = checked(
          await rejection(auth.setTokens(await around(value))),
          'invalid_token',
          ...secrets,
        )
        field(error, name)
        expect(auth.session).toBe(before)
        later()
        expect((await auth.fetch('protected')).status).toBe(200)
        expect(backend.count('refresh')).toBe(1)
      },
    )

    test.each(noTokens.map((value) => [value]))(
      'is refused from a flow, and the session stays: %s',
      async (value) => {
        const { auth } = await bench()
        const before = auth.session
        const tokens = await around(value)
        for (const call of [auth.login, auth.reauthenticate]) {
          field(checked(await rejection(call(() => tokens)), 'invalid_token', ...secrets), name)
        }
        expect(auth.session).toBe(before)
        expect((await auth.fetch('protected')).status).toBe(200)
      },
    )

    // What JSON can hold, less what counts as "none came".
    const answered = noTokens.filter(
      (value) => ['string', 'number', 'boolean', 'object'].includes(typeof value) && value !== '',
    )

    test.each(answered.map((value) => [value]))(
      'is refused in the answer to a login, and the session stays: %s',
      async (value) => {
        const { auth, backend } = await bench()
        const before = auth.session
        const { accessToken, refreshToken } = await around(value)
        const body = { access_token: accessToken, refresh_token: refreshToken }
        backend.fault('login', { status: 200, body }, { times: 2 })
        for (const call of [auth.login, auth.reauthenticate]) {
          field(checked(await rejection(call(credentials)), 'invalid_token', ...secrets), name)
        }
        expect(auth.session).toBe(before)
        expect((await auth.fetch('protected')).status).toBe(200)
      },
    )

    test.each(answered.map((value) => [value]))(
      'is refused in the answer to a refresh, and the session stays: %s',
      async (value) => {
        const { auth, backend, tokens } = await bench()
        const { id, version } = auth.session ?? {}
        later()
        const { accessToken, refreshToken } = await around(value)
        backend.fault('refresh', {
          status: 200,
          body: { access_token: accessToken, refresh_token: refreshToken },
        })
        const error = checked(
          await rejection(auth.fetch('protected')),
          'refresh_unavailable',
          ...secrets,
          tokens.refreshToken,
        )
        expect(error.retryAt).toBeTypeOf('number')
        expect(auth.session).toMatchObject({ id, version, status: 'active' })
        expect((await auth.fetch('protected')).status).toBe(200)
        expect(auth.session?.id).toBe(id)
      },
    )
  })

  test('that is empty in the answer to a login is no token', async () => {
    const { auth, backend } = await bench()
    const before = auth.session
    backend.fault('login', { status: 200, body: { access_token: '' } })
    const error = await rejection(auth.login(credentials))
    expect(isAuthError(error, 'login_incomplete') || isAuthError(error, 'invalid_token')).toBe(true)
    expect(auth.session).toBe(before)
  })

  test('has to come: setTokens and initial take no empty hands', async () => {
    const { auth } = await bench()
    const before = auth.session
    for (const none of [
      {},
      undefined,
      null,
      { accessToken: undefined, refreshToken: null },
      { expiresIn: 5 },
    ]) {
      field(checked(await rejection(auth.setTokens(none as Tokens)), 'invalid_token'), 'accessToken')
    }
    expect(auth.session).toBe(before)
    checked(
      thrown(() => createAuth(optionsWith({ initial: {} }))),
      'invalid_token',
    )
  })

  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY, '900', null, {}])(
    'whose expiresIn is %s is refused, and the session stays',
    async (expiresIn) => {
      const { auth } = await bench()
      const before = auth.session
      const tokens = { accessToken: 'an-opaque-secret', expiresIn } as Tokens
      field(
        checked(await rejection(auth.setTokens(tokens)), 'invalid_token', 'an-opaque-secret'),
        'expiresIn',
      )
      expect(auth.session).toBe(before)
    },
  )

  test('whose claims are no object is refused, and the session stays', async () => {
    const { auth } = await bench()
    const before = auth.session
    for (const claims of [null, 5, 'secret', true]) {
      const tokens = { accessToken: 'an-opaque-token', claims } as never as Tokens
      const error = checked(await rejection(auth.setTokens(tokens)), 'invalid_token', 'secret')
      field(error, 'claims')
      expect(error.message).toContain('takes an object')
    }
    expect(auth.session).toBe(before)
  })

  test.each<[unknown, string]>([
    ['', 'an empty string'],
    ['sec ret', 'string'],
    [null, 'null'],
    [['secret'], 'an array'],
    [{ token: 'secret' }, '{ token }'],
    [5, 'number'],
    [undefined, 'undefined'],
  ])('that is none is named by what it is, and what it takes is said: %j', async (accessToken, name) => {
    const { auth } = await bench()
    const error = await rejection(auth.setTokens({ accessToken } as Tokens))
    expect(error).toMatchObject({
      message: `setTokens.accessToken takes a b64token (RFC 6750 section 2.1), got ${name}`,
    })
    const seconds = await rejection(auth.setTokens({ accessToken: 'opaque', expiresIn: -1 }))
    expect(seconds).toMatchObject({ message: 'setTokens.expiresIn takes seconds, not negative, got number' })
  })

  test('may be opaque, a JWT, or have every character that RFC 6750 allows', async () => {
    const { auth, sent } = await bench()
    const accessToken = 'AZaz09-._~+/=='
    await auth.setTokens({ accessToken })
    await auth.fetch('protected')
    expect(sent[0]?.headers.get('authorization')).toBe(`Bearer ${accessToken}`)
  })

  test('that was refused costs nothing with nobody signed in either', async () => {
    const { auth } = await bench({ signedIn: false })
    checked(await rejection(auth.setTokens({ accessToken: 'sec ret' })), 'invalid_token', 'sec ret')
    expect(auth.session).toBeNull()
    await auth.login(credentials)
    expect(auth.session?.subject).toBe('alice')
  })
})

describe('an input', () => {
  test('of another host goes there without the token, and nobody is refreshed', async () => {
    const { auth, backend, sent } = await bench()
    later()
    for (const input of [
      '//elsewhere.test/x',
      'https://elsewhere.test/x',
      '\\\\elsewhere.test/x',
      'https:\\\\elsewhere.test\\x',
    ]) {
      await auth.fetch(input)
    }
    await auth.fetch(new URL('https://elsewhere.test/x'))
    await auth.fetch(new Request('https://elsewhere.test/x', { headers: { 'x-one': '1' } }))
    for (const one of sent) {
      expect(one.request.url).toBe('https://elsewhere.test/x')
      expect(one.headers.get('authorization')).toBeNull()
    }
    expect(sent).toHaveLength(6)
    expect(backend.count('refresh')).toBe(0)
  })

  test.each([
    'https://api.test.evil.test/x',
    'https://api.test:444/x',
    'http://api.test/x',
    'https://xapi.test/x',
    'https://api.test./x',
  ])('of a host that only looks like ours goes without the token: %s', async (input) => {
    const { auth, sent } = await bench()
    await auth.fetch(input)
    expect(sent.map(({ headers }) => headers.get('authorization'))).toEqual([null])
  })

  test.each([
    'blob:https://api.test/6a4a5b7e',
    'data:,hello',
    'ftp://api.test/x',
    'file:///etc/passwd',
    'javascript:alert(1)',
    'about:blank',
    'mailto:a@b.test',
    'ws://api.test/x',
  ])('that is not http(s) is refused: %s', async (input) => {
    const { auth, sent, tokens } = await bench()
    for (const one of [input, new URL(input), new Request(input)]) {
      const error = checked(await rejection(auth.fetch(one)), 'invalid_input', tokens.accessToken)
      expect(error.message).toContain(new URL(input).protocol)
    }
    expect(sent).toHaveLength(0)
  })

  test.each([
    'https://user:hunter2@api.test/x',
    'https://hunter2@api.test/x',
    'https://user:hunter2@elsewhere.test/',
    '//user:hunter2@api.test/x',
  ])('with userinfo is refused, and it is not quoted: %s', async (input) => {
    const { auth, sent } = await bench()
    for (const one of [input, new URL(input, base)]) {
      const error = checked(await rejection(auth.fetch(one)), 'invalid_input', 'hunter2')
      expect(error.message).toMatch(/userinfo/)
    }
    expect(sent).toHaveLength(0)
  })

  test.each(['https://', 'http://[', 'https://a b/', 'https://:80/'])(
    'that is no URL is refused: %s',
    async (input) => {
      const { auth, sent } = await bench()
      checked(await rejection(auth.fetch(input)), 'invalid_input')
      expect(sent).toHaveLength(0)
    },
  )

  test('rejects, and never throws', async () => {
    const { auth } = await bench()
    const answer = auth.fetch('data:,x', { auth: 'nope' } as never)
    expect(answer).toBeInstanceOf(Promise)
    expect(isAuthError(await rejection(answer))).toBe(true)
  })
})

describe('the answer to a refresh', () => {
  const token = (value: unknown): FaultAnswer => ({ status: 200, body: { access_token: value } })
  const json = (text: string): FaultAnswer => ({
    status: 200,
    body: text,
    headers: { 'content-type': 'application/json' },
  })

  test.each<[string, FaultAnswer | 'not-json' | 'cut-body']>([
    ['HTML', 'not-json'],
    ['HTML that says it is JSON', json('<!doctype html><title>Sign in</title>')],
    ['empty', { status: 200 }],
    ['empty JSON', json('')],
    ['204', { status: 204 }],
    ['cut off', 'cut-body'],
    ['JSON without an access token', { status: 200, body: { msg: 'refresh successful' } }],
    ['JSON with a refresh token alone', { status: 200, body: { refresh_token: 'abc' } }],
    ['an empty object', { status: 200, body: {} }],
    ['an array', json('[]')],
    ['null', json('null')],
    ['a string', json('"eyJhbGciOiJIUzI1NiJ9.e30.secret"')],
    ['an access token of null', token(null)],
    ['an access token that is empty', token('')],
    ['an access token that is no b64token', token('sec ret')],
    ['an access token that is a number', token(5)],
    [
      'a good access token beside a bad refresh token',
      { status: 200, body: { access_token: 'abc', refresh_token: 'sec ret' } },
    ],
  ])('that is %s keeps the session and its refresh token', async (_, fault) => {
    const { auth, backend, tokens } = await bench()
    const { id } = auth.session ?? {}
    const ended = vi.fn()
    const failed = vi.fn()
    auth.on('loggedOut', ended)
    auth.on('reauthRequired', ended)
    auth.on('refreshFailed', failed)
    later()
    backend.fault('refresh', fault)
    const before = Date.now()
    const secrets = [tokens.accessToken, tokens.refreshToken, 'sec ret', 'e30.secret']
    const error = checked(await rejection(auth.fetch('protected')), 'refresh_unavailable', ...secrets)
    expect(error.retryAt).toBeGreaterThanOrEqual(before)
    expect(failed.mock.calls).toMatchObject([
      [
        fault === 'cut-body'
          ? { reason: 'network' }
          : { reason: 'bad_answer', status: (fault as FaultAnswer).status ?? 200 },
      ],
    ])
    expect(leaks(failed.mock.calls, ...secrets)).toEqual([])
    expect(backend.count('protected')).toBe(0)
    expect(auth.session?.id).toBe(id)

    expect((await auth.fetch('protected')).status).toBe(200)
    expect(backend.log.at(-2)?.token?.token).toBe(tokens.refreshToken)
    expect(auth.session?.id).toBe(id)
    expect(ended).not.toHaveBeenCalled()
  })

  test('that is bad makes refresh() reject, and a valid token stays in use', async () => {
    const { auth, backend } = await bench()
    backend.fault('refresh', 'not-json')
    checked(await rejection(auth.refresh()), 'refresh_unavailable')
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(await auth.getAccessToken()).not.toBeNull()
  })
})

describe('a login', () => {
  const calls = ['login', 'reauthenticate'] as const

  test.each(calls)(
    'with a wrong password is refused by %s, in the server’s own words, and the session stays',
    async (call) => {
      const { auth, backend, tokens } = await bench()
      const before = auth.session
      const wrong = { username: 'alice', password: 'hunter2' }
      const error = checked(
        await rejection(auth[call](wrong)),
        'login_refused',
        tokens.accessToken,
        'hunter2',
      )
      expect(error.status).toBe(401)
      expect(error.serverMessage).toBe('Bad username or password')
      expect(error.message).toContain('Bad username or password')
      expect(error.response).toBeInstanceOf(Response)
      expect(error.response.bodyUsed).toBe(false)
      expect(await error.response.json()).toEqual({ msg: 'Bad username or password' })
      expect(auth.session).toBe(before)
      expect((await auth.fetch('protected')).status).toBe(200)
      expect(backend.count('refresh')).toBe(0)
    },
  )

  test('with a wrong password is refused in the words of the tutorial, too', async () => {
    const { auth } = await bench({ server: { dialect: 'tutorial' }, backend: tutorial, signedIn: false })
    const error = checked(
      await rejection(auth.login({ username: 'alice', password: 'hunter2' })),
      'login_refused',
      'hunter2',
    )
    expect(error).toMatchObject({ status: 401, serverMessage: 'Invalid credentials.' })
    expect(await error.response.json()).toMatchObject({ message: 'Invalid credentials.' })
    expect(auth.session).toBeNull()
  })

  test('that fails the server’s validation is refused with its answer', async () => {
    const { auth } = await bench({ server: { dialect: 'tutorial' }, backend: tutorial, signedIn: false })
    const error = checked(await rejection(auth.login({ username: 'alice' } as never)), 'login_refused')
    expect(error.status).toBe(422)
    expect(error.serverMessage).toBeUndefined()
    expect(await error.response.json()).toMatchObject({
      errors: { json: { password: [expect.any(String)] } },
    })
  })

  test.each<[string, FaultAnswer]>([
    ['a second factor is due', { status: 200, body: { mfa_required: true, ticket: 'abc' } }],
    ['it is empty', { status: 204 }],
    ['it is HTML', { status: 200, body: '<!doctype html>' }],
    ['it is null', { status: 200, body: 'null', headers: { 'content-type': 'application/json' } }],
    ['its token is null', { status: 202, body: { access_token: null } }],
  ])('whose answer holds no token is incomplete, and carries the answer: %s', async (_, fault) => {
    for (const call of calls) {
      const { auth, backend } = await bench()
      const before = auth.session
      backend.fault('login', fault)
      const error = checked(await rejection(auth[call](credentials)), 'login_incomplete', password)
      expect(error.status).toBe(fault.status)
      expect(error.response.status).toBe(fault.status)
      expect(error.response.bodyUsed).toBe(false)
      const text =
        typeof fault.body === 'string' ? fault.body : JSON.stringify(fault.body ?? '').replace('""', '')
      expect((await error.response.text()).trim().replaceAll(' ', '')).toBe(text.replaceAll(' ', ''))
      expect(auth.session).toBe(before)
    }
  })

  test.each([408, 429, 500, 502, 503, 504])(
    'answered with %s is unavailable, and the session stays',
    async (status) => {
      for (const call of calls) {
        const { auth, backend } = await bench()
        const before = auth.session
        backend.fault('login', { status, body: { msg: 'Later' }, headers: { 'retry-after': '5' } })
        const error = checked(await rejection(auth[call](credentials)), 'login_unavailable', password)
        expect(error.status).toBe(status)
        expect(error.response?.headers.get('retry-after')).toBe('5')
        expect(await error.response?.json()).toEqual({ msg: 'Later' })
        expect(auth.session).toBe(before)
      }
    },
  )

  test('that does not get through is unavailable, with a cause that quotes nothing', async () => {
    const { tokens } = await bench()
    const secret = tokens.accessToken
    const cause = new TypeError(`fetch failed: "Bearer ${secret}" is no header value`, {
      cause: new Error(secret),
    })
    const { auth } = await bench({ beneath: () => () => Promise.reject(cause) })
    const before = auth.session
    for (const call of calls) {
      const error = checked(await rejection(auth[call](credentials)), 'login_unavailable', secret, password)
      expect(error.status).toBeUndefined()
      expect(error.response).toBeUndefined()
      expect(error.cause).toBeInstanceOf(Error)
      expect((error.cause as Error).message).toContain('fetch failed')
    }
    expect(auth.session).toBe(before)
  })

  test('whose connection is dropped is unavailable, and works the next time', async () => {
    const { auth, backend } = await bench({ signedIn: false })
    backend.fault('login', 'drop')
    expect(checked(await rejection(auth.login(credentials)), 'login_unavailable').status).toBeUndefined()
    expect((await auth.login(credentials)).subject).toBe('alice')
  })

  test('whose flow throws rejects with what it threw, and the session stays', async () => {
    const { auth } = await bench()
    const before = auth.session
    const reason = new RangeError('The dialog was closed')
    for (const call of calls) {
      const flow = (): never => {
        throw reason
      }
      expect(await rejection(auth[call](flow))).toBe(reason)
    }
    expect(auth.session).toBe(before)
  })
})

describe('a refresh', () => {
  test('that does not get through has a cause that quotes no token', async () => {
    const { auth, tokens } = await bench({
      beneath: () => (input, init) => {
        const { headers } = new Request(input, init)
        const value = headers.get('authorization')
        return Promise.reject(
          new TypeError(`"${value}" is no header value`, { cause: { message: `Bad: ${value}` } }),
        )
      },
    })
    later()
    const error = checked(
      await rejection(auth.fetch('protected')),
      'refresh_unavailable',
      tokens.refreshToken,
      tokens.accessToken,
    )
    expect(error.cause).toBeInstanceOf(Error)
    expect((error.cause as Error).message).toContain('is no header value')
  })

  test('of an opaque token that does not get through has a cause that quotes no token', async () => {
    const refreshToken = 'opaque-refresh-secret'
    const auth = createAuth(
      optionsWith({
        initial: { refreshToken },
        fetch: () => Promise.reject(new TypeError(`Bearer ${refreshToken} is no header value`)),
      }),
    )
    checked(await rejection(auth.fetch('protected')), 'refresh_unavailable', refreshToken)
  })

  test.each<[string, () => unknown]>([
    ['an object without prototype', () => Object.create(null)],
    [
      'an error that can not be read',
      () =>
        Object.defineProperty(new Error(), 'message', {
          get: () => {
            throw new Error('no')
          },
        }),
    ],
    [
      'an error, while the names of errors can not be written',
      () => {
        const name = Object.getOwnPropertyDescriptor(Error.prototype, 'name') as PropertyDescriptor
        onTestFinished(() => void Object.defineProperty(Error.prototype, 'name', name))
        Object.defineProperty(Error.prototype, 'name', { ...name, writable: false })
        return new TypeError('no')
      },
    ],
  ])('that rejects with %s is unavailable, and the next one goes out at once', async (_, thrown) => {
    let broken = false
    const { auth, backend } = await bench({
      beneath: (next) => (input, init) => {
        return broken ? Promise.reject(thrown()) : next(input, init)
      },
    })
    later()
    broken = true
    expect(checked(await rejection(auth.fetch('protected')), 'refresh_unavailable').message).toContain(
      'network',
    )
    expect(checked(await rejection(auth.login(credentials)), 'login_unavailable').cause).toBeInstanceOf(Error)
    broken = false
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(backend.count('refresh')).toBe(1)
  })

  test('with nobody signed in is not_signed_in', async () => {
    const { auth, backend } = await bench({ signedIn: false })
    checked(await rejection(auth.refresh()), 'not_signed_in')
    checked(await rejection(auth.reauthenticate(credentials)), 'not_signed_in')
    expect(backend.count()).toBe(0)
  })
})

describe('an answer that is not about the token', () => {
  test.each(['default', 'tutorial'] as const)(
    'such as a 422 of the %s server’s own validation is passed through untouched',
    async (dialect) => {
      const { auth, backend } = await bench({ server: { dialect } })
      const response = await auth.fetch('validated', {
        method: 'POST',
        body: '{}',
        headers: { 'content-type': 'application/json' },
      })
      expect(response.status).toBe(422)
      expect(response.bodyUsed).toBe(false)
      const errors = { name: expect.any(Array), price: expect.any(Array) }
      expect(await response.json()).toEqual(
        dialect === 'tutorial'
          ? { code: 422, status: 'Unprocessable Entity', errors: { json: errors } }
          : { msg: 'Validation failed', errors },
      )
      expect(backend.log.map(({ route }) => route)).toEqual(['validated'])
    },
  )

  test('such as the tutorial’s 401 "Admin privilege required." is passed through untouched', async () => {
    const { auth, backend } = await bench({ server: { dialect: 'tutorial' }, backend: tutorial })
    const told = vi.fn()
    for (const type of ['reauthRequired', 'loggedOut', 'refreshFailed', 'tokenRefreshed'] as const)
      auth.on(type, told)
    const before = auth.session
    const response = await auth.fetch('admin', { method: 'DELETE' })
    expect(response.status).toBe(401)
    expect(response.bodyUsed).toBe(false)
    expect(await response.json()).toEqual({
      code: 401,
      status: 'Unauthorized',
      message: 'Admin privilege required.',
    })
    expect(backend.log.map(({ route }) => route)).toEqual(['admin'])
    expect(told).not.toHaveBeenCalled()
    expect(auth.session).toBe(before)
  })

  test.each([400, 403, 404, 409, 429, 500, 503])(
    'such as a %s is passed through untouched',
    async (status) => {
      const { auth, backend } = await bench()
      backend.fault('protected', { status, body: { msg: 'Token has expired' } })
      const response = await auth.fetch('protected')
      expect(response.status).toBe(status)
      expect(await response.json()).toEqual({ msg: 'Token has expired' })
      expect(backend.count()).toBe(1)
    },
  )
})

describe('a client that was disposed of', () => {
  test('refuses every call', async () => {
    const { auth, tokens, sent } = await bench()
    auth.dispose()
    const calls = [
      () => auth.fetch('protected'),
      () => auth.login(credentials),
      () => auth.reauthenticate(credentials),
      () => auth.setTokens(tokens),
      () => auth.refresh(),
      () => auth.getAccessToken(),
    ]
    for (const call of calls) checked(await rejection(call()), 'disposed', tokens.accessToken, password)
    expect(sent).toHaveLength(0)
  })
})
