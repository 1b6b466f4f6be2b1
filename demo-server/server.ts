/**
 * The demo server: the fake backend of `stayfresh/testing` on a real port, so that what a client does can be
 * seen over real HTTP, and in a browser. `node demo-server/server.ts` starts it alone. It listens on loopback only: everybody
 * knows its passwords.
 */
import { realpathSync } from 'node:fs'
import type { Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer, type HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import {
  type Backend,
  type BackendOptions,
  ConnectionDropped,
  createBackend,
  type LogEntry,
} from 'stayfresh/testing'
import { createSite, watchable } from './site.ts'

const HOST = '127.0.0.1'
const DEFAULT_PORT = 4180

/** One request as the server saw it, and how long it took. */
export interface Exchange {
  /** Filled in as the request is served. */
  readonly entry: LogEntry
  /** When it arrived, by `performance.now()`. */
  readonly arrivedAt: number
  /** Resolves when the answer was handed over, or the connection is gone, with that moment. */
  readonly over: Promise<number>
}

export interface DemoServerOptions {
  /** The next free one if it is taken; 0 for any. Default: `PORT` of the environment, else 4180. */
  readonly port?: number
  /** What is not given: routes under `/api/`, access tokens of five seconds, rotating refresh tokens. */
  readonly backend?: BackendOptions
  /** Called when a request has arrived. */
  readonly onExchange?: (exchange: Exchange) => void
  /** What else it serves, by path: asked before anything else. */
  readonly serve?: (pathname: string) => Response | undefined
  /** Whether a browser gets the page yet; before that it is told to wait. Default: at once. */
  readonly ready?: () => boolean
}

export interface DemoServer {
  /** Where a browser finds it, with a trailing slash. */
  readonly url: string
  /** Where the routes live: what a client takes as its `baseUrl`. */
  readonly api: string
  readonly port: number
  /** The port that was asked for and is taken, if so. */
  readonly taken: number | undefined
  readonly backend: Backend
  /** Ends every connection, hanging ones too, and frees the port. */
  close(): Promise<void>
}

/**
 * Starts the backend behind a port of its own.
 *
 * @throws {RangeError} for a port that is none, and where no port is free
 */
export async function startDemoServer({
  port = portFrom(process.env.PORT),
  backend: options = {},
  onExchange,
  serve: besides,
  ready = () => true,
}: DemoServerOptions = {}): Promise<DemoServer> {
  const prefix = `/${options.prefix ?? 'api'}/`.replace(/\/+/g, '/')
  const backend = createBackend({
    accessLifetime: 5_000,
    // The least forgiving server there is: a refresh token used twice ends the session.
    refresh: 'rotating-reuse-detection',
    ...options,
    prefix,
  })

  const site = createSite(backend, ready)

  const serve = async (request: Request, outgoing: ServerResponse): Promise<Response> => {
    const { pathname } = new URL(request.url)
    const beside = besides?.(pathname)
    if (beside) return beside
    if (!pathname.startsWith(prefix) || pathname === '/') {
      const found = await site(request)
      if (found) return found
      if (pathname === '/') return routes(prefix)
      return text(404, `Nothing here; the routes are under ${prefix}\n`)
    }

    const arrivedAt = performance.now()
    const before = backend.log.length
    const answer = backend.fetch(request)
    // The backend enters a request in its log before it waits for anything.
    const entry = backend.log[before]
    if (entry && onExchange) {
      const over = new Promise<number>((resolve) => {
        outgoing.once('close', () => resolve(performance.now()))
      })
      onExchange({ entry, arrivedAt, over })
    }
    try {
      const response = await answer
      return breaks(entry) ? broken(response, outgoing) : response
    } catch (error) {
      const left = request.signal.aborted
      if (!left && !(error instanceof ConnectionDropped)) throw error
      outgoing.socket?.destroy()
      return RESPONSE_ALREADY_SENT
    }
  }

  const server = createAdaptorServer({
    fetch: (request, bindings) => serve(request, (bindings as HttpBindings).outgoing),
    hostname: HOST,
    // A client may live in the same process, and is to be seen with Node's own Request and Response.
    overrideGlobalObjects: false,
  }) as Server

  const listening = await listen(server, port)
  const url = `http://${HOST}:${listening}/`
  return {
    url,
    api: new URL(prefix, url).href,
    port: listening,
    taken: port !== 0 && listening !== port ? port : undefined,
    backend,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** What to tell a person about the port. */
export function whereItListens({ url, port, taken }: DemoServer): string {
  return taken === undefined
    ? `The demo server listens on ${url}`
    : `Port ${taken} is taken; the demo server listens on the next free one, ${port}: ${url}`
}

/** A port as the environment gives it. */
function portFrom(value: string | undefined): number {
  if (value === undefined || value === '') return DEFAULT_PORT
  const port = Number(value)
  if (/^\d+$/.test(value) && port <= 65_535) return port
  throw new RangeError(`PORT takes a whole number from 0 to 65535, got ${JSON.stringify(value)}`)
}

/** Listens on the first free port from `port` on. */
async function listen(server: Server, port: number): Promise<number> {
  for (let candidate = port; candidate <= 65_535; candidate++) {
    const free = await new Promise<boolean>((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException): void => {
        if (error.code === 'EADDRINUSE') resolve(false)
        else reject(error)
      }
      server.once('error', failed)
      server.listen(candidate, HOST, () => {
        server.off('error', failed)
        resolve(true)
      })
    })
    if (free) return (server.address() as AddressInfo).port
  }
  throw new RangeError(`No port from ${port} to 65535 is free`)
}

const breaks = (entry: LogEntry | undefined): boolean =>
  entry?.fault === 'cut-body' || entry?.fault === 'stall-body'

/**
 * A body that breaks off takes its connection with it. The adaptor would log the error of the stream, and make
 * a 500 of one that comes with the first chunks, which it reads ahead unless they are `chunked`.
 */
function broken(response: Response, outgoing: ServerResponse): Response {
  const reader = response.body?.getReader()
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const chunk = await reader?.read()
        if (chunk?.value) controller.enqueue(chunk.value)
        else controller.close()
      } catch {
        outgoing.destroy()
      }
    },
  })
  const headers = new Headers(response.headers)
  headers.delete('content-length')
  headers.set('transfer-encoding', 'chunked')
  return new Response(body, { status: response.status, headers })
}

