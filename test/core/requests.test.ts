/** What is handed to `auth.fetch`: bodies, Requests, URLs and options, odd ones among them. */

import { inspect } from 'node:util'
import { describe, expect, test, vi } from 'vitest'
import { flaskJwt } from '../../src/index.ts'
import { createKy } from '../../src/ky.ts'
import { mint, ok, serve } from './by-hand.ts'
import { alice, baseUrl, failure, opaque, reported, room, virtualTime } from './support.ts'

virtualTime()

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

test('14: a body without a tag or a text of its own goes out as it is, and one with a text as that', async () => {
  class Form {
    readonly parts = []
  }
  const bodies: unknown[] = []
  const fetch = async (_: unknown, init?: RequestInit) => {
    bodies.push(init?.body)
    return ok()
  }
  const { auth } = room({ client: { initial: { accessToken: mint('alice') }, fetch: fetch as never } })
  const form = new Form()
  for (const body of [form, 7, [1, 2]]) await auth.fetch('protected', { method: 'POST', body: body as never })
  expect(bodies[0]).toBe(form)
  expect(bodies.slice(1)).toEqual(['7', '1,2'])
})

describe('a URL that can be cloned, such as Next’s', () => {
  class ApiUrl extends URL {
    clone() {
      return new ApiUrl(this.href)
    }
  }
  test('8: gets no token where it leads elsewhere', async () => {
    const seen: [string, string | null][] = []
    const fetch = async (input: unknown, init?: RequestInit) => {
      seen.push([String(input), new Headers(init?.headers).get('authorization')])
      return ok()
    }
    const { auth } = room({ client: { fetch, initial: { accessToken: mint('alice') } } as never })
    await auth.fetch(new ApiUrl('https://evil.example/x'))
    await auth.fetch(new ApiUrl('https://api.test/x'))
    expect(seen[0]).toEqual(['https://evil.example/x', null])
    expect(seen[1]?.[0]).toBe('https://api.test/x')
  })
  test('is a URL in a flow, too', async () => {
    const { auth } = room()
    await auth.login(({ fetch }) =>
      fetch(new ApiUrl('https://api.test/login') as never, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(alice),
      }),
    )
    expect(auth.session).toMatchObject({ subject: 'alice' })
  })
})

describe('14: where Request.body is not implemented', () => {
  const form = new FormData()
  form.set('name', 'value')
  test.each<[string, RequestInit['body']]>([
    ['text', 'hello'],
    ['a form', form],
  ])('a Request with %s is replayed with its body', async (_, body) => {
    const { backend, another } = room()
    // As `fetch` does it: what is given is made a Request first, and its body is used up.
    const { auth } = another({ fetch: (input, init) => backend.fetch(new Request(input, init)) })
    vi.spyOn(Request.prototype, 'body', 'get').mockReturnValue(undefined as never)
    await auth.login(alice)
    backend.expireAccessTokens()
    const request = new Request(`${baseUrl}protected`, { method: 'POST', body })
    expect((await auth.fetch(request)).status).toBe(200)
    const bodies = backend.log.filter(({ route }) => route === 'protected').map((entry) => entry.body)
    expect(bodies).toHaveLength(2)
    expect(bodies[0]).toContain(body === form ? 'name="name"' : 'hello')
    expect(bodies[1]).toBe(bodies[0])
  })

  test('a POST of ky is replayed with its body', async () => {
    const { backend, another } = room()
    const { auth } = another({ fetch: (input, init) => backend.fetch(new Request(input, init)) })
    vi.spyOn(Request.prototype, 'body', 'get').mockReturnValue(undefined as never)
    await auth.login(alice)
    backend.expireAccessTokens()
    const response = await createKy(auth).post('protected', { json: { a: 1 } })
    expect(await response.json()).toMatchObject({ body: '{"a":1}' })
  })
})
