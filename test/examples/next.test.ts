/** examples/next.ts: the API over HTTP; the proxy, route handlers and pages with what Next gives them. */
import { isAuthError } from 'stayfresh'
import { expect, test, vi } from 'vitest'
import { createProxy, pageAuth, withAuth } from '../../examples/next.ts'
import { later, rejection } from '../support.ts'
import { all, type Browser, cookiesAt, newBrowser, signedInBrowser, startApi } from './server-side.ts'
import { alice, bob, times } from './support.ts'

/** What `cookies()` of `next/headers` gives in a server component. */
function cookiesOf(headers: Headers): { get(name: string): { name: string; value: string } | undefined } {
  const pairs = (headers.get('cookie') ?? '').split('; ').map((pair) => pair.split('=') as [string, string])
  return {
    get: (name) => pairs.filter(([one]) => one === name).map(([, value]) => ({ name, value }))[0],
  }
}

const setUp = async () => {
  const site = await startApi()
  let rendered = new Headers()
  const next = ({ request }: { request: { headers: Headers } }): Response => {
    rendered = request.headers
    return new Response(null, { headers: { 'x-middleware-next': '1' } })
  }
  const proxy = createProxy(site.url, next)
  /** A page: the proxy first, then a server component with the cookies that it is given. */
  const visit = async (browser: Browser) => {
    const response = await proxy(browser.request('page'))
    const headers = rendered
    const auth = pageAuth(site.url, cookiesOf(headers))
    const answer = await auth.fetch('protected')
    const { sub } = (await answer.json()) as { sub?: string }
    return { response, headers, sub, set: browser.take(response) }
  }
  return { ...site, site, visit, page: (headers: Headers) => pageAuth(site.url, cookiesOf(headers)) }
}

test('the proxy makes the cookies good: for what is rendered, and for the browser', async () => {
  const { site, visit, backend } = await setUp()
  const browser = await signedInBrowser(site)
  browser.take(new Response(null, { headers: { 'set-cookie': 'theme=dark' } }))
  later()
  const { response, headers, sub, set } = await visit(browser)
  expect([sub, set.sort()]).toEqual(['alice', [...all].sort()])
  expect(response.headers.get('x-middleware-next')).toBe('1')
  expect(headers.get('cookie')).toContain('theme=dark')
  expect(headers.get('cookie')).toContain(browser.cookies().access_token_cookie)
  expect((await visit(browser)).set).toEqual([])
  expect(backend.count('refresh')).toBe(1)
})

test('invariant 1: a page and what it prefetches, side by side, cost one exchange', async () => {
  const { site, visit, backend } = await setUp()
  const browser = await signedInBrowser(site)
  later()
  await Promise.all(times(10, () => visit(browser)))
  expect([backend.count('refresh'), backend.reuseDetected]).toEqual([1, 0])
  expect((await visit(browser)).sub).toBe('alice')
})

test('invariant 1: the proxy and a route that it leaves out, each with its own copy of the code, cost one exchange', async () => {
  const { site, visit, backend, url } = await setUp()
  vi.resetModules()
  const copy = await import('../../examples/next.ts')
  expect(copy.withAuth).not.toBe(withAuth)
  const items = copy.withAuth(url, (_, auth) => auth.fetch('protected'))
  const browser = await signedInBrowser(site)
  later()
  const [page, route] = await Promise.all([visit(browser), items(browser.request('items'))])
  expect([page.sub, route.status, browser.take(route).length]).toEqual(['alice', 200, 4])
  expect([backend.count('refresh'), backend.reuseDetected]).toEqual([1, 0])
})

test('a page that is the same for all is kept by no cache while a token goes back with it', async () => {
  const { site, visit } = await setUp()
  const browser = await signedInBrowser(site)
  later()
  expect((await visit(browser)).response.headers.get('cache-control')).toBe('private, no-store')
  expect((await visit(browser)).response.headers.get('cache-control')).toBe(null)
})

test('invariant 6: two users at once: each page is its own user’s', async () => {
  const { site, backend, url } = await setUp()
  const browsers = [await signedInBrowser(site, alice), await signedInBrowser(site, bob)] as const
  later()
  backend.settings.latency = { refresh: { after: 20 }, protected: { before: 10 } }
  const seen = times(12, async (n) => {
    let rendered: Headers | undefined
    const proxy = createProxy(url, ({ request }) => {
      rendered = request.headers
      return new Response()
    })
    const response = await proxy((browsers[n % 2] as Browser).request('page'))
    const answer = await pageAuth(url, cookiesOf(rendered as Headers)).fetch('protected')
    const cookie = response.headers.getSetCookie().find((one) => one.startsWith('access_token_cookie='))
    const token = backend.issued.find((one) => cookie?.includes(one.token))
    return [((await answer.json()) as { sub: string }).sub, token?.sub]
  })
  expect(await Promise.all(seen)).toEqual(times(12, (n) => (n % 2 ? ['bob', 'bob'] : ['alice', 'alice'])))
})

test('a server component never spends the refresh token, nor is it sent: it gets the 401, and the session lives', async () => {
  const { site, page, backend, visit } = await setUp()
  const browser = await signedInBrowser(site)
  later()
  const auth = page(browser.request('page').headers)
  const answers = await Promise.all(times(3, () => auth.fetch('protected')))
  expect(answers.map(({ status }) => status)).toEqual([401, 401, 401])
  for (const cookie of cookiesAt(site, 'protected')) expect(cookie ?? '').not.toContain('refresh')
  expect(await auth.refresh()).toMatchObject({ status: 'expired' })
  expect([backend.count('refresh'), backend.sessionAlive('alice')]).toEqual([0, true])
  expect((await visit(browser)).sub).toBe('alice')
})

