/** createKy(auth): ky stays what it is, and its user stays signed in. */

import { getEventListeners } from 'node:events'
import ky, {
  isHTTPError,
  isNetworkError,
  isTimeoutError,
  type KyInstance,
  type Options,
  replaceOption,
} from 'ky'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { createAuth, flaskJwt, isAuthError } from '../src/index.ts'
import { createKy } from '../src/ky.ts'
import type { BackendOptions } from '../src/testing/index.ts'
import {
  type Bench,
  type BenchOptions,
  base,
  bench,
  door,
  later,
  leaks,
  next,
  rejection,
  virtualTime,
} from './support.ts'

interface KyBench extends Bench {
  api: KyInstance
}

async function kyBench(options: BenchOptions = {}): Promise<KyBench> {
  const made = await bench(options)
  return { ...made, api: createKy(made.auth) }
}

/** What a ky promise rejects with. */
const failure = (call: PromiseLike<unknown>): Promise<unknown> => rejection(Promise.resolve(call))

/** Everything in microtasks, under a clock that the test moves. */
async function virtual(options: BenchOptions = {}, server: BackendOptions = {}): Promise<KyBench> {
  virtualTime()
  return kyBench({ server: { signer: 'fast', ...server }, ...options })
}

/** A stream that tells when it is read. */
function streamOf(text: string): { stream: ReadableStream<Uint8Array>; read: () => boolean } {
  let read = false
  const stream = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        read = true
        controller.enqueue(new TextEncoder().encode(text))
        controller.close()
      },
    },
    { highWaterMark: 0 },
  )
  return { stream, read: () => read }
}

interface Echo {
  sub: string
  method: string
  content_type: string | null
  body: string
}

test('null is no ky of one’s own', async () => {
  const { auth } = await kyBench()
  expect(
    await createKy(auth, null as never)
      .get('protected')
      .json<Echo>(),
  ).toMatchObject({ sub: 'alice' })
})

test('what is no client is said to be none at once, and so is what is no ky', async () => {
  const { auth } = await kyBench()
  for (const given of [undefined, null, {}, auth.fetch, 'https://api.test/']) {
    expect(() => createKy(given as never)).toThrow(new TypeError('createKy: auth takes what createAuth gave'))
  }
  expect(() => createKy(auth, {} as never)).toThrow(new TypeError('createKy: base takes a ky'))
})

describe('the base URL', () => {
  test.each<[string, string]>([
    ['protected', `${base}protected`],
    ['./protected', `${base}protected`],
    ['/protected', `${base}protected`],
    [`${base}protected`, `${base}protected`],
  ])('of auth is what %s resolves against', async (input, url) => {
    const { api, backend } = await kyBench()
    await api.get(input)
    expect(backend.log.map((entry) => entry.url)).toEqual([url])
  })

  test('of auth keeps its path', async () => {
    const { api, backend } = await kyBench({ baseUrl: `${base}api/v1`, server: { prefix: '/api/v1' } })
    expect(await api.get('protected').json<Echo>()).toMatchObject({ sub: 'alice' })
    expect(backend.log[0]?.path).toBe('/api/v1/protected')
  })

  test('of auth is known at the first use where it is relative to the document', async () => {
    const { backend } = await bench()
    const initial = await backend.signIn('alice')
    const api = createKy(createAuth({ baseUrl: '/api/', backend: flaskJwt(), fetch: backend.fetch, initial }))
    expect(isAuthError(await rejection((async () => api.get('protected'))()), 'invalid_option')).toBe(true)
    vi.stubGlobal('document', { baseURI: 'https://app.test/page/' })
    await api.get('protected', { throwHttpErrors: false })
    expect(backend.log.map(({ url }) => url)).toEqual(['https://app.test/api/protected'])
  })

  test("is ky's own where the user gives one, and then the token stays at home", async () => {
    const { api, sent } = await kyBench()
    const elsewhere = api.extend({ baseUrl: 'https://elsewhere.test/', throwHttpErrors: false })
    await elsewhere.get('protected')
    expect(sent.map(({ request }) => request.url)).toEqual(['https://elsewhere.test/protected'])
    expect(sent[0]?.headers.get('authorization')).toBeNull()
  })

  test("works with ky's prefix", async () => {
    const { api, backend } = await kyBench({ server: { prefix: '/v2' }, baseUrl: base })
    await api.extend({ prefix: 'v2' }).get('protected')
    expect(backend.log[0]?.path).toBe('/v2/protected')
  })
})

