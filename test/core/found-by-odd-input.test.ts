/** What odd input showed: Requests and inits of strange kinds, backends and stores that give what nobody expects. */
import { inspect } from 'node:util'
import { describe, expect, test, vi } from 'vitest'
import { safeCause } from '../../src/errors.ts'
import {
  bearer,
  createAuth,
  flaskJwt,
  isAuthError,
  memoryStore,
  type Store,
  type StoreRecord,
} from '../../src/index.ts'
import { mint, ok, refuse, serve } from './by-hand.ts'
import { alice, baseUrl, failure, reported, room, settle, virtualTime } from './support.ts'

virtualTime()

const opaque = 'an-opaque-token-0123456789'

describe('14: a stream in init.body is never copied, whatever the init is', () => {
  const stream = (): ReadableStream =>
    new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode('x'))
        controller.close()
      },
    })

  class WithGetter {
    readonly method = 'POST'
    readonly duplex = 'half'
    readonly #body = stream()
    get body(): ReadableStream {
      return this.#body
    }
  }
  class WithMember {
    readonly method = 'POST'
    readonly duplex = 'half'
    readonly body = stream()
  }

  test.each([WithGetter, WithMember])('%o', async (Init) => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.expireAccessTokens()
    expect((await auth.fetch('protected', new Init())).status).toBe(401)
    expect(backend.count('protected')).toBe(1)
  })
})

describe('8: the token goes where the request goes', () => {
  const elsewhere = 'https://evil.test/protected'
  const here = `${baseUrl}protected`

  test('though the class of a Request says that it leads somewhere else', async () => {
    class Disguised extends Request {
      override get url(): string {
        return here
      }
    }
    const tokens: unknown[] = []
    const fetch = vi.fn(async (input: unknown, init?: RequestInit) => {
      const sent = new Request(input as Request, init)
      tokens.push([Reflect.get(Request.prototype, 'url', sent), sent.headers.get('authorization')])
      return ok()
    })
    const { auth } = room({ client: { fetch: fetch as never } })
    await auth.setTokens({ accessToken: opaque })
    await auth.fetch(new Disguised(elsewhere))
    expect(tokens).toEqual([[elsewhere, null]])
  })

  test('though an object that fetch would take for its text has a URL beside that', async () => {
    const server = serve(() => ok())
    const { auth } = room({ client: { fetch: server.fetch } })
    await auth.setTokens({ accessToken: opaque })
    const disguised = { url: here, clone: () => disguised, toString: () => `${elsewhere}#[object Request]` }
    await auth.fetch(disguised as never)
    expect(server.sent).toMatchObject([{ path: '/protected', token: undefined }])
  })
})

test.each([{ id: 1 }, null, () => ({})])(
  'an `auth` that another library has put onto a Request is none of ours: %o',
  async (auth) => {
    const client = room()
    await client.signIn()
    const request = Object.assign(new Request(`${baseUrl}protected`), { auth, replay: null })
    expect((await client.auth.fetch(request)).status).toBe(200)
  },
)

test('one in a word that is none is refused, as in init', async () => {
  const { auth, signIn } = room()
  await signIn()
  const request = Object.assign(new Request(`${baseUrl}protected`), { auth: 'none' })
  expect(await failure(auth.fetch(request))).toMatchObject({ code: 'invalid_input' })
})