function routes(prefix: string): Response {
  const known = [
    ['POST login', 'username and password as JSON: alice, wonderland'],
    ['POST fresh-login', 'the same, for a fresh access token alone'],
    ['POST refresh', 'spends a refresh token'],
    ['DELETE logout', 'revokes the token it comes with'],
    ['GET whoami', 'needs an access token'],
    ['ANY protected', 'the same, and tells what came'],
    ['ANY fresh', 'needs a fresh access token'],
    ['ANY optional', 'takes an access token, or none'],
    ['POST upload', 'needs an access token, and tells what came by its checksum'],
  ] as const
  const lines = known.map(([route, what]) => {
    const [method = '', name] = route.split(' ')
    return `  ${method.padEnd(6)} ${`${prefix}${name}`.padEnd(prefix.length + 12)} ${what}`
  })
  return text(
    200,
    `The demo server of stayfresh: a fake backend to try a client against.\n\n${lines.join('\n')}\n`,
  )
}

function text(status: number, body: string): Response {
  return new Response(body, { status, headers: { 'content-type': 'text/plain; charset=utf-8' } })
}

async function main(): Promise<void> {
  const server = await startDemoServer({ backend: watchable })
  console.log(
    `${whereItListens(server)}\nIts page is there for a browser, its routes live under ${server.api}; Ctrl+C stops it.`,
  )
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void server.close())
}

const [, script] = process.argv
if (script !== undefined && realpathSync(script) === import.meta.filename) {
  await main().catch((error: Error) => {
    console.error(error.message)
    process.exitCode = 1
  })
}
