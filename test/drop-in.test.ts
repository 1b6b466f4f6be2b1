/** auth.fetch is a drop-in for fetch: whatever fetch takes, it takes, and does the same with it. */
import { Stream } from 'node:stream'
import { serve } from '@hono/node-server'
import ky, { isHTTPError, isTimeoutError } from 'ky'
import createClient from 'openapi-fetch'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { type AuthRequestInit, createAuth, type FlowContext, flaskJwt, isAuthError } from '../src/index.ts'
import { createBackend } from '../src/testing/index.ts'
import {
  type Bench,
  base,
  bench,
  door,
  type Fetch,
  later,
  leaks,
  next,
  rejection,
  type Sent,
  tutorial,
} from './support.ts'

/** The ways in which a token stops working: by its `exp`, so that a refresh comes first, or by the server's word. */
const endings = ['its token ran out', 'the server turns its token down'] as const

function end(how: (typeof endings)[number], backend: { expireAccessTokens(): void }): void {
  if (how === 'its token ran out') later()
  else backend.expireAccessTokens()
}

/** A stream of one chunk. */
function streamOf(text: string): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text))
      controller.close()
    },
  })
}

const oneShot = (text: string): AuthRequestInit =>
  ({ method: 'POST', body: streamOf(text), duplex: 'half' }) as never

const bearer = ({ headers }: Sent): string | null => headers.get('authorization')

const textOf = async ({ bytes }: Sent): Promise<string> => new TextDecoder().decode(await bytes)

describe('an input', () => {
  test.each<[string, () => string | URL | Request]>([
    ['an absolute string', () => `${base}protected?a=1`],
    ['a string relative to the base', () => 'protected?a=1'],
    ['a string relative to the origin', () => '/protected?a=1'],
    ['a URL', () => new URL('protected?a=1', base)],
    ['a Request', () => new Request(`${base}protected?a=1`)],
    ['anything with the text of a URL', () => ({ toString: () => `${base}protected?a=1` }) as never],
  ])('may be %s', async (_, input) => {
    const { auth, backend, tokens } = await bench()
    const response = await auth.fetch(input())
    expect(response.status).toBe(200)
    expect(backend.log).toMatchObject([
      { method: 'GET', url: `${base}protected?a=1`, token: { token: tokens.accessToken } },
    ])
  })

  test('keeps its query and loses its fragment, as with fetch', async () => {
    const { auth, backend } = await bench()
    await auth.fetch('protected?q=a%20b&q=c#part')
    expect(new URL(backend.log[0]?.url ?? '').search).toBe('?q=a%20b&q=c')
  })

  test('works with fetch taken off its object', async () => {
    const { fetch } = (await bench()).auth
    expect((await fetch('protected')).status).toBe(200)
  })

  test.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'get', 'post'])('goes out as %s', async (method) => {
    const { auth, backend } = await bench()
    expect((await auth.fetch('protected', { method })).status).toBe(200)
    expect(backend.log[0]?.method).toBe(method.toUpperCase())
  })

  test('may be an empty init, undefined or null', async () => {
    const { auth } = await bench()
    for (const init of [{}, undefined, null as never]) {
      expect((await auth.fetch('protected', init)).status).toBe(200)
    }
  })

  test('may have auth: true, which is what it is by default', async () => {
    const { auth, sent, tokens } = await bench()
    await auth.fetch('protected', { auth: true } as never)
    expect(bearer(sent[0] as Sent)).toBe(`Bearer ${tokens.accessToken}`)
  })

  test('that is a Request whose body was read is refused, and nothing is sent or refreshed', async () => {
    const { auth, backend } = await bench()
    const request = new Request(`${base}protected`, { method: 'POST', body: 'x' })
    await request.text()
    later()
    expect(await rejection(auth.fetch(request))).toBeInstanceOf(TypeError)
    expect(backend.count()).toBe(0)
  })

  test('that is a Request whose body was read goes out with another body, as with fetch', async () => {
    const { auth, sent } = await bench()
    const request = new Request(`${base}protected`, { method: 'POST', body: 'x' })
    await request.text()
    expect((await auth.fetch(request, { body: 'y' })).status).toBe(200)
    expect(await textOf(sent[0] as Sent)).toBe('y')
  })

  test.each<[string, AuthRequestInit]>([
    ['with replay: false', { replay: false }],
    ['with auth: false', { auth: false }],
    ['with another body', { body: 'y' }],
  ])('that is a Request with a body is not copied %s', async (_, init) => {
    const { auth } = await bench()
    const request = new Request(`${base}protected`, { method: 'POST', body: 'x' })
    const clone = vi.spyOn(request, 'clone')
    await auth.fetch(request, init)
    expect(clone).not.toHaveBeenCalled()
  })

  test.each(['FORGET', 'GETAWAY'])('that is a %s Request with a body is replayed with it', async (method) => {
    const { auth, backend, sentTo } = await bench()
    backend.fault('protected', { status: 401, body: { msg: 'Token has expired' } })
    await auth.fetch(new Request(`${base}protected`, { method, body: 'x' }))
    expect(await Promise.all(sentTo('/protected').map(textOf))).toEqual(['x', 'x'])
  })

  test('that is a Request with a body is used up at the call, as with fetch', async () => {
    const { auth } = await bench()
    const request = new Request(`${base}protected`, { method: 'POST', body: 'x' })
    const response = auth.fetch(request)
    expect(request.bodyUsed).toBe(true)
    expect((await response).status).toBe(200)
  })
})

describe('an init over a Request', () => {
  const request = (): Request =>
    new Request(`${base}protected`, {
      method: 'PUT',
      headers: { 'content-type': 'text/x-one', 'x-of': 'request' },
      body: 'of the request',
    })

  test.each(endings)('takes the place of method, headers and body when %s', async (ending) => {
    const { auth, backend, sentTo } = await bench()
    end(ending, backend)
    const init = {
      method: 'PATCH',
      headers: { 'x-of': 'init', 'content-type': 'text/x-two' },
      body: 'of the init',
    }
    expect((await auth.fetch(request(), init)).status).toBe(200)
    for (const sent of sentTo('/protected')) {
      expect(sent.request.method).toBe('PATCH')
      expect(sent.headers.get('x-of')).toBe('init')
      expect(sent.headers.get('content-type')).toBe('text/x-two')
      expect(await textOf(sent)).toBe('of the init')
    }
  })

  test.each(endings)('leaves what it does not name when %s', async (ending) => {
    const { auth, backend, sentTo } = await bench()
    end(ending, backend)
    const unnamed = {
      method: undefined,
      headers: undefined,
      body: undefined,
      signal: undefined,
      cache: 'no-store',
    }
    expect((await auth.fetch(request(), unnamed as RequestInit)).status).toBe(200)
    for (const sent of sentTo('/protected')) {
      expect(sent.request.method).toBe('PUT')
      expect(sent.headers.get('x-of')).toBe('request')
      expect(sent.headers.get('content-type')).toBe('text/x-one')
      expect(sent.request.cache).toBe('no-store')
      expect(await textOf(sent)).toBe('of the request')
    }
  })

  test('with headers drops those of the Request, its Authorization among them', async () => {
    const { auth, sent, tokens } = await bench()
    const own = new Request(`${base}protected`, {
      headers: { authorization: 'Basic abc', 'x-of': 'request' },
    })
    expect((await auth.fetch(own, { headers: { 'x-more': '1' } })).status).toBe(200)
    expect(bearer(sent[0] as Sent)).toBe(`Bearer ${tokens.accessToken}`)
    expect(sent[0]?.headers.get('x-of')).toBeNull()
    expect(sent[0]?.headers.get('x-more')).toBe('1')
  })

  test('with a body of null keeps the body of the Request, as with fetch', async () => {
    const { auth, backend, sentTo } = await bench()
    backend.expireAccessTokens()
    expect((await auth.fetch(request(), { body: null })).status).toBe(200)
    expect(await Promise.all(sentTo('/protected').map(textOf))).toEqual(['of the request', 'of the request'])
  })

  test('with a signal is aborted by that one alone', async () => {
    const { auth, backend } = await bench()
    const [ofRequest, ofInit] = [new AbortController(), new AbortController()]
    backend.fault('protected', 'hang')
    const input = new Request(`${base}protected`, { signal: ofRequest.signal })
    const answer = rejection(auth.fetch(input, { signal: ofInit.signal }))
    ofRequest.abort(new Error('of the request'))
    const reason = new Error('of the init')
    ofInit.abort(reason)
    expect(await answer).toBe(reason)
  })
})

