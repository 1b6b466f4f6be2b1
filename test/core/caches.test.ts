/** What was cached for one user is never shown to the next. */
import { describe, expect, test } from 'vitest'
import { bearer, createAuth, flaskJwt, flaskJwtCookies } from '../../src/index.ts'
import { mint, ok, stubPage } from './by-hand.ts'
import { alice, baseUrl, bob, sentTo, virtualTime } from './support.ts'

virtualTime()

describe('6: private answers that were cached', () => {
  const caches: (string | undefined)[] = []
  const client = (backend: unknown, login: (count: number) => object) => {
    let count = 0
    caches.length = 0
    const fetch = async (input: unknown, init?: RequestInit) => {
      const { path, cache } = sentTo(input, init)
      if (path === '/items') caches.push(cache)
      return ok(path === '/login' ? login(++count) : {})
    }
    return createAuth({ baseUrl, backend: backend as never, fetch: fetch as typeof globalThis.fetch })
  }

  test('are not shown to the next user, nor to nobody, where tokens tell nobody’s name', async () => {
    const auth = client(bearer(), (count) => ({ access_token: `opaque-${count}`, refresh_token: 'spare' }))
    await auth.login(alice as never)
    await auth.fetch('items')
    await auth.logout()
    await auth.fetch('items')
    await auth.login(bob as never)
    await auth.fetch('items')
    expect(caches).toEqual([undefined, 'reload', 'reload'])
  })

  test('are there for the same user again', async () => {
    const auth = client(flaskJwt(), () => ({ access_token: mint('alice') }))
    await auth.login(alice as never)
    await auth.fetch('items')
    await auth.logout()
    await auth.login(alice as never)
    await auth.fetch('items')
    expect(caches).toEqual([undefined, undefined])
  })

  test('are not shown to the next user with tokens in cookies, and no name', async () => {
    const page = stubPage()
    const auth = client(flaskJwtCookies(), (count) => {
      page.cookie = `csrf_access_token=a${count}; csrf_refresh_token=r${count}`
      return { login: true }
    })
    for (const user of [alice, bob]) {
      await auth.login(user as never)
      await auth.fetch('items')
    }
    expect(caches).toEqual([undefined, 'reload'])
  })
})

describe('6: after a user whose name is known what was cached is not shown', () => {
  test.each([
    ['a refresh token that tells nothing', { refreshToken: 'spare' }],
    ['an opaque token', { accessToken: 'opaque' }],
  ])('to who comes with %s', async (_, tokens) => {
    const caches: unknown[] = []
    const fetch = async (input: unknown, init?: RequestInit) => {
      const { pathname } = new URL(String(input))
      if (pathname === '/items') caches.push(init?.cache)
      return ok(pathname === '/refresh' ? { access_token: mint('bob') } : {})
    }
    const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: fetch as typeof globalThis.fetch })
    await auth.setTokens({ accessToken: mint('alice') })
    await auth.fetch('items')
    await auth.setTokens(tokens)
    await auth.fetch('items')
    expect(caches).toEqual([undefined, 'reload'])
  })
})

test('6: what was cached is shown to who is still there, though nobody knows who that is, and before anybody is', async () => {
  const caches: unknown[] = []
  const fetch = async (input: unknown, init?: RequestInit) => {
    const { pathname } = new URL(String(input))
    if (pathname === '/items') caches.push(init?.cache)
    return ok(pathname === '/refresh' ? { access_token: 'another' } : {})
  }
  const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: fetch as typeof globalThis.fetch })
  await auth.fetch('items', { auth: 'optional' })
  await auth.setTokens({ accessToken: 'opaque', refreshToken: 'spare' })
  await auth.refresh()
  await auth.fetch('items')
  expect(auth.session).toMatchObject({ version: 2, subject: undefined })
  expect(caches).toEqual([undefined, undefined])
})

test('6: what is asked for without cookies does not come from the cache of the last user, either', async () => {
  const page = stubPage()
  const caches: unknown[] = []
  const fetch = async (input: unknown, init?: RequestInit) => {
    if (String(input).endsWith('/items')) caches.push(init?.cache)
    const { username } = String(input).endsWith('/login') ? JSON.parse(String(init?.body)) : ({} as never)
    if (username) page.cookie = `csrf_access_token=${username}`
    return ok({ sub: username })
  }
  const auth = createAuth({ baseUrl, backend: flaskJwtCookies(), fetch: fetch as typeof globalThis.fetch })
  for (const user of [alice, bob]) {
    await auth.login(user)
    await auth.fetch('items', { credentials: 'omit' })
  }
  expect(caches).toEqual([undefined, 'reload'])
})