describe('a request', () => {
  test('carries the token, and its JSON is read', async () => {
    const { api, backend, tokens } = await kyBench()
    expect(await api.get('protected').json<Echo>()).toMatchObject({ sub: 'alice', method: 'GET' })
    expect(backend.log[0]?.token?.token).toBe(tokens.accessToken)
  })

  test.each(['get', 'post', 'put', 'patch', 'delete'] as const)(
    'is refreshed and replayed: %s',
    async (method) => {
      const { api, backend, sentTo } = await kyBench()
      backend.expireAccessTokens()
      const options = method === 'get' ? {} : { json: { a: 1 } }
      const echo = await api[method]('protected', options).json<Echo>()
      expect(echo.method).toBe(method.toUpperCase())
      expect(echo.body).toBe(method === 'get' ? '' : '{"a":1}')
      expect(sentTo('/protected')).toHaveLength(2)
      expect(backend.count('refresh')).toBe(1)
    },
  )

  test('replays with retry: 0, its search parameters and its headers', async () => {
    const { api, backend, sentTo } = await kyBench()
    backend.expireAccessTokens()
    const headers = { 'x-one': '1' }
    await api.get('protected', { retry: 0, searchParams: { q: 'a b' }, headers })
    expect(sentTo('/protected').map(({ request }) => request.url)).toEqual([
      `${base}protected?q=a+b`,
      `${base}protected?q=a+b`,
    ])
    expect(sentTo('/protected').map((sent) => sent.headers.get('x-one'))).toEqual(['1', '1'])
  })

  test.each<[string, () => BodyInit]>([
    ['a string', () => 'naïve ☕'],
    ['bytes', () => Uint8Array.from([0, 255, 128])],
    ['URLSearchParams', () => new URLSearchParams({ a: '1' })],
    ['a Blob', () => new Blob(['hello'], { type: 'image/png' })],
    [
      'FormData',
      () => {
        const form = new FormData()
        form.set('a', '1')
        return form
      },
    ],
  ])('replays a body byte for byte: %s', async (_, body) => {
    const { api, backend, sentTo } = await kyBench()
    backend.expireAccessTokens()
    await api.post('protected', { body: body() })
    const [first, second] = sentTo('/protected')
    expect(await second?.bytes).toEqual(await first?.bytes)
    expect((await second?.bytes)?.length).toBeGreaterThan(0)
    expect(second?.headers.get('content-type')).toBe(first?.headers.get('content-type'))
  })

  test('invariant 14: a body that is written differently each time is written once', async () => {
    const { api, backend, sentTo } = await kyBench()
    backend.expireAccessTokens()
    let count = 0
    await api.post('protected', { json: { toJSON: () => ++count } })
    backend.expireAccessTokens()
    await api.post('protected', { json: { a: 1 }, stringifyJson: () => `written ${++count}` })
    const bodies = sentTo('/protected').map(async ({ bytes }) => new TextDecoder().decode(await bytes))
    expect(await Promise.all(bodies)).toEqual(['1', '1', 'written 2', 'written 2'])
  })

  test.each<[string, Options]>([
    ['json', { json: { b: 2 } }],
    ['a string', { json: undefined, body: '{"b":2}' }],
    ['how JSON is written', { stringifyJson: () => '{"b":2}' }],
  ])('invariant 14: a later init hook may still change the body: %s', async (_, change) => {
    const { api, backend, sentTo } = await kyBench()
    backend.expireAccessTokens()
    const init = [(options: Options) => void Object.assign(options, change)]
    await api.extend({ hooks: { init } }).post('protected', { json: { a: 1 } })
    const bodies = sentTo('/protected').map(async ({ bytes }) => new TextDecoder().decode(await bytes))
    expect(await Promise.all(bodies)).toEqual(['{"b":2}', '{"b":2}'])
  })

  test.each<[string, Options]>([
    ['json', { json: { a: 1 } }],
    ['a string', { body: '{"a":1}' }],
    ['json, written in a way of its own', { json: { b: 2 }, stringifyJson: () => '{"a":1}' }],
  ])(
    'goes out as text that needs no copy, at first and again, where the text is known: %s',
    async (_, options) => {
      const { api, backend, sentTo } = await kyBench()
      backend.expireAccessTokens()
      await api.post('protected', options)
      expect(sentTo('/protected').map(({ init }) => init?.body)).toEqual(['{"a":1}', '{"a":1}'])
    },
  )

  test.each<[string, Options]>([
    ['no body', { json: undefined }],
    ['bytes', { body: Uint8Array.from([1]) }],
    ['a hook that may put another request in its place', { json: 1, hooks: { beforeRequest: [() => {}] } }],
    ['a hook that may, on a retry', { json: 1, hooks: { beforeRetry: [() => {}] } }],
    ['a hook that may, after an answer', { json: 1, hooks: { afterResponse: [() => {}] } }],
  ])('goes out as ky has made it with %s', async (_, options) => {
    const { api, sentTo } = await kyBench()
    await api.post('protected', options)
    expect(sentTo('/protected').map(({ init }) => init?.body)).toEqual([undefined])
  })

  test('invariant 14: a later init hook may write JSON around what was written', async () => {
    const { api, sentTo } = await kyBench()
    const init = [
      (options: Options) => {
        const { stringifyJson = JSON.stringify } = options
        options.stringifyJson = (data) => `[${stringifyJson(data)}]`
      },
    ]
    await api.extend({ hooks: { init } }).post('protected', { json: { a: 1 } })
    const bodies = sentTo('/protected').map(async ({ bytes }) => new TextDecoder().decode(await bytes))
    expect(await Promise.all(bodies)).toEqual(['[{"a":1}]'])
  })

  test('tells of its upload as ky does', async () => {
    const { api } = await kyBench()
    const seen: number[] = []
    const onUploadProgress = ({ percent }: { percent: number }): void => void seen.push(percent)
    expect((await api.post('protected', { json: { a: 1 }, onUploadProgress }).json<Echo>()).body).toBe(
      '{"a":1}',
    )
    expect(seen.at(-1)).toBe(1)
  })

  test('is refreshed and replayed, its hooks replaced by others', async () => {
    const { api, backend, sentTo } = await virtual({}, { latency: { protected: 1_000 } })
    backend.expireAccessTokens()
    const without = api.extend({ hooks: replaceOption({}) })
    const answer = without.post(`${base}protected`, { json: { a: 1 } }).json<Echo>()
    await vi.advanceTimersByTimeAsync(2_000)
    expect((await answer).body).toBe('{"a":1}')
    expect(sentTo('/protected')).toHaveLength(2)
  })

  test('is answered with no more than the runtime has: no bytes() is made up', async () => {
    const { api } = await kyBench()
    const bytes = Object.getOwnPropertyDescriptor(Response.prototype, 'bytes') as PropertyDescriptor
    onTestFinished(() => void Object.defineProperty(Response.prototype, 'bytes', bytes))
    delete (Response.prototype as Partial<Response>).bytes
    const response = await api.get('protected', { headers: { accept: '*/*' } })
    expect(['text' in response, 'bytes' in response]).toEqual([true, false])
  })

  test("leaves the caller's own Authorization alone", async () => {
    const { api, backend, sent } = await kyBench()
    later()
    await api.get('protected', { headers: { authorization: 'Basic abc' }, throwHttpErrors: false })
    expect(sent.map((one) => one.headers.get('authorization'))).toEqual(['Basic abc'])
    expect(backend.count('refresh')).toBe(0)
  })

  test('goes without a token with auth: false', async () => {
    const { api, sent } = await kyBench()
    later()
    const response = await api.get('protected', { auth: false, throwHttpErrors: false })
    expect(response.status).toBe(401)
    expect(sent.map((one) => one.headers.get('authorization'))).toEqual([null])
  })

  test('that was aborted before it began is not sent, with auth: false either', async () => {
    const { api, backend } = await kyBench()
    for (const auth of [false, 'optional'] as const) {
      const error = await failure(api.get('protected', { auth, signal: AbortSignal.abort() }))
      expect(error).toMatchObject({ name: 'AbortError' })
    }
    const controller = new AbortController()
    const stop = [() => controller.abort()]
    const error = failure(
      api.get('protected', {
        auth: false,
        signal: controller.signal,
        hooks: { beforeRequest: stop as never },
      }),
    )
    expect(await error).toMatchObject({ name: 'AbortError' })
    expect(backend.count()).toBe(0)
  })

  test("goes without a token with auth: 'optional' where it can't be made good", async () => {
    const { api, backend } = await kyBench()
    later()
    backend.fault('refresh', 'drop')
    expect(await api.get('optional', { auth: 'optional' }).json()).toMatchObject({ sub: null })
  })

  test("asks before it is sent with auth: 'fresh' and a token that isn't", async () => {
    const { api, auth, backend } = await kyBench()
    later()
    await auth.refresh()
    expect(auth.session?.fresh).toBe(false)
    backend.clearLog()
    const reasons: string[] = []
    auth.on('reauthRequired', (event) => {
      reasons.push(event.reason)
      expect(backend.count('fresh')).toBe(0)
      event.waitUntil(auth.reauthenticate({ username: 'alice', password: 'wonderland' }))
    })
    expect(await api.delete('fresh', { auth: 'fresh' }).json<Echo>()).toMatchObject({ method: 'DELETE' })
    expect(reasons).toEqual(['fresh_token_required'])
    expect(backend.count('fresh')).toBe(1)
  })

  test('is never sent twice with replay: false', async () => {
    const { api, auth, backend, sentTo } = await kyBench()
    backend.expireAccessTokens()
    const refreshed = next(auth, 'tokenRefreshed')
    const error = await failure(api.post('protected', { json: { a: 1 }, replay: false }))
    expect(isHTTPError(error) && error.response.status).toBe(401)
    await refreshed
    expect(sentTo('/protected')).toHaveLength(1)
  })

  test("with an option of auth that is none rejects with stayfresh's error", async () => {
    const { api, backend } = await kyBench()
    const error = await failure(api.get('protected', { auth: 'nope' as 'fresh' }))
    expect(isAuthError(error, 'invalid_input')).toBe(true)
    expect(backend.count()).toBe(0)
  })

  test('is aborted at once while it waits for a refresh, and the refresh goes on', async () => {
    const { beneath, reached, open } = door('/refresh')
    const { api, auth } = await kyBench({ beneath })
    later()
    const controller = new AbortController()
    const reason = new Error('Not any more')
    const error = failure(api.get('protected', { signal: controller.signal }))
    await reached
    controller.abort(reason)
    expect(await error).toBe(reason)
    const refreshed = next(auth, 'tokenRefreshed')
    open()
    await refreshed
  })

  test('hands unknown options to the fetch beneath, and none of our own', async () => {
    const { api, sent } = await kyBench()
    const more = { next: { revalidate: 60 } }
    await api.get('protected', { ...more, auth: 'optional', replay: true })
    expect(sent[0]?.init?.next).toEqual({ revalidate: 60 })
    expect(Object.keys(sent[0]?.init ?? {}).sort()).toEqual(['headers', 'next', 'signal'])
  })
})

