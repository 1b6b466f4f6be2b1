/** examples/openapi-fetch.ts, over HTTP. */
import { isAuthError } from 'stayfresh'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { createApi, given } from '../../examples/openapi-fetch.ts'
import { later, rejection } from '../support.ts'
import { listen, signedIn, stale, times, until, withPassword } from './support.ts'

const setUp = async () => {
  const site = await listen({ refresh: 'rotating-reuse-detection' })
  const auth = await signedIn(site)
  return { ...site, site, auth, api: createApi(auth) }
}
const body = { name: 'a' }

test('invariant 1: a storm past the expiry costs one refresh', async () => {
  const { api, backend } = await setUp()
  later()
  const answers = await Promise.all(times(20, () => api.GET('/whoami')))
  expect(answers.map(({ data }) => data?.sub)).toEqual(times(20, () => 'alice'))
  expect([backend.count('refresh'), backend.count('whoami')]).toEqual([1, 20])
})

test('a 401 is refreshed and replayed with its body', async () => {
  const { api, backend, came } = await setUp()
  backend.expireAccessTokens()
  const { data } = await api.POST('/protected', { body })
  expect(data).toMatchObject({ sub: 'alice', body: '{"name":"a"}' })
  expect(came()).toEqual(['POST protected 401', 'POST refresh 200', 'POST protected 200'])
})

test('invariant 2: a 401 that comes when the refresh is over is replayed, and nothing is refreshed again', async () => {
  const { api, auth, backend } = await setUp()
  backend.settings.latency = { protected: { after: 100 } }
  backend.expireAccessTokens()
  const late = api.POST('/protected', { body })
  await auth.refresh()
  expect((await late).data?.sub).toBe('alice')
  expect(backend.count('refresh')).toBe(1)
})

test('a step-up asks once, and before anything is sent where the call says so', async () => {
  const { api, auth, site, came } = await setUp()
  await stale(site, auth)
  const asks = withPassword(auth)
  expect((await api.DELETE('/fresh', given(auth, { auth: 'fresh' }))).data?.sub).toBe('alice')
  expect(asks()).toBe(1)
  expect(came()).toEqual(['DELETE fresh 200'])
})

// openapi-fetch makes a Request, and copies the options that it does not know onto it.
describe.each([
  ['by a fetch of its own', given],
  [
    'as options that openapi-fetch hands on untyped',
    (_: unknown, options: Record<string, unknown>) => options,
  ],
])('what a single call is to have reaches auth.fetch: %s', (_, option) => {
  test('auth', async () => {
    const { api, auth } = await setUp()
    const { data } = await api.GET('/optional', option(auth, { auth: false }))
    expect(data).toMatchObject({ sub: null })
  })

  test('replay', async () => {
    const { api, auth, backend, came } = await setUp()
    backend.expireAccessTokens()
    const { response } = await api.POST('/protected', { body, ...option(auth, { replay: false }) })
    expect(response.status).toBe(401)
    await auth.getAccessToken()
    expect(came()).toEqual(['POST protected 401', 'POST refresh 200'])
  })
})

test('a session that has ended is a 401 with its typed body, no exception', async () => {
  const { api, backend } = await setUp()
  later()
  backend.revoke({ sub: 'alice' })
  const { data, error, response } = await api.GET('/whoami')
  expectTypeOf(error).toEqualTypeOf<{ msg: string } | undefined>()
  expect([data, error?.msg, response.status]).toEqual([undefined, expect.any(String), 401])
})

test('invariant 4: a refresh that can not be completed is no sign-out, and says so by its code', async () => {
  const { api, auth, backend } = await setUp()
  later()
  backend.fault('refresh', { status: 500 })
  expect(isAuthError(await rejection(api.GET('/whoami')), 'refresh_unavailable')).toBe(true)
  expect(auth.session?.subject).toBe('alice')
})

test('invariant 5: a logout while calls wait for a refresh: none of them goes out', async () => {
  const { api, auth, backend } = await setUp()
  later()
  backend.settings.latency = { refresh: { after: 50 } }
  const waiting = times(5, () => rejection(api.GET('/whoami')))
  await until(() => backend.count('refresh') === 1)
  await auth.logout()
  for (const error of await Promise.all(waiting)) expect(isAuthError(error, 'session_changed')).toBe(true)
  expect(backend.count('whoami')).toBe(0)
})
