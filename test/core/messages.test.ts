/** The words of the errors: what they name, and what a developer is to do. */
import { describe, expect, test } from 'vitest'
import { type AuthErrorCode, createAuth, flaskJwt, memoryStore } from '../../src/index.ts'
import { createKy } from '../../src/ky.ts'
import {
  alice,
  baseUrl,
  bob,
  type Client,
  failure,
  minute,
  pass,
  type Room,
  room,
  virtualTime,
} from './support.ts'

virtualTime()

type Case = [message: string, code: AuthErrorCode, act: (room: Room) => Promise<unknown>]

const time = 'milliseconds, finite and not negative'
const options =
  'baseUrl, backend, store, initial, origins, refreshAhead, refreshTimeout, refreshLimit, reauthTimeout, fetch, allowInsecure'

/** A client of one wrong option. */
const wrong = (given: object) => async (): Promise<unknown> =>
  createAuth({ baseUrl: 'https://api.test', backend: flaskJwt(), ...given } as never)

describe('an option', () => {
  test.each<[string, object]>([
    ['baseUrl takes a URL, got an empty string', { baseUrl: '' }],
    ['baseUrl takes a URL', { baseUrl: 'https://' }],
    ['baseUrl takes an http(s) URL, got ftp://api.test', { baseUrl: 'ftp://api.test/' }],
    ['baseUrl takes an http(s) URL, got httpx://localhost', { baseUrl: 'httpx://localhost' }],
    ['baseUrl takes an http(s) URL, got xhttp://localhost', { baseUrl: 'xhttp://localhost' }],
    ['baseUrl takes a URL without userinfo, got https://api.test', { baseUrl: 'https://a:b@api.test' }],
    [
      'baseUrl takes https: for any host but loopback (or allowInsecure: true), got http://api.test',
      { baseUrl: 'http://api.test' },
    ],
    ['baseUrl is required: it takes a URL', { baseUrl: undefined }],
    ['backend is required: it takes a backend, such as flaskJwt()', { backend: undefined }],
    ['backend takes a backend, such as flaskJwt(), got object', { backend: {} }],
    ['store takes a store, such as memoryStore(), got an array', { store: [] }],
    ['initial takes tokens: { accessToken, refreshToken, expiresIn }, got string', { initial: 'token' }],
    ['origins takes an array of origins, got string', { origins: 'https://files.test' }],
    ['origins takes an absolute URL', { origins: ['files.test'] }],
    ...['https://files.test/path', 'https://files.test?', 'HTTPS://files.test'].map(
      (entry): [string, object] => [
        'origins takes origins such as https://files.test, nothing more',
        { origins: [entry] },
      ],
    ),
    [`refreshAhead takes ${time}, or false, got -1`, { refreshAhead: -1 }],
    [`refreshTimeout takes ${time}, got string`, { refreshTimeout: '5' }],
    [
      'refreshLimit takes { exchanges: a positive integer, interval: milliseconds }, got object',
      { refreshLimit: { exchanges: 0, interval: 1 } },
    ],
    [`reauthTimeout takes ${time}, got null`, { reauthTimeout: null }],
    ['fetch takes a function, got boolean', { fetch: true }],
    ['allowInsecure takes true or false, got string', { allowInsecure: 'yes' }],
    [`createAuth knows no option baseURL; it takes ${options}`, { baseURL: '/' }],
  ])('%s', async (message, given) => {
    expect(await failure(wrong(given)())).toMatchObject({ code: 'invalid_option', message })
  })

  test.each(['createAuth takes an object of options'])('%s', async (message) => {
    for (const none of [undefined, null]) {
      expect(await failure((async () => createAuth(none as never))())).toMatchObject({ message })
    }
  })
})

