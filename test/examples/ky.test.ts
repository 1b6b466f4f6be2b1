/** examples/ky.ts, over HTTP. */
import { isHTTPError } from 'ky'
import { isAuthError } from 'stayfresh'
import { expect, test } from 'vitest'
import { createApi } from '../../examples/ky.ts'
import { later, rejection } from '../support.ts'
import { listen, signedIn, stale, times, until, withPassword } from './support.ts'

const setUp = async () => {
  const site = await listen({ refresh: 'rotating-reuse-detection' })
  const auth = await signedIn(site)
  return { ...site, site, auth, api: createApi(auth) }
}

test('invariant 1: a storm past the expiry costs one refresh, and bodies arrive as they are', async () => {
  const { api, backend } = await setUp()
  later()
  const saved = await Promise.all(times(20, (n) => api.save({ name: `item ${n}` })))
  expect(saved.map(({ body }) => body)).toEqual(times(20, (n) => `{"name":"item ${n}"}`))
  expect([backend.count('refresh'), backend.count('protected')]).toEqual([1, 20])
  expect(
    backend.log.every(({ headers, route }) => route !== 'protected' || headers['x-client'] === 'web'),
  ).toBe(true)
})

test('a 401 is refreshed and replayed beneath ky: a POST too, which ky itself never retries', async () => {
  const { api, backend, came } = await setUp()
  backend.expireAccessTokens()
  expect(await api.save({ name: 'a' })).toMatchObject({ sub: 'alice', body: '{"name":"a"}' })
  expect(came()).toEqual(['POST protected 401', 'POST refresh 200', 'POST protected 200'])
})

test('invariant 2: a 401 that comes when the refresh is over is replayed, and nothing is refreshed again', async () => {
  const { api, auth, backend } = await setUp()
  backend.settings.latency = { protected: { after: 100 } }
  backend.expireAccessTokens()
  const late = api.save({ name: 'late' })
  await auth.refresh()
  expect(await late).toMatchObject({ sub: 'alice' })
  expect(backend.count('refresh')).toBe(1)
})

test('a step-up asks once, and before anything is sent where the call says so', async () => {
  const { api, auth, site, came } = await setUp()
  await stale(site, auth)
  const asks = withPassword(auth)
  expect(await api.close()).toMatchObject({ sub: 'alice' })
  expect(asks()).toBe(1)
  expect(came()).toEqual(['DELETE fresh 200'])
})

test('a call may go without a token, or with one only if it can be made good', async () => {
  const { api, auth, backend } = await setUp()
  expect(await api.status()).toMatchObject({ sub: null })
  expect(await api.greet()).toMatchObject({ sub: 'alice' })
  later()
  backend.fault('refresh', { status: 500 })
  expect(await api.greet()).toMatchObject({ sub: null })
  expect(auth.session?.subject).toBe('alice')
})

test('a body that is not kept goes once: the session is refreshed for the next try', async () => {
  const { api, backend, came } = await setUp()
  backend.expireAccessTokens()
  const error = await rejection(api.upload(new Blob(['0123456789'])))
  expect(isHTTPError(error) && error.response.status).toBe(401)
  expect(await api.upload(new Blob(['0123456789']))).toMatchObject({ bytes: 10 })
  expect(came().filter((one) => one.includes('upload'))).toEqual(['POST upload 401', 'POST upload 200'])
})

test('invariant 4: a refresh that can not be completed is no sign-out, and says so by its code', async () => {
  const { api, auth, backend } = await setUp()
  later()
  backend.fault('refresh', { status: 500 })
  expect(isAuthError(await rejection(api.me()), 'refresh_unavailable')).toBe(true)
  expect(auth.session?.subject).toBe('alice')
})

test('invariant 5: a logout while calls wait for a refresh: none of them goes out', async () => {
  const { api, auth, backend } = await setUp()
  later()
  backend.settings.latency = { refresh: { after: 50 } }
  const waiting = times(5, () => rejection(api.me()))
  await until(() => backend.count('refresh') === 1)
  await auth.logout()
  for (const error of await Promise.all(waiting)) expect(isAuthError(error, 'session_changed')).toBe(true)
  expect(backend.count('whoami')).toBe(0)
  await until(() => !backend.sessionAlive('alice'))
})
