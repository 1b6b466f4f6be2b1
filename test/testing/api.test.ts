import { describe, expect, test } from 'vitest'
import { createBackend, fakeTokens } from '../../src/testing/index.ts'
import { bench, start } from './support.ts'

const token = fakeTokens({ now: start }).accessToken
const stale = fakeTokens({ now: start, fresh: false }).accessToken

describe('routes of the test’s own', () => {
  const api = {
    'GET items/:id': ({ params, url }: { params: object; url: URL }) => ({
      ...params,
      q: url.searchParams.get('q'),
    }),
    items: ({ request }: { request: Request }) => request.method,
    '/account': { token: 'fresh' as const, answer: () => undefined },
    greeting: { token: 'optional' as const, answer: ({ sub = 'stranger' }) => sub },
    open: { token: false as const, answer: ({ claims }: { claims: unknown }) => claims ?? null },
    protected: () => 'mine',
  }

  test.each([
    ['/v1/items/a%20b?q=1', {}, 200, { id: 'a b', q: '1' }],
    ['/v1/items/a', { method: 'DELETE' }, 404],
    ['/v1/items/', {}, 404],
    ['/v1/items', { method: 'PATCH' }, 200, 'PATCH'],
    ['/v1/items', { method: 'OPTIONS', token: undefined }, 200, 'OPTIONS'],
    ['/v1/account', { method: 'DELETE' }, 204],
    ['/v1/account', { token: stale }, 401, { msg: 'Fresh token required' }],
    ['/v1/greeting', {}, 200, 'alice'],
    ['/v1/greeting', { token: undefined }, 200, 'stranger'],
    ['/v1/greeting', { token: 'x.y.z' }, 422],
    ['/v1/open', {}, 200, null],
    ['/v1/protected', {}, 200, 'mine'],
    ['/v1/items', { token: undefined }, 401, { msg: 'Missing Authorization Header' }],
    ['/items', {}, 404],
    ['/v1/api', {}, 404],
  ])('%s %o answers %i', async (path, sent, status, body?: unknown) => {
    const { send } = bench({ prefix: '/v1/', api })
    const response = await send(path, { token, ...sent })
    expect(response.status).toBe(status)
    if (body !== undefined) expect(await response.json()).toEqual(body)
  })

  test('they are counted and struck by faults under their names, together as api, and as part of all', async () => {
    const backend = createBackend({ clock: { now: () => start }, api })
    const ask = (path: string): Promise<Response> =>
      backend.fetch(`https://api.test/${path}`, { headers: { Authorization: `Bearer ${token}` } })
    const struck = backend.fault('items', { status: 500 })
    backend.fault('api', { status: 501 })
    expect((await ask('items')).status).toBe(500)
    expect((await ask('open')).status).toBe(501)
    await ask('items')
    await ask('whoami')
    expect(struck.fired).toBe(1)
    expect([backend.count('items'), backend.count('open'), backend.count('api'), backend.count()]).toEqual([
      2, 1, 3, 4,
    ])
    expect([backend.faultsFired('items'), backend.faultsFired('api'), backend.faultsFired()]).toEqual([
      1, 2, 2,
    ])
    expect(backend.log[0]).toMatchObject({ route: 'api', api: 'items' })
    backend.clearLog()
    expect([backend.count('items'), backend.count()]).toEqual([0, 0])
  })

  test('what a route throws, the caller gets', async () => {
    const answer = (): never => {
      throw new RangeError('of the test’s own making')
    }
    const { send } = bench({ api: { broken: { token: false, answer } } })
    await expect(send('/broken')).rejects.toThrow('of the test’s own making')
  })

  test.each([
    [{ x: 'text' }, 'api: "x" takes a function'],
    [
      { x: { token: 'any', answer: () => 1 } },
      'api: "x" takes "access", "fresh", "optional" or false as its token',
    ],
  ])('a wrong one is named: %o', (wrong, message) => {
    expect(() => createBackend({ api: wrong as never })).toThrow(message)
  })
})

test('built-in routes live where paths says, and nowhere else', async () => {
  const { send, backend } = bench({
    prefix: '/v1',
    paths: { refresh: '/token/refresh/', protected: 'items' },
  })
  expect((await send('/v1/token/refresh/', { method: 'POST' })).status).toBe(401)
  expect((await send('/v1/refresh', { method: 'POST' })).status).toBe(404)
  expect((await send('/v1/items', { token })).status).toBe(200)
  expect((await send('/v1/constructor')).status).toBe(404)
  expect([backend.count('refresh'), backend.count('protected')]).toEqual([1, 1])
})
