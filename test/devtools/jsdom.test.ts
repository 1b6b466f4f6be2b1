// @vitest-environment jsdom
import { expect, test } from 'vitest'
import { attachDevtools } from '../../src/devtools.ts'
import { type Auth, createAuth, flaskJwt } from '../../src/index.ts'
import { createBackend, fakeTokens } from '../../src/testing/index.ts'

test('an application under test in jsdom may attach the panel: it stays empty, and nothing breaks', async () => {
  interface Claims {
    role: string
    csrf: string
  }
  const backend = createBackend({ prefix: '/api/' })
  const auth: Auth<Claims, { pin: number }> = createAuth({
    baseUrl: '/api/',
    backend: flaskJwt<Claims, { pin: number }>(),
    fetch: backend.fetch,
    initial: fakeTokens(),
  })
  const detach = attachDevtools(auth, { panel: true })
  backend.expireAccessTokens()
  expect((await auth.fetch('protected')).status).toBe(200)
  expect(document.querySelector('stayfresh-timeline')?.shadowRoot).toBeNull()
  detach()
  expect(document.querySelector('stayfresh-timeline')).toBeNull()
})
