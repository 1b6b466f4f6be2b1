/**
 * Mock Service Worker handlers over the fake backend. It needs `msw` beside it.
 *
 * @module stayfresh/testing/msw
 */

import { type HttpHandler, HttpResponse, http } from 'msw/http'
import { ConnectionDropped } from './faults.ts'

/** Anything that answers requests: a fake backend, a Hono application, a function of one's own. */
export interface Answering {
  /** Answers a request, as a server does. */
  fetch(request: Request): Response | Promise<Response>
}

/**
 * Handlers that send everything under an origin through the backend, so that the global `fetch` (and all
 * that is built on it, and XMLHttpRequest) reaches it.
 *
 * A dropped connection becomes `HttpResponse.error()`. Requests to other origins are left to other handlers.
 *
 * @param backend Of `createBackend`, or whatever has a `fetch` from request to response.
 * @param origin Such as `https://api.test`; with a path only what is under that path. Give the backend the
 * path as its `prefix` then. Where there is a document it may be relative to it: `/api/`.
 *
 * @throws TypeError if `origin` is no URL.
 *
 * @example
 * ```ts
 * const backend = createBackend()
 * const server = setupServer(...handlers(backend, 'https://api.test'))
 * server.listen()
 * ```
 */
export function handlers(backend: Answering, origin: string): HttpHandler[] {
  // `api.test` is a slip, not a path.
  const { href } = new URL(origin, /^[./]/.test(origin) ? globalThis.document?.baseURI : undefined)
  const base = href.endsWith('/') ? href : `${href}/`
  return [
    http.all(
      ({ request }) => request.url.startsWith(base),
      async ({ request }) => {
        try {
          return await backend.fetch(request)
        } catch (error) {
          // MSW would make a 500 of an exception.
          if (error instanceof ConnectionDropped || request.signal.aborted) return HttpResponse.error()
          throw error
        }
      },
    ),
  ]
}
