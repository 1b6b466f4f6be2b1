/** Tokens in httpOnly cookies, in a real Chromium: on one origin, and across two with CORS. */
import { type Browser, chromium, type Page } from 'playwright-core'
import type { BackendOptions } from 'stayfresh/testing'
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest'
import type { Auth, AuthOptions, FlaskJwtCookiesOptions } from '../../src/index.ts'
import { type CookieServer, cookieServer } from './cookie-server.ts'
import { until } from './support.ts'

declare global {
  var auth: Auth
  var stayfresh: typeof import('../../src/index.ts') & typeof import('../../src/browser.ts')
}

let browser: Browser
beforeAll(async () => {
  browser = await chromium.connect(inject('chromium').endpoint)
})
afterAll(() => browser.close())

interface Opened {
  server: CookieServer
  page: Page
  /** Another page of the same browser. */
  open(options?: ClientOptions): Promise<Page>
}

interface ClientOptions extends Pick<AuthOptions, 'refreshAhead'> {
  preset?: FlaskJwtCookiesOptions
  /** Shared by the pages; by default the session is each page’s own. */
  shared?: boolean
}

interface OpenOptions extends ClientOptions {
  server?: BackendOptions
  apart?: boolean
  signedIn?: boolean
}

async function open({
  server: options,
  apart,
  signedIn = true,
  ...client
}: OpenOptions = {}): Promise<Opened> {
  const server = await cookieServer(options, apart)
  const context = await browser.newContext()
  onTestFinished(() => context.close())
  const opened = async (more: ClientOptions = {}): Promise<Page> => {
    const page = await context.newPage()
    await page.goto(server.page)
    await start(page, server, { ...client, ...more })
    return page
  }
  const page = await opened()
  if (signedIn) {
    await page.evaluate(() => auth.login({ username: 'alice', password: 'wonderland' }))
    server.backend.clearLog()
  }
  return { server, page, open: opened }
}

async function start(
  page: Page,
  { api }: CookieServer,
  { preset, shared, ...more }: ClientOptions,
): Promise<void> {
  await page.evaluate(
    ({ api, preset, shared, more }) => {
      const { createAuth, flaskJwtCookies, browserStore, memoryStore } = stayfresh
      globalThis.auth = createAuth({
        baseUrl: api,
        backend: flaskJwtCookies({ whoami: {}, ...preset }),
        store: shared ? browserStore() : memoryStore(),
        ...more,
      }) as Auth
    },
    { api, preset, shared, more },
  )
}

/** Status, or the name of what was thrown. */
const ask = (page: Page, path: string, method = 'GET', body?: string): Promise<number | string> =>
  page.evaluate(
    async ({ path, ...init }) => {
      try {
        return (await auth.fetch(path, init)).status
      } catch (error) {
        return (error as { code?: string }).code ?? (error as Error).name
      }
    },
    { path, method, body },
  )

const subject = (page: Page): Promise<string | null | undefined> => page.evaluate(() => auth.session?.subject)

const places = [
  ['on one origin', {}, false],
  ['across two', { csrfInBody: true, csrfInCookies: true }, true],
] as const