describe('headers', () => {
  test.each<[string, RequestInit['headers']]>([
    ['a Headers object', new Headers({ 'x-one': '1', 'x-two': '2' })],
    [
      'pairs',
      [
        ['X-One', '1'],
        ['x-two', '2'],
      ],
    ],
    ['an object', { 'X-ONE': '1', 'x-two': '2' }],
  ])('arrive when given as %s, on the first send and on the replay', async (_, headers) => {
    const { auth, backend, sentTo } = await bench()
    backend.expireAccessTokens()
    expect((await auth.fetch('protected', { headers })).status).toBe(200)
    const sent = sentTo('/protected')
    expect(sent).toHaveLength(2)
    for (const one of sent) {
      expect(one.headers.get('x-one')).toBe('1')
      expect(one.headers.get('x-two')).toBe('2')
    }
  })

  test.each<[string, string, AuthRequestInit?]>([
    ['with the token', 'protected'],
    ['without one', 'optional', { auth: false }],
    ['to another origin', 'https://elsewhere.test/x'],
    ["with the caller's own Authorization", 'optional', { headers: { authorization: 'Basic abc' } }],
  ])('that can be read once arrive %s', async (_, input, init) => {
    const { auth, sent } = await bench()
    const headers = new Headers({ 'x-one': '1', ...init?.headers }).entries()
    await auth.fetch(input, { ...init, headers: headers as never })
    expect(sent.map((one) => one.headers.get('x-one'))).toEqual(['1'])
  })

  test('on a Request arrive, on the first send and on the replay', async () => {
    const { auth, backend, sentTo } = await bench()
    backend.expireAccessTokens()
    await auth.fetch(new Request(`${base}protected`, { headers: { 'x-one': '1' } }))
    expect(sentTo('/protected').map((sent) => sent.headers.get('x-one'))).toEqual(['1', '1'])
  })

  test('that are repeated are all kept', async () => {
    const { auth, sent } = await bench()
    await auth.fetch('protected', {
      headers: [
        ['x-many', 'a'],
        ['X-Many', 'b'],
        ['accept', 'c'],
        ['accept', 'd'],
      ],
    })
    expect(sent[0]?.headers.get('x-many')).toBe('a, b')
    expect(sent[0]?.headers.get('accept')).toBe('c, d')
  })

  test('hold nothing that sits on the prototype of every object', async () => {
    Object.assign(Object.prototype, { 'x-polluted': 'yes' })
    onTestFinished(() => void delete (Object.prototype as { 'x-polluted'?: string })['x-polluted'])
    const { auth, sent, tokens } = await bench()
    await auth.fetch('protected', { headers: { 'x-one': '1' } })
    expect([...(sent[0]?.headers ?? [])]).toEqual([
      ['authorization', `Bearer ${tokens.accessToken}`],
      ['x-one', '1'],
    ])
  })

  test('that are none bring nothing but the token', async () => {
    const { auth, sent, tokens } = await bench()
    await auth.fetch('protected')
    expect([...(sent[0]?.headers ?? [])]).toEqual([['authorization', `Bearer ${tokens.accessToken}`]])
  })

  test('that are no headers reject as with fetch, and nothing is sent or refreshed', async () => {
    const { auth, backend } = await bench()
    later()
    expect(await rejection(auth.fetch('protected', { headers: { 'no name': '1' } }))).toBeInstanceOf(
      TypeError,
    )
    expect(backend.count()).toBe(0)
  })
})

describe("the caller's own Authorization", () => {
  const shapes: [string, (value: string) => [string | Request, AuthRequestInit?]][] = [
    ['an object', (value) => ['protected', { headers: { Authorization: value } }]],
    ['an object in lower case', (value) => ['protected', { headers: { authorization: value } }]],
    ['an object in upper case', (value) => ['protected', { headers: { AUTHORIZATION: value } }]],
    ['pairs', (value) => ['protected', { headers: [['aUtHoRiZaTiOn', value]] }]],
    ['a Headers object', (value) => ['protected', { headers: new Headers({ Authorization: value }) }]],
    ['a Request', (value) => [new Request(`${base}protected`, { headers: { Authorization: value } })]],
    [
      'the Request beneath an init',
      (value) => [new Request(`${base}protected`, { headers: { Authorization: value } }), { method: 'PUT' }],
    ],
  ]

  test.each(shapes)('in %s goes out as it is: no token, no refresh of one that ran out', async (_, call) => {
    const { auth, backend, sent } = await bench()
    later()
    const response = await auth.fetch(...call('Basic abc'))
    expect(response.status).toBe(401)
    expect(sent.map(bearer)).toEqual(['Basic abc'])
    expect(backend.count('refresh')).toBe(0)
  })

  test.each(shapes)('in %s gets its own 401 back, unread, and nobody is asked', async (_, call) => {
    const { auth, backend, sent, tokens } = await bench()
    const asked = vi.fn()
    auth.on('reauthRequired', asked)
    backend.revoke(tokens.accessToken)
    const response = await auth.fetch(...call(`Bearer ${tokens.accessToken}`))
    expect(response.status).toBe(401)
    expect(response.bodyUsed).toBe(false)
    expect(sent).toHaveLength(1)
    expect(asked).not.toHaveBeenCalled()
    expect(auth.session?.status).toBe('active')
  })
})