test('a server component writes with the CSRF value, and can not sign in', async () => {
  const { site, page, backend } = await setUp()
  const browser = await signedInBrowser(site)
  const auth = page(browser.request('page').headers)
  expect((await auth.fetch('protected', { method: 'POST' })).status).toBe(200)
  expect(backend.log[0]?.headers['x-csrf-token']).toBe(browser.cookies().csrf_access_token)
  expect(isAuthError(await rejection(auth.login(alice)), 'store_read_only')).toBe(true)
})

test('nobody’s page asks as nobody', async () => {
  const { page, site } = await setUp()
  const response = await page(newBrowser().request('page').headers).fetch('protected')
  expect(response.status).toBe(401)
  expect(cookiesAt(site, 'protected')).toEqual([undefined])
})

test('a route handler signs in and out: the cookies go to the browser, and are taken back', async () => {
  const { url, backend } = await setUp()
  const browser = newBrowser()
  const login = withAuth(url, async (request, auth) => {
    await auth.login((await request.json()) as never)
    return new Response(null, { status: 204 })
  })
  browser.take(await login(browser.request('login', { method: 'POST', body: JSON.stringify(alice) })))
  expect(Object.keys(browser.cookies()).sort()).toEqual([...all].sort())
  const logout = withAuth(url, async (_, auth) => {
    await auth.logout()
    return new Response(null, { status: 204 })
  })
  browser.take(await logout(browser.request('logout', { method: 'POST' })))
  expect(browser.cookies()).toEqual({})
  expect(backend.sessionAlive('alice')).toBe(false)
})

test('a route handler gives a wrong password back to the form: the API’s status, and what it said', async () => {
  const { url } = await setUp()
  const login = withAuth(url, async (request, auth) => {
    await auth.login((await request.json()) as never)
    return new Response(null, { status: 204 })
  })
  const body = JSON.stringify({ ...alice, password: 'wrong' })
  const response = await login(newBrowser().request('login', { method: 'POST', body }))
  expect([response.status, await response.json()]).toEqual([401, { message: 'Bad username or password' }])
})

test('a login whose path leads nowhere is no wrong password: it is thrown, and its message says where it went', async () => {
  const { url } = await setUp()
  const login = withAuth(`${url}elsewhere/`, async (_, auth) => {
    await auth.login(alice)
    return new Response(null, { status: 204 })
  })
  const error = await rejection(login(newBrowser().request('login', { method: 'POST' })))
  expect((error as Error).message).toContain(`is there a POST ${url}elsewhere/login?`)
})

test('a route handler’s call past the expiry is good, and its cookies go back with the answer', async () => {
  const { site, url, backend } = await setUp()
  const browser = await signedInBrowser(site)
  later()
  const items = withAuth(url, (_, auth) => auth.fetch('protected'))
  const response = await items(browser.request('items'))
  expect([response.status, browser.take(response).length]).toEqual([200, 4])
  expect(backend.count('refresh')).toBe(1)
})

test('a route handler does nothing for another site’s form', async () => {
  const { site, url, came } = await setUp()
  const browser = await signedInBrowser(site)
  const save = withAuth(url, (_, auth) => auth.fetch('protected', { method: 'POST' }))
  const post = (from: string): Promise<Response> =>
    save(browser.request('save', { method: 'POST', headers: { 'sec-fetch-site': from } }))
  expect((await post('cross-site')).status).toBe(403)
  expect(came()).toEqual([])
  expect((await post('same-origin')).status).toBe(200)
})

test.each([
  ['https://elsewhere.example', 403],
  ['null', 403],
  ['https://app.example', 200],
])('nor where the browser tells no site, only the origin %s', async (origin, status) => {
  const { site, url } = await setUp()
  const browser = await signedInBrowser(site)
  const save = withAuth(url, (_, auth) => auth.fetch('protected', { method: 'POST' }))
  const headers = { origin, host: 'app.example' }
  expect((await save(browser.request('save', { method: 'POST', headers }))).status).toBe(status)
})

/** What Next's `redirect()` throws, and its `notFound()`. */
const thrown = (digest: string): Error => Object.assign(new Error(digest), { digest })

test.each([
  ['redirect()', 'NEXT_REDIRECT;replace;/home;a=1?b=2;307;', [307, '/home;a=1?b=2']],
  ['notFound()', 'NEXT_HTTP_ERROR_FALLBACK;404', [404, null]],
])('a route handler that signs in and ends with %s loses no cookies', async (_, digest, expected) => {
  const { url } = await setUp()
  const browser = newBrowser()
  const login = withAuth(url, async (_, auth) => {
    await auth.login(alice)
    throw thrown(digest)
  })
  const response = await login(browser.request('login', { method: 'POST' }))
  expect([response.status, response.headers.get('location')]).toEqual(expected)
  expect(browser.take(response)).toHaveLength(4)
})

test('a route handler that fails after a refresh answers 500 with its cookies; without any, the error is Next’s', async () => {
  const { site, url, visit } = await setUp()
  const browser = await signedInBrowser(site)
  const error = new Error('Out of order')
  const broken = withAuth(url, () => Promise.reject(error))
  expect(await rejection(broken(browser.request('broken')))).toBe(error)
  later()
  const log = vi.spyOn(console, 'error').mockImplementation(() => {})
  const response = await broken(browser.request('broken'))
  expect([response.status, browser.take(response).length, log.mock.lastCall]).toEqual([500, 4, [error]])
  expect((await visit(browser)).sub).toBe('alice')
})
