/** The fake backend on a loopback port of its own, and pages that hold the built package: see `lab.ts`. */
import type { Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { createAdaptorServer, type HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { build } from 'esbuild'
import { type Backend, type BackendOptions, createBackend } from 'stayfresh/testing'
import { onTestFinished } from 'vitest'

/** The page's script, bundled as a user's bundler would: the package's `exports` lead to what was built. */
let script: Promise<string> | undefined

async function bundle(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('lab.ts', import.meta.url))],
    bundle: true,
    write: false,
    format: 'iife',
    target: 'es2022',
    platform: 'browser',
    logLevel: 'error',
  })
  return outputFiles[0]?.text ?? ''
}

const html = (body: string): string => `<!doctype html><meta charset="utf-8"><title>lab</title>${body}`
const lab = '<script src="/lab.js"></script>'

/** What is there beside the backend. */
const pages: Record<string, { type: string; body: string; headers?: Record<string, string> }> = {
  '/': { type: 'text/html', body: html(lab) },
  '/elsewhere': { type: 'text/html', body: html('elsewhere') },
  // Of an origin that is nobody's: every storage is denied it.
  '/denied': {
    type: 'text/html',
    body: html(lab),
    headers: { 'content-security-policy': 'sandbox allow-scripts' },
  },
}

export interface LabServer {
  readonly url: string
  readonly origin: string
  readonly backend: Backend
}

/**
 * Starts one: rotating refresh tokens with reuse detection, routes under `/api/`.
 *
 * @param over registers its end; by default that of the test
 */
export async function labServer(
  options: BackendOptions = {},
  over: (close: () => Promise<void>) => void = onTestFinished,
): Promise<LabServer> {
  script ??= bundle()
  const text = await script
  const backend = createBackend({ refresh: 'rotating-reuse-detection', prefix: '/api/', ...options })

  const serve = async (request: Request, outgoing: ServerResponse): Promise<Response> => {
    const { pathname } = new URL(request.url)
    if (pathname === '/lab.js') return new Response(text, { headers: { 'content-type': 'text/javascript' } })
    const page = pages[pathname]
    if (page) return new Response(page.body, { headers: { 'content-type': page.type, ...page.headers } })
    if (!pathname.startsWith('/api/')) return new Response('', { status: 404 })
    try {
      return await backend.fetch(request)
    } catch {
      // The connection is lost, as a fault asked, or the client has gone.
      outgoing.socket?.destroy()
      return RESPONSE_ALREADY_SENT
    }
  }
  const server = createAdaptorServer({
    fetch: (request, bindings) => serve(request, (bindings as HttpBindings).outgoing),
    overrideGlobalObjects: false,
  }) as Server
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  over(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  )
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { origin, url: `${origin}/`, backend }
}
