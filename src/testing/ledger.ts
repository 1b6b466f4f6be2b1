/**
 * What the server remembers of the tokens it gave out: families, revocations, spent refresh tokens. Every
 * method runs in one go, so that two requests at once can't both spend the same token.
 */

import { type Fake, fakesMade, isFake } from './fake-tokens.ts'
import { checkClaims, isRefresh } from './jwt.ts'
import type { BackendSettings, Claims, Family, IssuedToken } from './types.ts'

type Draft<T> = { -readonly [K in keyof T]: T[K] }
interface FamilyRecord extends Draft<Omit<Family, 'tokens'>> {
  tokens: IssuedToken[]
}

/** See {@link createLedger}. */
export interface Ledger {
  readonly issued: IssuedToken[]
  readonly reuseDetected: number
  families(): Family[]
  begin(sub: string, now: number): Family
  add(token: IssuedToken): void
  find(token: string): IssuedToken | undefined
  /** Counts an exchange, spends the token that pays for it where the mode says so, and gives its family. */
  exchange(claims: Claims, now: number): { family: string; generation: number }
  isRevoked(claims: Claims, now: number): boolean
  isExpiredEarly(token: IssuedToken | undefined): boolean
  /** To be called when a refresh token was refused at the refresh route: was it a spent one? */
  noticeReuse(claims: Claims): void
  expireAccessTokens(): void
  revoke(target: string | { readonly sub: string } | { readonly family: string }): void
  restart(): void
  isHonoured(token: string, now: number): boolean
}

/** An empty ledger under the given settings, which it reads anew each time. */
export function createLedger(
  settings: BackendSettings,
  uuid: () => string,
  readFake: (token: string) => Fake | undefined,
): Ledger {
  const families = new Map<string, FamilyRecord>()
  const byToken = new Map<string, IssuedToken>()
  const familyOf = new Map<string, string>()
  const issued: IssuedToken[] = []
  const revoked = new Set<string>()
  const spentAt = new Map<string, number>()
  let expiredEarly = new Set<string>()
  let reuseDetected = 0
  // What was done to all tokens is done to the fake ones, too, that were made before and are seen only later.
  let fakesExpired = 0
  const fakesRevoked = new Map<string, number>()

  const begin = (sub: string, now: number): FamilyRecord => {
    const family: FamilyRecord = {
      id: uuid(),
      sub,
      startedAt: now,
      generation: 0,
      ended: undefined,
      tokens: [],
    }
    families.set(family.id, family)
    return family
  }
  const ofClaims = (claims: Claims): FamilyRecord | undefined =>
    families.get(familyOf.get(String(claims.jti)) ?? '')
  const spends = (): boolean => settings.refresh !== 'reusable'
  const detects = (): boolean => settings.refresh === 'rotating-reuse-detection'

  const isSpent = (claims: Claims, now: number): boolean => {
    const at = spentAt.get(String(claims.jti))
    if (at === undefined || !spends()) return false
    return !(detects() && now - at < settings.reuseGrace)
  }

  const add = (token: IssuedToken): void => {
    issued.push(token)
    byToken.set(token.token, token)
    familyOf.set(token.jti, token.family)
    families.get(token.family)?.tokens.push(token)
  }

  /** Enters a fake token as if it had been given out here. */
  const adopt = (token: string): IssuedToken | undefined => {
    const fake = readFake(token)
    if (!fake) return undefined
    const { order, family, kind, claims } = fake
    const sub = String(claims.sub)
    if (!families.has(family)) {
      const ended = order <= (fakesRevoked.get(sub) ?? 0) ? 'revoked' : undefined
      const startedAt = Math.floor(Number(claims.iat) * 1000)
      families.set(family, { id: family, sub, startedAt, generation: 0, ended, tokens: [] })
    }
    const adopted: IssuedToken = {
      token,
      kind,
      jti: String(claims.jti),
      sub,
      family,
      generation: 0,
      fresh: claims.fresh as boolean,
      iat: Number(claims.iat),
      exp: typeof claims.exp === 'number' ? claims.exp : null,
      claims,
    }
    add(adopted)
    if (kind === 'access' && order <= fakesExpired) expiredEarly.add(adopted.jti)
    return adopted
  }

  const find = (token: string): IssuedToken | undefined => byToken.get(token) ?? adopt(token)

  const ledger: Ledger = {
    issued,
    get reuseDetected() {
      return reuseDetected
    },
    families: () => [...families.values()],
    begin,

    add,
    find,

    exchange(claims, now) {
      const jti = String(claims.jti)
      // A token signed elsewhere with our key has no family yet.
      const family = ofClaims(claims) ?? begin(String(claims.sub), now)
      familyOf.set(jti, family.id)
      family.generation += 1
      // The grace runs from the first use: a further one must not renew it.
      if (spends() && !spentAt.has(jti)) spentAt.set(jti, now)
      return { family: family.id, generation: family.generation }
    },

    isRevoked(claims, now) {
      if (revoked.has(String(claims.jti)) || ofClaims(claims)?.ended) return true
      return isRefresh(claims) && isSpent(claims, now)
    },

    isExpiredEarly: (token) => token !== undefined && expiredEarly.has(token.jti),

    noticeReuse(claims) {
      const family = ofClaims(claims)
      if (!family || family.ended || !detects() || !spentAt.has(String(claims.jti))) return
      family.ended = 'reuse'
      reuseDetected += 1
    },

    expireAccessTokens() {
      expiredEarly = new Set(issued.filter((token) => token.kind === 'access').map((token) => token.jti))
      fakesExpired = fakesMade()
    },

    revoke(target) {
      if (typeof target === 'string') {
        revoked.add(find(target)?.jti ?? target)
        return
      }
      if ('sub' in target) fakesRevoked.set(target.sub, fakesMade())
      for (const family of families.values()) {
        const meant = 'sub' in target ? family.sub === target.sub : family.id === target.family
        if (meant) family.ended ??= 'revoked'
      }
    },

    restart() {
      revoked.clear()
      fakesRevoked.clear()
      if (!detects()) spentAt.clear()
      for (const family of families.values()) {
        if (family.ended === 'revoked') family.ended = undefined
      }
    },

    isHonoured(token, now) {
      const record = find(token)
      if (!record) return false
      const { leeway, audience, issuer, verifySub } = settings
      try {
        checkClaims(record.claims, {
          now,
          leeway,
          audience,
          issuer,
          verifySub,
          csrf: undefined,
          expiredEarly: ledger.isExpiredEarly(record),
          exact: isFake(record),
        })
      } catch {
        return false
      }
      return !ledger.isRevoked(record.claims, now)
    },
  }
  return ledger
}