describe('members of init', () => {
  const members = {
    credentials: 'include',
    redirect: 'manual',
    mode: 'same-origin',
    cache: 'no-store',
    referrer: 'https://api.test/from',
    referrerPolicy: 'no-referrer',
    integrity: 'sha256-abc',
    keepalive: true,
    priority: 'low',
    duplex: 'half',
    dispatcher: { dispatch: () => true },
    next: { revalidate: 60 },
    cf: { cacheTtl: 5 },
  } as const

  /** The fetch beneath as it is given things, which Node's Request would choke on. */
  async function noting(): Promise<{ fetch: Fetch; given: Record<string, unknown>[] }> {
    const backend = createBackend()
    const given: Record<string, unknown>[] = []
    const tokens = await backend.signIn('alice')
    backend.expireAccessTokens()
    const beneath: Fetch = (input, init = {}) => {
      const url = input instanceof Request ? input.url : String(input)
      if (url === `${base}protected`) given.push({ ...init } as Record<string, unknown>)
      const { method, headers } = init
      return backend.fetch(url, { method, headers })
    }
    const auth = createAuth({ baseUrl: base, backend: flaskJwt(), fetch: beneath, initial: tokens })
    return { fetch: auth.fetch as Fetch, given }
  }

  test.each(Object.entries(members))(
    '%s is passed through, to the first send and the replay',
    async (name, value) => {
      const { fetch, given } = await noting()
      expect((await fetch('protected', { [name]: value })).status).toBe(200)
      expect(given.filter((init) => init[name] === value)).toHaveLength(2)
    },
  )

  test.each(Object.entries(members))('%s is passed through beside a Request', async (name, value) => {
    const { fetch, given } = await noting()
    expect((await fetch(new Request(`${base}protected`), { [name]: value })).status).toBe(200)
    expect(given.filter((init) => init[name] === value)).toHaveLength(2)
  })

  test.each(Object.entries(members))('%s is passed through beside a form', async (name, value) => {
    const { fetch, given } = await noting()
    const body = new FormData()
    body.set('a', '1')
    expect((await fetch('protected', { method: 'POST', body, [name]: value })).status).toBe(200)
    expect(given.filter((init) => init[name] === value)).toHaveLength(2)
  })

  test('of stayfresh itself stay above', async () => {
    const { fetch, given } = await noting()
    await fetch('protected', { auth: 'optional', replay: true } as RequestInit)
    for (const init of given) expect(Object.keys(init)).not.toContain('auth')
    for (const init of given) expect(Object.keys(init)).not.toContain('replay')
  })

  test.each([
    'credentials',
    'redirect',
    'mode',
    'cache',
    'referrer',
    'referrerPolicy',
    'integrity',
    'keepalive',
  ] as const)('%s of a Request arrives, on the first send and on the replay', async (name) => {
    const { auth, backend, sentTo } = await bench()
    backend.expireAccessTokens()
    const { [name]: value } = members
    const request = new Request(`${base}protected`, { [name]: value })
    const expected = request[name]
    expect((await auth.fetch(request)).status).toBe(200)
    expect(sentTo('/protected').map((sent) => sent.request[name])).toEqual([expected, expected])
  })

  test('may sit on an instance of a class', async () => {
    class Options {
      readonly headers = { 'x-one': '1' }
      get method(): string {
        return 'POST'
      }
      get body(): string {
        return 'hello'
      }
    }
    const { auth, backend, sentTo } = await bench()
    backend.expireAccessTokens()
    expect((await auth.fetch('protected', new Options() as RequestInit)).status).toBe(200)
    const sent = sentTo('/protected')
    expect(sent).toHaveLength(2)
    for (const one of sent) {
      expect(one.request.method).toBe('POST')
      expect(one.headers.get('x-one')).toBe('1')
      expect(await textOf(one)).toBe('hello')
    }
  })

  test('that fetch does not know may sit on an instance of a class, too', async () => {
    class Options {
      readonly next = members.next
      get dispatcher(): object {
        return members.dispatcher
      }
    }
    const { fetch, given } = await noting()
    await fetch('protected', new Options() as RequestInit)
    expect(given.map((init) => init.next)).toEqual([members.next, members.next])
    expect(given.map((init) => init.dispatcher)).toEqual([members.dispatcher, members.dispatcher])
    // Nor does what every object has come along.
    for (const init of given) {
      for (const name of ['constructor', 'toString']) expect(Object.keys(init)).not.toContain(name)
    }
  })

  test('may be those of another Request', async () => {
    const { auth, backend, sentTo } = await bench()
    backend.expireAccessTokens()
    const init = new Request('https://elsewhere.test/', {
      method: 'POST',
      headers: { 'x-one': '1' },
      body: 'hello',
    })
    expect((await auth.fetch('protected', init as RequestInit)).status).toBe(200)
    const sent = sentTo('/protected')
    expect(sent).toHaveLength(2)
    for (const one of sent) {
      expect(one.request.method).toBe('POST')
      expect(one.headers.get('x-one')).toBe('1')
      expect(await textOf(one)).toBe('hello')
    }
  })

  test('that are those of another Request bring its Authorization and its signal', async () => {
    const { auth, backend, sent } = await bench()
    const controller = new AbortController()
    const headers = { authorization: 'Basic abc' }
    backend.fault('protected', 'hang')
    const init = new Request('https://elsewhere.test/', { headers, signal: controller.signal })
    const answer = rejection(auth.fetch('protected', init as RequestInit))
    controller.abort()
    expect(await answer).toMatchObject({ name: 'AbortError' })
    expect(sent.map(bearer)).toEqual(['Basic abc'])
  })

  test('of stayfresh itself may have been copied to the Request', async () => {
    const { auth, sent } = await bench()
    const input = Object.assign(new Request(`${base}optional`), { auth: false })
    await auth.fetch(input)
    await auth.fetch(input, { auth: 'optional' })
    expect(sent.map((one) => bearer(one) !== null)).toEqual([false, true])
  })

  test('14: replay, too, may have been copied to the Request: then it is sent once', async () => {
    const { auth, backend, sentTo } = await bench()
    const input = (): Request =>
      Object.assign(new Request(`${base}protected`, { method: 'POST', body: 'x' }), { replay: false })
    backend.expireAccessTokens()
    expect((await auth.fetch(input())).status).toBe(401)
    expect(sentTo('/protected')).toHaveLength(1)
    await auth.refresh()
    backend.expireAccessTokens()
    expect((await auth.fetch(input(), { replay: true })).status).toBe(200)
  })

  test.each<[string, AuthRequestInit]>([
    ['at home', {}],
    ['without the token', { auth: false }],
  ])(
    'with a signal that is none are refused as by fetch, %s, and nothing is left to reject',
    async (_, init) => {
      const { auth, backend } = await bench()
      const signal = new AbortController() as unknown as AbortSignal
      const error = await rejection(auth.fetch('optional', { ...init, signal }))
      expect(String(error)).toBe(String(await rejection(fetch(`${base}optional`, { signal }))))
      expect(backend.count()).toBe(0)
    },
  )

  test("that don't fit stayfresh's own are refused", async () => {
    const { auth, backend } = await bench()
    const error = await rejection(auth.fetch('protected', { auth: 'nope' } as never))
    expect(isAuthError(error, 'invalid_input')).toBe(true)
    expect((error as Error).message).toContain('auth')
    expect(backend.count()).toBe(0)
  })
})

