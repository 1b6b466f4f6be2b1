/**
 * The server of the benchmarks, in a process of its own as servers are, and lean, so that it is not what is measured.
 * Every contestant has a tenant of its own: a session with rotating refresh tokens, where the reuse of a spent one
 * revokes the session (RFC 9700 section 4.14.2), and counts of what came. `startServer` is the parent's side.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'

export interface Tokens {
  accessToken: string
  refreshToken: string
  /** When the access token expires, in ms since the epoch. */
  expiresAt: number
}

/** A session to be opened at the server. */
export interface Opening {
  /** Life of the first access token, in seconds; later ones last an hour. */
  life?: number
  /** How much of it is over already, in seconds. */
  age?: number
  /** How long a refresh takes, in ms. */
  refreshTakes?: number
}

/** What a tenant's server saw. */
export interface Counts {
  /** All requests, refreshes among them. */
  requests: number
  /** Answered with a 401. */
  refused: number
  refreshes: number
  /** Refresh tokens that were sent again after they had been spent. */
  reuses: number
  /** Bytes of the last upload. */
  bytes: number
}

/** Where a contestant's API is, and the session it starts from. */
export interface Place {
  /** Ends in a slash; beneath it: `items`, `upload`, `refresh` (Bearer), `token` (OAuth 2, JSON or a form). */
  url: string
  tokens: Tokens
  /** A directory, where several clients share the session as tabs do. */
  shared?: string
  /** Called when a client asks for a new login, or says that there is nobody signed in any more. */
  onLoginWanted?: () => void
}

export interface Server {
  open(tenant: string, opening?: Opening): Promise<Place>
  /** What came since it was opened. */
  counts(tenant: string): Promise<Counts>
  stop(): void
}

export async function startServer(): Promise<Server> {
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), ['serve'])
  const [{ port }] = (await once(child, 'message')) as [{ port: number }]
  const waiting: ((answer: never) => void)[] = []
  child.on('message', (answer) => waiting.shift()?.(answer as never))
  const ask = <T>(question: object): Promise<T> =>
    new Promise((resolve) => {
      waiting.push(resolve)
      child.send(question)
    })
  return {
    open: async (tenant, opening = {}) => ({
      url: `http://127.0.0.1:${port}/${tenant}/`,
      tokens: await ask<Tokens>({ tenant, opening }),
    }),
    counts: (tenant) => ask<Counts>({ tenant }),
    stop: () => child.kill(),
  }
}

// --- the child's side ------------------------------------------------------------------------------------------------

interface Tenant extends Counts {
  name: string
  /** Live access tokens, and when they expire. */
  access: Map<string, number>
  refreshToken: string
  refreshTakes: number
}

const HOUR = 3600
const tenants = new Map<string, Tenant>()
let issued = 0

const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const HEADER = encode({ alg: 'HS256', typ: 'JWT' })

/** In the form of a JWT; known by being remembered, so that no time goes into signatures. */
function issue(tenant: Tenant, life: number, age: number): Tokens {
  const iat = Math.floor(Date.now() / 1000) - age
  const exp = iat + life
  const claims = { sub: tenant.name, iat, exp, jti: ++issued, fresh: false, type: 'access' }
  const accessToken = `${HEADER}.${encode(claims)}.${'s'.repeat(43)}`
  tenant.access.set(accessToken, exp * 1000)
  tenant.refreshToken = `refresh-${++issued}`
  return { accessToken, refreshToken: tenant.refreshToken, expiresAt: exp * 1000 }
}

function open(name: string, { life = HOUR, age = 0, refreshTakes = 0 }: Opening): Tokens {
  const counts: Counts = { requests: 0, refused: 0, refreshes: 0, reuses: 0, bytes: 0 }
  const tenant: Tenant = { ...counts, name, access: new Map(), refreshToken: '', refreshTakes }
  tenants.set(name, tenant)
  return issue(tenant, life, age)
}

const OK = Buffer.from(JSON.stringify({ ok: true, items: ['one', 'two', 'three'] }))

function answer(response: ServerResponse, status: number, body: object | Buffer): void {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body))
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length })
  response.end(bytes)
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) text += chunk
  return text
}

async function refresh(tenant: Tenant, request: IncomingMessage, response: ServerResponse): Promise<void> {
  tenant.refreshes++
  const text = await textOf(request)
  let sent = request.headers.authorization?.slice('Bearer '.length)
  // Not Bearer: a form (OAuth 2) or JSON.
  if (!sent && text.startsWith('{')) sent = JSON.parse(text).refresh_token
  else sent ??= new URLSearchParams(text).get('refresh_token') ?? undefined
  if (sent !== tenant.refreshToken) {
    tenant.reuses++
    tenant.access.clear()
    tenant.refreshToken = ''
    answer(response, 401, { msg: 'Token has been revoked', error: 'invalid_grant' })
    return
  }
  // Spent from here on, as with a transaction that is under way.
  const { accessToken, refreshToken, expiresAt } = issue(tenant, HOUR, 0)
  const user = { id: tenant.name }
  const body = {
    access_token: accessToken,
    refresh_token: refreshToken,
    token_type: 'bearer',
    expires_in: HOUR,
    expires_at: expiresAt / 1000,
    user,
  }
  setTimeout(() => answer(response, 200, body), tenant.refreshTakes)
}

function serve(request: IncomingMessage, response: ServerResponse): void {
  const [, name = '', route = ''] = (request.url ?? '').split(/[/?]/)
  const tenant = tenants.get(name)
  if (!tenant) {
    answer(response, 404, {})
    return
  }
  tenant.requests++
  if (route === 'refresh' || route === 'token') {
    void refresh(tenant, request, response)
    return
  }
  const token = request.headers.authorization?.slice('Bearer '.length) ?? ''
  const allowed = (tenant.access.get(token) ?? 0) > Date.now()
  if (!allowed) tenant.refused++
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  request.on('end', () => {
    if (route === 'upload') tenant.bytes = bytes
    if (allowed) answer(response, 200, OK)
    else answer(response, 401, { msg: 'Token has expired' })
  })
}

if (import.meta.main && process.argv[2] === 'serve') {
  const server = createServer({ keepAliveTimeout: 120_000, requestTimeout: 0 }, serve)
  // A thousand at once are to be let in, not to be what is measured.
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
    process.send?.({ port: (server.address() as AddressInfo).port })
  })
  process.on('message', ({ tenant, opening }: { tenant: string; opening?: Opening }) => {
    const { requests, refused, refreshes, reuses, bytes } = tenants.get(tenant) ?? ({} as Counts)
    process.send?.(opening ? open(tenant, opening) : { requests, refused, refreshes, reuses, bytes })
  })
  process.on('disconnect', () => process.exit())
}
