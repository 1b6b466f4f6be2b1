import { createAuth, flaskJwt } from 'stayfresh'
import { createBackend, fakeTokens } from 'stayfresh/testing'
import { expect, test } from 'vitest'

test('two calls on an expired token cost one refresh', async () => {
  const backend = createBackend({ api: { 'GET items': () => [{ id: 1 }] } })
  const auth = createAuth({
    baseUrl: 'https://api.test/',
    backend: flaskJwt(),
    fetch: backend.fetch,
    initial: fakeTokens({ expiresIn: -1 }),
  })
  const [first] = await Promise.all([auth.fetch('items'), auth.fetch('items')])
  expect(await first.json()).toEqual([{ id: 1 }])
  backend.expectRefreshes(1)
})
