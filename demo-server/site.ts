/**
 * What the demo server has for a browser: the page, and the handles by which the page plays tricks on the server.
 * `stayfresh/testing` knows nothing of it.
 */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Backend, BackendSettings, Fault, FaultHandle } from 'stayfresh/testing'
import { style } from '../src/devtools/style.ts'

/** How the server behaves for somebody who watches: tokens that live for seconds, answers that take a while. */
export const watchable: Pick<BackendSettings, 'accessLifetime' | 'latency'> = {
  accessLifetime: 25_000,
  latency: { '*': 350, login: 250, refresh: { before: 600, after: 600 } },
}

/** How long answers take. */
const PACES: Record<Pace, BackendSettings['latency']> = {
  instant: {},
  normal: watchable.latency,
  slow: { '*': 1_200, login: 600, refresh: { before: 1_300, after: 1_200 } },
}

/** What happens to refreshes. */
const REFRESHES: Record<Refreshing, { fault: Fault; times?: number } | undefined> = {
  works: undefined,
  'busy-once': { fault: { status: 503, headers: { 'retry-after': '1' } }, times: 1 },
  fails: { fault: { status: 503 } },
  hangs: { fault: 'hang' },
  drops: { fault: 'drop' },
}

export type Pace = 'instant' | 'normal' | 'slow'
export type Refreshing = 'works' | 'busy-once' | 'fails' | 'hangs' | 'drops'

/** How the server is set, as the page is told it. */
export interface Settings {
  /** Life of new access tokens, in ms. */
  readonly accessLifetime: number
  readonly pace: Pace | 'other'
  readonly refresh: Refreshing
}

/** What the page can ask for. */
export type Command = { readonly do: 'expire' | 'revoke' } | { readonly set: Partial<Settings> }

const CSP = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const FILES: Record<string, { file: string; type: string }> = {
  '/': { file: 'index.html', type: 'text/html; charset=utf-8' },
  '/style.css': { file: 'style.css', type: 'text/css; charset=utf-8' },
  '/icon.svg': { file: 'icon.svg', type: 'image/svg+xml' },
}

const where = (file: string): string => fileURLToPath(new URL(`page/${file}`, import.meta.url))

/** The same for every server of this process. */
let script: Promise<string> | undefined

/** Answers what is the page's, and nothing else (`undefined`). Until it is `ready`, who wants the page has to wait. */
export function createSite(
  backend: Backend,
  ready: () => boolean,
): (request: Request) => Promise<Response | undefined> {
  const { settings } = backend
  let refresh: Refreshing = 'works'
  let fault: FaultHandle | undefined

  const current = (): Settings => ({
    accessLifetime: settings.accessLifetime ?? 0,
    pace: (Object.keys(PACES) as Pace[]).find((pace) => isSame(PACES[pace], settings.latency)) ?? 'other',
    refresh: fault && fault.left > 0 ? refresh : 'works',
  })

  function obey(command: unknown): string | undefined {
    const { do: act, set } = Object(command) as { do?: unknown; set?: unknown }
    if (act === 'expire') return void backend.expireAccessTokens()
    if (act === 'revoke') {
      for (const { id } of backend.families()) backend.revoke({ family: id })
      return undefined
    }
    const { accessLifetime, pace, refresh: refreshing } = Object(set) as Record<string, unknown>
    if (accessLifetime !== undefined) {
      if (typeof accessLifetime !== 'number' || accessLifetime < 2_000 || accessLifetime > 3_600_000) {
        return 'accessLifetime takes milliseconds from 2000 to 3600000'
      }
      settings.accessLifetime = accessLifetime
    } else if (isKey(PACES, pace)) settings.latency = { ...PACES[pace] }
    else if (isKey(REFRESHES, refreshing)) {
      fault?.remove()
      refresh = refreshing
      const { fault: what, times = Infinity } = REFRESHES[refreshing] ?? {}
      fault = what && backend.fault('refresh', what, { times })
    } else return 'Nothing that can be done or set'
    return undefined
  }

  async function control(request: Request, host: string): Promise<Response> {
    // A page of another origin can't send JSON here without a preflight, which nothing answers; a name that was
    // bound to this address anew is told by its own.
    if (!['127.0.0.1', 'localhost'].includes(host)) return json(403, { error: 'Only for this machine' })
    if (request.method === 'GET') return json(200, current())
    if (request.method !== 'POST') return json(405, { error: 'GET or POST' })
    if (request.headers.get('content-type') !== 'application/json') {
      return json(415, { error: 'Send application/json' })
    }
    const error = obey(await request.json().catch(() => undefined))
    return error ? json(400, { error }) : json(200, current())
  }

  return async (request) => {
    const { pathname, hostname } = new URL(request.url)
    if (pathname === '/demo') return control(request, hostname)
    if (pathname === '/page.js') {
      script ??= bundle().catch((error: unknown) => {
        script = undefined
        throw error
      })
      return new Response(await script, { headers: headers('text/javascript; charset=utf-8') })
    }
    const found = FILES[pathname]
    if (!found) return undefined
    // Who asks from a shell gets words.
    if (pathname === '/' && !request.headers.get('accept')?.includes('text/html')) return undefined
    if (pathname === '/' && !ready()) {
      const waiting = 'The steps are under way in the terminal. This page follows when they are over.\n'
      return new Response(waiting, { headers: { ...headers('text/plain; charset=utf-8'), refresh: '1' } })
    }
    const content = await readFile(where(found.file))
    // The drawing brings its own.
    const body = pathname === '/style.css' ? `${style}\n${content}` : content
    return new Response(body, { headers: headers(found.type) })
  }
}

/** The page's script with the built package, as a user's bundler would make it (docs/decisions/0015). */
async function bundle(): Promise<string> {
  const { build } = await import('esbuild')
  const { outputFiles } = await build({
    entryPoints: [where('main.ts')],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    sourcemap: 'inline',
    logLevel: 'error',
  })
  return outputFiles[0]?.text ?? ''
}

const headers = (type: string): Record<string, string> => ({
  'content-type': type,
  'content-security-policy': CSP,
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  vary: 'accept',
  'x-content-type-options': 'nosniff',
})

const json = (status: number, body: object): Response =>
  new Response(JSON.stringify(body), { status, headers: headers('application/json') })

const isSame = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other)

const isKey = <Key extends string>(within: Record<Key, unknown>, key: unknown): key is Key =>
  typeof key === 'string' && Object.hasOwn(within, key)
