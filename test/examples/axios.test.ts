/** examples/axios.ts, over HTTP. */
import axios, { type AxiosError, isAxiosError } from 'axios'
import { isAuthError } from 'stayfresh'
import { describe, expect, test } from 'vitest'
import { createApi, given } from '../../examples/axios.ts'
import { later, leaks, rejection } from '../support.ts'
import { listen, signedIn, stale, times, until, withPassword } from './support.ts'

const setUp = async () => {
  const site = await listen({ refresh: 'rotating-reuse-detection' })
  const auth = await signedIn(site)
  return { ...site, site, auth, api: createApi(auth) }
}

test('invariant 1: a storm past the expiry costs one refresh', async () => {
  const { api, backend } = await setUp()
  later()
  const answers = await Promise.all(times(20, () => api.get('whoami')))
  expect(answers.map(({ data }) => data.sub)).toEqual(times(20, () => 'alice'))
  expect([backend.count('refresh'), backend.count('whoami')]).toEqual([1, 20])
})

test('invariant 2: a 401 that comes when the refresh is over is replayed, and nothing is refreshed again', async () => {
  const { api, auth, backend } = await setUp()
  backend.settings.latency = { protected: { after: 100 } }
  backend.expireAccessTokens()
  const late = api.post('protected', { name: 'a' })
  await auth.refresh()
  expect((await late).data).toMatchObject({ sub: 'alice', body: '{"name":"a"}' })
  expect(backend.count('refresh')).toBe(1)
})

test('a step-up asks once, and before anything is sent where the call says so', async () => {
  const { api, auth, site, came } = await setUp()
  await stale(site, auth)
  const asks = withPassword(auth)
  expect((await api.delete('fresh', given({ auth: 'fresh' }))).data.sub).toBe('alice')
  expect(asks()).toBe(1)
  expect(came()).toEqual(['DELETE fresh 200'])
})

test('axios’ own auth goes out as it is, and no token with it', async () => {
  const { api, backend } = await setUp()
  await api.get('optional', { auth: { username: 'a', password: 'b' } })
  expect(backend.log.at(-1)?.headers.authorization).toBe(`Basic ${btoa('a:b')}`)
})

describe('an upload', () => {
  const bytes = new Uint8Array(300_000).map((_, at) => at % 251)

  test('invariant 14: is replayed to the byte, with its progress told', async () => {
    const { api, backend, came } = await setUp()
    backend.expireAccessTokens()
    let loaded = 0
    const onUploadProgress = (event: { loaded: number }): void => {
      loaded = event.loaded
    }
    const { data } = await api.post('upload', new Blob([bytes]), { onUploadProgress })
    const plain = await (
      await backend.fetch('http://x/upload', {
        method: 'POST',
        body: bytes,
        headers: {
          authorization: `Bearer ${backend.issued.findLast(({ kind }) => kind === 'access')?.token}`,
        },
      })
    ).json()
    expect(data).toEqual(plain)
    expect(loaded).toBe(bytes.length)
    expect(came().slice(0, 3)).toEqual(['POST upload 401', 'POST refresh 200', 'POST upload 200'])
  })

  test('of a form arrives with the same boundary twice', async () => {
    const { api, backend } = await setUp()
    backend.expireAccessTokens()
    const form = new FormData()
    form.set('file', new Blob(['content']), 'a.txt')
    const { data } = await api.post('protected', form)
    expect(data.body).toContain('content')
    const sent = backend.log.filter(({ route }) => route === 'protected')
    expect(sent).toHaveLength(2)
    expect(sent[1]?.headers['content-type']).toBe(sent[0]?.headers['content-type'])
    expect(sent[1]?.body).toBe(sent[0]?.body)
  })

  test('that is not to be kept goes once', async () => {
    const { api, backend, came } = await setUp()
    backend.expireAccessTokens()
    const error = await rejection(api.post('upload', new Blob([bytes]), given({ replay: false })))
    expect((error as AxiosError).response?.status).toBe(401)
    await until(() => backend.count('refresh') === 1)
    expect(came().filter((one) => one.includes('upload'))).toEqual(['POST upload 401'])
  })
})

test('a stream is handed on as it comes', async () => {
  const { api, backend } = await setUp()
  backend.expireAccessTokens()
  const { data } = await api.post('protected?raw', 'streamed', { responseType: 'stream' })
  expect(await new Response(data).text()).toBe('streamed')
})

describe('an error', () => {
  test('is axios’ own for the 401 of a session that has ended, and holds no token', async () => {
    const { api, backend } = await setUp()
    later()
    backend.revoke({ sub: 'alice' })
    const error = await rejection(api.get('whoami'))
    expect(isAxiosError(error) && [error.code, error.response?.status]).toEqual(['ERR_BAD_REQUEST', 401])
    expect(leaks(error, ...backend.issued.map(({ token }) => token))).toEqual([])
  })

  test('invariant 4: of a refresh that could not be completed has its code, and the AuthError as its cause', async () => {
    const { api, auth, backend } = await setUp()
    later()
    backend.fault('refresh', { status: 500 })
    const error = await rejection(api.get('whoami'))
    expect(isAxiosError(error) && error.code).toBe('refresh_unavailable')
    const { cause } = error as AxiosError
    expect(isAuthError(cause, 'refresh_unavailable') && cause.retryAt).toBeGreaterThan(0)
    expect(leaks(error, ...backend.issued.map(({ token }) => token))).toEqual([])
    expect(auth.session?.subject).toBe('alice')
  })

  test('of a timeout is axios’ own, and the refresh that the call waited for goes on', async () => {
    const { api, auth, backend } = await setUp()
    later()
    backend.settings.latency = { refresh: { after: 200 } }
    const error = await rejection(api.get('whoami', { timeout: 50 }))
    expect(isAxiosError(error) && error.code).toBe('ETIMEDOUT')
    expect((await api.get('whoami')).data.sub).toBe('alice')
    expect([backend.count('refresh'), auth.session?.version]).toEqual([1, 2])
  })

  test('invariant 9: of a call that was taken back is axios’ own, at once', async () => {
    const { api, backend } = await setUp()
    later()
    backend.settings.latency = { refresh: { after: 200 } }
    const controller = new AbortController()
    const call = rejection(api.get('whoami', { signal: controller.signal }))
    await until(() => backend.count('refresh') === 1)
    controller.abort()
    expect(axios.isCancel(await call)).toBe(true)
    expect(backend.count('whoami')).toBe(0)
  })
})

test('invariant 5: a logout while calls wait for a refresh: none of them goes out', async () => {
  const { api, auth, backend } = await setUp()
  later()
  backend.settings.latency = { refresh: { after: 50 } }
  const waiting = times(5, () => rejection(api.get('whoami')))
  await until(() => backend.count('refresh') === 1)
  await auth.logout()
  for (const error of await Promise.all(waiting)) expect((error as AxiosError).code).toBe('session_changed')
  expect(backend.count('whoami')).toBe(0)
})