describe('ky itself', () => {
  test('can be extended: options, headers and hooks add up', async () => {
    const { api, backend, sentTo } = await kyBench()
    backend.expireAccessTokens()
    const seen: string[] = []
    const more = api
      .extend({ headers: { 'x-one': '1' }, hooks: { afterResponse: [() => void seen.push('first')] } })
      .extend({ headers: { 'x-two': '2' }, hooks: { afterResponse: [() => void seen.push('second')] } })
    expect(await more.get('protected').json<Echo>()).toMatchObject({ sub: 'alice' })
    for (const sent of sentTo('/protected')) {
      expect(sent.headers.get('x-one')).toBe('1')
      expect(sent.headers.get('x-two')).toBe('2')
    }
    expect(seen).toEqual(['first', 'second'])
  })

  test('can be the base of it, with options and hooks of its own', async () => {
    const { auth, backend, sentTo } = await bench()
    backend.expireAccessTokens()
    const seen: string[] = []
    const own = ky.create({
      headers: { 'x-one': '1' },
      hooks: { init: [() => void seen.push('init')], beforeRequest: [() => void seen.push('before')] },
    })
    const api = createKy(auth, own)
    await api.get('protected')
    expect(sentTo('/protected').map((sent) => sent.headers.get('x-one'))).toEqual(['1', '1'])
    expect(seen).toEqual(['init', 'before'])
  })

  test('is not changed by it: the base has no token', async () => {
    const { auth, backend } = await bench()
    createKy(auth)
    vi.stubGlobal('fetch', backend.fetch)
    await ky.get(`${base}optional`, { fetch: backend.fetch })
    expect(backend.log.map(({ token }) => token)).toEqual([undefined])
  })

  test('runs a beforeRequest hook once, and its headers are kept on the replay', async () => {
    const { api, backend, sentTo } = await kyBench()
    backend.expireAccessTokens()
    let runs = 0
    const hooked = api.extend({
      hooks: {
        beforeRequest: [
          ({ request }) => {
            request.headers.set('x-run', String(++runs))
          },
        ],
      },
    })
    await hooked.post('protected', { json: { a: 1 } })
    expect(sentTo('/protected').map((sent) => sent.headers.get('x-run'))).toEqual(['1', '1'])
  })

  test('takes a beforeRequest hook that gives another Request', async () => {
    const { api, backend, sentTo } = await kyBench()
    backend.expireAccessTokens()
    const hooked = api.extend({
      hooks: {
        beforeRequest: [
          ({ request }) => new Request(request, { method: 'PUT', body: 'other', headers: { 'x-one': '1' } }),
        ],
      },
    })
    expect(await hooked.post('protected', { json: { a: 1 } }).json<Echo>()).toMatchObject({
      method: 'PUT',
      body: 'other',
    })
    expect(sentTo('/protected').map((sent) => sent.headers.get('x-one'))).toEqual(['1', '1'])
  })

  test('takes a beforeRequest hook that signs in by itself', async () => {
    const { api, sent } = await kyBench()
    const hooks = {
      beforeRequest: [
        ({ request }: { request: Request }) => request.headers.set('authorization', 'Basic abc'),
      ],
    }
    await api.get('protected', { hooks, throwHttpErrors: false } as never)
    expect(sent.map((one) => one.headers.get('authorization'))).toEqual(['Basic abc'])
  })

  test('shows afterResponse the last answer alone', async () => {
    const { api, backend } = await kyBench()
    backend.expireAccessTokens()
    const seen: number[] = []
    await api.get('protected', {
      hooks: { afterResponse: [({ response }) => void seen.push(response.status)] },
    })
    expect(seen).toEqual([200])
  })

  test('retries a 503 as it does, each time with the token', async () => {
    const { api, backend, tokens } = await kyBench()
    backend.fault('protected', { status: 503 }, { times: 2 })
    const retry = { limit: 2, delay: () => 1 }
    expect(await api.get('protected', { retry }).json<Echo>()).toMatchObject({ sub: 'alice' })
    expect(backend.log.map(({ status, token }) => [status, token?.token])).toEqual([
      [503, tokens.accessToken],
      [503, tokens.accessToken],
      [200, tokens.accessToken],
    ])
  })

  test('retries a dropped connection as it does', async () => {
    const { api, backend } = await kyBench()
    backend.fault('protected', 'drop')
    const retry = { limit: 1, delay: () => 1 }
    expect(await api.get('protected', { retry }).json<Echo>()).toMatchObject({ sub: 'alice' })
    backend.fault('protected', 'drop')
    expect(isNetworkError(await failure(api.post('protected', { retry })))).toBe(true)
  })

  test('throws its HTTPError for a 401 that is handed back, with the data, and without a token', async () => {
    const { api, backend } = await kyBench({ server: { dialect: 'tutorial' } })
    const error = await failure(api.delete('admin'))
    if (!isHTTPError(error)) throw error
    expect(error.response.status).toBe(401)
    expect(error.data).toMatchObject({ message: 'Admin privilege required.' })
    expect(error.request.method).toBe('DELETE')
    expect(backend.count()).toBe(1)
    expect(leaks(error, ...backend.issued.map(({ token }) => token))).toEqual([])
  })

  test('throws its HTTPError for a 401 that came back after the replay, without a token', async () => {
    const { api, backend } = await kyBench()
    later()
    const error = await failure(api.post('fresh', { json: { a: 1 } }))
    if (!isHTTPError(error)) throw error
    expect(error.response.status).toBe(401)
    expect(error.data).toEqual({ msg: 'Fresh token required' })
    expect(leaks(error, ...backend.issued.map(({ token }) => token))).toEqual([])
  })

  test.each(['get', 'post'] as const)(
    'lets refresh_unavailable through as it is, and does not retry: %s',
    async (method) => {
      const { api, backend, sentTo } = await kyBench()
      later()
      backend.fault('refresh', 'drop', { times: Number.POSITIVE_INFINITY })
      const before = Date.now()
      const retry = { limit: 3, delay: () => 1 }
      const error = await failure(api[method]('protected', { retry }))
      if (!isAuthError(error, 'refresh_unavailable')) throw error
      expect(error.retryAt).toBeGreaterThanOrEqual(before)
      expect(error).toBeInstanceOf(TypeError)
      expect(backend.count('refresh')).toBe(1)
      expect(sentTo('/protected')).toHaveLength(0)
      expect(leaks(error, ...backend.issued.map(({ token }) => token))).toEqual([])
    },
  )

  test('6: that was made by who signs out in the same tick does not go out as nobody', async () => {
    const { api, auth, backend } = await kyBench()
    const error = failure(api.get('optional'))
    await auth.logout()
    expect(isAuthError(await error, 'session_changed')).toBe(true)
    expect(backend.count('optional')).toBe(0)
  })

  test('6: is not tried again as who has signed in meanwhile, nor as nobody', async () => {
    const changes: ((made: KyBench) => Promise<unknown>)[] = [
      async ({ auth, backend }) => auth.setTokens(await backend.signIn('bob')),
      ({ auth }) => auth.logout(),
    ]
    for (const change of changes) {
      const made = await kyBench()
      const { api, backend } = made
      backend.fault('fresh', { status: 503 })
      const retry = { limit: 1, delay: () => 1 }
      const hooks = { beforeRetry: [async () => void (await change(made))] }
      expect(isAuthError(await failure(api.delete('fresh', { retry, hooks })), 'session_changed')).toBe(true)
      expect(backend.count('fresh')).toBe(1)
    }
  })

  test('6: of nobody is not tried again as who has signed in meanwhile', async () => {
    const { api, auth, backend } = await kyBench({ signedIn: false })
    backend.fault('optional', { status: 503 })
    const retry = { limit: 1, delay: () => 1 }
    const hooks = { beforeRetry: [async () => void (await auth.setTokens(await backend.signIn('bob')))] }
    expect(isAuthError(await failure(api.put('optional', { retry, hooks })), 'session_changed')).toBe(true)
    expect(backend.count('optional')).toBe(1)
    backend.fault('optional', { status: 503 })
    await auth.logout()
    expect((await api.put('optional', { retry })).status).toBe(200)
  })

  test('leaves nothing behind on a signal that the caller keeps, by which its answer can still be given up', async () => {
    const given: (AbortSignal | null | undefined)[] = []
    const { api } = await kyBench({
      fetch: async (input, init) => {
        given.push((input as Request).signal, init?.signal)
        return Response.json({})
      },
    })
    const controller = new AbortController()
    await api.get('protected', { signal: controller.signal })
    const [its, limit] = given as [AbortSignal, AbortSignal]
    expect(getEventListeners(its, 'abort')).toEqual([])
    controller.abort(new Error('left'))
    expect(limit.reason).toMatchObject({ message: 'left' })
  })

  test('6: is tried again in another session of the same user', async () => {
    const { api, auth, backend } = await kyBench()
    backend.fault('fresh', { status: 503 })
    const retry = { limit: 1, delay: () => 1 }
    const hooks = { beforeRetry: [async () => void (await auth.setTokens(await backend.signIn('alice')))] }
    expect((await api.delete('fresh', { retry, hooks })).status).toBe(200)
    expect(backend.count('fresh')).toBe(2)
  })

  test('lets session_changed through as it is', async () => {
    const { beneath, reached, open } = door('/refresh')
    const { api, auth, backend } = await kyBench({ beneath })
    later()
    const error = failure(api.post('protected', { json: { a: 1 } }))
    await reached
    await auth.setTokens(await backend.signIn('bob'))
    open()
    expect(isAuthError(await error, 'session_changed')).toBe(true)
    expect(backend.count('protected')).toBe(0)
  })

  test('shows no hook and no error whose session it was', async () => {
    const { api, backend } = await kyBench()
    backend.fault('protected', { status: 400 })
    const shown: unknown[] = []
    const error = await failure(
      api.get('protected', { hooks: { beforeRequest: [({ options }) => void shown.push(options)] } }),
    )
    if (!isHTTPError(error)) throw error
    shown.push(error.options)
    expect(shown).toHaveLength(2)
    expect(JSON.stringify(shown)).not.toContain('alice')
  })
})

