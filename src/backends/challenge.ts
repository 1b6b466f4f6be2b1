/**
 * What `WWW-Authenticate` says of the token that was sent (RFC 9110 section 11.6.1, RFC 6750 section 3, RFC 9470
 * section 3). Browsers show it across origins only if the server exposes it, so that it may be missing: a bonus.
 */
import type { Finding, Signal } from '../types.ts'

/** One challenge; schemes and names in lower case. */
export interface Challenge {
  readonly scheme: string
  readonly params: ReadonlyMap<string, string>
}

// Longer than any that means something, and a bound on what is looked at.
const READ_AT_MOST = 8192

const NEXT = /[\s,]+/y
const TOKEN = /[!#$%&'*+\-.^_`|~\w]+/y
const EQUALS = /\s*=\s*/y
const QUOTED = /"((?:[^"\\]|\\.)*)"/sy
// The one form that is no list of parameters: `Negotiate abc==`.
const TOKEN68 = / +[\w\-.~+/]+=*(?=\s*(?:,|$))/y

/** Every challenge of a header that may hold several, quoted strings and noise; what it can't read it skips. */
export function parseChallenges(header: string | null): Challenge[] {
  const text = (header ?? '').slice(0, READ_AT_MOST)
  const challenges: { scheme: string; params: Map<string, string> }[] = []
  let position = 0
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = position
    const match = pattern.exec(text)
    if (!match) return undefined
    position = pattern.lastIndex
    return match
  }
  while (position < text.length) {
    if (take(NEXT)) continue
    const name = take(TOKEN)?.[0].toLowerCase()
    const params = challenges.at(-1)?.params
    if (name === undefined) {
      // Noise, as a whole where it is a quoted string: what it says is no challenge.
      if (!take(QUOTED) && text[position++] === '"') break
    } else if (params && take(EQUALS)) {
      const value = take(QUOTED)?.[1]?.replace(/\\(.)/gs, '$1') ?? take(TOKEN)?.[0]
      // None may come twice; the first counts.
      if (value !== undefined && !params.has(name)) params.set(name, value)
    } else {
      challenges.push({ scheme: name, params: new Map() })
      take(TOKEN68)
    }
  }
  return challenges
}

/** The errors of RFC 6750 section 3.1 and RFC 9470 section 3 that are about the token, and what they mean. */
export const ERRORS: ReadonlyMap<string | undefined, Signal> = new Map([
  ['invalid_token', 'invalid'],
  ['insufficient_scope', 'scope'],
  ['insufficient_user_authentication', 'step_up'],
])

// What proxies ask for in front of an API, of those that IANA has registered, and NTLM.
const GATEWAYS = /^(basic|digest|hoba|kerberos|mutual|negotiate|ntlm|scram-.*|vapid)$/

/**
 * What a `Bearer` or `DPoP` challenge says: of several the first with an `error`. A bare one is `missing`, because a
 * server leaves the error out where no token came (RFC 6750 section 3.1). `undefined`: there is no such challenge, or
 * it says what no RFC does; frameworks challenge for bearer tokens by names of their own, too (`Token`, `JWT`,
 * `jwt-auth`). `other`: a gateway asks for credentials of its own, so that it is not about this token.
 */
export function readChallenge(headers: Headers): Finding | undefined {
  const all = parseChallenges(headers.get('www-authenticate'))
  const ours = all.filter(({ scheme }) => scheme === 'bearer' || scheme === 'dpop')
  if (!ours.length) return all.some(({ scheme }) => GATEWAYS.test(scheme)) ? { signal: 'other' } : undefined
  const params = ours.find((challenge) => challenge.params.has('error'))?.params
  if (!params) return { signal: 'missing' }
  const signal = ERRORS.get(params.get('error'))
  if (signal !== 'step_up') return signal && { signal }
  const maxAge = params.get('max_age') ?? ''
  return {
    signal,
    acrValues: params.get('acr_values'),
    maxAge: /^\d{1,10}$/.test(maxAge) ? Number(maxAge) : undefined,
  }
}
