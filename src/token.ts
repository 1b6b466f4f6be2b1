/** What a token says, and what follows for its life. Knows no clock, no store and no server. */
import { jwtDecode } from 'jwt-decode'
import { AuthError } from './errors.ts'
import type { StandardClaims, StoredToken, Tokens } from './types.ts'

/** A token that was looked into once, when it came. */
export interface ReadToken extends StoredToken {
  readonly claims: Readonly<StandardClaims & Record<string, unknown>>
  /** Milliseconds from its issue to its end; `undefined` where nobody tells, so that only a 401 can. */
  readonly lasts: number | undefined
  /** How long it is fresh, in ms from its issue; `undefined` where it says nothing of freshness. */
  readonly freshFor: number | undefined
}

const B64TOKEN = /^[\w\-.~+/]+=*$/

/** Whether `value` matches `b64token` (RFC 6750 section 2.1), the one form that fits into a header unharmed. */
export function isToken(value: unknown): value is string {
  return typeof value === 'string' && B64TOKEN.test(value)
}

/** Checks tokens at an entrance: the application, a server's answer, a store. */
export function checkTokens(tokens: unknown, where: string): Tokens {
  const { accessToken, refreshToken, expiresIn, claims } = Object(tokens) as Record<string, unknown>
  // The caller's own are neither kept nor frozen.
  const copy = plain(() => claims)
  const wrong = (name: string, given: unknown, takes: string, whole?: string): AuthError => {
    const field = `${where}.${name}`
    return new AuthError('invalid_token', `${whole ?? field} takes ${takes}, got ${shape(given)}`, { field })
  }
  const takes = 'a b64token (RFC 6750 section 2.1)'
  if (accessToken !== undefined && !isToken(accessToken)) throw wrong('accessToken', accessToken, takes)
  if (refreshToken != null && !isToken(refreshToken)) throw wrong('refreshToken', refreshToken, takes)
  if (!accessToken && !refreshToken) {
    if ('accessToken' in Object(tokens)) throw wrong('accessToken', accessToken, takes)
    throw wrong('accessToken', tokens, '{ accessToken, refreshToken }', where)
  }
  if (expiresIn !== undefined && !isTime(expiresIn))
    throw wrong('expiresIn', expiresIn, 'seconds, not negative')
  if (claims !== undefined && !copy) throw wrong('claims', claims, 'an object of JSON')
  return { accessToken, refreshToken, expiresIn, claims: copy as Tokens['claims'] }
}

/** A copy, frozen all the way down; `undefined` where it is no object of JSON, or is nested beyond reason. */
function plain(read: () => unknown): object | undefined {
  try {
    const copy = JSON.parse(JSON.stringify(read()), (_, value) => Object.freeze(value))
    // What a text or a list holds has no names.
    if (describe(copy) === 'object') return copy
  } catch {
    // The parser's error would quote it.
  }
  return undefined
}

/** What was given, never what it holds. */
export function describe(value: unknown): string {
  if (value === '') return 'an empty string'
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value
}

/** The same, the names of its members, and what slip it may be. */
export function shape(value: unknown): string {
  const kind = describe(value)
  if (kind === 'string' && /^bearer /i.test(value as string)) return 'string: leave out Bearer'
  if (kind !== 'object') return kind
  // An `await` was left out.
  if (value instanceof Promise) return 'a Promise'
  if (value instanceof Response) return 'a Response'
  const names = Object.keys(value as object).slice(0, 20)
  return `{ ${names.join(', ')} }`
}

/** Whether `value` is a number that can be counted with. */
export function isNumber(value: unknown): value is number {
  return Number.isFinite(value)
}

/** Whether `value` is a length of time. */
export function isTime(value: unknown): value is number {
  return isNumber(value) && value >= 0
}

// Several rooms ask about each that comes.
const known = new WeakMap<StoredToken, ReadToken>()

/** Looks into a token, once. An opaque one has no claims. */
export function readToken(stored: StoredToken): ReadToken {
  let read = known.get(stored)
  if (!read) {
    read = look(stored)
    known.set(stored, read)
  }
  return read
}

function look(stored: StoredToken): ReadToken {
  const read = plain(() => stored.claims ?? jwtDecode(stored.token))
  const claims: ReadToken['claims'] = { ...read }
  const { exp, iat, fresh } = claims
  let lasts = stored.life
  if (isNumber(exp) && isNumber(iat)) {
    // Whole-second stamps are cut, not rounded: up to a second of the life is already over.
    const claimed = (exp - iat) * 1000 - (Number.isInteger(exp) ? 1000 : 0)
    // Where the answer told a shorter one, `iat` is that of a token before this one (SimpleJWT), or `exp` is not kept.
    lasts = Math.min(claimed, lasts ?? claimed)
  }
  // A life that was over before it began says nothing, and believing it would refresh for ever.
  if (!((lasts ?? 0) > 0)) lasts = undefined
  let freshFor: number | undefined
  if (fresh === true) freshFor = Infinity
  else if (fresh === false) freshFor = 0
  // As with a life: the stamp it counts from was cut to whole seconds.
  else if (isNumber(fresh)) freshFor = isNumber(iat) ? (fresh - iat) * 1000 - 1000 : Infinity
  return { ...stored, claims, lasts, freshFor }
}
