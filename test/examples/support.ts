/** What the tests of the examples share: the fake backend on a real port, and a client of it as an application has one. */
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { type Auth, type AuthOptions, createAuth, flaskJwt } from 'stayfresh'
import { type Backend, type BackendOptions, createBackend, type LogEntry } from 'stayfresh/testing'
import { onTestFinished, vi } from 'vitest'

export { times, until } from '../common.ts'

// The machine may have other things to do.
vi.setConfig({ testTimeout: 30_000 })

export const alice = { username: 'alice', password: 'wonderland' }
export const bob = { username: 'bob', password: 'builder' }

export interface Site {
  /** With a trailing slash. */
  readonly url: string
  readonly backend: Backend
  readonly server: Server
  /** `METHOD route status` of what the backend was asked, but for logins. */
  came(): string[]
}

/** Serves the backend; what `beside` answers is served before it. */
export async function listen(
  options: BackendOptions = {},
  beside: (request: Request, backend: Backend) => Promise<Response> | undefined = () => undefined,
): Promise<Site> {
  const backend = createBackend(options)
  const server = createAdaptorServer({
    fetch: (request) => beside(request, backend) ?? backend.fetch(request),
    overrideGlobalObjects: false,
  }) as Server
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    backend,
    server,
    came: () => backend.log.filter(({ route }) => route !== 'login').map(line),
  }
}

export const line = ({ method, route, status }: LogEntry): string => `${method} ${route} ${status}`

/** A client, with alice signed in. */
export async function signedIn({ url }: Site, options: Partial<AuthOptions> = {}): Promise<Auth> {
  const auth = createAuth({ baseUrl: url, backend: flaskJwt(), ...options } as AuthOptions) as Auth
  onTestFinished(() => void auth.dispose())
  await auth.login(alice)
  return auth
}

/** Answers every ask for the password with it; gives the number of asks. */
export function withPassword(auth: Auth): () => number {
  let asks = 0
  auth.on('reauthRequired', (event) => {
    asks++
    event.waitUntil(auth.reauthenticate(alice))
  })
  return () => asks
}

/** Takes the freshness of alice's session, as time would. */
export async function stale({ backend }: Site, auth: Auth): Promise<void> {
  backend.expireAccessTokens()
  await auth.fetch('protected')
  backend.clearLog()
}

/** Whose token it is, by the backend's own word. */
export async function verify(backend: Backend, token: string): Promise<{ sub: string; fresh: boolean }> {
  const headers = { authorization: `Bearer ${token}` }
  const response = await backend.fetch('http://127.0.0.1/whoami', { headers })
  const body = (await response.json()) as { sub: string; fresh: boolean; msg: string }
  if (!response.ok) throw new Error(body.msg)
  return body
}
