/** The application: its routes on Hono, with Flask's answers where none of them fits. */

import { Hono } from 'hono'
import { encodeBase64 } from 'hono/utils/encode'
import { serveApi } from './api.ts'
import { clearingCookies, readCookie, tokenCookies } from './cookies.ts'
import { checksum, decodeText, isRecord, parseJson } from './encoding.ts'
import { findToken, isJson } from './find.ts'
import { admit, present, verify } from './guard.ts'
import { isRefresh } from './jwt.ts'
import { errorPage, html, json, Refusal, refusalResponse } from './refusal.ts'
import { type Call, mint, mintLogin } from './server.ts'
import type { BackendSettings, Claims, IssuedToken, RouteName } from './types.ts'

/**
 * One application for all backends, because making one takes longer than all else that a backend needs. Every
 * request brings its own backend along, as `c.env`, and the route it was found to be for when it arrived.
 */
const app = new Hono<{ Bindings: Call }>({ getPath: (_, { env } = {}) => `/${env?.entry.route}` })

// Not `app.all`, which would take OPTIONS as well.
const everyMethod = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']

app.post('/login', (c) => login(c.env))
app.post('/fresh-login', (c) => freshLogin(c.env))
app.post('/refresh', (c) => refresh(c.env))
app.delete('/logout', (c) => revokeToken(c.env))
app.post('/logout', (c) => (hasPostLogout(c.env.settings) ? logout(c.env) : c.notFound()))
app.on(everyMethod, '/protected', async ({ env: call }) =>
  echo(call, admit(call, await present(call, 'access'), { type: 'access' })),
)
app.on(everyMethod, '/fresh', async ({ env: call }) =>
  echo(call, admit(call, await present(call, 'access'), { type: 'access', fresh: true })),
)
app.on(everyMethod, '/optional', (c) => optional(c.env))
app.on(['POST', 'PUT'], '/upload', (c) => upload(c.env))
app.get('/whoami', (c) => whoami(c.env))
app.post('/validated', (c) => validated(c.env))
app.on(everyMethod, '/redirect', (c) => redirect(c.env))
app.post('/register', (c) => register(c.env))
app.on(everyMethod, '/admin', (c) => admin(c.env))

/** The routes there are, by their names, and what else counters and faults may be asked for. */
export const routeNames: readonly string[] = [
  ...new Set(app.routes.map(({ path }) => path.slice(1))),
  'api',
  'unknown',
  '*',
]

