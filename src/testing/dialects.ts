/**
 * Servers that are no Flask: a request of theirs is put in Flask's words before it is served, and the answer in theirs
 * afterwards. What a server does (tokens, rotation, revocation) is the same beneath; what a fault has done to an answer
 * stays as it is.
 */

import { isRecord, parseJson } from './encoding.ts'
import type { Draft } from './journal.ts'
import { json } from './refusal.ts'
import type { Server } from './server.ts'
import type { BackendSettings, Dialect, RouteName } from './types.ts'

/** A request that has arrived. */
export interface Served {
  readonly entry: Draft
  readonly answer: Promise<Response>
}

/** What a dialect works with. */
export interface Speaking {
  readonly request: Request
  /** Its path beneath the prefix. */
  readonly path: string
  /** The prefix, which begins and ends with a slash. */
  readonly root: string
  readonly server: Server
  serve(request: Request): Served
}

interface Manner {
  /** Where routes live, unless `paths` says otherwise. */
  readonly paths: Partial<Record<RouteName, string>>
  answer(speaking: Speaking): Promise<Response>
}

/** Where the routes of a dialect live. */
export function pathsOf(dialect: Dialect | undefined): BackendSettings['paths'] {
  return { ...manners[dialect ?? 'default']?.paths }
}

/** Answers in the dialect of the settings; `undefined` where that is Flask's own. */
export function inDialect(speaking: Speaking): Promise<Response> | undefined {
  return manners[speaking.server.settings.dialect]?.answer(speaking)
}

/** Django REST Framework SimpleJWT 5. */
const simpleJwt: Manner = {
  paths: { login: 'token/', refresh: 'token/refresh/', logout: 'token/blacklist/' },
  async answer({ request, path, server, serve }) {
    const { paths } = server.settings
    const sends = path === paths.refresh || path === paths.logout
    const given = sends ? parseJson(new Uint8Array(await request.clone().arrayBuffer())) : undefined
    const token = isRecord(given) ? given.refresh : undefined
    if (sends && typeof token !== 'string') return json(400, { refresh: ['This field is required.'] })
    const method = path === paths.logout ? 'DELETE' : request.method
    const { entry, answer } = serve(sends ? asFlask(request, request.url, method, String(token)) : request)
    entry.method = request.method
    const response = await answer
    if (entry.fault) return response
    const date = { Date: new Date(server.now()).toUTCString() }
    if (entry.issued.length > 0) {
      const members = entry.issued.map(({ kind, token: value }) => [kind, value])
      return json(200, Object.fromEntries(members), [], date)
    }
    const challenge = { 'WWW-Authenticate': 'Bearer realm="api"', ...date }
    if (entry.route === 'login' && response.status === 401) {
      return json(401, { detail: 'No active account found with the given credentials' }, [], challenge)
    }
    if (entry.route === 'logout' && response.ok) return json(200, {}, [], date)
    if (!entry.error) return response
    if (entry.error === 'missing') {
      return json(401, { detail: 'Authentication credentials were not provided.' }, [], challenge)
    }
    if (entry.error === 'stale')
      return json(403, { detail: 'You do not have permission to perform this action.' })
    const words = { expired: 'Token is expired', revoked: 'Token is blacklisted' } as Record<string, string>
    const message = words[entry.error] ?? 'Token is invalid'
    const messages = [{ token_class: 'AccessToken', token_type: 'access', message }]
    const body = sends
      ? { detail: message, code: 'token_not_valid' }
      : { detail: 'Given token not valid for any token type', code: 'token_not_valid', messages }
    return json(401, body, [], challenge)
  },
}

/** An OAuth 2 server (RFC 6749, RFC 7009) and its API (RFC 6750, RFC 9470). */
const oauth2: Manner = {
  paths: { login: 'token', logout: 'revoke' },
  async answer({ request, path, root, server, serve }) {
    const { paths } = server.settings
    if (request.method === 'POST' && (path === paths.login || path === paths.logout)) {
      const form = new URLSearchParams(await request.clone().text())
      if (path === paths.login) return token(form)
      const { entry, answer } = serve(asFlask(request, request.url, 'DELETE', form.get('token') ?? ''))
      entry.method = request.method
      const response = await answer
      // RFC 7009 section 2.2: a token that is none is as good as revoked.
      return entry.fault ? response : new Response(null)
    }
    const { entry, answer } = serve(request)
    const response = await answer
    if (entry.fault || !entry.error) return response
    const challenges: Record<string, string> = {
      missing: 'Bearer realm="api"',
      stale: 'Bearer error="insufficient_user_authentication", max_age=0',
      claims: 'Bearer error="insufficient_scope"',
    }
    const challenge =
      challenges[entry.error] ?? `Bearer error="invalid_token", error_description="${entry.detail}"`
    const status = entry.error === 'claims' ? 403 : 401
    return new Response(null, { status, headers: { 'WWW-Authenticate': challenge } })

    async function token(form: URLSearchParams): Promise<Response> {
      const grant = form.get('grant_type')
      const username = form.get(grant === 'authorization_code' ? 'code' : 'username') ?? ''
      const password =
        grant === 'authorization_code' ? server.users.get(username)?.password : form.get('password')
      const { entry, answer } = serve(
        grant === 'refresh_token'
          ? asFlask(request, `${root}refresh`, 'POST', form.get('refresh_token') ?? '')
          : asFlask(request, request.url, 'POST', undefined, JSON.stringify({ username, password })),
      )
      const response = await answer
      if (entry.fault) return response
      const [access, refresh] = entry.issued
      if (!access)
        return json(400, { error: 'invalid_grant', error_description: entry.detail ?? 'Not granted' })
      return json(200, {
        access_token: access.token,
        token_type: 'Bearer',
        ...(access.exp !== null && { expires_in: access.exp - Math.floor(server.now() / 1000) }),
        ...(refresh && { refresh_token: refresh.token }),
      })
    }
  },
}

const manners: Partial<Record<Dialect, Manner>> = { 'simple-jwt': simpleJwt, oauth2 }

/** The same request as Flask would have it: a token in the header, or credentials as JSON. */
function asFlask(request: Request, url: string, method: string, token?: string, body?: string): Request {
  const headers = new Headers(request.headers)
  headers.delete('Content-Length')
  headers.delete('Authorization')
  if (token !== undefined) headers.set('Authorization', `Bearer ${token}`)
  if (body !== undefined) headers.set('Content-Type', 'application/json')
  return new Request(new URL(url, request.url), { method, headers, body, signal: request.signal })
}
