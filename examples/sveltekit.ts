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
    return respond(await outer.run(auth, () => resolve(event)))
  }

/** For a universal `load`: its `fetch` of the API is signed in while the server renders, too. */
export const createHandleFetch =
  (apiUrl: string) =>
  ({ event, request, fetch }: { event: Event; request: Request; fetch: typeof globalThis.fetch }) =>
    request.url.startsWith(apiUrl) ? event.locals.auth.fetch(request) : fetch(request)