describe('a stream in body', () => {
  /** What Node's fetch takes, too. */
  async function* pieces(): AsyncGenerator<Uint8Array> {
    yield new TextEncoder().encode('hello')
  }

  test.each([
    ['a ReadableStream', () => streamOf('hello').stream],
    ['an async iterable', () => pieces() as never],
  ])('%s is one-shot: its 401 comes back, and the next try has a new token', async (_, make) => {
    const { api, auth, backend, sentTo } = await kyBench()
    backend.expireAccessTokens()
    const refreshed = next(auth, 'tokenRefreshed')
    const error = await failure(api.post('protected', { body: make(), duplex: 'half' } as object))
    expect(isHTTPError(error) && error.response.status).toBe(401)
    expect(sentTo('/protected')).toHaveLength(1)
    await refreshed
    const echo = await api.post('protected', { body: make(), duplex: 'half' } as object).json<Echo>()
    expect(echo.body).toBe('hello')
    expect(backend.count('refresh')).toBe(1)
  })

  test('is not read while it waits for the refresh that its token needs', async () => {
    const { beneath, reached, open } = door('/refresh')
    const { api } = await kyBench({ beneath })
    later()
    const { stream, read } = streamOf('hello')
    const answer = api.post('protected', { body: stream, retry: 0 }).json<Echo>()
    await reached
    expect(read()).toBe(false)
    open()
    expect((await answer).body).toBe('hello')
  })

  test('waits for the refresh that is due, as it does in auth.fetch', async () => {
    const { api, backend } = await kyBench()
    later(860_000)
    const echo = await api.post('protected', { body: streamOf('hello').stream }).json<Echo>()
    expect(echo.body).toBe('hello')
    expect(backend.log.map(({ route }) => route)).toEqual(['refresh', 'protected'])
  })
})

