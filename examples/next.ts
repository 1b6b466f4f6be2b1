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
import { type Auth, createAuth, flaskJwtCookies, type LiveRecord } from 'stayfresh'
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
    const from = request.headers.get('sec-fetch-site') ?? 'none'
    if (!/^(GET|HEAD)$/.test(request.method) && !/^(same-origin|none)$/.test(from)) {
      return new Response(null, { status: 403 })
    }
    const { auth, respond } = await requestAuth(apiUrl, request.headers.get('cookie'))
    return respond(await handle(request, auth))
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