describe('a call', () => {
  test.each<Case>([
    ['The input is not a URL', 'invalid_input', ({ auth }) => auth.fetch('https://')],
    ...['httpx:', 'xhttp:'].map(
      (scheme): Case => [
        `The input takes http(s) URLs, got ${scheme}`,
        'invalid_input',
        ({ auth }) => auth.fetch(`${scheme}//localhost/`),
      ],
    ),
    [
      'baseUrl takes an absolute URL where there is no document',
      'invalid_option',
      () => room({ client: { baseUrl: '/api/' } }).auth.fetch('protected'),
    ],
    ['The input takes http(s) URLs, got file:', 'invalid_input', ({ auth }) => auth.fetch('file:///x')],
    [
      'The input takes a URL without userinfo (api.test)',
      'invalid_input',
      ({ auth }) => auth.fetch('https://alice:secret@api.test/'),
    ],
    [
      "init.auth takes false, 'optional' or 'fresh', got string",
      'invalid_input',
      ({ auth }) => auth.fetch('protected', { auth: 'never' } as never),
    ],
    [
      'The body of this Request has been used already',
      'invalid_input',
      async ({ auth }) => {
        const request = new Request('https://api.test/protected', { method: 'POST', body: 'once' })
        await request.text()
        return auth.fetch(request)
      },
    ],
    [
      'The user who made this call is no longer signed in; it was not sent',
      'session_changed',
      async ({ auth, signIn }) => {
        await signIn()
        await pass(16 * minute)
        const call = failure(auth.fetch('protected'))
        await auth.logout()
        throw await call
      },
    ],
    [
      'The access token could not be refreshed (status 500); the session lives',
      'refresh_unavailable',
      async ({ auth, backend, signIn }) => {
        await signIn()
        backend.fault('refresh', { status: 500 })
        return auth.refresh()
      },
    ],
    [
      'The access token could not be refreshed (status 404, not known as a refusal); the session lives',
      'refresh_unavailable',
      async ({ auth, backend, signIn }) => {
        await signIn()
        backend.fault('refresh', { status: 404 })
        const error = await failure(auth.refresh())
        expect(error.cause).toMatchObject({
          message: "is there a POST https://api.test/refresh? See the backend's options",
        })
        throw error
      },
    ],
    ...(
      [
        [400, ', not known as a refusal'],
        [428, ', not known as a refusal'],
        [429, ''],
      ] as const
    ).map(
      ([status, no]): Case => [
        `The access token could not be refreshed (status ${status}${no}); the session lives`,
        'refresh_unavailable',
        async ({ auth, backend, signIn }) => {
          await signIn()
          backend.fault('refresh', { status, headers: { 'retry-after': '60' } })
          return auth.refresh()
        },
      ],
    ),
    [
      'The access token could not be refreshed (bad_answer 200); the session lives',
      'refresh_unavailable',
      async ({ auth, backend, signIn }) => {
        await signIn()
        backend.fault('refresh', { status: 200, body: {} })
        return auth.refresh()
      },
    ],
    [
      'The access token could not be refreshed (network); the session lives',
      'refresh_unavailable',
      async ({ auth, backend, signIn }) => {
        await signIn()
        backend.fault('refresh', 'drop')
        return auth.refresh()
      },
    ],
    [
      'The store can not be read',
      'refresh_unavailable',
      async () => {
        const store = { ...memoryStore(), read: () => Promise.reject(new Error('no disk')) }
        const error = await failure(room({ client: { store } }).auth.fetch('protected'))
        expect(error).toMatchObject({ retryAt: Date.now() })
        throw error
      },
    ],
    [
      'This client was disposed of',
      'disposed',
      async ({ auth }) => {
        auth.dispose()
        return auth.fetch('protected')
      },
    ],
    ['Nobody is signed in', 'not_signed_in', ({ auth }) => auth.refresh()],
    [
      `minValidity takes ${time}, got number`,
      'invalid_option',
      ({ auth }) => auth.getAccessToken({ minValidity: Number.NaN }),
    ],
  ])('%s', async (message, code, act) => {
    expect(await failure(act(room()))).toMatchObject({ code, message })
  })
})