describe('what the caller hands over', () => {
  test('is never changed', async () => {
    const { auth, backend } = await bench()
    backend.expireAccessTokens()
    const plain = Object.freeze({ 'x-one': '1' })
    const pairs = Object.freeze([Object.freeze(['x-one', '1'])])
    const headers = new Headers({ 'x-one': '1' })
    for (const one of [plain, pairs, headers]) {
      const init = Object.freeze({
        method: 'POST',
        body: 'x',
        headers: one as HeadersInit,
        auth: 'optional' as const,
      })
      expect((await auth.fetch('protected', init)).status).toBe(200)
      backend.expireAccessTokens()
    }
    expect([...headers]).toEqual([['x-one', '1']])

    const url = Object.freeze(new URL('protected', base))
    const request = new Request(url, { method: 'POST', headers, body: 'x' })
    const before = [...request.headers]
    expect((await auth.fetch(request)).status).toBe(200)
    expect([...request.headers]).toEqual(before)
    expect(url.href).toBe(`${base}protected`)
  })

  /** What is handed over, and what its owner does to it while the call is under way. */
  type Mutation = () => { call: [string | URL | Request, AuthRequestInit?]; mutate(): void; ownType?: string }
  const post = (body: unknown): AuthRequestInit => ({ method: 'POST', body: body as BodyInit })
  const bytes = (): Uint8Array<ArrayBuffer> => new TextEncoder().encode('hello')
  const mutations: [string, string, Mutation][] = [
    [
      'a URL',
      '',
      () => {
        const url = new URL('protected', base)
        return {
          call: [url],
          mutate: () => {
            url.href = 'https://evil.test/other'
          },
        }
      },
    ],
    [
      'an init',
      'hello',
      () => {
        const init: AuthRequestInit = { method: 'POST', body: 'hello', headers: { 'x-one': '1' } }
        return {
          call: ['protected', init],
          mutate: () =>
            Object.assign(init, {
              method: 'DELETE',
              body: 'other',
              headers: { 'x-one': '2' },
              replay: false,
              auth: false,
            }),
        }
      },
    ],
    [
      'headers in an object',
      'hello',
      () => {
        const headers: Record<string, string> = { 'x-one': '1' }
        return {
          call: ['protected', { ...post('hello'), headers }],
          mutate: () => Object.assign(headers, { 'x-one': '2', authorization: 'Basic abc' }),
        }
      },
    ],
    [
      'headers in pairs',
      'hello',
      () => {
        const headers: [string, string][] = [['x-one', '1']]
        return {
          call: ['protected', { ...post('hello'), headers }],
          mutate: () => headers.push(['x-one', '2'], ['authorization', 'Basic abc']),
        }
      },
    ],
    [
      'a Headers object',
      'hello',
      () => {
        const headers = new Headers({ 'x-one': '1' })
        return { call: ['protected', { ...post('hello'), headers }], mutate: () => headers.set('x-one', '2') }
      },
    ],
    [
      "a Request's headers",
      'hello',
      () => {
        const request = new Request(`${base}protected`, { ...post('hello'), headers: { 'x-one': '1' } })
        return { call: [request], mutate: () => request.headers.set('x-one', '2') }
      },
    ],
    [
      'URLSearchParams',
      'a=1',
      () => {
        const body = new URLSearchParams({ a: '1' })
        return { call: ['protected', post(body)], mutate: () => body.set('a', '2') }
      },
    ],
    [
      'a Uint8Array',
      'hello',
      () => {
        const body = bytes()
        return { call: ['protected', post(body)], mutate: () => body.fill(0) }
      },
    ],
    [
      'an ArrayBuffer',
      'hello',
      () => {
        const body = bytes()
        return { call: ['protected', post(body.buffer)], mutate: () => body.fill(0) }
      },
    ],
    [
      'a DataView',
      'hello',
      () => {
        const body = bytes()
        return { call: ['protected', post(new DataView(body.buffer))], mutate: () => body.fill(0) }
      },
    ],
    [
      'an object with a text',
      'hello',
      () => {
        let text = 'hello'
        return {
          call: ['protected', post({ toString: () => text })],
          mutate: () => {
            text = 'other'
          },
        }
      },
    ],
  ]

  describe.each(endings)('and changes afterwards, when %s,', (ending) => {
    test.each(mutations)('in %s, has no effect on any send', async (_, body, mutation) => {
      const { beneath, reached, open } = door('/refresh')
      const { auth, backend, sent, sentTo } = await bench({ beneath })
      end(ending, backend)
      const { call, mutate } = mutation()
      const names = call[1]?.headers ?? (call[0] instanceof Request && call[0].headers)
      const answer = auth.fetch(...call)
      mutate()
      await reached
      open()
      expect((await answer).status).toBe(200)
      const sends = sentTo('/protected')
      expect(sends).toHaveLength(ending === 'its token ran out' ? 1 : 2)
      expect(sent).toHaveLength(sends.length + 1)
      for (const one of sends) {
        expect(one.request.url).toBe(`${base}protected`)
        expect(one.request.method).toBe(body ? 'POST' : 'GET')
        expect(await textOf(one)).toBe(body)
        expect(bearer(one)).toMatch(/^Bearer /)
        expect(one.headers.get('x-one')).toBe(names ? '1' : null)
      }
    })
  })

  test('and changes afterwards in a form has no effect on any send', async () => {
    for (const ending of endings) {
      const { beneath, reached, open } = door('/refresh')
      const { auth, backend, sentTo } = await bench({ beneath })
      end(ending, backend)
      const form = new FormData()
      form.set('a', '1')
      const answer = auth.fetch('protected', post(form))
      form.set('a', '2')
      await reached
      open()
      expect((await answer).status).toBe(200)
      for (const sent of sentTo('/protected')) {
        const text = await textOf(sent)
        const form = await new Response(text, { headers: sent.headers }).formData()
        expect([...form]).toEqual([['a', '1']])
      }
    }
  })

  // undici's and node-fetch's packages know their own FormData alone, and no Request but their own.
  test('that is a form of the given fetch’s own kind reaches it as it is, on the first send and on the replay', async () => {
    class OwnForm {
      readonly [Symbol.toStringTag] = 'FormData'
    }
    const form = new OwnForm() as unknown as FormData
    const { auth, backend, sentTo } = await bench()
    backend.expireAccessTokens()
    expect((await auth.fetch('protected', { method: 'POST', body: form })).status).toBe(200)
    const given = sentTo('/protected').map(({ input, init }) => [input, init?.body === form])
    expect(given).toEqual([
      [`${base}protected`, true],
      [`${base}protected`, true],
    ])
  })

  test.each<[string, () => { call: [string | Request, AuthRequestInit]; headers: Headers }]>([
    [
      'an init',
      () => {
        const headers = new Headers({ 'x-one': '1' })
        return { call: ['optional', { auth: 'optional', headers }], headers }
      },
    ],
    [
      'a Request',
      () => {
        const request = new Request(`${base}optional`, { headers: { 'x-one': '1' } })
        return { call: [request, { auth: 'optional' }], headers: request.headers }
      },
    ],
  ])(
    'and changes afterwards in the headers of %s has no effect where it goes out without a token',
    async (_, make) => {
      const { beneath, reached, open } = door('/refresh')
      const { auth, backend, sentTo } = await bench({ beneath })
      later()
      backend.fault('refresh', 'drop')
      const { call, headers } = make()
      const answer = auth.fetch(...call)
      headers.set('x-one', '2')
      headers.set('authorization', 'Basic abc')
      await reached
      open()
      expect((await answer).status).toBe(200)
      expect(sentTo('/optional').map((sent) => [sent.headers.get('x-one'), bearer(sent)])).toEqual([
        ['1', null],
      ])
    },
  )
})

