/** The demo server on a port of its own, with pages beside it that hold the built package: see `lab.ts`. */
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { Backend, BackendOptions } from 'stayfresh/testing'
import { onTestFinished } from 'vitest'
import { startDemoServer } from '../../demo-server/server.ts'

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
 * Starts one: rotating refresh tokens with reuse detection, routes under `/api/`, access tokens of a quarter of
 * an hour.
 *
 * @param over registers its end; by default that of the test
 */
export async function labServer(
  options: BackendOptions = {},
  over: (close: () => Promise<void>) => void = onTestFinished,
): Promise<LabServer> {
  script ??= bundle()
  const text = await script
  const { url, backend, close } = await startDemoServer({
    port: 0,
    backend: { accessLifetime: 900_000, ...options },
    serve(pathname) {
      if (pathname === '/lab.js')
        return new Response(text, { headers: { 'content-type': 'text/javascript' } })
      const page = pages[pathname]
      return page && new Response(page.body, { headers: { 'content-type': page.type, ...page.headers } })
    },
  })
  over(close)
  return { url, origin: new URL(url).origin, backend }
}
