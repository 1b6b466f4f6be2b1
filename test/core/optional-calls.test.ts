/** Calls for which a token is optional. */
import { describe, expect, test } from 'vitest'
import { bearer } from '../../src/index.ts'
import { jwt, mint, ok, refuse, serve } from './by-hand.ts'
import { alice, deferred, minute, pass, room, settle, virtualTime } from './support.ts'

virtualTime()

describe('a 401 that tells nothing to a call for which a token is optional, with no refresh token', () => {
  test('sends it again without one', async () => {
    const fetch = async (_: unknown, init?: RequestInit) => {
      const token = new Headers(init?.headers).get('authorization')
      return new Response(null, { status: token ? 401 : 200 })
    }
    const { auth } = room({
      client: { backend: bearer(), fetch, initial: { accessToken: mint('alice') } } as never,
    })
    expect((await auth.fetch('news', { auth: 'optional' })).status).toBe(200)
  })
  test('so it does where the refresh token was refused before', async () => {
    const fetch = async (input: unknown, init?: RequestInit) => {
      const token = new Headers(init?.headers).get('authorization')
      if (String(input).endsWith('refresh')) return new Response(null, { status: 401 })
      return new Response(null, { status: token ? 401 : 200 })
    }
    const { auth } = room({
      client: {
        backend: bearer(),
        fetch,
        initial: { accessToken: mint('alice'), refreshToken: 'spare' },
      } as never,
    })
    expect((await auth.fetch('news', { auth: 'optional' })).status).toBe(200)
    expect((await auth.fetch('news', { auth: 'optional' })).status).toBe(200)
  })
})

test('an optional call does not wait for the password that others wait for: it goes without a token', async () => {
  const server = serve(({ path, token }) => {
    if (path === '/login') return ok({ access_token: mint('alice'), refresh_token: 'r0' })
    if (path === '/optional' && !token) return ok()
    return refuse(path === '/refresh' ? 'Token has been revoked' : 'Token has expired')
  })
  const { auth } = room({ client: { fetch: server.fetch } })
  await auth.login(alice)
  await pass(16 * minute)
  const dialog = deferred()
  auth.on('reauthRequired', (event) => event.waitUntil(dialog.promise))
  const first = auth.fetch('protected')
  await settle()
  expect(auth.session?.status).toBe('expired')
  expect((await auth.fetch('optional', { auth: 'optional' })).status).toBe(200)
  expect(server.tokens('/optional').map(Boolean)).toEqual([false])
  dialog.resolve()
  await first
})

test('11: an optional call that goes without leaves the token good for others, where the refresh is out of reach', async () => {
  const server = serve(({ path, token }) => {
    if (path === '/login') return ok({ access_token: mint('alice'), refresh_token: 'r0' })
    if (path === '/refresh') return new Response(null, { status: 500 })
    return path === '/odd' && token ? new Response(null, { status: 401 }) : ok()
  })
  const { auth } = room({ client: { fetch: server.fetch } })
  await auth.login(alice)
  expect((await auth.fetch('odd', { auth: 'optional' })).status).toBe(200)
  expect((await auth.fetch('items')).status).toBe(200)
})

test('a call that waits goes out as nobody in no case, though the session is set anew with a refresh token alone', async () => {
  const refreshToken = jwt({ sub: 'alice', iat: 1_800_000_000, exp: 4_000_000_000 })
  const gate = deferred()
  let asked = 0
  const server = serve(async ({ path, token }) => {
    if (path !== '/refresh') return token ? ok() : refuse('Missing Authorization Header')
    if (!asked++) await gate.promise
    return ok({ access_token: mint('alice') })
  })
  const { auth } = room({ client: { fetch: server.fetch } })
  await auth.setTokens({ refreshToken })
  const call = auth.fetch('items')
  await settle()
  await auth.setTokens({ refreshToken })
  gate.resolve()
  expect((await call).status).toBe(200)
  expect(server.tokens('/items').map(Boolean)).toEqual([true])
})
