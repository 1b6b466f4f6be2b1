import { HttpResponse, http } from 'msw/http'
import { setupServer } from 'msw/node'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type Backend, createBackend } from '../../src/testing/index.ts'
import { handlers } from '../../src/testing/msw.ts'

const server = setupServer()
beforeAll(() => server.listen({ onUnhandledFrame: 'error' }))
afterEach(() => server.resetHandlers())
afterAll(() => server.close())

function install(origin = 'https://api.test', prefix?: string): Backend {
  const backend = createBackend({ prefix })
  server.use(...handlers(backend, origin))
  return backend
}

test('the global fetch reaches the backend, and what it says comes back', async () => {
  const backend = install()
  const login = await fetch('https://api.test/login', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ username: 'alice', password: 'wonderland' }),
  })
  const { access_token } = (await login.json()) as { access_token: string }
  const headers = { Authorization: `Bearer ${access_token}` }
  const body = Uint8Array.from([0, 255, 10, 13, 128])
  const echoed = await fetch('https://api.test/protected?raw', { method: 'PUT', headers, body })
  expect(new Uint8Array(await echoed.arrayBuffer())).toEqual(body)
  const refused = await fetch('https://api.test/protected')
  expect([refused.status, await refused.json()]).toEqual([401, { msg: 'Missing Authorization Header' }])
  expect(backend.log.map(({ route, status }) => [route, status])).toEqual([
    ['login', 200],
    ['protected', 200],
    ['protected', 401],
  ])
})

test.each(['drop', 'drop-after'] as const)('a connection lost by %s is a network error', async (fault) => {
  const backend = install()
  const handle = backend.fault('protected', fault)
  await expect(fetch('https://api.test/protected')).rejects.toThrow(TypeError)
  expect(handle.fired).toBe(1)
  expect((await fetch('https://api.test/protected')).status).toBe(401)
})

test('a hanging request ends with its signal', async () => {
  const backend = install()
  backend.fault('protected', 'hang')
  const controller = new AbortController()
  const answer = fetch('https://api.test/protected', { signal: controller.signal })
  await expect.poll(() => backend.count('protected')).toBe(1)
  controller.abort()
  await expect(answer).rejects.toMatchObject({ name: 'AbortError' })
})

test('a body that breaks off rejects as it is read', async () => {
  const backend = install()
  backend.fault('protected', 'cut-body')
  const response = await fetch('https://api.test/protected')
  await expect(response.text()).rejects.toThrow()
})

test('other origins, and other paths than the given, are left to others', async () => {
  server.use(http.all('*', () => HttpResponse.text('elsewhere')))
  const backend = install('https://api.test/v1', '/v1')
  for (const url of [
    'https://api.test.evil/v1/protected',
    'https://api.test/v10/protected',
    'http://api.test/v1/x',
  ]) {
    expect(await (await fetch(url)).text()).toBe('elsewhere')
  }
  expect((await fetch('https://api.test/v1/protected')).status).toBe(401)
  expect(backend.count()).toBe(1)
})

test('an origin that is none is refused at once', () => {
  expect(() => handlers(createBackend(), 'api.test')).toThrow(TypeError)
})