describe.each(places)('%s', (_, told, apart) => {
  test('a page signs in, reads, writes, refreshes and signs out, and sees no token', async () => {
    const { server, page } = await open({
      server: { ...told, refresh: 'rotating-reuse-detection' },
      apart,
      shared: true,
    })
    const { backend } = server
    expect(await subject(page)).toBe('alice')
    expect(await ask(page, 'protected')).toBe(200)
    expect(await ask(page, 'protected', 'POST', 'a form')).toBe(200)
    backend.expireAccessTokens()
    const many = await page.evaluate(() =>
      Promise.all(
        Array.from(
          { length: 50 },
          async () => (await auth.fetch('protected', { method: 'POST', body: 'x' })).status,
        ),
      ),
    )
    expect(new Set(many)).toEqual(new Set([200]))
    expect([backend.count('refresh'), backend.reuseDetected]).toEqual([1, 0])

    const seen = await page.evaluate(async () => {
      const databases = await Promise.all(
        (await indexedDB.databases()).map(
          ({ name = '' }) =>
            new Promise((resolve) => {
              const request = indexedDB.open(name)
              request.onsuccess = () => {
                const database = request.result
                const all = [...database.objectStoreNames].map(
                  (store) =>
                    new Promise((done) => {
                      const read = database.transaction(store).objectStore(store).getAll()
                      read.onsuccess = () => done(read.result)
                    }),
                )
                resolve(Promise.all(all))
              }
            }),
        ),
      )
      return JSON.stringify([databases, document.cookie, { ...localStorage }, auth.session, auth.history])
    })
    expect(seen).toContain('alice')
    for (const { token } of backend.issued) expect(seen).not.toContain(token.split('.')[2])

    await page.evaluate(() => auth.logout())
    expect(backend.issued.some(({ token }) => backend.isHonoured(token))).toBe(false)
    expect(await page.context().cookies()).toEqual([])
    expect(await ask(page, 'protected')).toBe(401)
  })

  test('after a reload whoami says who it is, and forms go out', async () => {
    const { server, page } = await open({ server: told, apart })
    await page.reload()
    await start(page, server, {})
    expect(await ask(page, 'protected', 'POST', 'a form')).toBe(200)
    expect(await subject(page)).toBe('alice')
    expect(server.came()).toEqual(['GET whoami 200', 'POST protected 200'])
  })

  test('5: after a logout that the server never heard of, no cookie goes out', async () => {
    const { server, page } = await open({ server: told, apart })
    server.backend.fault('logout', { status: 503 })
    await page.evaluate(() => auth.logout())
    expect(await page.context().cookies()).toHaveLength(4)
    expect(await ask(page, 'protected')).toBe(401)
    expect(server.backend.log.at(-1)?.headers.cookie).toBeUndefined()
  })

  test('a value that the server has replaced is cured by one replay, never by a refresh', async () => {
    const { server, page } = await open({ server: { ...told, implicitRefresh: 450_000 }, apart })
    server.backend.advance(500_000)
    expect(await ask(page, 'protected')).toBe(200)
    expect(await ask(page, 'protected', 'POST', 'a form')).toBe(200)
    const came = server.came().filter((line) => !line.includes('whoami'))
    expect(came).toEqual(['GET protected 200', 'POST protected 401', 'POST protected 200'])
  })

  test('1: tabs that share a store refresh once', async () => {
    const {
      server,
      page,
      open: another,
    } = await open({
      server: { ...told, refresh: 'rotating-reuse-detection' },
      apart,
      shared: true,
    })
    const tabs = [page, await another(), await another()]
    for (const tab of tabs) await tab.evaluate(() => auth.ready)
    server.backend.expireAccessTokens()
    const got = await Promise.all(
      tabs.flatMap((tab) => [1, 2, 3].map(() => ask(tab, 'protected', 'POST', 'x'))),
    )
    expect(new Set(got)).toEqual(new Set([200]))
    expect([server.backend.count('refresh'), server.backend.reuseDetected]).toEqual([1, 0])
  })

  test.each([true, false])(
    '6: a form of alice’s does not go out with bob’s cookies (store shared: %s)',
    async (shared) => {
      const { server, page, open: another } = await open({ server: told, apart, shared })
      const other = await another()
      await page.evaluate(() => auth.ready)
      // Held up on its way to the network until bob has signed in: its cookies are bob’s by then.
      let release = (): void => {}
      const released = new Promise<void>((resolve) => {
        release = resolve
      })
      let there = (): void => {}
      const reached = new Promise<void>((resolve) => {
        there = resolve
      })
      await page.route('**/protected', async (route) => {
        there()
        await released
        await route.continue()
      })
      const pending = ask(page, 'protected', 'POST', 'of alice')
      await reached
      await other.evaluate(() => auth.login({ username: 'bob', password: 'builder' }))
      server.backend.clearLog()
      release()
      expect(await pending).toBe(401)
      const posts = server.backend.log.filter(({ route }) => route === 'protected')
      expect(posts.map(({ status, token }) => [status, token?.sub])).toEqual([[401, 'bob']])
      expect(await ask(other, 'protected', 'POST', 'of bob')).toBe(200)
    },
  )

  test('8: what carries a CSRF value follows no redirect, and a stranger gets neither value nor cookie', async () => {
    const { server, page } = await open({ server: told, apart })
    const { stranger, backend } = server
    const to = encodeURIComponent(`${stranger.origin}/`)
    for (const status of [302, 307]) {
      expect(await ask(page, `redirect?status=${status}&to=${to}`, 'POST', 'x')).toBe('TypeError')
    }
    expect(stranger.came).toEqual([])
    expect(backend.log.every(({ headers }) => headers['x-csrf-token'] !== undefined)).toBe(true)
    await ask(page, `redirect?to=${to}`)
    expect(stranger.came.length).toBeGreaterThan(0)
    for (const { headers } of stranger.came) {
      const names = [
        headers.get('cookie'),
        headers.get('x-csrf-token'),
        headers.get('access-control-request-headers'),
      ]
      expect(names).toEqual([null, null, null])
    }
    expect(await page.evaluate(() => auth.session?.version)).toBe(1)
  })
})

