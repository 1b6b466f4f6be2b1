/** What is sent twice, and what is not. */
import { describe, expect, test } from 'vitest'
import { bearer, createAuth, oauth2 } from '../../src/index.ts'
import { handStore, ok, serve } from './by-hand.ts'
import { alice, baseUrl, pass, room, settle, virtualTime } from './support.ts'

virtualTime()

describe('a challenge is about the token where the server turned the request down for it', () => {
  const tries = async (backend: unknown, status: number): Promise<string[]> => {
    const server = serve(({ path }) =>
      path === '/orders'
        ? new Response('{}', { status, headers: { 'www-authenticate': 'Bearer error="invalid_token"' } })
        : ok({ access_token: 'b', refresh_token: 'r' }),
    )
    const auth = createAuth({ baseUrl, backend: backend as never, fetch: server.fetch })
    await auth.setTokens({ accessToken: 'a', refreshToken: 'r' })
    await auth.fetch('orders', { method: 'POST', body: '{}' })
    return server.sent.map(({ path }) => path)
  }
  const presets = [bearer(), oauth2({ tokenEndpoint: 'token', clientId: 'web' })]

  test.each([400, 404, 409, 429, 500, 503])('7: a POST that got a %d is not sent again', async (status) => {
    for (const backend of presets) expect(await tries(backend, status)).toEqual(['/orders'])
  })

  test.each([401, 403])('but after a %d it is', async (status) => {
    for (const backend of presets) expect((await tries(backend, status)).length).toBe(3)
  })
})

test('7: what another context was helped to counts as a replay: two sends at the most', async () => {
  const store = handStore()
  const { auth, another, backend, signInStale } = room({ client: { store } })
  await signInStale()
  const { auth: other } = another()
  await other.ready
  await other.reauthenticate(alice)
  backend.clearLog()
  // The first send is told to step up; the second, with the fresh token of the other's, that it has expired.
  backend.fault('protected', { status: 401, body: { msg: 'Fresh token required' } })
  backend.fault('protected', { status: 401, body: { msg: 'Token has expired' } })
  expect((await auth.fetch('protected')).status).toBe(401)
  expect(backend.count('protected')).toBe(2)
})

test('7: a record that is heard of late names a fresh token that was turned down meanwhile: it is not sent again', async () => {
  const store = handStore()
  const { auth, backend } = room({ client: { store } })
  await auth.login(alice)
  // What the refresh brings is written, and the store never says so.
  const { commit } = store
  store.commit = async (next, expected) => {
    const cell = await (commit?.(next, expected) ?? store.read())
    return next.version === 2 ? new Promise(() => {}) : cell
  }
  const refreshed = auth.refresh()
  await settle()
  expect(store.record).toMatchObject({ version: 2, fresh: expect.anything() })
  backend.clearLog()
  backend.fault('fresh', { status: 401, body: { msg: 'Token has expired' } })
  const call = auth.fetch('fresh')
  await pass(8_000)
  await refreshed
  expect((await call).status).toBe(401)
  const [first, second, ...more] = backend.log.map(({ token }) => token?.token)
  expect([first !== second, more]).toEqual([true, []])
})
