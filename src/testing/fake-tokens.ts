/**
 * Tokens without a server: made at once, read by any client, and honoured by every fake backend that has the same
 * secret. The signature is the one of the `fast` signer, which no real server takes.
 */

import { isRecord } from './encoding.ts'
import { parseJwt } from './jwt.ts'
import { defaultSecret, fastSigner } from './signer.ts'
import type { Claims, FakeTokens, FakeTokensOptions, IssuedToken, TokenKind } from './types.ts'

const defaultLife = 15 * 60
const defaultRefreshLife = 30 * 24 * 60 * 60

/** How many pairs were made so far in this realm: the order in which they and what the test does to all tokens came. */
let made = 0

/** See {@link made}. */
export function fakesMade(): number {
  return made
}

/**
 * An access and a refresh token as a login gives them, at once: to sign a client in without a request.
 *
 * They are JWTs with the claims of Flask-JWT-Extended, but for their stamps, which have milliseconds. Every
 * {@link createBackend} honours them whose `secret` is the same (by default it is), whoever the subject is, and knows
 * them from the first request on that brings one: then they stand in `issued` and `families()`, and are spent, revoked
 * and counted as its own are. What `expireAccessTokens()` and `revoke({ sub })` did before that holds for them, too.
 *
 * @throws TypeError for an option that is none, naming it.
 *
 * @example
 * ```ts
 * const backend = createBackend()
 * const auth = createAuth({ baseUrl, backend: flaskJwt(), fetch: backend.fetch, initial: fakeTokens() })
 * ```
 *
 * @example One that has run out, of somebody who is not fresh, for another backend preset:
 * ```ts
 * await auth.setTokens(fakeTokens({ subject: '42', fresh: false, expiresIn: -1, claims: { user_id: '42' } }))
 * ```
 */
export function fakeTokens(options: FakeTokensOptions = {}): FakeTokens {
  const {
    subject = 'alice',
    fresh = true,
    expiresIn = defaultLife,
    refreshExpiresIn = defaultRefreshLife,
    claims = {},
    now = Date.now(),
    secret = defaultSecret,
    ...others
  } = options
  for (const name of Object.keys(others)) throw new TypeError(`fakeTokens knows no option "${name}"`)
  check('subject', subject, typeof subject === 'string', 'a string')
  check('fresh', fresh, typeof fresh === 'boolean', 'a boolean')
  for (const [name, life] of Object.entries({ expiresIn, refreshExpiresIn })) {
    check(name, life, life === null || Number.isFinite(life), 'seconds, or null for no expiry')
  }
  check('claims', claims, isRecord(claims), 'an object')
  check('now', now, Number.isFinite(now), 'milliseconds since 1970')
  check('secret', secret, typeof secret === 'string' && secret !== '', 'a string, not empty')

  const pair = `fake-${++made}-${crypto.randomUUID()}`
  const signer = fastSigner(secret)
  // With milliseconds (RFC 7519 section 2 allows them): cut to whole seconds a short life would be the shorter the later
  // in a second a test begins. And never a whole one, which a client has to take for one that was cut.
  const from = (Math.floor(now) + 0.5) / 1000
  const token = (kind: TokenKind, life: number | null, usual: number): string => {
    const exp = life === null ? undefined : from + life
    // What has run out was given out before: a life that ends before it begins would say nothing.
    const iat = exp !== undefined && life !== null && life <= 0 ? exp - usual : from
    const payload: Claims = {
      fresh: kind === 'access' && fresh,
      iat,
      jti: `${pair}-${kind}`,
      type: kind,
      sub: subject,
      nbf: iat,
      csrf: crypto.randomUUID(),
      exp,
      ...claims,
    }
    return signer.sign(payload)
  }
  return {
    accessToken: token('access', expiresIn, defaultLife),
    refreshToken: token('refresh', refreshExpiresIn, defaultRefreshLife),
  }
}

function check(name: string, given: unknown, good: boolean, takes: string): void {
  if (good) return
  // Never what it holds: it might be a token.
  throw new TypeError(`fakeTokens: ${name} takes ${takes}, got ${given === null ? 'null' : typeof given}`)
}

/** Whether a token that a backend knows is one of {@link fakeTokens}, or of a session that began with one. */
export function isFake(token: IssuedToken | undefined): boolean {
  return token?.family.startsWith('fake-') ?? false
}

/** What a token of {@link fakeTokens} tells. */
export interface Fake {
  /** The place of its pair in the order of all. */
  readonly order: number
  /** The id of its pair. */
  readonly family: string
  readonly kind: TokenKind
  readonly claims: Claims
}

/** Reads a token of {@link fakeTokens} under that secret; `undefined` for any other. */
export function fakeReader(secret: string): (token: string) => Fake | undefined {
  const signer = fastSigner(secret)
  return (token) => {
    if (!signer.verify(token)) return undefined
    const claims = claimsOf(token)
    const [, family, order, kind] =
      /^(fake-(\d+)-[\da-f-]{36})-(access|refresh)$/.exec(String(claims?.jti)) ?? []
    if (!claims || !family || !kind) return undefined
    return { order: Number(order), family, kind: kind as TokenKind, claims }
  }
}

function claimsOf(token: string): Claims | undefined {
  try {
    return parseJwt(token)
  } catch {
    return undefined
  }
}
