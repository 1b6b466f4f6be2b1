/**
 * Cookies: reading them from a request, giving out and taking back the four: each token, and its CSRF value beside it.
 *
 * Not by Hono's helpers: they write the attributes in an order that is not Werkzeug's, hold expiry against the
 * real clock, and undo percent signs as they read, which Werkzeug leaves alone.
 */

import type { BackendSettings, IssuedToken } from './types.ts'

const epoch = 'Thu, 01 Jan 1970 00:00:00 GMT'
const persistentSeconds = 31_540_000

/** The first cookie of that name, `undefined` if there is none or it is empty. */
export function readCookie(request: Request, name: string): string | undefined {
  for (const pair of (request.headers.get('Cookie') ?? '').split(';')) {
    const at = pair.indexOf('=')
    if (at < 1 || pair.slice(0, at).trim() !== name) continue
    return (
      pair
        .slice(at + 1)
        .trim()
        .replace(/^"(.*)"$/, '$1') || undefined
    )
  }
  return undefined
}

/** The `Set-Cookie` values that give out a token, with its CSRF value where that is asked for. */
export function tokenCookies(token: IssuedToken, settings: BackendSettings, now: number): string[] {
  const expires = settings.cookies.persistent
    ? `Expires=${new Date(now + persistentSeconds * 1000).toUTCString()}; Max-Age=${persistentSeconds}`
    : ''
  return pair(token.kind, settings, expires, token.token, String(token.claims.csrf))
}

/** The `Set-Cookie` values that take back all four. */
export function clearingCookies(settings: BackendSettings): string[] {
  const expires = `Expires=${epoch}`
  return [...pair('access', settings, expires, '', ''), ...pair('refresh', settings, expires, '', '')]
}

function pair(
  kind: 'access' | 'refresh',
  settings: BackendSettings,
  expires: string,
  token: string,
  csrf: string,
): string[] {
  const cookies = settings.cookies
  // Werkzeug's order of attributes.
  const cookie = (name: string, value: string, path: string, httpOnly: boolean): string =>
    [
      `${name}=${value}`,
      cookies.domain && `Domain=${cookies.domain}`,
      expires,
      cookies.secure && 'Secure',
      httpOnly && 'HttpOnly',
      `Path=${path}`,
      cookies.sameSite && `SameSite=${cookies.sameSite}`,
    ]
      .filter(Boolean)
      .join('; ')

  const set = [cookie(cookies[`${kind}Name`], token, cookies[`${kind}Path`], true)]
  if (settings.csrfProtect && settings.csrfInCookies) {
    set.push(cookie(cookies[`${kind}CsrfName`], csrf, cookies[`${kind}CsrfPath`], false))
  }
  return set
}
