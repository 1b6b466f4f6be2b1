/**
 * SvelteKit: `src/hooks.server.ts`, with `request-auth.ts` beside it. `event.locals.auth` is this request's own, in each
 * `load`, action and `+server.ts`:
 *
 * ```ts
 * export const handle: Handle = createHandle(API_URL)
 * export const handleFetch: HandleFetch = createHandleFetch(API_URL)
 * // src/app.d.ts
 * declare global { namespace App { interface Locals { auth: Auth } } }
 * // src/routes/+page.server.ts
 * export const load = async ({ locals }) => ({ items: await (await locals.auth.fetch('items')).json() })
 * ```
 */
import type { Auth } from 'stayfresh'
import { requestAuth } from './request-auth.ts'

interface Event {
  request: Request
  locals: { auth: Auth }
}

export const createHandle =
  (apiUrl: string) =>
  async <E extends Event>({
    event,
    resolve,
  }: {
    event: E
    resolve: (event: E) => Response | Promise<Response>
  }) => {
    const { auth, respond } = await requestAuth(apiUrl, event.request.headers.get('cookie'))
    event.locals.auth = auth
    return respond(await resolve(event))
  }

/** For a universal `load`: its `fetch` of the API is signed in while the server renders, too. */
export const createHandleFetch =
  (apiUrl: string) =>
  ({ event, request, fetch }: { event: Event; request: Request; fetch: typeof globalThis.fetch }) =>
    request.url.startsWith(apiUrl) ? event.locals.auth.fetch(request) : fetch(request)
