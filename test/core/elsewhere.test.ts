/** What other runtimes showed, each as its own server or fetch would have it here; in them: `test/frameworks/runtimes.test.ts`. */
import { expect, test, vi } from 'vitest'
import { cookieBench } from '../backends/cookies-support.ts'
import { alice, bob, pass, room, settle, virtualTime } from './support.ts'

virtualTime()

/** Cloudflare's fetch, which knows no `cache`: of older compatibility dates none, of newer ones no `reload`. */
function cloudflare(fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  vi.stubGlobal('navigator', { userAgent: 'Cloudflare-Workers' })
  return (input, init) => {
    if (init && 'cache' in init)
      return Promise.reject(
        new TypeError("The 'cache' field on 'RequestInitializerDict' is not implemented."),
      )
    return fetch(input, init)
  }
}

test('where fetch takes no `cache` none is given: not by a login, a refresh, another user’s calls, a logout', async () => {
  const { backend, another } = room()
  const { auth } = another({ fetch: cloudflare(backend.fetch as typeof fetch) })
  await auth.login(alice)
  backend.expireAccessTokens()
  expect((await auth.fetch('protected')).status).toBe(200)
  await auth.login(bob)
  expect((await auth.fetch('protected')).status).toBe(200)
  await auth.logout()
  await settle()
  expect(backend.sessionAlive('bob')).toBe(false)
  expect((await auth.fetch('protected')).status).toBe(401)
})

test('nor where the tokens are in cookies, by what asks who they are of', async () => {
  const bench = await cookieBench({ beneath: cloudflare })
  expect(bench.auth.session?.subject).toBe('alice')
  bench.backend.expireAccessTokens()
  expect((await bench.auth.fetch('protected', { method: 'POST', body: 'x' })).status).toBe(200)
  await bench.auth.logout()
  await settle()
  expect(bench.backend.sessionAlive('alice')).toBe(false)
})

test('a logout that meets no server is sent again, by whatever error that is told', async () => {
  const { backend, another } = room()
  let away = 0
  const { auth } = another({
    fetch: async (input, init) => {
      if (!String(input).endsWith('logout') || away++ > 1) return backend.fetch(input as string, init)
      // Cloudflare's is no TypeError.
      throw new Error('Network connection lost.')
    },
  })
  await auth.login(alice)
  const out = auth.logout()
  await pass(10_000)
  await out
  expect(backend.sessionAlive('alice')).toBe(false)
})

test('so is one whose error is nothing at all', async () => {
  const { backend, another } = room()
  let away = 0
  const { auth } = another({
    fetch: async (input, init) =>
      String(input).endsWith('logout') && away++ < 2
        ? Promise.reject(null)
        : backend.fetch(input as string, init),
  })
  await auth.login(alice)
  const out = auth.logout()
  await pass(10_000)
  await out
  expect(backend.sessionAlive('alice')).toBe(false)
})

test('where there is no navigator, requests of our own are kept out of the cache as ever', async () => {
  vi.stubGlobal('navigator', undefined)
  const { backend, another } = room()
  const caches: unknown[] = []
  const { auth } = another({
    fetch: async (input, init) => {
      caches.push(init?.cache)
      return backend.fetch(input as string, init)
    },
  })
  await auth.login(alice)
  expect(caches).toEqual(['no-store'])
})

test('a Request of another fetch, whose headers are a plain object, is sent', async () => {
  const { backend, another } = room()
  const { auth } = another({
    fetch: async (input, init) => {
      const { url = input, method } = input as Request
      return backend.fetch(url as string, { method, ...init })
    },
  })
  await auth.login(alice)
  const url = 'https://api.test/protected'
  const foreign = { url, method: 'POST', headers: { 'x-a': 'b' }, body: null, clone: () => foreign }
  expect((await auth.fetch(foreign as never)).status).toBe(200)
  expect(backend.log.at(-1)?.headers).toMatchObject({ 'x-a': 'b' })
})

test('a Request without a body is not copied', async () => {
  const { auth, signIn } = room()
  await signIn()
  const request = new Request('https://api.test/protected', { method: 'POST' })
  const clone = vi.spyOn(request, 'clone')
  expect((await auth.fetch(request)).status).toBe(200)
  expect(clone).not.toHaveBeenCalled()
})

test('the body of a Request is not looked at where its type says that there is one', async () => {
  const { auth, backend, signIn } = room()
  await signIn()
  backend.expireAccessTokens()
  const request = new Request('https://api.test/protected', { method: 'POST', body: 'a text' })
  const look = vi.fn(() => null)
  Object.defineProperty(request, 'body', { get: look })
  expect((await auth.fetch(request)).status).toBe(200)
  expect(look).not.toHaveBeenCalled()
  expect(backend.log.filter(({ route }) => route === 'protected').map(({ status }) => status)).toEqual([
    401, 200,
  ])
})
