/**
 * Next.js, the server's side: this file and `request-auth.ts` go to `lib/`. A server component can set no cookie, so that a
 * refresh token spent there would be lost, and with it the session: it never is. `proxy.ts` runs before, can, and does.
 *
 * ```ts
 * // proxy.ts
 * import { NextResponse } from 'next/server'
 * import { createProxy } from './lib/next'
 * export const proxy = createProxy(API_URL, NextResponse.next)
 * export const config = { matcher: '/((?!_next/|favicon).*)' }
 * // lib/auth.ts: one for each request
 * import { cookies } from 'next/headers'
 * import { cache } from 'react'
 * import { pageAuth } from './next'
 * export const getAuth = cache(async () => pageAuth(API_URL, await cookies()))
 * // app/page.tsx
 * import { getAuth } from '../lib/auth'
 * export default async function Page() {
 *   const response = await (await getAuth()).fetch('items')
 *   return <pre>{await response.text()}</pre>
 * }
 * // app/login/route.ts
 * import { withAuth } from '../../lib/next'
 * export const POST = withAuth(API_URL, async (request, auth) => {
 *   await auth.login(await request.json())
 *   return new Response(null, { status: 204 })
 * })
 * ```
 */
import { type Auth, createAuth, flaskJwtCookies, isAuthError, type LiveRecord } from 'stayfresh'
import { requestAuth } from './request-auth'

/** Makes the cookies good before anything is rendered: for what is rendered, and for the browser. */
export const createProxy =
  (apiUrl: string, next: (init: { request: { headers: Headers } }) => Response) =>
  async (request: Request): Promise<Response> => {
    const { cookieHeader, respond } = await requestAuth(apiUrl, request.headers.get('cookie'))
    const headers = new Headers(request.headers)
    headers.set('cookie', cookieHeader())
    return respond(next({ request: { headers } }))
  }

/**
 * A route handler: logins and logouts belong here, where cookies can be set. It proves the CSRF value to the API by
 * itself, so that it has to see to it that no other site's form is what it answers.
 */
export const withAuth =
  (apiUrl: string, handle: (request: Request, auth: Auth) => Promise<Response>) =>
  async (request: Request): Promise<Response> => {
    if (!/^(GET|HEAD)$/.test(request.method) && !isOurs(request)) return new Response(null, { status: 403 })
    const { auth, respond } = await requestAuth(apiUrl, request.headers.get('cookie'))
    let error: unknown
    let response: Response
    try {
      response = await handle(request, auth)
    } catch (thrown) {
      // A wrong password is for the form. A path that leads nowhere is a mistake: its message says so, to whoever reads the log.
      const wrong = isAuthError(thrown, 'login_refused') && thrown.status !== 404 && thrown.status !== 405
      if (!wrong) error = thrown
      response = wrong
        ? Response.json({ message: thrown.serverMessage }, { status: thrown.status })
        : answerFor(thrown)
    }
    const answer = await respond(response)
    if (error === undefined) return answer
    // Next takes over, unless there are cookies: what is thrown takes none along.
    if (!answer.headers.has('set-cookie')) throw error
    if (answer.status === 500) console.error(error)
    return answer
  }

/** Whether our own page asks; of what tells no site (`http:`, old browsers) the origin is that of the page. */
function isOurs({ headers }: Request): boolean {
  const site = headers.get('sec-fetch-site')
  if (site) return site === 'same-origin' || site === 'none'
  const origin = headers.get('origin')
  const host = headers.get('x-forwarded-host') ?? headers.get('host')
  return origin === null || (URL.canParse(origin) && new URL(origin).host === host)
}

/** As Next answers what `redirect()` and `notFound()` throw. */
function answerFor(thrown: unknown): Response {
  const [kind, ...said] = String((thrown as { digest?: unknown } | null)?.digest).split(';')
  if (kind === 'NEXT_REDIRECT') {
    const [, ...location] = said.slice(0, -2)
    return new Response(null, { status: Number(said.at(-2)), headers: { location: location.join(';') } })
  }
  return new Response(null, { status: kind === 'NEXT_HTTP_ERROR_FALLBACK' ? Number(said[0]) : 500 })
}

/** For server components and server actions: with the access token there is, and nothing else. */
export function pageAuth(
  apiUrl: string,
  cookies: { get(name: string): { value: string } | undefined },
): Auth {
  const header = ['access_token_cookie', 'csrf_access_token']
    .flatMap((name) => (cookies.get(name) ? `${name}=${cookies.get(name)?.value}` : []))
    .join('; ')
  const token = cookies.get('csrf_access_token')?.value
  const record: LiveRecord | null = token
    ? { revision: token, id: token, version: 1, calledAt: 0, reason: 'initial', access: { token } }
    : null
  return createAuth({
    baseUrl: apiUrl,
    backend: flaskJwtCookies({ cookies: { read: () => header, write() {} } }),
    // Without `commit` a store is read-only: nothing is refreshed, nobody signs in or out.
    store: { name: 'the cookies of a request', read: () => ({ record, now: Date.now() }) },
  })
}