app.notFound(({ env: { entry, request, settings } }) => {
  if (entry.route === 'unknown') {
    return errorPage(
      404,
      'Not Found',
      'The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.',
    )
  }
  const methods = app.routes.filter(({ path }) => path === `/${entry.route}`).map(({ method }) => method)
  const allowed = methods.filter(
    (method) => method !== 'POST' || entry.route !== 'logout' || hasPostLogout(settings),
  )
  const headers = { Allow: [...allowed, ...(allowed.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ') }
  if (request.method === 'OPTIONS') return html(200, '', headers)
  return errorPage(405, 'Method Not Allowed', 'The method is not allowed for the requested URL.', headers)
})

app.onError((error, { env: { entry, settings } }) => {
  if (!(error instanceof Refusal)) throw error
  entry.error = error.reason
  entry.detail = error.message
  return refusalResponse(error, settings)
})

const paths: ReadonlySet<string> = new Set(app.routes.map(({ path }) => path))
// After `paths`: it is reached by what the test calls it, not by a path of its own.
app.on(everyMethod.concat('OPTIONS'), '/api', (c) => (c.env.api ? serveApi(c.env, c.env.api) : c.notFound()))

const onlyTutorial: ReadonlySet<string> = new Set<RouteName>(['register', 'admin'])

/** The built-in route at a path beneath the prefix. */
export function routeAt(path: string, settings: BackendSettings): RouteName {
  const moved = Object.entries(settings.paths).find(([, to]) => to?.replace(/^\//, '') === path)?.[0]
  const name = moved ?? (Object.hasOwn(settings.paths, path) ? '' : path)
  const known = paths.has(`/${name}`) && (settings.dialect === 'tutorial' || !onlyTutorial.has(name))
  return known ? (name as RouteName) : 'unknown'
}

/** Serves a request: never throws a {@link Refusal}, but answers it. */
export async function serve(call: Call): Promise<Response> {
  const response = await app.fetch(call.request, call)
  if (call.settings.implicitRefresh !== undefined) await refreshImplicitly(call, response)
  return response
}

async function login(call: Call): Promise<Response> {
  const username = authenticate(call)
  if (username instanceof Response) return username
  const { access, refresh } = await mintLogin(call.server, username)
  return giveOut(call, [access, refresh], 'login successful')
}

async function freshLogin(call: Call): Promise<Response> {
  const username = authenticate(call)
  if (username instanceof Response) return username
  const { server, settings } = call
  const sub = server.users.get(username)?.sub ?? username
  // The server does not know which login it renews, so the token stands for itself.
  const family = server.ledger.begin(sub, server.now()).id
  const access = await mint(server, { kind: 'access', sub, fresh: settings.fresh, family, generation: 0 })
  return giveOut(call, [access], 'login successful')
}

async function refresh(call: Call): Promise<Response> {
  const { server, settings } = call
  const claims = admit(call, await present(call, 'refresh'), { type: 'refresh' })
  const chain = { sub: String(claims.sub), ...server.ledger.exchange(claims, server.now()) }
  const tokens = [await mint(server, { ...chain, kind: 'access' })]
  if (settings.refresh === 'rotating' || settings.refresh === 'rotating-reuse-detection') {
    tokens.push(await mint(server, { ...chain, kind: 'refresh' }))
  }
  return giveOut(call, tokens, 'refresh successful')
}

/** `DELETE /logout`: revokes the one token it was called with. */
async function revokeToken(call: Call): Promise<Response> {
  const { server, settings } = call
  if (inCookies(settings)) return endInCookies(call)
  const accessOnly = settings.logout === 'access'
  const claims = admit(call, await present(call, 'access'), accessOnly ? { type: 'access' } : {})
  server.ledger.revoke(String(claims.jti))
  if (accessOnly) return json(200, { msg: 'Access token revoked' })
  const name = isRefresh(claims) ? 'Refresh' : 'Access'
  return json(200, { msg: `${name} token successfully revoked` })
}

/** The same where tokens are in cookies: whatever came is revoked, and the cookies are cleared whatever it was worth. */
async function endInCookies(call: Call): Promise<Response> {
  const { request, server, settings } = call
  const wrong: Refusal[] = []
  let answer = 'No token to revoke'
  for (const kind of ['access', 'refresh'] as const) {
    try {
      const { jti } = admit(call, await present(call, kind), {})
      server.ledger.revoke(String(jti))
      answer = 'Tokens revoked'
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      wrong.push(error)
    }
  }
  // One CSRF value proves the request: that of either, looked at before all else.
  const reasons = wrong.map(({ reason }) => reason)
  const proved = reasons.length < 2 || reasons.some((reason) => reason !== 'csrf' && reason !== 'missing')
  if (!proved && reasons.includes('csrf')) throw wrong.find(({ reason }) => reason === 'csrf') as Refusal
  for (const kind of ['access', 'refresh'] as const) {
    const token = readCookie(request, settings.cookies[`${kind}Name`])
    const jti = token && server.ledger.find(token)?.jti
    if (jti) server.ledger.revoke(jti)
  }
  // Nor does implicit refreshing bring one of them back.
  call.claims = undefined
  return json(200, { msg: answer }, clearingCookies(settings))
}

/** `POST /logout`: the tutorial's, which revokes the access token, or that of the cookie examples, which asks for nothing. */
async function logout(call: Call): Promise<Response> {
  const { server, settings } = call
  const cookies = inCookies(settings) ? clearingCookies(settings) : []
  if (settings.dialect !== 'tutorial') return json(200, { msg: 'logout successful' }, cookies)
  const claims = admit(call, await present(call, 'access'), { type: 'access' })
  server.ledger.revoke(String(claims.jti))
  return json(200, { message: 'Successfully logged out' }, cookies)
}

async function optional(call: Call): Promise<Response> {
  const found = findToken(call, 'access')
  // Only "none came" is forgiven.
  if ('missing' in found) return echo(call, undefined)
  return echo(call, admit(call, await verify(call, found), { type: 'access' }))
}

async function upload(call: Call): Promise<Response> {
  admit(call, await present(call, 'access'), { type: 'access' })
  const received = { bytes: call.body.length, checksum: checksum(call.body) }
  if (!call.server.digests) return json(200, received)
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', call.body))
  return json(200, {
    ...received,
    sha256: Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join(''),
  })
}

async function whoami(call: Call): Promise<Response> {
  const claims = admit(call, await present(call, 'access'), { type: 'access' })
  const { request, server, settings } = call
  const { sub, fresh = false, exp = null, iat = null } = claims
  const told = settings.csrfInBody
    ? {
        csrf_access_token: claims.csrf,
        csrf_refresh_token: server.ledger.find(readCookie(request, settings.cookies.refreshName) ?? '')
          ?.claims.csrf,
      }
    : {}
  return json(200, { sub, fresh, exp, iat, ...told })
}

/** A 422 of the application's own: not a word about the token, and more than the one member. */
async function validated(call: Call): Promise<Response> {
  admit(call, await present(call, 'access'), { type: 'access' })
  const data = isJson(call.request) ? parseJson(call.body) : undefined
  const missing = ['name', 'price'].filter((field) => !isRecord(data) || data[field] === undefined)
  if (missing.length === 0) return json(200, { valid: true })
  const errors = Object.fromEntries(missing.map((field) => [field, ['Missing data for required field.']]))
  return call.settings.dialect === 'tutorial'
    ? json(422, { code: 422, status: 'Unprocessable Entity', errors: { json: errors } })
    : json(422, { [call.settings.messageKey]: 'Validation failed', errors })
}

function redirect(call: Call): Response {
  const { searchParams } = call.url
  return html(Number(searchParams.get('status') ?? 302), '', { Location: searchParams.get('to') ?? '/' })
}

function register(call: Call): Response {
  const given = credentials(call)
  if (given instanceof Response) return given
  if (call.server.users.has(given.username)) {
    return smorest(409, 'Conflict', 'A user with that username already exists.')
  }
  call.server.users.set(given.username, { password: given.password })
  return json(201, { message: 'User created successfully.' })
}

async function admin(call: Call): Promise<Response> {
  const claims = admit(call, await present(call, 'access'), { type: 'access' })
  return claims.is_admin === true
    ? json(200, { message: 'Item deleted.' })
    : smorest(401, 'Unauthorized', 'Admin privilege required.')
}

/** What came, to be compared with what was sent: as text, in base64, or with `?raw` as it is. */
function echo(call: Call, claims: Claims | undefined): Response {
  const { request, body, url } = call
  const type = request.headers.get('Content-Type')
  if (url.searchParams.has('raw')) {
    return new Response(body, { headers: { 'Content-Type': type ?? 'application/octet-stream' } })
  }
  return json(200, {
    sub: claims?.sub ?? null,
    method: request.method,
    content_type: type,
    body: decodeText(body),
    base64: encodeBase64(body.buffer),
  })
}

/** The name of the user whose password came, or the answer to what came instead. */
function authenticate(call: Call): string | Response {
  const given = credentials(call)
  if (given instanceof Response) return given
  const user = call.server.users.get(given.username)
  return user && user.password === given.password ? given.username : badCredentials(call)
}

function credentials(call: Call): { username: string; password: string } | Response {
  const tutorial = call.settings.dialect === 'tutorial'
  const typed = isJson(call.request)
  const data = typed ? parseJson(call.body) : undefined
  if (!tutorial && !typed) {
    return errorPage(
      415,
      'Unsupported Media Type',
      'Did not attempt to load JSON data because the request Content-Type was not &#39;application/json&#39;.',
    )
  }
  if (typed && data === undefined) {
    return tutorial
      ? json(400, { code: 400, status: 'Bad Request', errors: { json: ['Invalid JSON body.'] } })
      : errorPage(
          400,
          'Bad Request',
          'The browser (or proxy) sent a request that this server could not understand.',
        )
  }
  const { username, password } = isRecord(data) ? data : {}
  if (typeof username === 'string' && typeof password === 'string') return { username, password }
  if (!tutorial) return badCredentials(call)
  const errors: Record<string, string[]> = {}
  for (const [field, value] of Object.entries({ username, password })) {
    if (value === undefined) errors[field] = ['Missing data for required field.']
    else if (typeof value !== 'string') errors[field] = ['Not a valid string.']
  }
  return json(422, { code: 422, status: 'Unprocessable Entity', errors: { json: errors } })
}

function badCredentials(call: Call): Response {
  return call.settings.dialect === 'tutorial'
    ? smorest(401, 'Unauthorized', 'Invalid credentials.')
    : json(401, { msg: 'Bad username or password' })
}

function giveOut(call: Call, tokens: readonly IssuedToken[], message: string): Response {
  const { settings, server } = call
  call.entry.issued = tokens
  const how = delivery(settings)
  const inCookie = tokens.filter(({ kind }) => how !== 'body' && (how !== 'split' || kind === 'refresh'))
  const inBody = tokens.filter(({ kind }) => how !== 'cookies' && (how !== 'split' || kind === 'access'))
  const cookies = inCookie.flatMap((token) => tokenCookies(token, settings, server.now()))
  const members = Object.fromEntries(inBody.map((token) => [`${token.kind}_token`, token.token]))
  const csrf = settings.csrfInBody
    ? Object.fromEntries(inCookie.map(({ kind, claims }) => [`csrf_${kind}_token`, claims.csrf]))
    : {}
  return json(200, { ...(how === 'cookies' ? { msg: message } : members), ...csrf }, cookies)
}

/** The `after_request` hook of implicit refreshing: once a token was let in, any answer may bring a new access cookie. */
async function refreshImplicitly(call: Call, response: Response): Promise<void> {
  const { claims, server, settings } = call
  if (!claims || typeof claims.exp !== 'number') return
  const now = server.now()
  if (now + (settings.implicitRefresh ?? 0) <= claims.exp * 1000) return
  const sub = String(claims.sub)
  const family = server.ledger.find(call.entry.token?.token ?? '')?.family ?? server.ledger.begin(sub, now).id
  const generation = call.entry.token?.generation ?? 0
  const access = await mint(server, { kind: 'access', sub, family, generation })
  call.entry.issued = [access]
  for (const cookie of tokenCookies(access, settings, now)) response.headers.append('Set-Cookie', cookie)
}

function delivery({ deliver, locations }: BackendSettings): NonNullable<BackendSettings['deliver']> {
  if (deliver) return deliver
  if (!locations.includes('cookies')) return 'body'
  return locations.includes('headers') ? 'both' : 'cookies'
}

function inCookies(settings: BackendSettings): boolean {
  return delivery(settings) !== 'body'
}

function hasPostLogout(settings: BackendSettings): boolean {
  return settings.dialect === 'tutorial' || inCookies(settings)
}

/** An error as flask-smorest writes it. */
function smorest(code: number, status: string, message: string): Response {
  return json(code, { code, status, message })
}