describe('a login', () => {
  test.each<Case>([
    [
      'The server refused the login (401): Bad username or password',
      'login_refused',
      ({ auth }) => auth.login({ ...alice, password: 'wrong' }),
    ],
    [
      'The server refused the login (403)',
      'login_refused',
      ({ auth, backend }) => {
        backend.fault('login', { status: 403 })
        return auth.login(alice)
      },
    ],
    [
      'The login answer (200) holds no token: {  }',
      'login_incomplete',
      ({ auth, backend }) => {
        backend.fault('login', { status: 200, body: {} })
        return auth.login(alice)
      },
    ],
    [
      'The login answer (200) holds no token: { data, status, [token] }',
      'login_incomplete',
      ({ auth, backend }) => {
        backend.fault('login', { status: 200, body: { data: 'secret', status: 'ok', 'eyJhbGci.eyJz': 1 } })
        return auth.login(alice)
      },
    ],
    [
      'The login answer (200) holds no token: an array',
      'login_incomplete',
      ({ auth, backend }) => {
        backend.fault('login', { status: 200, body: ['secret'] })
        return auth.login(alice)
      },
    ],
    [
      'The login answer (200) holds no token: no JSON',
      'login_incomplete',
      ({ auth, backend }) => {
        backend.fault('login', { status: 200, body: '<h1>Hello</h1>' })
        return auth.login(alice)
      },
    ],
    [
      'The login answer (200) has been read already',
      'login_incomplete',
      ({ auth }) =>
        auth.login(async ({ fetch }) => {
          const headers = { 'content-type': 'application/json' }
          const response = await fetch('login', { method: 'POST', headers, body: JSON.stringify(alice) })
          await response.text()
          return response
        }),
    ],
    [
      'The login could not be completed (503)',
      'login_unavailable',
      ({ auth, backend }) => {
        backend.fault('login', { status: 503 })
        return auth.login(alice)
      },
    ],
    [
      'The login could not be completed',
      'login_unavailable',
      ({ auth, backend }) => {
        backend.fault('login', 'drop')
        return auth.login(alice)
      },
    ],
    [
      'The login could not be completed',
      'login_unavailable',
      async () => {
        const path = 'http://elsewhere.test/login'
        const error = await failure(room({ preset: { login: { path } } }).auth.login(alice))
        expect(error.cause).toMatchObject({
          code: 'invalid_input',
          message: 'No token goes to http://elsewhere.test over http:',
        })
        throw error
      },
    ],
    [
      'the flow result takes { accessToken, refreshToken }, got { access_token }',
      'invalid_token',
      ({ auth }) => auth.login(() => ({ access_token: 'opaque' }) as never),
    ],
    [
      'setTokens takes { accessToken, refreshToken }, got a Promise',
      'invalid_token',
      ({ auth }) => auth.setTokens(Promise.resolve({ accessToken: 'opaque' }) as never),
    ],
    [
      'setTokens takes { accessToken, refreshToken }, got a Response',
      'invalid_token',
      ({ auth }) => auth.setTokens(new Response() as never),
    ],
    [
      'setTokens.accessToken takes a b64token (RFC 6750 section 2.1), got a Promise',
      'invalid_token',
      ({ auth }) => auth.setTokens({ accessToken: Promise.resolve('opaque') as never }),
    ],
    [
      'setTokens.accessToken takes a b64token (RFC 6750 section 2.1), got string: leave out Bearer',
      'invalid_token',
      ({ auth }) => auth.setTokens({ accessToken: 'Bearer opaque' }),
    ],
    [
      'the flow result takes { accessToken, refreshToken }, got { access_token, refresh_token }',
      'invalid_token',
      ({ auth }) => auth.login(() => ({ access_token: 'opaque', refresh_token: 'opaque' }) as never),
    ],
    [
      "The server refused the login (404); is there a POST https://api.test/login? See the backend's options",
      'login_refused',
      ({ auth, backend }) => {
        backend.fault('login', { status: 404, body: '<h1>No</h1>' })
        return auth.login(alice)
      },
    ],
    ...[
      [405, "; is there a POST https://api.test/login? See the backend's options"],
      [403, ''],
    ].map(
      ([status, hint]): Case => [
        `The server refused the login (${status})${hint}`,
        'login_refused',
        ({ auth, backend }) => {
          backend.fault('login', { status: Number(status) })
          return auth.login(alice)
        },
      ],
    ),
    [
      'the login answer.accessToken takes a b64token (RFC 6750 section 2.1), got string',
      'invalid_token',
      ({ auth, backend }) => {
        backend.fault('login', { status: 200, body: { access_token: 'no token' } })
        return auth.login(alice)
      },
    ],
    ['Nobody is signed in', 'not_signed_in', ({ auth }) => auth.reauthenticate(alice)],
    [
      'The password was that of another user; nothing was changed',
      'subject_mismatch',
      async ({ auth, signIn }) => {
        await signIn()
        return auth.reauthenticate(bob)
      },
    ],
    [
      'A logout or another login was called meanwhile',
      'session_changed',
      async ({ auth }) => {
        const login = failure(auth.login(alice))
        await auth.logout()
        throw await login
      },
    ],
    [
      'The store is read-only: it has no commit(), as browserStore() outside of a browser',
      'store_read_only',
      () => {
        const { read } = memoryStore()
        return room({ client: { store: { name: 'read-only', read } } }).auth.login(alice)
      },
    ],
  ])('%s', async (message, code, act) => {
    expect(await failure(act(room()))).toMatchObject({ code, message })
  })
})

test('bad input is named, with what was given', async () => {
  const auth = createAuth({ baseUrl, backend: flaskJwt() }) as Client
  expect(() => auth.on('logout' as never, () => {})).toThrow(
    /on takes loggedIn, .* and a function, got logout and function/,
  )
  expect(() => createKy(auth, { timeout: 5 } as never)).toThrow('createKy: base takes a ky')
  expect(await failure(auth.setTokens(null as never))).toMatchObject({
    message: 'setTokens takes { accessToken, refreshToken }, got null',
  })
  expect(() => createAuth({ baseUrl: 'localhost:5000', backend: flaskJwt() }).baseUrl).toThrow(
    'got localhost:',
  )
})
