/** Finding the token in a request. Looks, and judges only where it was put. */

import { readCookie } from './cookies.ts'
import { decodeText, isRecord, parseJson } from './encoding.ts'
import { invalid, Refusal } from './refusal.ts'
import type { BackendSettings, PresentedToken, RouteName, TokenKind, TokenLocation } from './types.ts'

/** What is looked into. */
export interface Search {
  readonly request: Request
  readonly url: URL
  readonly body: Uint8Array
  readonly settings: BackendSettings
}

/** A token as it was found, or why there is none. */
export type Finding = { readonly token: string; readonly csrf?: string } | { readonly missing: string }

/**
 * Goes through the locations in order. Only "nothing here" leads on to the next: any other failure throws a
 * {@link Refusal}, so that a bad header is not rescued by a good cookie.
 *
 * @param kind Which cookie and which JSON member to read.
 */
export function findToken(search: Search, kind: TokenKind): Finding {
  const { locations } = search.settings
  const reasons: string[] = []
  for (const location of locations) {
    const finding = finders[location](search, kind)
    if ('token' in finding) return finding
    reasons.push(finding.missing)
  }
  if (locations.length === 1) return { missing: reasons[0] ?? '' }
  const names = `${locations.slice(0, -1).join(', ')} or ${locations.at(-1)}`
  return { missing: `Missing JWT in ${names} (${reasons.join('; ')})` }
}

const finders: Record<TokenLocation, (search: Search, kind: TokenKind) => Finding> = {
  headers({ request, settings: { headerName, headerType } }) {
    const header = (request.headers.get(headerName) ?? '').trim().replace(/^,+|,+$/g, '')
    if (!header) return { missing: `Missing ${headerName} Header` }
    const expected = `Expected '${headerName}: ${headerType ? `${headerType} ` : ''}<JWT>'`
    let words = header.split(/\s+/).filter(Boolean)
    if (headerType) {
      const ofType = header
        .split(/,\s*/)
        .map((part) => part.split(/\s+/).filter(Boolean))
        .filter((part) => part[0] === headerType)
      const [only, second] = ofType
      if (!only || second) {
        return { missing: `Missing '${headerType}' type in '${headerName}' header. ${expected}` }
      }
      words = only.slice(1)
    }
    const [token, rest] = words
    if (!token || rest) throw invalid(`Bad ${headerName} header. ${expected}`)
    return { token }
  },

  cookies({ request, body, settings }, kind) {
    const name = settings.cookies[`${kind}Name`]
    const token = readCookie(request, name)
    if (!token) return { missing: `Missing cookie "${name}"` }
    if (!settings.csrfProtect || !settings.csrfMethods.includes(request.method)) return { token }
    const csrf =
      request.headers.get((kind === 'refresh' && settings.csrfRefreshHeader) || settings.csrfHeader) ||
      (settings.csrfCheckForm && formField(request, body))
    // Before the token is decoded: an expired cookie without the header is told of the header.
    if (!csrf) throw new Refusal('csrf', 'Missing CSRF token')
    return { token, csrf }
  },

  query_string({ url, settings: { queryStringName: name, queryStringPrefix: prefix } }) {
    const value = url.searchParams.get(name)
    // The library's own spelling.
    if (!value) return { missing: `Missing '${name}' query paramater` }
    if (!value.startsWith(prefix)) {
      throw invalid(
        `Invalid value for query parameter '${name}'. Expected the value to start with '${prefix}'`,
      )
    }
    return { token: value.slice(prefix.length) }
  },

  json({ request, body }, kind) {
    if (!isJson(request)) return { missing: 'Invalid content-type. Must be application/json.' }
    const data = parseJson(body)
    const token = isRecord(data) && data[`${kind}_token`]
    if (!token) return { missing: `Missing "${kind}_token" key in json data.` }
    if (typeof token !== 'string') throw invalid("Invalid token type. Token must be a <class 'bytes'>")
    return { token }
  },
}

/** Whether the body calls itself JSON. */
export function isJson(request: Request): boolean {
  return /^application\/(?:json|[^;]*\+json)\s*(?:;|$)/i.test(request.headers.get('Content-Type') ?? '')
}

/** Every token in headers, cookies and query string, for the log: the one the route looks at first comes first. */
export function presentedTokens(
  request: Request,
  url: URL,
  route: RouteName,
  settings: BackendSettings,
): PresentedToken[] {
  const found: PresentedToken[] = []
  const add = (where: PresentedToken['where'], token: string | null | undefined): void => {
    if (token) found.push({ where, token })
  }
  for (const location of settings.locations) {
    if (location === 'headers') {
      const header = request.headers.get(settings.headerName)
      if (!header) continue
      if (!settings.headerType) add('header', header.trim())
      // In any case, unlike the server: a token that was sent was sent.
      else {
        const type = settings.headerType.replace(/\W/g, '\\$&')
        for (const [, token] of header.matchAll(RegExp(`\\b${type}\\s+([^\\s,]+)`, 'gi')))
          add('header', token)
      }
    } else if (location === 'cookies') {
      const { accessName, refreshName } = settings.cookies
      const names = route === 'refresh' ? [refreshName, accessName] : [accessName, refreshName]
      for (const name of names) add('cookie', readCookie(request, name))
    } else if (location === 'query_string') {
      add('query', url.searchParams.get(settings.queryStringName)?.slice(settings.queryStringPrefix.length))
    }
  }
  return found
}

function formField(request: Request, body: Uint8Array): string | undefined {
  const type = request.headers.get('Content-Type') ?? ''
  if (!type.startsWith('application/x-www-form-urlencoded')) return undefined
  return new URLSearchParams(decodeText(body)).get('csrf_token') ?? undefined
}
