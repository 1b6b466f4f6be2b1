// @vitest-environment jsdom
/** jsdom has its own Blob, FormData, AbortSignal and Uint8Array beside Node's fetch: what tests use has to bear that. */
import { setupServer } from 'msw/node'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { browserStore, tabStore } from '../../../src/browser.ts'
import { attachDevtools } from '../../../src/devtools.ts'
import { type Auth, type AuthOptions, createAuth, flaskJwt, flaskJwtCookies } from '../../../src/index.ts'
import { type Backend, checksum, createBackend, fakeTokens, withCookies } from '../../../src/testing/index.ts'
import { handlers } from '../../../src/testing/msw.ts'

const server = setupServer()
beforeAll(() => server.listen({ onUnhandledFrame: 'error' }))
afterAll(() => server.close())

const alice = { username: 'alice', password: 'wonderland' }

const through = {
  'its fetch': (backend: Backend): Partial<AuthOptions> => ({ fetch: backend.fetch }),
  'MSW, by a relative origin': (backend: Backend): Partial<AuthOptions> => {
    server.use(...handlers(backend, '/api/'))
    onTestFinished(() => server.resetHandlers())
    return {}
  },
}

test.each(Object.entries(through))(
  'through %s: login, refresh, bodies of all kinds, abort',
  async (_, connect) => {
    const backend = createBackend({ prefix: '/api/' })
    const auth: Auth = createAuth({ baseUrl: '/api/', backend: flaskJwt(), ...connect(backend) }) as Auth
    await auth.login(alice)
    backend.expireAccessTokens()
    const form = new FormData()
    form.append('a', 'b')
    const bytes = Uint8Array.from([0, 255, 10])
    for (const body of ['text', bytes, new Blob([bytes]), form, new URLSearchParams('a=b')]) {
      const response = await auth.fetch('upload', {
        method: 'POST',
        body,
        signal: new AbortController().signal,
      })
      expect(response.status).toBe(200)
      const { checksum: received, sha256 } = (await response.json()) as Record<string, string>
      if (body === bytes) expect(received).toBe(checksum(bytes))
      expect(sha256).toMatch(/^[\da-f]{64}$/)
    }
    backend.expectRefreshes(1)
    backend.fault('protected', 'hang')
    const controller = new AbortController()
    const answer = auth.fetch('protected', { signal: controller.signal })
    await expect.poll(() => backend.count('protected')).toBe(1)
    controller.abort()
    await expect(answer).rejects.toMatchObject({ name: 'AbortError' })
    backend.fault('protected', 'drop')
    await expect(auth.fetch('protected')).rejects.toMatchObject({ name: 'TypeError' })
    await auth.logout()
    expect(backend.sessionAlive('alice')).toBe(false)
  },
)

test('a relative origin begins with a slash or a dot, so that a slip is none', () => {
  expect(() => handlers(createBackend(), 'api.test')).toThrow(TypeError)
  expect(handlers(createBackend(), './api')).toHaveLength(1)
})

test('the stores of a browser: tabStore keeps the session, browserStore says that it goes on in memory', async () => {
  const backend = createBackend({ prefix: '/api/' })
  const page = (store: AuthOptions['store'], initial?: AuthOptions['initial']): Auth =>
    createAuth({ baseUrl: '/api/', backend: flaskJwt(), fetch: backend.fetch, store, initial }) as Auth
  const first = page(tabStore(), fakeTokens())
  expect((await first.fetch('protected')).status).toBe(200)
  first.dispose()
  const reloaded = page(tabStore())
  await reloaded.ready
  expect(reloaded.session?.subject).toBe('alice')
  await reloaded.logout()

  const shared = page(browserStore(), fakeTokens({ subject: 'bob' }))
  const told: string[] = []
  shared.on('storeUnavailable', ({ reason }) => told.push(reason))
  expect((await shared.fetch('protected')).status).toBe(200)
  expect(told).toEqual(['read'])
})

test('tabStore hears nothing in what others write to its channel', async () => {
  const channels: BroadcastChannel[] = []
  class Channel {
    onmessage = undefined
    postMessage = vi.fn()
    constructor() {
      channels.push(this as never)
    }
    close(): void {}
  }
  vi.stubGlobal('BroadcastChannel', Channel)
  const auth = createAuth({ baseUrl: '/api/', backend: flaskJwt(), store: tabStore({ key: 'channel' }) })
  onTestFinished(() => auth.dispose())
  await auth.setTokens(fakeTokens())
  expect(channels).toHaveLength(1)
  for (const data of [null, undefined, 5, 'x', [], { asks: 5 }, { asks: { toString: 1 } }, { told: {} }]) {
    channels[0]?.onmessage?.({ data } as MessageEvent)
  }
  expect(channels[0]?.postMessage).not.toHaveBeenCalled()
})

test('cookies are kept as a browser keeps them: sent where they belong, read only where they may be', async () => {
  const backend = withCookies(
    createBackend({
      prefix: '/api/',
      locations: ['cookies'],
      cookies: { refreshPath: '/api/refresh', persistent: true, secure: true, sameSite: 'Strict' },
    }),
  )
  server.use(...handlers(backend, '/api/'))
  onTestFinished(() => server.resetHandlers())
  const auth = createAuth({ baseUrl: '/api/', backend: flaskJwtCookies() })
  await auth.login(alice)
  expect(document.cookie).toMatch(/^csrf_access_token=[\w-]+; csrf_refresh_token=[\w-]+$/)
  backend.expireAccessTokens()
  const answer = await auth.fetch('protected', { method: 'POST' })
  expect([answer.status, answer.headers.getSetCookie()]).toEqual([200, []])
  expect(backend.log.map(({ tokens }) => tokens.map(({ kind }) => kind))).toEqual([
    [],
    ['access'],
    ['refresh', 'access'],
    ['access'],
  ])
  const bare = await backend.fetch('/api/protected', { credentials: 'omit' })
  const elsewhere = await backend.fetch('https://elsewhere.test/api/protected')
  expect([bare.status, elsewhere.status]).toEqual([401, 401])
  await auth.logout()
  expect(document.cookie).toBe('')
  // The refresh token's cookie goes nowhere but to the refresh.
  expect(backend.isHonoured(backend.issued.at(-1)?.token ?? '')).toBe(false)
})

test('withCookies begins with none, whatever another test left', async () => {
  // biome-ignore lint/suspicious/noDocumentCookie: as any page may
  document.cookie = 'csrf_access_token=left; Path=/'
  const backend = withCookies(createBackend({ prefix: '/api/', locations: ['cookies'] }))
  expect(document.cookie).toBe('')
  await backend.fetch('http://localhost:3000/api/protected')
  expect(backend.timeline()).toBe('GET /api/protected  → 401 missing')
  expect(backend.reuseDetected).toBe(0)
})

test('an application under test in jsdom may attach the panel: it stays empty, and nothing breaks', async () => {
  interface Claims {
    role: string
    csrf: string
  }
  const backend = createBackend({ prefix: '/api/' })
  const auth: Auth<Claims, { pin: number }> = createAuth({
    baseUrl: '/api/',
    backend: flaskJwt<Claims, { pin: number }>(),
    fetch: backend.fetch,
    initial: fakeTokens(),
  })
  const detach = attachDevtools(auth, { panel: true })
  backend.expireAccessTokens()
  expect((await auth.fetch('protected')).status).toBe(200)
  expect(document.querySelector('stayfresh-timeline')?.shadowRoot).toBeNull()
  detach()
  expect(document.querySelector('stayfresh-timeline')).toBeNull()
})
