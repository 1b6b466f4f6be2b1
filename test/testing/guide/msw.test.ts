import { setupServer } from 'msw/node'
import { createAuth, flaskJwt } from 'stayfresh'
import { createBackend, fakeTokens } from 'stayfresh/testing'
import { handlers } from 'stayfresh/testing/msw'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'

// As an application has it: over the global fetch, made once.
const auth = createAuth({ baseUrl: 'https://api.test/v1/', backend: flaskJwt() })

const backend = createBackend({ prefix: '/v1/', api: { 'GET items': () => [] } })
const server = setupServer(...handlers(backend, 'https://api.test/v1/'))
beforeAll(() => server.listen())
afterEach(async () => {
  await auth.logout({ revoke: false })
  backend.clearFaults()
  backend.clearLog()
})
afterAll(() => server.close())

test('a call outlives its token', async () => {
  await auth.setTokens(fakeTokens())
  backend.expireAccessTokens()
  expect((await auth.fetch('items')).status).toBe(200)
  backend.expectRefreshes(1)
})

test('the next test begins with nobody signed in and an empty log', () => {
  expect(auth.session).toBeNull()
  expect(backend.count()).toBe(0)
})
