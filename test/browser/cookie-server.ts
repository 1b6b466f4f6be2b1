/** The fake backend with its tokens in cookies, and the pages that use it: on one origin, or across two with CORS. */
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { build } from 'esbuild'
import { type Backend, type BackendOptions, createBackend, type LogEntry } from 'stayfresh/testing'
import { onTestFinished } from 'vitest'

export interface CookieServer {
  /** Where the page is. */
  readonly page: string
  /** What a client takes as its `baseUrl`. */
  readonly api: string
  readonly backend: Backend
  /** All that came to a third origin. */
  readonly stranger: { readonly origin: string; readonly came: { method: string; headers: Headers }[] }
  /** `METHOD route status` of what came, preflights left out. */
  came(): string[]
}

let script: Promise<string> | undefined

/** The package, for a page to take what it wants from. */
async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    stdin: {
      contents: "export * from './src/index.ts'; export { browserStore } from './src/browser.ts'",
      resolveDir: new URL('../..', import.meta.url).pathname,
    },
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'stayfresh',
    target: 'es2022',
  })
  return outputFiles[0]?.text ?? ''
}

async function serve(
  host: string,
  answer: (request: Request) => Promise<Response> | Response,
): Promise<string> {
  const server = createAdaptorServer({ fetch: answer, overrideGlobalObjects: false }) as Server
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  onTestFinished(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  )
  return `http://${host}:${(server.address() as AddressInfo).port}`
}

/** What a page of another origin is allowed to, with its cookies. */
function cors(response: Response, origin: string): Response {
  const { headers } = response
  headers.set('access-control-allow-origin', origin)
  headers.set('access-control-allow-credentials', 'true')
  headers.set('access-control-allow-headers', 'content-type, x-csrf-token, authorization')
  headers.set('access-control-allow-methods', 'GET, POST, PUT, PATCH, DELETE')
  headers.set('vary', 'origin')
  return response
}

/** @param apart whether the page is at another origin than the API, of the same site */
export async function cookieServer(options: BackendOptions = {}, apart = false): Promise<CookieServer> {
  script ??= bundle()
  const text = await script
  const backend = createBackend({ locations: ['cookies'], prefix: '/api/', ...options })
  const content = (pathname: string): Response | undefined => {
    if (pathname === '/stayfresh.js')
      return new Response(text, { headers: { 'content-type': 'text/javascript' } })
    const html = '<!doctype html><meta charset="utf-8"><script src="/stayfresh.js"></script>'
    return pathname === '/' ? new Response(html, { headers: { 'content-type': 'text/html' } }) : undefined
  }
  const came: { method: string; headers: Headers }[] = []
  const stranger = await serve('stranger.localhost', ({ method, headers }) => {
    came.push({ method, headers })
    const origin = headers.get('origin') ?? '*'
    return cors(new Response(null, { status: method === 'OPTIONS' ? 204 : 401 }), origin)
  })
  const nothing = (): Response => new Response(null, { status: 404 })
  const page = apart
    ? await serve('app.site.localhost', ({ url }) => content(new URL(url).pathname) ?? nothing())
    : undefined
  const api = await serve('api.site.localhost', async (request) => {
    const own = page ? undefined : content(new URL(request.url).pathname)
    if (own) return own
    if (page && request.method === 'OPTIONS') return cors(new Response(null, { status: 204 }), page)
    const response = await backend.fetch(request)
    return page ? cors(response, page) : response
  })
  return {
    page: page ?? api,
    api: `${api}/api/`,
    backend,
    stranger: { origin: stranger, came },
    came: () => backend.log.map(({ method, route, status }: LogEntry) => `${method} ${route} ${status}`),
  }
}
