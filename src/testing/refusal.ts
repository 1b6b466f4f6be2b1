/** Turning a token down: the reason, and the answer that either dialect makes of it. */

import { asciiJson } from './encoding.ts'
import type { BackendSettings, RefusalReason } from './types.ts'

/** Thrown where a check fails. `message` is the text of the default dialect. */
export class Refusal extends Error {
  readonly reason: RefusalReason

  constructor(reason: RefusalReason, message: string) {
    super(message)
    this.reason = reason
  }
}

/** A refusal because of the token itself. */
export function invalid(text: string): Refusal {
  return new Refusal('invalid', text)
}

const statuses: Record<RefusalReason, number> = {
  missing: 401,
  csrf: 401,
  invalid: 422,
  expired: 401,
  stale: 401,
  revoked: 401,
  claims: 400,
  user: 401,
}

const authorizationRequired = {
  description: 'Request does not contain an access token.',
  error: 'authorization_required',
}

/** The loaders that the tutorial registers. It leaves the other two reasons as the library has them. */
const tutorial: Partial<Record<RefusalReason, object>> = {
  missing: authorizationRequired,
  csrf: authorizationRequired,
  invalid: { message: 'Signature verification failed.', error: 'invalid_token' },
  expired: { message: 'The token has expired.', error: 'token_expired' },
  stale: { description: 'The token is not fresh.', error: 'fresh_token_required' },
  revoked: { description: 'The token has been revoked.', error: 'token_revoked' },
}

/** The answer to a refused token. */
export function refusalResponse(refusal: Refusal, settings: BackendSettings): Response {
  const body = settings.dialect === 'tutorial' ? tutorial[refusal.reason] : undefined
  return body ? json(401, body) : json(statuses[refusal.reason], { [settings.messageKey]: refusal.message })
}

/** A JSON answer as Flask's `jsonify` writes it: compact, keys sorted, ASCII, a newline at the end. */
export function json(
  status: number,
  body: object,
  cookies: readonly string[] = [],
  headers: Record<string, string> = {},
): Response {
  const sorted = Object.fromEntries(Object.entries(body).sort(([a], [b]) => (a < b ? -1 : 1)))
  const text = `${asciiJson(sorted)}\n`
  const response = new Response(text, {
    status,
    headers: { 'Content-Type': 'application/json', 'Content-Length': String(text.length), ...headers },
  })
  for (const cookie of cookies) response.headers.append('Set-Cookie', cookie)
  return response
}

/** A page as Werkzeug writes it for an HTTP error. */
export function errorPage(
  status: number,
  title: string,
  text: string,
  headers?: Record<string, string>,
): Response {
  return html(
    status,
    `<!doctype html>\n<html lang=en>\n<title>${status} ${title}</title>\n<h1>${title}</h1>\n<p>${text}</p>\n`,
    headers,
  )
}

/** An HTML answer of ASCII text. */
export function html(status: number, text: string, headers?: Record<string, string>): Response {
  return new Response(text, {
    status,
    headers: {
      'Content-Type': 'text/html; charset=utf-8',
      'Content-Length': String(text.length),
      ...headers,
    },
  })
}
