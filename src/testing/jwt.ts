/**
 * A token's structure and claims, checked in the order and with the words of PyJWT and of
 * Flask-JWT-Extended's decoder on top of it. The signature is `signer.ts`.
 */

import * as base64url from 'jose/base64url'
import { isRecord, parseJson } from './encoding.ts'
import { invalid, Refusal } from './refusal.ts'
import type { Claims } from './types.ts'

/** What the claims are held against. */
export interface ClaimChecks {
  /** Milliseconds. */
  readonly now: number
  /** Milliseconds. */
  readonly leeway: number
  readonly audience: string | undefined
  readonly issuer: string | undefined
  readonly verifySub: boolean
  /** The double-submit value, where one is needed. */
  readonly csrf: string | undefined
  /** Whether the server has declared this token expired. */
  readonly expiredEarly: boolean
  /** Whether a fraction of `exp` counts, which PyJWT drops. */
  readonly exact: boolean
}

/** The only one that is let in. */
export const algorithm = 'HS256'
// What Python's parser says of text that does not begin like JSON. Its other texts are not worth imitating.
const parserText = 'Expecting value: line 1 column 1 (char 0)'

/** The claims of a token. Throws a {@link Refusal} if it is malformed or its algorithm is not allowed. */
export function parseJwt(token: string): Claims {
  const first = token.indexOf('.')
  const last = token.lastIndexOf('.')
  if (first === last) throw invalid('Not enough segments')
  const header = jsonObject(segment(token.slice(0, first), 'header'), 'header')
  const payload = segment(token.slice(first + 1, last), 'payload')
  segment(token.slice(last + 1), 'crypto')
  // The library reads the payload without verification first, to look up the key: hence before the algorithm.
  const claims = jsonObject(payload, 'payload')
  if (!('alg' in header)) throw invalid('Algorithm not specified')
  if (header.alg !== algorithm) throw invalid('The specified alg value is not allowed')
  return claims
}

/**
 * Checks the claims, in order. Throws a {@link Refusal}.
 *
 * A token that has expired is decoded once more without that check before it is called so, which is why
 * every later check but type, freshness and revocation takes precedence over `expired`.
 */
export function checkClaims(claims: Claims, checks: ClaimChecks): void {
  const now = checks.now / 1000
  const leeway = checks.leeway / 1000
  const { audience, issuer, csrf } = checks

  if ('iat' in claims) {
    const iat = integer(claims.iat, 'Issued At claim (iat)')
    if (iat > now + leeway) throw invalid('The token is not yet valid (iat)')
  }
  if ('nbf' in claims) {
    const nbf = integer(claims.nbf, 'Not Before claim (nbf)')
    if (nbf > now + leeway) throw invalid('The token is not yet valid (nbf)')
  }
  let expired = checks.expiredEarly
  if ('exp' in claims) {
    const exp = integer(claims.exp, 'Expiration Time claim (exp)')
    if ((checks.exact ? Math.floor(Number(claims.exp) * 1000) / 1000 : exp) <= now - leeway) expired = true
  }
  if (issuer !== undefined) {
    if (!('iss' in claims)) throw invalid('Token is missing the "iss" claim')
    if (claims.iss !== issuer) throw invalid('Invalid issuer')
  }
  if (audience !== undefined) {
    if (!claims.aud) throw invalid('Token is missing the "aud" claim')
    const audiences: unknown[] = Array.isArray(claims.aud) ? claims.aud : [claims.aud]
    if (!audiences.includes(audience)) throw invalid("Audience doesn't match")
  }
  if (checks.verifySub && 'sub' in claims && typeof claims.sub !== 'string') {
    throw invalid('Subject must be a string')
  }
  if ('jti' in claims && typeof claims.jti !== 'string') throw invalid('JWT ID must be a string')
  if (!('sub' in claims)) throw invalid('Missing claim: sub')
  if (csrf !== undefined) {
    if (!('csrf' in claims)) throw invalid('Missing claim: csrf')
    if (claims.csrf !== csrf) throw new Refusal('csrf', 'CSRF double submit tokens do not match')
  }
  if (expired) throw new Refusal('expired', 'Token has expired')
}

/** Whether the claims make a token fresh now. A number is a moment in seconds, without leeway. */
export function isFresh(claims: Claims, now: number): boolean {
  return typeof claims.fresh === 'number' ? claims.fresh >= now / 1000 : claims.fresh === true
}

/** Whether it is a refresh token. Every other type, or none, makes an access token. */
export function isRefresh(claims: Claims): boolean {
  return claims.type === 'refresh'
}

function segment(text: string, name: string): Uint8Array {
  const bytes = fromBase64url(text)
  if (!bytes) throw invalid(`Invalid ${name} padding`)
  return bytes
}

/**
 * Bytes of unpadded base64url, `undefined` if it is none. There is one spelling for each: bits to spare in the
 * last character have to be zero, as in recent versions of PyJWT, else two signatures would both pass for one.
 */
function fromBase64url(text: string): Uint8Array | undefined {
  try {
    const bytes = base64url.decode(text)
    return base64url.encode(bytes) === text ? bytes : undefined
  } catch {
    return undefined
  }
}

function jsonObject(bytes: Uint8Array, name: string): Claims {
  const value = parseJson(bytes)
  if (value === undefined) throw invalid(`Invalid ${name} string: ${parserText}`)
  if (!isRecord(value)) throw invalid(`Invalid ${name} string: must be a json object`)
  return value
}

/** Python's `int()`, which drops a fraction and takes digits in a string. */
function integer(value: unknown, claim: string): number {
  if (typeof value === 'number') return Math.trunc(value)
  if (typeof value === 'string' && /^\s*[+-]?\d+\s*$/.test(value)) return Number(value)
  throw invalid(`${claim} must be an integer.`)
}