describe('a body', () => {
  const binary = Uint8Array.from({ length: 256 }, (_, index) => index)
  const form = (): FormData => {
    const data = new FormData()
    data.set('text', 'naïve\r\nlines')
    data.append('file', new File([binary], 'ä "quoted".bin', { type: 'application/x-thing' }))
    return data
  }
  const post = (body: BodyInit, headers?: HeadersInit): [string, RequestInit] => [
    'protected',
    { method: 'POST', body, headers },
  ]
  const requested = (body: BodyInit, more?: object): [Request] => [
    new Request(`${base}protected`, { method: 'POST', body, ...more }),
  ]
  const kinds: [string, () => [string | Request, RequestInit?]][] = [
    ['a string', () => post('naïve ☕')],
    ['a string with a type of its own', () => post('{"a":1}', { 'content-type': 'application/json' })],
    ['an empty string', () => post('')],
    [
      'URLSearchParams',
      () =>
        post(
          new URLSearchParams([
            ['a', '1 2'],
            ['a', 'ü'],
          ]),
        ),
    ],
    ['FormData', () => post(form())],
    ['a Blob', () => post(new Blob([binary], { type: 'image/png' }))],
    ['a File', () => post(new File([binary], 'a.bin'))],
    ['an ArrayBuffer', () => post(binary.slice().buffer)],
    ['a typed array over part of a buffer', () => post(new Uint8Array(binary.slice().buffer, 16, 100))],
    ['an array of wider numbers', () => post(new Uint16Array([1, 258, 65535]))],
    ['a DataView over part of a buffer', () => post(new DataView(binary.slice().buffer, 3, 50))],
    ['a Request with a string', () => requested('naïve ☕')],
    ['a Request with bytes', () => requested(binary.slice())],
    ['a Request with FormData', () => requested(form())],
    ['a Request with a stream', () => requested(streamOf('hello'), { duplex: 'half' })],
    [
      'FormData over a Request',
      () => [new Request(`${base}protected`, { method: 'POST' }), { body: form() }],
    ],
    ['no body', () => ['protected', { method: 'POST' }]],
  ]

  test.each(kinds)('of the kind "%s" is replayed byte for byte after a 401', async (_, make) => {
    const { auth, backend, sentTo } = await bench()
    backend.expireAccessTokens()
    const [input, init] = make()
    const plain = new Request(
      input instanceof Request ? (make()[0] as Request) : `${base}${input}`,
      make()[1],
    )
    const response = await auth.fetch(input, init)
    expect(response.status).toBe(200)
    const sent = sentTo('/protected')
    expect(sent).toHaveLength(2)
    const [first, second] = sent as [Sent, Sent]
    const [bytes, again] = [await first.bytes, await second.bytes]
    expect(again).toEqual(bytes)
    expect(second.headers.get('content-type')).toBe(first.headers.get('content-type'))

    // And it is what fetch itself would have sent, but for the boundary that each form draws.
    const [type, expected] = [plain.headers.get('content-type'), await plain.bytes()]
    const boundary = /boundary=(.+)$/.exec(type ?? '')?.[1]
    if (boundary) {
      const mine = /boundary=(.+)$/.exec(first.headers.get('content-type') ?? '')?.[1] ?? ''
      expect(new TextDecoder('latin1').decode(bytes).replaceAll(mine, boundary)).toBe(
        new TextDecoder('latin1').decode(expected),
      )
    } else {
      expect(first.headers.get('content-type')).toBe(type)
      expect(bytes).toEqual(expected)
    }
    const echo = (await response.json()) as { base64: string }
    expect(echo.base64).toBe(Buffer.from(bytes).toString('base64'))
    expect(bearer(second)).not.toBe(bearer(first))
  })

  test.each(kinds)('of the kind "%s" arrives after a wait for a refresh', async (_, make) => {
    const { auth, sentTo } = await bench()
    later()
    const response = await auth.fetch(...make())
    expect(response.status).toBe(200)
    expect(sentTo('/protected')).toHaveLength(1)
    const { base64 } = (await response.json()) as { base64: string }
    const bytes = (await sentTo('/protected')[0]?.bytes) as Uint8Array
    expect(base64).toBe(Buffer.from(bytes).toString('base64'))
    expect(bytes.length > 0).toBe(!/an empty string|no body/.test(_))
  })

  test('that is a stream is one-shot: its 401 comes back unread, and the next try has a new token', async () => {
    const { auth, backend, sentTo } = await bench()
    backend.expireAccessTokens()
    const refreshed = next(auth, 'tokenRefreshed')
    const response = await auth.fetch('protected', oneShot('hello'))
    expect(response.status).toBe(401)
    expect(response.bodyUsed).toBe(false)
    expect(await response.json()).toEqual({ msg: 'Token has expired' })
    expect(sentTo('/protected')).toHaveLength(1)
    await refreshed
    const again = await auth.fetch('protected', oneShot('hello'))
    expect(again.status).toBe(200)
    expect(await again.json()).toMatchObject({ body: 'hello' })
    expect(backend.count('refresh')).toBe(1)
  })

  test('that is an async iterable is one-shot, as a stream', async () => {
    const { auth, backend, sentTo } = await bench()
    backend.expireAccessTokens()
    async function* chunks(): AsyncGenerator<Uint8Array> {
      yield new TextEncoder().encode('hello')
    }
    const init = { method: 'POST', body: chunks(), duplex: 'half' } as never
    expect((await auth.fetch('protected', init)).status).toBe(401)
    expect(await Promise.all(sentTo('/protected').map(textOf))).toEqual(['hello'])
  })

  test.each([undefined, 'FormData'])(
    '14: that is a stream of Node’s old kind is one-shot, as the form-data package’s forms are: tagged %s',
    async (tag) => {
      const { auth, backend, sentTo } = await bench()
      backend.expireAccessTokens()
      const form = Object.assign(new Stream(), { [Symbol.toStringTag]: tag })
      const response = await auth.fetch('protected', { method: 'POST', body: form as never })
      expect(response.status).toBe(401)
      expect(sentTo('/protected').map(({ init }) => (init?.body as unknown) === form)).toEqual([true])
    },
  )

  test('that is a stream goes out once, with the new token, when its token ran out', async () => {
    const { auth, backend, sentTo, tokens } = await bench()
    later()
    const response = await auth.fetch('protected', oneShot('hello'))
    expect(await response.json()).toMatchObject({ body: 'hello' })
    expect(sentTo('/protected').map(bearer)).not.toContain(`Bearer ${tokens.accessToken}`)
    expect(backend.count()).toBe(2)
  })

  test('that is a stream waits for the refresh that is due', async () => {
    const { auth, backend, sentTo, tokens } = await bench()
    later(860_000)
    const response = await auth.fetch('protected', oneShot('hello'))
    expect(await response.json()).toMatchObject({ body: 'hello' })
    expect(backend.log.map(({ route }) => route)).toEqual(['refresh', 'protected'])
    // A fresh token stays in use to its own end.
    expect(sentTo('/protected').map(bearer)).toEqual([`Bearer ${tokens.accessToken}`])
  })

  test('that is a stream goes with the valid token if the refresh that is due fails', async () => {
    const { auth, backend } = await bench()
    later(860_000)
    backend.fault('refresh', 'drop')
    const response = await auth.fetch('protected', oneShot('hello'))
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({ body: 'hello' })
  })

  test.each<[string, () => [string | Request, AuthRequestInit]]>([
    ['no body', () => ['protected', { replay: false }]],
    ['a string', () => ['protected', { method: 'POST', body: 'x', replay: false }]],
    ['FormData', () => ['protected', { method: 'POST', body: form(), replay: false }]],
    ['a Request with a body', () => [requested('x')[0], { replay: false }]],
    ['a stream', () => ['protected', { ...oneShot('x'), replay: false }]],
  ])('with replay: false is never sent twice: %s', async (_, make) => {
    const { auth, backend, sentTo } = await bench()
    backend.expireAccessTokens()
    const refreshed = next(auth, 'tokenRefreshed')
    const response = await auth.fetch(...make())
    expect(response.status).toBe(401)
    expect(response.bodyUsed).toBe(false)
    expect(await response.json()).toEqual({ msg: 'Token has expired' })
    await refreshed
    expect(sentTo('/protected')).toHaveLength(1)
    expect((await auth.fetch(...make())).status).toBe(200)
    expect(backend.count('refresh')).toBe(1)
  })
})

