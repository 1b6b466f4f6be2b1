/**
 * Letting a request in. Two steps, because only the first may have to wait (for WebCrypto): what
 * a route does right after `admit` happens in the same turn as the checks, so that of two requests with one
 * refresh token only the first can spend it.
 *
 * ```ts
 * const claims = admit(call, await present(call, 'refresh'), { type: 'refresh' })
 * ```
 */

import { isFake } from './fake-tokens.ts'
import { type Finding, findToken } from './find.ts'
import { checkClaims, isFresh, isRefresh, parseJwt } from './jwt.ts'
import { invalid, Refusal } from './refusal.ts'
import type { Call } from './server.ts'
import type { Claims, IssuedToken, TokenKind } from './types.ts'

/** A token whose structure and signature are good. */
export interface Candidate {
  readonly claims: Claims
  readonly csrf: string | undefined
  readonly issued: IssuedToken | undefined
}

/** What a route asks of a token. */
export interface Rule {
  /** Default: either. */
  readonly type?: TokenKind
  readonly fresh?: boolean
}

/** Finds the token and verifies its signature. */
export async function present(call: Call, kind: TokenKind): Promise<Candidate> {
  return verify(call, findToken(call, kind))
}

/** Verifies structure and signature of what was found. */
export async function verify(call: Call, found: Finding): Promise<Candidate> {
  if ('missing' in found) throw new Refusal('missing', found.missing)
  const { ledger, signer } = call.server
  // A token given out here is good to the last character, or it would not be found.
  const issued = ledger.find(found.token)
  if (issued) return { claims: issued.claims, csrf: found.csrf, issued }
  const claims = parseJwt(found.token)
  if (!(await signer.verify(found.token))) throw invalid('Signature verification failed')
  return { claims, csrf: found.csrf, issued }
}

/** Checks claims, type, freshness, revocation, and the application's own rules, in the library's order. */
export function admit(call: Call, candidate: Candidate, rule: Rule): Claims {
  const { settings, server } = call
  const { claims, csrf, issued } = candidate
  const { leeway, audience, issuer, verifySub } = settings
  const now = server.now()
  const expiredEarly = server.ledger.isExpiredEarly(issued)
  const exact = isFake(issued)
  checkClaims(claims, { now, leeway, audience, issuer, verifySub, csrf, expiredEarly, exact })

  if (rule.type === 'access' && isRefresh(claims)) throw invalid('Only non-refresh tokens are allowed')
  if (rule.type === 'refresh' && !isRefresh(claims)) throw invalid('Only refresh tokens are allowed')
  if (rule.fresh && !isFresh(claims, now)) throw new Refusal('stale', 'Fresh token required')
  if (server.ledger.isRevoked(claims, now)) {
    if (rule.type === 'refresh') server.ledger.noticeReuse(claims)
    throw new Refusal('revoked', 'Token has been revoked')
  }
  if (settings.verifyClaims && !settings.verifyClaims(claims)) {
    throw new Refusal('claims', 'User claims verification failed')
  }
  const sub = String(claims.sub)
  if (settings.lookupUser && !settings.lookupUser(sub, claims)) {
    throw new Refusal('user', `Error loading the user ${sub}`)
  }
  call.claims = claims
  return claims
}