describe('what fetch takes for a Request is sent as one', () => {
  test.each([(request: Request) => request.url, (request: Request) => `${request.method} ${request.url}`])(
    'though its class has a text of its own: %o',
    async (text) => {
      const { auth, backend, signIn } = room()
      await signIn()
      class Told extends Request {
        override toString(): string {
          return text(this)
        }
      }
      expect((await auth.fetch(new Told(`${baseUrl}protected`, { method: 'POST', body: 'x' }))).status).toBe(
        200,
      )
      expect(backend.log.at(-1)).toMatchObject({ method: 'POST' })
    },
  )

  test.each([
    [`${baseUrl}items`, `Bearer ${opaque}`],
    ['https://evil.test/items', null],
  ])('and so is a Proxy of one, by a fetch of the application’s: %s', async (url, token) => {
    const sent: unknown[] = []
    const { auth } = room({
      client: {
        fetch: (async ({ method, url }: Request, init?: RequestInit) => {
          sent.push([method, url, new Headers(init?.headers).get('authorization')])
          return ok()
        }) as never,
      },
    })
    await auth.setTokens({ accessToken: opaque })
    const proxy = new Proxy(new Request(url, { method: 'DELETE' }), {
      get(target, name) {
        const value = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    await auth.fetch(proxy)
    expect(sent).toEqual([['DELETE', url, token]])
  })
})

test.each([{}, { clone: () => ({}) }, { url: `${baseUrl}items` }])(
  'what is no Request is coerced, as fetch does it: %o',
  async (input) => {
    const server = serve(() => ok())
    const { auth } = room({ client: { fetch: server.fetch } })
    await auth.fetch(input as never)
    expect(server.sent).toMatchObject([{ path: '/[object%20Object]' }])
  },
)

test.each([['post'], { toString: () => 'post' }])(
  'a method is coerced as fetch does it: %o',
  async (method) => {
    const { auth, backend, signIn } = room()
    await signIn()
    expect((await auth.fetch('protected', { method: method as never, body: 'x' })).status).toBe(200)
    expect(backend.log.at(-1)).toMatchObject({ method: 'POST' })
  },
)

test('a refusal of the refresh that is too large to be read is none', async () => {
  const page = new Response('x'.repeat(17_000_000), {
    status: 401,
    headers: { 'content-type': 'text/plain' },
  })
  const { auth } = room({ client: { backend: bearer(), fetch: serve(() => page).fetch } })
  await auth.setTokens({ refreshToken: opaque })
  expect(await failure(auth.refresh())).toMatchObject({ code: 'refresh_unavailable' })
  expect(auth.session).toMatchObject({ status: 'active' })
})

test('getAccessToken() ends over a store that can’t be written, where no token is to be had', async () => {
  const record = { id: 'i', version: 1, calledAt: 1, revision: 'r', refreshToken: opaque } as StoreRecord
  const store: Store = { name: 'mine', read: () => ({ record, now: Date.now() }) }
  const { auth } = room({ client: { store } })
  expect(await auth.getAccessToken()).toBeNull()
})

describe('8: a backend’s attach()', () => {
  const sending = async (headers: unknown): Promise<(string | undefined)[]> => {
    const server = serve(() => ok())
    const backend = { ...flaskJwt(), attach: () => ({ headers: headers as never }) }
    const { auth } = room({ client: { backend, fetch: server.fetch } })
    await auth.setTokens({ accessToken: opaque })
    await auth.fetch('protected')
    return server.tokens('/protected')
  }
  const authorization = `Bearer ${opaque}`

  test.each([
    [{ authorization }],
    [new Headers({ authorization })],
    [[['authorization', authorization]]],
    [new Map([['authorization', authorization]])],
  ])('gives headers in any form that fetch takes: %o', async (headers) => {
    expect(await sending(headers)).toEqual([opaque])
  })

  test('may give null for headers, and the rest counts', async () => {
    const errors = reported()
    const seen: unknown[] = []
    const backend = {
      ...flaskJwt(),
      attach: () => ({ headers: null as never, credentials: 'include' as const }),
    }
    const { auth } = room({
      client: {
        backend,
        fetch: async (_, init) => {
          seen.push(init?.credentials)
          return ok()
        },
      },
    })
    await auth.setTokens({ accessToken: opaque })
    await auth.fetch('protected')
    expect([seen, errors]).toEqual([['include'], []])
  })

  test.each([
    [{ authorization: `JWT\n${opaque}` }],
    [{ authorization: `${authorization}\u2713` }],
    [{ [`x ${opaque}`]: '1' }],
    [{ authorization: Symbol(opaque) }],
  ])('that gives what no request can carry is reported, and quotes no token: %#', async (headers) => {
    const errors = reported()
    expect(await sending(headers)).toEqual([undefined])
    expect(errors).toMatchObject([{ code: 'invalid_option', option: 'backend' }])
    expect(inspect(errors, { depth: 9 })).not.toContain(opaque)
  })
})

describe('a login that', () => {
  const login = (said: unknown): Promise<Error> => {
    const backend = { ...flaskJwt(), message: () => said as never }
    const { auth } = room({ client: { backend, fetch: serve(() => refuse('no')).fetch } })
    return failure(auth.login(alice))
  }

  test('is refused in a text with a token quotes none', async () => {
    const token = mint('alice')
    const error = await login(`${token} is over`)
    expect(error.message).toBe('The server refused the login (401): [token] is over')
    expect(error).toMatchObject({ serverMessage: `${token} is over` })
  })

  test.each([Symbol('no'), Object.create(null), 5])('is refused in no text is refused: %o', async (said) => {
    expect(await login(said)).toMatchObject({ code: 'login_refused', serverMessage: undefined })
  })

  test('can’t be sent quotes nothing of its headers', async () => {
    const backend = {
      ...flaskJwt(),
      login: () => ({ path: 'login', headers: { 'x-key': `a\n${opaque}` } }),
    }
    const { auth } = room({
      client: { backend, fetch: async (input, init) => new Response(new Request(input, init).body) },
    })
    const error = await failure(auth.login(alice))
    expect(error).toMatchObject({ code: 'login_unavailable' })
    expect(inspect(error, { depth: 9 })).not.toContain(opaque)
  })
})

test('what a login’s error says is not hidden by headers of a letter', async () => {
  const backend = { ...flaskJwt(), login: () => ({ path: 'login', headers: { 'x-v': '1' } }) }
  const fetch = async (): Promise<never> => {
    throw new TypeError('connect ECONNREFUSED 127.0.0.1:4141')
  }
  const { auth } = room({ client: { backend, fetch } })
  expect(await failure(auth.login(alice))).toMatchObject({
    cause: { message: 'connect ECONNREFUSED 127.0.0.1:4141' },
  })
})

test('4: an empty Retry-After is none: the cool-down grows', async () => {
  const headers = { 'retry-after': '' }
  const server = serve(() => new Response('{}', { status: 500, headers }))
  const { auth } = room({ client: { fetch: server.fetch } })
  await auth.setTokens({ refreshToken: opaque })
  for (let call = 0; call < 20; call++) await failure(auth.fetch('protected'))
  expect(server.sent.length).toBeLessThan(5)
})

test('an error’s text that is made for it is copied in no time', () => {
  const begun = performance.now()
  const { message } = safeCause(new Error('eyJ-'.repeat(100_000)))
  expect(message.length).toBeLessThanOrEqual(2000)
  expect(performance.now() - begun).toBeLessThan(500)
})

describe('a store', () => {
  const make = (more: object): Store => ({ ...memoryStore(), ...more }) as Store

  test.each(['commit', 'watch', 'end'])('whose %s is no function is refused at the door', (name) => {
    for (const value of [null, 5, {}]) {
      expect(() => createAuth({ baseUrl, backend: flaskJwt(), store: make({ [name]: value }) })).toThrow(
        'store takes a store',
      )
    }
  })

  test.each([
    [
      'throws',
      () => {
        throw new Error('no watching here')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no watching here'))],
  ])('whose watch() %s is used without it, and that is reported', async (_, watch) => {
    const errors = reported()
    const { auth, signIn } = room({ client: { store: make({ watch }) } })
    await signIn()
    expect(auth.session).toMatchObject({ subject: 'alice' })
    await settle()
    expect(String(errors)).toContain('no watching here')
  })

  test.each([
    [
      'throws',
      () => {
        throw new Error('no watching here')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no watching here'))],
  ])('whose watch() %s is asked again after a 401, as one that can’t be watched', async (_, watch) => {
    reported()
    const store = make({ watch })
    const { auth, another } = room({ client: { store } })
    const elsewhere = another({ store: make({ read: store.read, commit: store.commit, watch: undefined }) })
    await elsewhere.auth.login(alice)
    await auth.fetch('protected')
    await settle()
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('whose driver makes a number of a revision is read all the same', async () => {
    let record = null as StoreRecord | null
    const store: Store = {
      name: 'mine',
      read: () => ({ record: record && { ...record, revision: 5 as never }, now: Date.now() }),
      commit(next) {
        record = next
        return { record, now: Date.now() }
      },
    }
    const { another, signIn } = room({ client: { store } })
    await signIn()
    expect(another().auth.session).toMatchObject({ subject: 'alice' })
  })

  test('whose end() and whose end of watching reject rejects nowhere else', async () => {
    const errors = reported()
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    const reject = async (): Promise<never> => Promise.reject(new Error('not over'))
    const { auth, signIn } = room({ client: { store: make({ end: reject, watch: () => reject }) } })
    await signIn()
    await auth.logout()
    await auth.dispose()
    await settle()
    process.off('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
    expect(String(errors)).toContain('not over')
  })

  test.each([() => undefined, async () => undefined])(
    'that answers nothing is told to be away: %o',
    async (read) => {
      const { auth } = room({ client: { store: { name: 'mine', read: read as never } } })
      await auth.ready
      expect(auth.history).toMatchObject([{ type: 'storeUnavailable', reason: 'read' }])
    },
  )

  test('whose record has no revision counts as empty', async () => {
    let record = { id: 'i', version: 1, calledAt: 1, access: { token: opaque } } as StoreRecord | undefined
    const now = Date.now()
    const store: Store = {
      name: 'mine',
      read: () => ({ record: record ?? null, now }),
      commit(next) {
        record = next
        return { record, now }
      },
    }
    const { auth } = room({ client: { store } })
    await auth.ready
    expect(auth.session).toBeNull()
    await auth.login(alice)
    expect(auth.session).toMatchObject({ subject: 'alice' })
  })
})

test('what is said of the members of an object is short, however many there are', async () => {
  const { auth } = room()
  const error = await failure(auth.setTokens(new Uint8Array(10_000) as never))
  expect(isAuthError(error, 'invalid_token')).toBe(true)
  expect(error.message.length).toBeLessThan(300)
})
