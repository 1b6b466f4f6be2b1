/** examples/sveltekit.ts and examples/request-auth.ts: the API over HTTP, the hooks with the events they are given. */
import { type Auth, isAuthError } from 'stayfresh'
import type { BackendOptions } from 'stayfresh/testing'
import { expect, test, vi } from 'vitest'
import { createHandle, createHandleFetch } from '../../examples/sveltekit.ts'
import { later, rejection } from '../support.ts'
import { all, type Browser, cookiesAt, newBrowser, signedInBrowser, startApi } from './server-side.ts'
import { alice, bob, times, until } from './support.ts'

interface Event {
  request: Request
  locals: { auth: Auth }
  isSubRequest: boolean
  cookies: { set(name: string, value: string, attributes: object): void }
}

type Resolve = (event: Event) => Response | Promise<Response>

const setUp = async (options?: BackendOptions) => {
  const site = await startApi(options)
  const handle = createHandle(site.url)
  /** A page whose `load` asks the API who it is. */
  const load = async ({ locals: { auth } }: Event): Promise<Response> => {
    const answer = await auth.fetch('protected')
    const { sub } = (await answer.json()) as { sub?: string }
    return new Response(`${answer.status} ${sub ?? ''} ${auth.session?.subject ?? ''}`)
  }
  const visit = async (browser: Browser, resolve: Resolve = load, init?: RequestInit) => {
    const event = { request: browser.request('page', init), locals: {}, isSubRequest: false } as Event
    const response = await handle({ event, resolve })
    return { auth: event.locals.auth, response, set: browser.take(response), text: await response.text() }
  }
  return { ...site, site, handle, visit }
}

test('a page is rendered as who asks for it, and nothing is refreshed while the token is good', async () => {
  const { site, visit, backend } = await setUp()
  const browser = await signedInBrowser(site)
  const { text, set } = await visit(browser)
  expect([text, set]).toEqual(['200 alice alice', []])
  expect(backend.count('refresh')).toBe(0)
})

test('what is refreshed on the way goes back to the browser, and the next page is good at once', async () => {
  const { site, visit, came, backend } = await setUp()
  const browser = await signedInBrowser(site)
  const before = browser.cookies()
  later()
  const { text, set } = await visit(browser)
  expect([text, set.sort()]).toEqual(['200 alice alice', [...all].sort()])
  for (const name of all) expect(browser.cookies()[name]).not.toBe(before[name])
  backend.clearLog()
  expect((await visit(browser)).text).toBe('200 alice alice')
  expect(came()).toEqual(['GET whoami 200', 'GET protected 200'])
})

test('a token that would run out while a page is streamed is refreshed before it begins', async () => {
  const { site, visit, backend } = await setUp()
  const browser = await signedInBrowser(site)
  later(885_000)
  const { set } = await visit(browser, () => {
    expect(backend.count('refresh')).toBe(1)
    return new Response()
  })
  expect(set).toHaveLength(4)
})

test('nothing is refreshed beside a page, which would be sent without what that brings', async () => {
  const { site, visit, backend } = await setUp()
  const browser = await signedInBrowser(site)
  later()
  await visit(browser)
  backend.clearLog()
  later(850_000)
  backend.settings.latency = { refresh: { after: 50 } }
  const pages = await Promise.all(times(5, () => visit(browser)))
  expect(pages.map(({ text }) => text)).toEqual(times(5, () => '200 alice alice'))
  expect(backend.count('refresh')).toBe(0)
})

test('a refresh that is under way when the answer begins is waited for, and its cookies go back', async () => {
  const { site, visit, backend } = await setUp()
  const browser = await signedInBrowser(site)
  backend.settings.latency = { refresh: { after: 50 } }
  let late: Promise<Response> | undefined
  const { set } = await visit(browser, async ({ locals: { auth } }) => {
    backend.expireAccessTokens()
    late = auth.fetch('protected')
    await until(() => backend.count('refresh') > 0)
    return new Response()
  })
  expect(set).toHaveLength(4)
  expect((await late)?.status).toBe(200)
})

test('once the answer has begun nothing is refreshed, so that no refresh token is lost with cookies nobody gets', async () => {
  const { site, visit, backend } = await setUp()
  const browser = await signedInBrowser(site)
  const { auth } = await visit(browser)
  backend.expireAccessTokens()
  const error = await rejection(auth.fetch('protected'))
  expect([isAuthError(error, 'refresh_unavailable'), backend.count('refresh')]).toEqual([true, 0])
  expect((await visit(browser)).text).toBe('200 alice alice')
  expect(backend.reuseDetected).toBe(0)
})