describe('timeout', () => {
  test("bounds each send: a server that hangs gets ky's TimeoutError, and the send is given up", async () => {
    const { api, backend, sent } = await virtual()
    backend.fault('protected', 'hang')
    const error = failure(api.get('protected', { timeout: 1_000, retry: 0 }))
    let settled = false
    void error.then(() => {
      settled = true
    })
    await vi.advanceTimersByTimeAsync(999)
    expect(settled).toBe(false)
    expect(sent[0]?.request.signal.aborted).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    const thrown = await error
    expect(isTimeoutError(thrown)).toBe(true)
    expect(isTimeoutError(thrown) && thrown.request.url).toBe(`${base}protected`)
    expect(sent[0]?.request.signal.aborted).toBe(true)
    expect(leaks(thrown, ...backend.issued.map(({ token }) => token))).toEqual([])
  })

  test("is ky's ten seconds unless told otherwise", async () => {
    const { api, backend } = await virtual()
    backend.fault('protected', 'hang')
    const error = failure(api.get('protected', { retry: 0 }))
    let settled = false
    void error.then(() => {
      settled = true
    })
    await vi.advanceTimersByTimeAsync(9_999)
    expect(settled).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect(isTimeoutError(await error)).toBe(true)
  })

  test.each<[string, (api: KyInstance) => PromiseLike<unknown>]>([
    ['extend', (api) => api.extend({ timeout: 500, retry: 0 }).get('protected')],
    ['the request', (api) => api.extend({ timeout: 60_000, retry: 0 }).get('protected', { timeout: 500 })],
  ])('is taken from %s', async (_, call) => {
    const { api, backend } = await virtual()
    backend.fault('protected', 'hang')
    const error = failure(call(api))
    await vi.advanceTimersByTimeAsync(500)
    expect(isTimeoutError(await error)).toBe(true)
  })

  test('of null is the default, as with ky itself', async () => {
    const { api } = await virtual({}, { latency: { protected: 9_000 } })
    const answer = api.get('protected', { timeout: null as never, retry: 0 }).json<Echo>()
    answer.catch(() => {})
    await vi.advanceTimersByTimeAsync(9_000)
    expect((await answer).sub).toBe('alice')
  })

  test('is taken from the base', async () => {
    const { auth, backend } = await virtual()
    backend.fault('protected', 'hang')
    const error = failure(createKy(auth, ky.create({ timeout: 500, retry: 0 })).get('protected'))
    await vi.advanceTimersByTimeAsync(500)
    expect(isTimeoutError(await error)).toBe(true)
  })

  test('of false bounds nothing', async () => {
    const { api } = await virtual({}, { latency: { protected: 600_000 } })
    const answer = api.get('protected', { timeout: false }).json<Echo>()
    await vi.advanceTimersByTimeAsync(600_000)
    expect((await answer).sub).toBe('alice')
  })

  test.each([2 ** 31, Number.POSITIVE_INFINITY])(
    'of %s, more than a timer can take, does not end the request at once',
    async (timeout) => {
      const { api } = await virtual({}, { latency: { protected: 1_000 } })
      const error = Promise.resolve(api.get('protected', { timeout, retry: 0 })).then(
        () => undefined,
        (reason: unknown) => reason,
      )
      await vi.advanceTimersByTimeAsync(1_000)
      // ky itself refuses such a timeout with a RangeError.
      expect(isTimeoutError(await error)).toBe(false)
    },
  )

  test('is tried again by ky where its user wants that', async () => {
    const { api, backend } = await virtual()
    backend.fault('protected', 'hang')
    const retry = { limit: 1, retryOnTimeout: true, delay: () => 1 }
    const answer = api.get('protected', { timeout: 1_000, retry }).json<Echo>()
    await vi.advanceTimersByTimeAsync(1_100)
    expect((await answer).sub).toBe('alice')
    expect(backend.count('protected')).toBe(2)
  })

  test('bounds the replay anew', async () => {
    const { api, backend, sentTo } = await virtual({}, { latency: { protected: 800 } })
    backend.expireAccessTokens()
    const answer = api.get('protected', { timeout: 1_000 }).json<Echo>()
    await vi.advanceTimersByTimeAsync(1_600)
    expect((await answer).sub).toBe('alice')

    backend.expireAccessTokens()
    backend.fault('protected', 'hang', { when: ({ token }) => token?.generation === 2 })
    const error = failure(api.get('protected', { timeout: 1_000, retry: 0 }))
    await vi.advanceTimersByTimeAsync(1_800)
    expect(isTimeoutError(await error)).toBe(true)
    expect(sentTo('/protected')).toHaveLength(4)
  })

  test.each(['its token ran out', 'the server turns its token down'])(
    'does not bound the wait for a refresh: %s',
    async (how) => {
      const { api, backend, auth } = await virtual({}, { latency: { refresh: 5_000 } })
      if (how === 'its token ran out') vi.setSystemTime(Date.now() + 901_000)
      else backend.expireAccessTokens()
      const refreshed = next(auth, 'tokenRefreshed')
      const answer = api.get('protected', { timeout: 1_000, retry: 0 }).json<Echo>()
      await vi.advanceTimersByTimeAsync(5_000)
      await refreshed
      expect((await answer).sub).toBe('alice')
    },
  )

  test('does not bound the wait for a person, nor does the default', async () => {
    const { api, auth, backend } = await virtual()
    vi.setSystemTime(Date.now() + 901_000)
    await auth.refresh()
    auth.on('reauthRequired', (event) => {
      event.waitUntil(
        new Promise((resolve) => setTimeout(resolve, 60_000)).then(() =>
          auth.reauthenticate({ username: 'alice', password: 'wonderland' }),
        ),
      )
    })
    const answers = [
      api.post('fresh', { json: { a: 1 }, timeout: 1_000, retry: 0 }).json<Echo>(),
      api.post('fresh', { json: { a: 2 } }).json<Echo>(),
      api.post('fresh', { json: { a: 3 }, auth: 'fresh' }).json<Echo>(),
    ]
    await vi.advanceTimersByTimeAsync(59_999)
    expect(backend.log.filter(({ status, route }) => route === 'fresh' && status === 200)).toHaveLength(0)
    await vi.advanceTimersByTimeAsync(1)
    expect((await Promise.all(answers)).map(({ body }) => body)).toEqual(['{"a":1}', '{"a":2}', '{"a":3}'])
  })

  test.each(['json', 'text', 'arrayBuffer', 'blob', 'bytes'] as const)(
    'bounds the reading of a body: %s()',
    async (reader) => {
      const { api, backend } = await virtual()
      backend.fault('protected', 'stall-body')
      const error = failure(api.get('protected', { timeout: 1_000, retry: 0 })[reader]())
      await vi.advanceTimersByTimeAsync(1_000)
      expect(isTimeoutError(await error)).toBe(true)
    },
  )

  test('that ends the reading of a body gives the connection up', async () => {
    const { api, backend, sent } = await virtual()
    backend.fault('protected', 'stall-body')
    const error = failure(api.get('protected', { timeout: 1_000, retry: 0 }).json())
    await vi.advanceTimersByTimeAsync(1_000)
    expect(isTimeoutError(await error)).toBe(true)
    expect(sent[0]?.request.signal.aborted).toBe(true)
  })

  test('bounds nothing that has been answered in time', async () => {
    const { api, sent } = await virtual()
    const response = await api.get('protected', { timeout: 1_000 })
    await vi.advanceTimersByTimeAsync(5_000)
    expect(sent[0]?.request.signal.aborted).toBe(false)
    expect(await response.json<Echo>()).toMatchObject({ sub: 'alice' })
    expect(vi.getTimerCount()).toBe(0)
  })

  test("does not bound the caller's own reading of what he accepts", async () => {
    const { api, backend, sent } = await virtual()
    backend.fault('protected', 'stall-body')
    const response = await api.get('protected', { timeout: 1_000, headers: { accept: 'text/csv' } })
    const settled = vi.fn()
    response.text().then(settled, settled)
    await vi.advanceTimersByTimeAsync(60_000)
    expect(settled).not.toHaveBeenCalled()
    expect(sent[0]?.request.signal.aborted).toBe(false)
  })

  test('bounds the reading of JSON of a type of its own', async () => {
    const { api, backend } = await virtual()
    backend.fault('protected', 'stall-body')
    const headers = { accept: 'application/vnd.api+json' }
    const error = failure(api.get('protected', { timeout: 1_000, retry: 0, headers }).json())
    await vi.advanceTimersByTimeAsync(1_000)
    expect(isTimeoutError(await error)).toBe(true)
  })

  test('leaves no timer behind', async () => {
    const { api, backend } = await virtual()
    backend.expireAccessTokens()
    await api.post('protected', { json: { a: 1 } }).json()
    await failure(api.get('nothing').json())
    backend.fault('protected', 'drop')
    await failure(api.post('protected'))
    expect(vi.getTimerCount()).toBe(0)
  })

  test.each<number | false>([false, 5_000])(
    '9: of %s: an abort frees its caller at once, over a fetch that heeds no signal',
    async (timeout) => {
      const { api } = await virtual({ beneath: () => () => new Promise(() => {}) })
      const controller = new AbortController()
      let error: unknown
      failure(api.get('protected', { timeout, signal: controller.signal })).then((reason) => {
        error = reason
      })
      await vi.advanceTimersByTimeAsync(0)
      controller.abort()
      await vi.advanceTimersByTimeAsync(0)
      expect(error).toMatchObject({ name: 'AbortError' })
    },
  )

  test('9: an abort reaches the fetch beneath, with its reason, though the send has a limit of its own', async () => {
    const signals: unknown[] = []
    const beneath = () => (request: unknown) => {
      signals.push((request as Request).signal)
      return new Promise<never>(() => {})
    }
    const { api } = await virtual({ beneath })
    const controller = new AbortController()
    const error = failure(api.get('protected', { timeout: 5_000, signal: controller.signal }))
    await vi.advanceTimersByTimeAsync(0)
    const reason = new Error('Not any more')
    controller.abort(reason)
    expect(await error).toBe(reason)
    expect(signals).toMatchObject([{ aborted: true, reason }])
  })

  test('9: an abort by the signal that a Request brought reaches the fetch beneath, with its reason', async () => {
    const limits: unknown[] = []
    const beneath = () => (sent: unknown) => {
      limits.push((sent as Request).signal)
      return new Promise<never>(() => {})
    }
    const { api } = await virtual({ beneath })
    const controller = new AbortController()
    const request = new Request(`${base}protected`, { signal: controller.signal })
    const error = failure(api.get(request, { timeout: 5_000 }))
    await vi.advanceTimersByTimeAsync(0)
    const reason = new Error('Not any more')
    controller.abort(reason)
    expect(await error).toBe(reason)
    expect(limits).toMatchObject([{ aborted: true, reason }])
  })

  test('9: a Request that was aborted before is aborted for the fetch beneath, though it goes without a token', async () => {
    const limits: unknown[] = []
    const beneath = () => (sent: unknown) => {
      limits.push((sent as Request).signal.aborted)
      return new Promise<never>(() => {})
    }
    const { api } = await virtual({ beneath })
    const request = new Request(`${base}protected`, { signal: AbortSignal.abort() })
    expect(await failure(api.get(request, { auth: false, timeout: 5_000 }))).toMatchObject({
      name: 'AbortError',
    })
    expect(limits).toEqual([true])
  })

  test("is ky's own for a request that is given another fetch, which goes without a token", async () => {
    const { api } = await virtual()
    const fetch = vi.fn<typeof globalThis.fetch>(() => new Promise(() => {}))
    const error = failure(api.get('protected', { fetch, timeout: 1_000, retry: 0 }))
    await vi.advanceTimersByTimeAsync(1_000)
    expect(isTimeoutError(await error)).toBe(true)
    const [request, init] = fetch.mock.calls[0] as [Request, RequestInit]
    expect(request.url).toBe(`${base}protected`)
    expect(request.headers.get('authorization')).toBeNull()
    expect(init).not.toHaveProperty('stayfresh')
  })

  test('does not keep a caller who aborts', async () => {
    const { api, backend } = await virtual()
    backend.fault('protected', 'hang')
    const controller = new AbortController()
    const reason = new Error('Not any more')
    const error = failure(api.get('protected', { timeout: 1_000, signal: controller.signal }))
    await vi.advanceTimersByTimeAsync(1)
    controller.abort(reason)
    expect(await error).toBe(reason)
    expect(vi.getTimerCount()).toBe(0)
  })
})