describe('a response', () => {
  test.each([400, 403, 404, 503])('with status %i that is no JSON is not waited for', async (status) => {
    const headers = { 'content-type': 'text/html' }
    const { auth } = await bench({
      beneath: () => async () => new Response(new ReadableStream(), { status, headers }),
      // Far beyond what a test may take.
      refreshTimeout: 600_000,
    })
    expect((await auth.fetch('protected')).status).toBe(status)
  })

  test('is the very one of the fetch beneath when nothing had to be done', async () => {
    for (const status of [200, 204, 400, 401, 403, 404, 422, 500]) {
      const answer = new Response(status === 204 ? null : '{"msg":"Nothing about a token"}', {
        status,
        headers: { 'content-type': 'application/json' },
      })
      const { auth } = await bench({ beneath: () => async () => answer })
      const response = await auth.fetch('protected')
      expect(response).toBe(answer)
      expect([status, response.bodyUsed]).toEqual([status, false])
      if (status !== 204) expect(await response.json()).toEqual({ msg: 'Nothing about a token' })
    }
  })

  test('with status 401 that is handed back has its body unread', async () => {
    const { auth, backend } = await bench({ server: { dialect: 'tutorial' }, backend: tutorial })
    const admin = await auth.fetch('admin', { method: 'DELETE' })
    expect(admin.status).toBe(401)
    expect(admin.bodyUsed).toBe(false)
    expect(await admin.json()).toMatchObject({ message: 'Admin privilege required.' })

    // The refreshed token isn't fresh, and nobody listens who could ask for a password.
    later()
    const stale = await auth.fetch('fresh')
    expect(backend.count('refresh')).toBe(1)
    expect(stale.status).toBe(401)
    expect(stale.bodyUsed).toBe(false)
    expect(await stale.clone().json()).toMatchObject({ error: 'fresh_token_required' })
    expect(await stale.text()).toContain('fresh_token_required')

    // That token has run out, too, and there is no refresh token any more.
    later()
    const ended = await auth.fetch('protected')
    expect(ended.status).toBe(401)
    expect(ended.bodyUsed).toBe(false)
    expect(await ended.json()).toMatchObject({ error: 'token_expired' })
  })

  test('to a HEAD is worth one refresh when it is a 401, and has no body', async () => {
    const { auth, backend } = await bench()
    backend.expireAccessTokens()
    const response = await auth.fetch('protected', { method: 'HEAD' })
    expect(response.status).toBe(200)
    expect(await response.text()).toBe('')
    expect(backend.log.map(({ method }) => method)).toEqual(['HEAD', 'POST', 'HEAD'])
  })

  test('to an OPTIONS comes back as it is', async () => {
    const { auth, backend } = await bench()
    const response = await auth.fetch('protected', { method: 'OPTIONS' })
    expect(response.status).toBe(200)
    expect(response.headers.get('allow')).toContain('PATCH')
    expect(backend.count()).toBe(1)
  })

  test('that is a redirect under redirect: manual comes back as it is', async () => {
    const { auth, backend } = await bench()
    const response = await auth.fetch(`redirect?to=/protected`, { redirect: 'manual' })
    expect(response.status).toBe(302)
    expect(response.headers.get('location')).toBe('/protected')
    expect(backend.count()).toBe(1)
  })
})