test('a +server.ts that a load fetches is of the same request: one auth, one look at who it is, one set of cookies', async () => {
  const { site, handle, visit, came } = await setUp()
  const browser = await signedInBrowser(site)
  const { headers } = browser.request('page')
  later()
  const { text, set } = await visit(browser, async ({ locals }) => {
    const request = new Request('http://127.0.0.1/items', { headers })
    const inner = { request, locals: {}, isSubRequest: true } as Event
    await handle({ event: inner, resolve: ({ locals: { auth } }) => auth.fetch('protected') })
    return new Response(String(inner.locals.auth === locals.auth))
  })
  expect([text, set]).toEqual(['true', all])
  expect(came()).toEqual(['GET whoami 401', 'POST refresh 200', 'GET whoami 200', 'GET protected 200'])
})

test('an answer that takes cookies back with it is kept by no cache, whatever it said; another is left as it is', async () => {
  const { site, visit } = await setUp()
  const browser = await signedInBrowser(site)
  const page = (): Response => new Response('news', { headers: { 'cache-control': 'public, max-age=60' } })
  expect((await visit(browser, page)).response.headers.get('cache-control')).toBe('public, max-age=60')
  later()
  expect((await visit(browser, page)).response.headers.get('cache-control')).toBe('private, no-store')
})

test('who comes back with what an exchange brought gets another: a token may be revoked at once', async () => {
  const { site, visit, backend } = await setUp({ refresh: 'reusable' })
  const browser = await signedInBrowser(site)
  for (const exchanges of [1, 2]) {
    backend.expireAccessTokens()
    const pages = await Promise.all(times(5, () => visit(browser)))
    expect(pages.map(({ text }) => text)).toEqual(times(5, () => '200 alice alice'))
    expect(backend.count('refresh')).toBe(exchanges)
  }
})

test('invariant 1: pages that a browser asks for side by side cost one exchange, those with the old cookies later none', async () => {
  const { site, visit, backend } = await setUp()
  const browser = await signedInBrowser(site)
  const old = newBrowser()
  for (const [name, value] of Object.entries(browser.cookies())) {
    old.take(new Response(null, { headers: { 'set-cookie': `${name}=${value}; Path=/` } }))
  }
  later()
  const pages = await Promise.all(times(10, () => visit(browser)))
  expect(pages.map(({ text }) => text)).toEqual(times(10, () => '200 alice alice'))
  expect(pages.map(({ set }) => set.length)).toEqual(times(10, () => 4))
  expect((await visit(old)).text).toBe('200 alice alice')
  expect([backend.count('refresh'), backend.reuseDetected]).toEqual([1, 0])
  expect((await visit(browser)).text).toBe('200 alice alice')
})

test('invariant 6: two users at once: each request is its own user’s, and so are the cookies that go back', async () => {
  const { site, visit, backend } = await setUp()
  const browsers = [await signedInBrowser(site, alice), await signedInBrowser(site, bob)] as const
  later()
  backend.settings.latency = { refresh: { after: 20 }, protected: { before: 10 } }
  const pages = await Promise.all(times(12, (n) => visit(browsers[n % 2] as Browser)))
  expect(pages.map(({ text }) => text)).toEqual(times(12, (n) => (n % 2 ? '200 bob bob' : '200 alice alice')))
  expect(new Set(pages.map(({ auth }) => auth)).size).toBe(12)
  for (const [n, { response }] of pages.entries()) {
    const sent = response.headers.getSetCookie().find((one) => one.startsWith('access_token_cookie=')) ?? ''
    const token = backend.issued.find((one) => sent.includes(one.token))
    expect(token?.sub).toBe(n % 2 ? 'bob' : 'alice')
  }
  expect(backend.count('refresh')).toBe(2)
})

test('nobody’s page asks the API for nobody, and his own calls carry no cookie', async () => {
  const { site, visit, came } = await setUp()
  const { text, set } = await visit(newBrowser(), async ({ locals: { auth } }) => {
    const { status } = await auth.fetch('optional', { auth: 'optional' })
    return new Response(`${status} ${auth.session}`)
  })
  expect([text, set]).toEqual(['200 null', []])
  expect(cookiesAt(site, 'optional')).toEqual([undefined])
  expect(came().filter((one) => one.includes('refresh'))).toEqual([])
})

test('invariant 8: only its own cookies go to the API', async () => {
  const { site, visit, backend } = await setUp()
  const browser = await signedInBrowser(site)
  browser.take(new Response(null, { headers: { 'set-cookie': 'theme=dark' } }))
  await visit(browser)
  expect(backend.log.some(({ headers }) => headers.cookie?.includes('theme'))).toBe(false)
  expect(cookiesAt(site, 'protected')[0]).toContain('access_token_cookie=')
})

