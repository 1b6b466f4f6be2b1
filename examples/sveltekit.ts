/**
 * SvelteKit: this file and `request-auth.ts` go to `src/`, beside `hooks.server.ts`. `event.locals.auth` is this request's
 * own, in each `load`, action and `+server.ts`:
 *
 * ```ts
 * // src/hooks.server.ts
 * import type { Handle, HandleFetch } from '@sveltejs/kit/hooks' // SvelteKit 2: '@sveltejs/kit'
 * import { createHandle, createHandleFetch } from './sveltekit'
 * export const handle: Handle = createHandle(API_URL)
 * export const handleFetch: HandleFetch = createHandleFetch(API_URL)
 * // src/app.d.ts
 * import type { Auth } from 'stayfresh'
 * declare global { namespace App { interface Locals { auth: Auth } } }
 * // src/routes/+page.server.ts
 * export const load = async ({ locals }) => ({ items: await (await locals.auth.fetch('items')).json() })
 * ```
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Auth } from 'stayfresh'
import { requestAuth } from './request-auth'

interface Event {
  request: Request
  locals: { auth: Auth }
  isSubRequest: boolean
  cookies: { set(name: string, value: string, attributes: Attributes): void }
}
interface Attributes {
  path: string
  domain?: string
  expires?: Date
  maxAge?: number
  httpOnly: boolean
  secure: boolean
  sameSite: 'lax' | 'strict' | 'none' | false
  encode(value: string): string
}

// A `+server.ts` that a `load` or an action fetches is no request of its own: the browser sees the outer one's cookies.
const outer = new AsyncLocalStorage<Auth>()

export const createHandle =
  (apiUrl: string) =>
  async <E extends Event>({
    event,
    resolve,
  }: {
    event: E
    resolve: (event: E) => Response | Promise<Response>
  }) => {
    const within = event.isSubRequest && outer.getStore()
    if (within) {
      event.locals.auth = within
      return resolve(event)
    }
    const { auth, respond } = await requestAuth(apiUrl, event.request.headers.get('cookie'))
    event.locals.auth = auth
    let response: Response
    try {
      response = await outer.run(auth, () => resolve(event))
    } catch (thrown) {
      // A hook after this one may throw a redirect, which takes no cookies along but those of the event.
      for (const cookie of (await respond(new Response())).headers.getSetCookie()) set(event, cookie)
      throw thrown
    }
    return respond(response)
  }

function set({ cookies }: Event, cookie: string): void {
  const [pair = '', ...rest] = cookie.split(/; */)
  const said = new Map(rest.map((one) => [one.split('=', 1)[0]?.toLowerCase(), one.replace(/^[^=]*=?/, '')]))
  const domain = said.get('domain')
  const expires = said.get('expires')
  const maxAge = said.get('max-age')
  cookies.set(pair.split('=', 1)[0] ?? '', pair.replace(/^[^=]*=/, ''), {
    path: said.get('path') ?? '/',
    ...(domain && { domain }),
    ...(expires && { expires: new Date(expires) }),
    ...(maxAge && { maxAge: Number(maxAge) }),
    httpOnly: said.has('httponly'),
    secure: said.has('secure'),
    sameSite: (said.get('samesite')?.toLowerCase() as Attributes['sameSite'] | undefined) ?? false,
    encode: (value) => value,
  })
}

/** For a universal `load`: its `fetch` of the API is signed in while the server renders, too. */
export const createHandleFetch =
  (apiUrl: string) =>
  ({ event, request, fetch }: { event: Event; request: Request; fetch: typeof globalThis.fetch }) =>
    request.url.startsWith(apiUrl) ? event.locals.auth.fetch(request) : fetch(request)
