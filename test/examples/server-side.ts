/** What the tests of the server sides share: an API with tokens in cookies, and browsers that hold them. */
import type { BackendOptions, RouteName } from 'stayfresh/testing'
import { CookieJar } from 'tough-cookie'
import { alice, listen, type Site } from './support.ts'

/** A browser, as far as cookies go. */
export interface Browser {
  /** A request for a page, with the cookies that there are. */
  request(path: string, init?: RequestInit): Request
  /** Takes the cookies of an answer, and gives their names. */
  take(response: Response): string[]
  cookies(): Record<string, string>
}

const app = 'http://127.0.0.1/'

export const startApi = (options?: BackendOptions, beside?: Parameters<typeof listen>[1]): Promise<Site> =>
  listen({ locations: ['cookies'], refresh: 'rotating-reuse-detection', ...options }, beside)

export function newBrowser(jar = new CookieJar()): Browser {
  return {
    request(path, init) {
      const url = new URL(path, app).href
      const headers = new Headers(init?.headers)
      const cookie = jar.getCookieStringSync(url)
      if (cookie) headers.set('cookie', cookie)
      return new Request(url, { ...init, headers })
    },
    take(response) {
      const cookies = response.headers.getSetCookie()
      for (const cookie of cookies) jar.setCookieSync(cookie, app)
      return cookies.map((cookie) => cookie.split('=', 1)[0] ?? '')
    },
    cookies: () => Object.fromEntries(jar.getCookiesSync(app).map(({ key, value }) => [key, value])),
  }
}

/** A browser whose user has signed in. */
export async function signedInBrowser({ url, backend }: Site, as = alice): Promise<Browser> {
  const browser = newBrowser()
  const headers = { 'content-type': 'application/json' }
  browser.take(await fetch(`${url}login`, { method: 'POST', headers, body: JSON.stringify(as) }))
  backend.clearLog()
  return browser
}

export const all = ['access_token_cookie', 'csrf_access_token', 'refresh_token_cookie', 'csrf_refresh_token']

/** What each request to a route carried as cookies. */
export const cookiesAt = ({ backend }: Site, route: RouteName): (string | undefined)[] =>
  backend.log.filter((entry) => entry.route === route).map(({ headers }) => headers.cookie)
