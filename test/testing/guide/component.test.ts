// @vitest-environment jsdom
import { type Auth, createAuth, flaskJwt, flaskJwtCookies } from 'stayfresh'
import { createBackend, fakeTokens, withCookies } from 'stayfresh/testing'
import { afterEach, expect, test, vi } from 'vitest'

/** A component with no framework: who is signed in, what they have, and a button that signs them out. */
function mountItems(auth: Pick<Auth, 'fetch' | 'logout' | 'subscribe'>, into: HTMLElement): void {
  const who = document.createElement('p')
  const list = document.createElement('ul')
  const leave = document.createElement('button')
  leave.textContent = 'Sign out'
  leave.onclick = () => void auth.logout()
  into.append(who, list, leave)
  auth.subscribe((session) => {
    who.textContent = session?.subject ?? 'nobody'
    leave.hidden = !session
    if (!session) list.replaceChildren()
  })
  void auth.fetch('items').then(async (response) => {
    if (!response.ok) return
    for (const { name } of (await response.json()) as { name: string }[]) {
      const item = document.createElement('li')
      item.textContent = name
      list.append(item)
    }
  })
}

afterEach(() => document.body.replaceChildren())

test('the component shows what the server has, and nothing after a logout', async () => {
  const backend = createBackend({ prefix: '/api/', api: { 'GET items': () => [{ name: 'Tea' }] } })
  const auth = createAuth({
    baseUrl: '/api/', // relative to the document, as in a browser
    backend: flaskJwt(),
    fetch: backend.fetch,
    initial: fakeTokens({ expiresIn: -1 }),
  })
  mountItems(auth, document.body)
  await vi.waitFor(() => expect(document.querySelector('li')?.textContent).toBe('Tea'))
  backend.expectRefreshes(1)
  document.querySelector('button')?.click()
  expect(document.querySelector('p')?.textContent).toBe('nobody')
  expect(document.querySelector('li')).toBeNull()
  await vi.waitFor(() => expect(backend.sessionAlive('alice')).toBe(false))
})

test('the tokens are in cookies, as the browser keeps them', async () => {
  const backend = withCookies(createBackend({ prefix: '/api/', locations: ['cookies'] }))
  const auth = createAuth({ baseUrl: '/api/', backend: flaskJwtCookies(), fetch: backend.fetch })
  await auth.login({ username: 'alice', password: 'wonderland' })
  backend.expireAccessTokens()
  expect((await auth.fetch('protected', { method: 'POST' })).status).toBe(200)
  expect(document.cookie).not.toContain('access_token_cookie')
  expect(backend.timeline()).toMatchInlineSnapshot(`
    "POST /api/login                                → 200 gives a1 (alice, fresh) r1
    — every access token so far counts as expired
    POST /api/protected  a1 (cookie), r1 (cookie)  → 401 expired
    POST /api/refresh    r1 (cookie), a1 (cookie)  → 200 gives a2 (alice)
    POST /api/protected  a2 (cookie), r1 (cookie)  → 200"
  `)
})