describe('the fetch beneath', () => {
  test.each<[string, [string | URL | Request, AuthRequestInit?]]>([
    ['a string', ['protected']],
    ['a URL', [new URL('protected', base)]],
    ['a Request', [new Request(`${base}protected`)]],
    ['a Request with a body', [new Request(`${base}protected`, { method: 'POST', body: 'x' })]],
    ['a form', ['protected', { method: 'POST', body: new FormData(), keepalive: true }]],
    ['no token', ['protected', { auth: false }]],
    ['an optional token', ['optional', { auth: 'optional' }]],
    ['a fresh token', ['fresh', { auth: 'fresh' }]],
    ['another origin', ['https://elsewhere.test/']],
  ])('is called in the same tick with a valid token: %s', async (_, call) => {
    const { auth, sent } = await bench()
    const answer = auth.fetch(...call)
    expect(sent).toHaveLength(1)
    await answer
    expect(sent).toHaveLength(1)
  })

  test('is called in the same tick inside refreshAhead, and the refresh runs beside it', async () => {
    const { auth, sent, tokens } = await bench()
    later(860_000)
    const refreshed = next(auth, 'tokenRefreshed')
    const answer = auth.fetch('protected')
    expect(sent.find(({ path }) => path === '/protected')).toBeDefined()
    expect((await answer).status).toBe(200)
    await refreshed
    expect(sent.map(({ path }) => path).sort()).toEqual(['/protected', '/refresh'])
    expect(bearer(sent.find(({ path }) => path === '/protected') as Sent)).toBe(
      `Bearer ${tokens.accessToken}`,
    )
  })

  test('is called in the same tick with nobody signed in', async () => {
    const { auth, sent } = await bench({ signedIn: false })
    const answer = auth.fetch('protected')
    expect(sent.map(bearer)).toEqual([null])
    expect((await answer).status).toBe(401)
  })

  test('is looked up at each call', async () => {
    const { backend } = await bench()
    vi.stubGlobal('fetch', () => Promise.reject(new Error('The first')))
    const auth = createAuth({ baseUrl: base, backend: flaskJwt(), initial: await backend.signIn('alice') })
    expect(await rejection(auth.fetch('protected'))).toMatchObject({ message: 'The first' })
    vi.stubGlobal('fetch', backend.fetch)
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('is called without a `this`, which a browser would refuse', async () => {
    const receivers: unknown[] = []
    const { backend } = await bench()
    function beneath(this: unknown, ...call: Parameters<Fetch>): Promise<Response> {
      receivers.push(this)
      return backend.fetch(...call)
    }
    const initial = await backend.signIn('alice')
    await createAuth({ baseUrl: base, backend: flaskJwt(), initial, fetch: beneath }).fetch('protected')
    vi.stubGlobal('fetch', beneath)
    await createAuth({ baseUrl: base, backend: flaskJwt(), initial }).fetch('protected')
    expect(receivers).toEqual([undefined, undefined])
  })

  test('that rejects makes the call reject with the same error', async () => {
    const error = Object.assign(new TypeError('fetch failed'), { cause: new Error('ECONNRESET') })
    const { auth, backend } = await bench({
      beneath: (next) => (input) =>
        (input as Request).url.endsWith('/protected') ? Promise.reject(error) : next(input),
    })
    expect(await rejection(auth.fetch('protected'))).toBe(error)
    expect(await rejection(auth.fetch(new Request(`${base}protected`)))).toBe(error)
    expect(await rejection(auth.fetch('protected', { auth: false }))).toBe(error)
    later()
    expect(await rejection(auth.fetch('protected'))).toBe(error)
    expect(backend.log.map(({ route }) => route)).toEqual(['refresh'])
    expect(auth.session?.status).toBe('active')
  })

  test('that throws makes the call reject with the same error', async () => {
    const error = new TypeError('Illegal invocation')
    const { auth } = await bench({
      beneath: () => () => {
        throw error
      },
    })
    expect(await rejection(auth.fetch('protected'))).toBe(error)
  })

  test('that rejects on the replay makes the call reject with the same error', async () => {
    const { auth, backend, sentTo } = await bench()
    backend.expireAccessTokens()
    backend.fault('protected', 'drop', { when: ({ token }) => token?.generation === 1 })
    const error = await rejection(auth.fetch('protected'))
    expect(error).toMatchObject({ name: 'TypeError', message: 'fetch failed' })
    expect(sentTo('/protected')).toHaveLength(2)
  })
})

describe('an abort', () => {
  const inInit = (signal: AbortSignal): [string, AuthRequestInit] => ['protected', { signal }]
  const inRequest = (signal: AbortSignal): [Request] => [new Request(`${base}protected`, { signal })]
  const inBoth = (signal: AbortSignal): [Request, AuthRequestInit] => [
    new Request(`${base}protected`, { signal }),
    { signal: undefined },
  ]
  const places = [
    ['init', inInit],
    ['a Request', inRequest],
    ['a Request, with undefined in init,', inBoth],
  ] as [string, (signal: AbortSignal) => [string | Request, AuthRequestInit?]][]

  describe.each(places)('by the signal of %s', { timeout: 1_000 }, (_, call) => {
    test('before the call rejects with its reason, and nothing is sent', async () => {
      const { auth, backend } = await bench()
      const reason = new Error('Not any more')
      expect(await rejection(auth.fetch(...call(AbortSignal.abort(reason))))).toBe(reason)
      expect(await rejection(auth.fetch(...call(AbortSignal.abort())))).toMatchObject({ name: 'AbortError' })
      expect(backend.count()).toBe(0)
    })

    test('before the call rejects with its reason, and nothing is sent or refreshed for a token that ran out', async () => {
      const { auth, sent } = await bench()
      later()
      const reason = new Error('Not any more')
      expect(await rejection(auth.fetch(...call(AbortSignal.abort(reason))))).toBe(reason)
      expect(sent).toHaveLength(0)
    })

    test('during a send rejects with its reason', async () => {
      const { auth, backend } = await bench()
      backend.fault('protected', 'hang')
      const controller = new AbortController()
      const reason = new Error('Not any more')
      const answer = rejection(auth.fetch(...call(controller.signal)))
      controller.abort(reason)
      expect(await answer).toBe(reason)
    })

    test.each(endings)(
      'during the wait for a refresh frees its caller at once, and the refresh goes on: %s',
      async (ending) => {
        const { beneath, reached, open } = door('/refresh')
        const { auth, backend, sentTo } = await bench({ beneath })
        end(ending, backend)
        const controller = new AbortController()
        const answer = rejection(auth.fetch(...call(controller.signal)))
        const other = auth.fetch('protected')
        other.catch(() => {})
        await reached
        const before = sentTo('/protected').length
        const reason = new Error('Not any more')
        controller.abort(reason)
        expect(await answer).toBe(reason)
        expect(backend.count('refresh')).toBe(0)
        open()
        expect((await other).status).toBe(200)
        expect(sentTo('/protected')).toHaveLength(before + 1)
        expect((await auth.fetch('protected')).status).toBe(200)
        expect(backend.count('refresh')).toBe(1)
      },
    )

    test('without a reason is an AbortError while it waits for a refresh', async () => {
      const { beneath, reached, open } = door('/refresh')
      const { auth } = await bench({ beneath })
      later()
      const controller = new AbortController()
      const refreshed = next(auth, 'tokenRefreshed')
      const answer = rejection(auth.fetch(...call(controller.signal)))
      await reached
      controller.abort()
      expect(await answer).toMatchObject({ name: 'AbortError' })
      open()
      await refreshed
    })

    test('of a replay rejects with its reason', async () => {
      const { auth, backend, sentTo } = await bench()
      backend.expireAccessTokens()
      const controller = new AbortController()
      const reason = new Error('Not any more')
      backend.fault('protected', 'hang', {
        when: ({ token }) => {
          if (token?.generation !== 1) return false
          queueMicrotask(() => controller.abort(reason))
          return true
        },
      })
      expect(await rejection(auth.fetch(...call(controller.signal)))).toBe(reason)
      expect(sentTo('/protected')).toHaveLength(2)
    })

    test('during the wait for a person frees its caller at once', async () => {
      const { auth, backend, tokens } = await bench()
      const controller = new AbortController()
      const reason = new Error('Not any more')
      backend.revoke(tokens.accessToken)
      let close = (): void => {}
      auth.on('reauthRequired', (event) => {
        event.waitUntil(
          new Promise<void>((resolve) => {
            close = resolve
          }),
        )
        controller.abort(reason)
      })
      expect(await rejection(auth.fetch(...call(controller.signal)))).toBe(reason)
      close()
    })
  })

  test('by a signal of null in init over that of a Request does not happen', async () => {
    const { beneath, reached, open } = door('/refresh')
    const { auth } = await bench({ beneath })
    later()
    const controller = new AbortController()
    const answer = auth.fetch(new Request(`${base}protected`, { signal: controller.signal }), {
      signal: null,
    })
    await reached
    controller.abort()
    open()
    expect((await answer).status).toBe(200)
  })

  test('after the answer breaks off the body', async () => {
    const { auth, backend } = await bench()
    backend.fault('protected', 'stall-body')
    const controller = new AbortController()
    const response = await auth.fetch('protected', { signal: controller.signal })
    const reason = new Error('Not any more')
    const body = rejection(response.text())
    controller.abort(reason)
    expect(await body).toBe(reason)
  })
})

describe('handed to ky.create({ fetch })', () => {
  test('with retry: 0, it refreshes and replays beneath', async () => {
    const { auth, backend, sentTo } = await bench()
    const api = ky.create({ fetch: auth.fetch, baseUrl: auth.baseUrl, retry: 0 })
    backend.expireAccessTokens()
    expect(await api.get('protected').json()).toMatchObject({ sub: 'alice', method: 'GET' })
    expect(sentTo('/protected')).toHaveLength(2)
    expect(backend.count('refresh')).toBe(1)
  })

  test.each(endings)('with retry: 0, it replays a POST with its JSON when %s', async (ending) => {
    const { auth, backend, sentTo } = await bench()
    const api = ky.create({ fetch: auth.fetch, baseUrl: auth.baseUrl, retry: 0 })
    end(ending, backend)
    expect(await api.post('protected', { json: { a: 1 } }).json()).toMatchObject({
      method: 'POST',
      content_type: 'application/json',
      body: '{"a":1}',
    })
    expect(sentTo('/protected')).toHaveLength(ending === 'its token ran out' ? 1 : 2)
  })

  test('with its own retries, it refreshes and replays a POST beneath', async () => {
    const { auth, backend, sentTo } = await bench()
    const api = ky.create({ fetch: auth.fetch, baseUrl: auth.baseUrl })
    backend.expireAccessTokens()
    expect(await api.post('protected', { json: { a: 1 } }).json()).toMatchObject({ body: '{"a":1}' })
    expect(sentTo('/protected')).toHaveLength(2)
  })

  test('with a timeout, it answers in time, and is given up when it does not', async () => {
    const { auth, backend } = await bench()
    const api = ky.create({ fetch: auth.fetch, baseUrl: auth.baseUrl, retry: 0, timeout: 2_000 })
    backend.expireAccessTokens()
    expect((await api.get('protected')).status).toBe(200)
    const fault = backend.fault('protected', 'hang')
    const error = await rejection(Promise.resolve(api.get('protected', { timeout: 20 })))
    expect(isTimeoutError(error)).toBe(true)
    expect(fault.fired).toBe(1)
  })

  test('with a timeout that ends during a refresh, the refresh goes on', async () => {
    const { beneath, reached, open } = door('/refresh')
    const { auth, backend } = await bench({ beneath })
    const api = ky.create({ fetch: auth.fetch, baseUrl: auth.baseUrl, retry: 0 })
    backend.expireAccessTokens()
    const refreshed = next(auth, 'tokenRefreshed')
    expect(isTimeoutError(await rejection(Promise.resolve(api.get('protected', { timeout: 20 }))))).toBe(true)
    await reached
    open()
    await refreshed
    expect((await api.get('protected')).status).toBe(200)
    expect(backend.count('refresh')).toBe(1)
  })

  test('its HTTPError holds no token, however deep one looks', async () => {
    const { auth, backend, tokens, sent } = await bench()
    const api = ky.create({ fetch: auth.fetch, baseUrl: auth.baseUrl, retry: 0 })
    backend.expireAccessTokens()
    for (const call of [
      () => api.get('nothing'),
      () => api.post('validated', { json: {} }),
      () => api.post('nothing', { body: new FormData() }),
    ]) {
      const error = await rejection(Promise.resolve(call()))
      if (!isHTTPError(error)) throw error
      expect(error.request.headers.get('authorization')).toBeNull()
      const all = [tokens.accessToken, tokens.refreshToken, ...backend.issued.map(({ token }) => token)]
      expect(leaks(error, ...all)).toEqual([])
      expect(leaks(error.request, ...all)).toEqual([])
      expect(leaks(error.response, ...all)).toEqual([])
    }
    // The same look finds one where it is.
    expect(leaks(sent.at(-1)?.request, ...backend.issued.map(({ token }) => token))).not.toEqual([])
  })

  test('its HTTPError holds no token over a real port either', async () => {
    const backend = createBackend()
    const port = await new Promise<number>((resolve) => {
      const fetch = (request: Request): Promise<Response> => backend.fetch(request)
      const options = { fetch, port: 0, hostname: '127.0.0.1', overrideGlobalObjects: false }
      const server = serve(options, ({ port }) => resolve(port))
      onTestFinished(() => void server.close())
    })
    const auth = createAuth({ baseUrl: `http://127.0.0.1:${port}/`, backend: flaskJwt() })
    await auth.login({ username: 'alice', password: 'wonderland' })
    const api = ky.create({ fetch: auth.fetch, baseUrl: auth.baseUrl, retry: 0 })
    backend.expireAccessTokens()
    expect(await api.post('protected', { json: { a: 1 } }).json()).toMatchObject({ body: '{"a":1}' })
    const error = await rejection(Promise.resolve(api.post('validated', { json: {} })))
    if (!isHTTPError(error)) throw error
    expect(error.response.status).toBe(422)
    expect(leaks(error, ...backend.issued.map(({ token }) => token))).toEqual([])
  })
})

describe('a backend that looks into every answer', () => {
  const curious = { ...flaskJwt(), inspect: () => true }

  test('finds an error that comes with a 200', async () => {
    const says = (message: string): ReturnType<typeof curious.classify> =>
      message === 'Token has expired' ? 'expired' : 'other'
    const backend = {
      ...curious,
      classify: ({ body }: { body: unknown }) =>
        says((body as { errors?: { message: string }[] }).errors?.[0]?.message ?? ''),
    }
    const { auth, backend: server, sentTo } = await bench({ backend })
    server.fault('protected', { status: 200, body: { errors: [{ message: 'Token has expired' }] } })
    expect(await (await auth.fetch('protected')).json()).toMatchObject({ sub: 'alice' })
    expect([sentTo('/protected').length, server.count('refresh')]).toEqual([2, 1])
  })

  test('holds up no event stream until its first event', async () => {
    const headers = { 'content-type': 'text/event-stream' }
    const { auth } = await bench({
      backend: curious,
      beneath: () => async () => new Response(new ReadableStream(), { headers }),
      // Far beyond what a test may take.
      refreshTimeout: 600_000,
    })
    expect((await auth.fetch('events')).status).toBe(200)
  })
})

describe('handed to openapi-fetch', () => {
  interface Echo {
    responses: { 200: { content: { 'application/json': { sub: string; method: string; body: string } } } }
  }
  interface paths {
    '/protected': {
      get: Echo
      post: Echo & { requestBody: { content: { 'application/json': { a: number } } } }
    }
  }

  test('it refreshes and replays a GET', async () => {
    const { auth, backend, sentTo } = await bench()
    const client = createClient<paths>({ fetch: auth.fetch, baseUrl: auth.baseUrl })
    backend.expireAccessTokens()
    const { data, response } = await client.GET('/protected')
    expect(response.status).toBe(200)
    expect(data?.sub).toBe('alice')
    expect(sentTo('/protected')).toHaveLength(2)
  })

  test.each(endings)('it sends a POST with its body when %s', async (ending) => {
    const { auth, backend, sentTo } = await bench()
    const client = createClient<paths>({ fetch: auth.fetch, baseUrl: auth.baseUrl })
    end(ending, backend)
    const { data } = await client.POST('/protected', { body: { a: 1 } })
    expect(data).toMatchObject({ method: 'POST', body: '{"a":1}' })
    const sent = sentTo('/protected')
    expect(sent).toHaveLength(ending === 'its token ran out' ? 1 : 2)
    for (const one of sent) expect(await textOf(one)).toBe('{"a":1}')
  })
})

describe('what a backend attaches', () => {
  /** A client whose backend adds something, and what it was asked with. */
  async function attaching(): Promise<Bench & { asked: unknown[] }> {
    const asked: unknown[] = []
    const given = await bench({
      origins: ['https://files.test'],
      backend: {
        ...flaskJwt(),
        attach: (token, { url, headers, ...call }) => {
          asked.push({ url: url.href, own: headers?.get('x-own'), ...call })
          return { headers: { authorization: `Token ${token}` }, credentials: 'include', redirect: 'error' }
        },
      },
    })
    return { ...given, asked }
  }

  test('replaces the caller’s own of the same name, and says how cookies and redirects are treated', async () => {
    const { auth, sent } = await attaching()
    await auth.fetch('protected', { headers: { 'x-own': '1' }, credentials: 'omit', redirect: 'follow' })
    expect(sent[0]?.headers.get('authorization')).toMatch(/^Token ey/)
    expect(sent[0]?.headers.get('x-own')).toBe('1')
    expect(sent[0]?.init).toMatchObject({ credentials: 'include', redirect: 'error' })
  })

  test('depends on the call: what the caller chose, and nothing where he did not', async () => {
    const { auth, asked } = await attaching()
    const url = `${base}protected`
    await auth.fetch('protected')
    await auth.fetch(new Request(url))
    await auth.fetch(new Request(url, { credentials: 'omit', redirect: 'manual' }))
    await auth.fetch(new Request(url, { method: 'POST' }), { credentials: 'same-origin', redirect: 'error' })
    await auth.fetch('protected', { method: 'put', headers: { 'x-own': '1' } })
    expect(asked).toEqual([
      { url, own: null, method: 'GET', credentials: undefined, redirect: undefined },
      { url, own: null, method: 'GET', credentials: undefined, redirect: 'follow' },
      { url, own: null, method: 'GET', credentials: 'omit', redirect: 'manual' },
      { url, own: null, method: 'POST', credentials: 'same-origin', redirect: 'error' },
      { url, own: '1', method: 'PUT', credentials: undefined, redirect: undefined },
    ])
  })

  test('goes along with the steps of a login flow, which carry no token; what the flow says goes first', async () => {
    const { auth, asked, sent, tokens } = await attaching()
    await auth.login(async ({ fetch }: FlowContext) => {
      await fetch('step')
      await fetch(new Request(`${base}step`), { credentials: 'omit' })
      await fetch('https://elsewhere.test/')
      return tokens
    })
    const url = `${base}step`
    const still = expect.any(Function)
    expect(asked).toEqual(Array.from({ length: 2 }, () => ({ url, own: undefined, flow: true, still })))
    expect(sent.map(({ init }) => init?.credentials)).toEqual(['include', 'omit', undefined])
  })

  test('8: is not asked for where no token may go, nor beside an Authorization of the caller’s own', async () => {
    const { auth, asked, sent } = await attaching()
    await auth.fetch('https://elsewhere.test/')
    await auth.fetch('protected', { headers: { authorization: 'Basic abc' } })
    expect(asked).toEqual([])
    expect(sent.map(bearer)).toEqual([null, 'Basic abc'])
    await auth.fetch('https://files.test/')
    expect(asked).toHaveLength(1)
  })
})

test('9: an abort while a 401 is being read frees the caller, whatever comes of the reading', async () => {
  let reading = (): void => {}
  const read = new Promise<void>((resolve) => {
    reading = resolve
  })
  const body = (): ReadableStream =>
    new ReadableStream({
      pull() {
        reading()
        return new Promise(() => {})
      },
    })
  const headers = { 'content-type': 'application/json' }
  const { auth } = await bench({ beneath: () => async () => new Response(body(), { status: 401, headers }) })
  const controller = new AbortController()
  const answer = rejection(auth.fetch('protected', { signal: controller.signal }))
  await read
  controller.abort()
  expect(await answer).toMatchObject({ name: 'AbortError' })
})