describe.each(places)('the hybrid, %s', (_, told, apart) => {
  test('the access token in memory, the refresh token in a cookie: a reload keeps the session', async () => {
    const preset = { accessToken: 'memory', whoami: undefined } as const
    const { server, page } = await open({
      server: {
        ...told,
        locations: ['headers', 'cookies'],
        deliver: 'split',
        refresh: 'rotating-reuse-detection',
      },
      apart,
      preset,
      // The page of another origin keeps the CSRF value; the reload of one on the same origin reads it.
      shared: apart,
    })
    expect(await ask(page, 'protected', 'POST', 'x')).toBe(200)
    await page.reload()
    await start(page, server, { preset, shared: apart })
    server.backend.expireAccessTokens()
    expect(await ask(page, 'protected', 'POST', 'x')).toBe(200)
    expect([await subject(page), server.backend.count('refresh'), server.backend.reuseDetected]).toEqual([
      'alice',
      1,
      0,
    ])
    await page.evaluate(() => auth.logout())
    expect(await page.context().cookies()).toEqual([])
  })
})

test('the hybrid without CSRF values: tabs that are loaded at once bring the session back one after another', async () => {
  const preset = { accessToken: 'memory', csrf: false, whoami: undefined } as const
  const {
    server,
    page,
    open: another,
  } = await open({
    server: {
      locations: ['headers', 'cookies'],
      deliver: 'split',
      csrfProtect: false,
      refresh: 'rotating-reuse-detection',
    },
    preset,
  })
  const { backend } = server
  backend.settings.latency = { refresh: 100 }
  const pages = [page, ...(await Promise.all([1, 2, 3].map(() => another())))]
  await Promise.all(pages.map((one) => one.reload()))
  await Promise.all(pages.map((one) => start(one, server, { preset })))
  expect(await Promise.all(pages.map((one) => ask(one, 'protected')))).toEqual([200, 200, 200, 200])
  expect(backend.reuseDetected).toBe(0)
})

test('5: a refresh that waits for that of another tab is not sent after a logout', async () => {
  const { server, page, open: another } = await open({ server: { accessLifetime: 900_000 } })
  const { backend } = server
  const other = await another()
  expect(await ask(other, 'protected')).toBe(200)
  backend.settings.latency = { refresh: { before: 1_000 } }
  await page.evaluate(() => void auth.refresh().catch(() => {}))
  await until('the first is under way', () => backend.count('refresh') === 1)
  await other.evaluate(async () => {
    void auth.refresh().catch(() => {})
    // The lock has been asked for by then.
    while (!(await navigator.locks.query()).pending?.length) await new Promise((next) => setTimeout(next))
    await auth.logout()
  })
  await until('all turns are over', () =>
    other.evaluate(async () => {
      const { held = [], pending = [] } = await navigator.locks.query()
      return held.length + pending.length === 0
    }),
  )
  expect(backend.log.filter(({ route }) => route === 'refresh')).toHaveLength(1)
})

test.each(places)(
  '4: a tab that is closed in the midst of a refresh loses nothing: %s',
  async (_, told, apart) => {
    let answer = (): void => {}
    const held = new Promise<void>((resolve) => {
      answer = resolve
    })
    const {
      server: { backend },
      page,
      open: another,
    } = await open({
      server: { ...told, refresh: 'rotating-reuse-detection', sleep: () => held },
      apart,
      shared: true,
    })
    const other = await another()
    backend.settings.latency = { refresh: { after: 1 } }
    await page.evaluate(() => void auth.refresh().catch(() => {}))
    await until('the token is spent', () => backend.issued.some(({ generation }) => generation === 1))
    await page.close()
    answer()
    const rotated = async (): Promise<boolean> => {
      const cookies = await other.context().cookies()
      const { value } = cookies.find(({ name }) => name === 'refresh_token_cookie') ?? {}
      return backend.issued.some(({ token, generation }) => token === value && generation === 1)
    }
    await until('the cookies have been taken', rotated)
    expect(await ask(other, 'protected', 'POST', 'x')).toBe(200)
    backend.expireAccessTokens()
    expect(await ask(other, 'protected', 'POST', 'x')).toBe(200)
    expect([await subject(other), backend.reuseDetected]).toEqual(['alice', 0])
  },
)