test('invariant 4: while the refresh can not be completed the page is rendered, its calls say so, and the browser keeps its cookies', async () => {
  const { site, visit, backend } = await setUp()
  const browser = await signedInBrowser(site)
  const before = browser.cookies()
  later()
  backend.fault('refresh', { status: 500 }, { times: Number.POSITIVE_INFINITY })
  const { text, set } = await visit(browser, async ({ locals: { auth } }) => {
    const error = await rejection(auth.fetch('protected'))
    return new Response(String(isAuthError(error, 'refresh_unavailable')))
  })
  expect([text, set, browser.cookies()]).toEqual(['true', [], before])
  backend.clearFaults()
  expect((await visit(browser)).text).toBe('200 alice alice')
})

test('an action signs in and out: the cookies go to the browser, and are taken back', async () => {
  const { visit, backend } = await setUp()
  const browser = newBrowser()
  const signIn = async ({ locals: { auth } }: Event): Promise<Response> => {
    await auth.login(alice)
    return new Response(null, { status: 303, headers: { location: '/' } })
  }
  expect((await visit(browser, signIn, { method: 'POST' })).response.status).toBe(303)
  expect(Object.keys(browser.cookies()).sort()).toEqual([...all].sort())
  expect((await visit(browser)).text).toBe('200 alice alice')
  const signOut = async ({ locals: { auth } }: Event): Promise<Response> => {
    await auth.logout()
    return new Response()
  }
  await visit(browser, signOut, { method: 'POST' })
  expect(browser.cookies()).toEqual({})
  expect(backend.sessionAlive('alice')).toBe(false)
})

test('a redirect that a later hook throws takes the cookies of a refresh along, as they came', async () => {
  const { site, handle, visit, backend } = await setUp({ cookies: { persistent: true, sameSite: 'Lax' } })
  const browser = await signedInBrowser(site)
  later()
  const redirect = { status: 303, location: '/home' }
  const cookies = { set: vi.fn() }
  const event = { request: browser.request('page'), locals: {}, isSubRequest: false, cookies } as never
  expect(await rejection(handle({ event, resolve: () => Promise.reject(redirect) }))).toBe(redirect)
  expect(cookies.set.mock.calls.map(([name]) => name)).toEqual(all)
  const attributes = cookies.set.mock.calls[0]?.[2]
  expect(attributes).toMatchObject({ path: '/', httpOnly: true, secure: false, sameSite: 'lax' })
  expect(attributes.maxAge).toBe(31_540_000)
  expect(attributes.expires.getTime()).toBeGreaterThan(Date.now())
  expect(cookies.set.mock.calls[1]?.[2]).toMatchObject({ httpOnly: false })
  for (const [name, value] of cookies.set.mock.calls) {
    browser.take(new Response(null, { headers: { 'set-cookie': `${name}=${value}; Path=/` } }))
  }
  expect((await visit(browser)).text).toBe('200 alice alice')
  expect(backend.count('refresh')).toBe(1)
})

test('a +server.ts may hand on an answer of fetch, whose headers can not be changed', async () => {
  const { site, visit } = await setUp()
  const browser = await signedInBrowser(site)
  later()
  const { text, set } = await visit(browser, ({ locals: { auth } }) =>
    auth.fetch('protected?raw', { method: 'POST', body: 'as it is' }),
  )
  expect([text, set.length]).toEqual(['as it is', 4])
})

test('the fetch of a universal load is signed in for the API, and left alone for the rest', async () => {
  const { site, visit, url } = await setUp()
  const handleFetch = createHandleFetch(url)
  const { text } = await visit(await signedInBrowser(site), async (event) => {
    const fetch = async (): Promise<Response> => Response.json('elsewhere')
    const answers = [`${url}protected`, 'http://127.0.0.1:1/'].map((one) =>
      handleFetch({ event, request: new Request(one), fetch: fetch as typeof globalThis.fetch }),
    )
    const [api, other] = await Promise.all((await Promise.all(answers)).map((one) => one.json()))
    return Response.json([(api as { sub: string }).sub, other])
  })
  expect(text).toBe('["alice","elsewhere"]')
})

test('a server that is not given the refresh token renders with what there is, and the session lives', async () => {
  const { site, visit, backend } = await setUp({ cookies: { refreshPath: '/refresh' } })
  const browser = await signedInBrowser(site)
  expect((await visit(browser)).text).toBe('200 alice alice')
  later()
  const before = browser.cookies()
  const { text, set } = await visit(browser)
  expect([text.trim(), set, browser.cookies()]).toEqual(['401', [], before])
  expect(backend.sessionAlive('alice')).toBe(true)
})
