/**
 * Any server that takes bearer tokens: where its endpoints are, how its answers are nested, what its codes mean, all
 * of it data. Without any it fits one that says nothing but 401. Other presets are this one with their data filled in.
 */
import type { Answer, Backend, Finding, RequestSpec, Signal, StandardClaims } from '../types.ts'
import { at, atAny, DEAD, isGarbled, mayRefuse, secondsOf, snake, textAt, wordsOf } from './answers.ts'
import { readChallenge } from './challenge.ts'
import type { Endpoint, UsernamePassword } from './flask-jwt.ts'
import { checkOptions, demand, isEndpoint, isTexts, membersOf, over, REQUEST } from './options.ts'

/**
 * An endpoint that takes JSON, or a form.
 *
 * @example
 * ```ts
 * bearer({ login: { path: 'auth/login', members: { mode: 'json' } } }) // Directus
 * bearer({ login: { path: 'token', form: true } })                     // FastAPI
 * ```
 */
export interface JsonEndpoint extends Endpoint {
  /** Further members of the JSON, such as Directus’ `{ mode: 'json' }`. Default: none. */
  members?: Readonly<Record<string, unknown>> | undefined
  /** Whether it takes a form (`application/x-www-form-urlencoded`), as FastAPI's login does. Default `false`: JSON. */
  form?: boolean | undefined
}

/**
 * An endpoint that takes a token.
 *
 * @example
 * ```ts
 * bearer({ refresh: { path: 'auth/refresh', send: 'bearer' } }) // Laravel
 * ```
 */
export interface EndpointWithToken extends JsonEndpoint {
  /**
   * Whether the token goes into the JSON, or into `Authorization` (RFC 6750 section 2.1). Default: `body` for `refresh`,
   * `bearer` for `logout`.
   */
  send?: 'body' | 'bearer' | undefined
  /** Its name in the JSON, or its path there. Default: as the login answer names it. */
  key?: string | undefined
}

/**
 * An endpoint that takes the refresh token.
 *
 * @example
 * ```ts
 * bearer({ refresh: { path: 'token/refresh', accessKey: 'accessToken' } }) // ASP.NET tutorials
 * ```
 */
export interface RefreshEndpoint extends EndpointWithToken {
  /** What the access token is called that goes into the JSON beside it, or its path there. Default: none goes. */
  accessKey?: string | undefined
}

/**
 * Options of {@link bearer}. A key is a name, or a dotted path such as `data.access_token`.
 *
 * @example
 * ```ts
 * bearer({ accessTokenKey: 'accessToken', refreshTokenKey: 'refreshToken', expiresInKey: 'expiresIn', logout: false })
 * ```
 */
export interface BearerOptions<Claims = StandardClaims> {
  /** For messages. Default `bearer`. */
  name?: string | undefined
  /** Headers of the backend's own requests, such as an API key. Default: none. */
  headers?: Readonly<Record<string, string>> | undefined
  /** Default `POST login`, with the credentials as JSON. */
  login?: JsonEndpoint | undefined
  /** Where a password is proved again. Default: as `login`, and so is what it doesn't say. */
  reauth?: JsonEndpoint | undefined
  /** Default `POST refresh`, with the refresh token in the JSON. */
  refresh?: RefreshEndpoint | undefined
  /** Default `POST logout`, with the access token in `Authorization`; `false` for none. */
  logout?: (EndpointWithToken & { tokens?: 'both' | 'access' | 'refresh' }) | false | undefined
  /** Default `access_token`. A list where the login and the refresh name it differently. */
  accessTokenKey?: string | readonly string[] | undefined
  /** Default `refresh_token`. The same as `accessTokenKey` where the access token itself is what is refreshed. */
  refreshTokenKey?: string | readonly string[] | undefined
  /** Default `expires_in`. Needed for opaque tokens only; a JWT tells its life itself. */
  expiresInKey?: string | undefined
  /** Of `expiresInKey`. Default `seconds` (RFC 6749 section 5.1). */
  expiresInUnit?: 'seconds' | 'milliseconds' | undefined
  /** A response header that holds the access token, where the body has none. Default: none. */
  tokenHeader?: string | undefined
  /** Where the server's words for a person are. Default `message`, and whatever else is in use. */
  messageKey?: string | undefined
  /**
   * Codes or texts of the server, and what they mean, whatever the status; or a status that says it alone. Codes are compared
   * in lower snake case: `token_expired` is `TOKEN_EXPIRED`, too. Default: the usual ones, of a 401 or 403
   * (`docs/backends.md`).
   */
  signals?: Readonly<Record<string, Signal>> | undefined
  /**
   * Codes or texts that refuse a refresh token, beside a 401: of a server that answers 400, 403 or 200 then; or such a
   * status that says it alone. Default: none.
   */
  refusals?: readonly string[] | undefined
  /** `single-use` where it dies at its first use and none comes in its place. Default `reusable`; also for rotating ones. */
  refreshToken?: 'reusable' | 'single-use' | undefined
  /** What a revoked access token means: the session's end (default), or a refresh. */
  revoked?: 'end' | 'refresh' | undefined
  /** Whose token it is. Default `sub`. */
  subject?: ((claims: Partial<Claims>) => unknown) | undefined
}

const TAKES = {
  name: 'string',
  headers: 'object',
  login: 'object',
  reauth: 'object',
  refresh: 'object',
  logout: 'object|false',
  accessTokenKey: 'string|array',
  refreshTokenKey: 'string|array',
  expiresInKey: 'string',
  expiresInUnit: "'seconds'|'milliseconds'",
  tokenHeader: 'string',
  messageKey: 'string',
  signals: 'signals',
  refusals: 'array',
  refreshToken: "'reusable'|'single-use'",
  revoked: "'end'|'refresh'",
  subject: 'function',
}

// What servers say of an access token with a 401 or a 403.
const CODES = new Map<string, Signal>([
  ['token_expired', 'expired'],
  ['expired_token', 'expired'],
  ['token_has_expired', 'expired'],
  ['jwt_expired', 'expired'],
  ['invalid_token', 'invalid'],
  ['token_invalid', 'invalid'],
  ['invalid_jwt', 'invalid'],
  ['bad_jwt', 'invalid'],
  ['token_revoked', 'revoked'],
  ['token_has_been_revoked', 'revoked'],
  ['fresh_token_required', 'step_up'],
  ['insufficient_user_authentication', 'step_up'],
  ['insufficient_scope', 'scope'],
  ['authorization_required', 'missing'],
])

const MESSAGES = [
  'message',
  'msg',
  'error_description',
  'detail',
  'error.message',
  'errors.0.message',
  'detail.0.msg',
] as const

/**
 * The backend for a server of no framework in particular that takes bearer tokens (RFC 6750).
 *
 * @throws {TypeError} an `AuthError` of code `invalid_option`, naming the option and what it takes
 * @example
 * ```ts
 * bearer()  // POST login, POST refresh with { refresh_token }, POST logout; a 401 that says no more
 * bearer({  // Directus
 *   login: { path: 'auth/login', members: { mode: 'json' } },
 *   refresh: { path: 'auth/refresh', members: { mode: 'json' } },
 *   logout: { path: 'auth/logout', send: 'body', tokens: 'refresh', members: { mode: 'json' } },
 *   accessTokenKey: 'data.access_token',
 *   refreshTokenKey: 'data.refresh_token',
 *   expiresInKey: 'data.expires',
 *   expiresInUnit: 'milliseconds',
 * })
 * ```
 */
export function bearer<Claims = StandardClaims, Credentials = UsernamePassword>(
  options: BearerOptions<Claims> = {},
): Backend<Claims, Credentials> {
  checkOptions('bearer', options, TAKES)
  const takes = { path: 'string', method: 'string', members: 'object', form: 'boolean' }
  const takesToken = { ...takes, send: "'body'|'bearer'", key: 'string' }
  const endpoints = {
    login: takes,
    reauth: takes,
    refresh: { ...takesToken, accessKey: 'string' },
    logout: { ...takesToken, tokens: "'both'|'access'|'refresh'" },
  }
  for (const [endpoint, members] of Object.entries(endpoints)) {
    const given: RefreshEndpoint = options[endpoint as 'refresh'] || {}
    checkOptions(`bearer: ${endpoint}`, given, members)
    const { path, method, send = endpoint === 'logout' ? 'bearer' : 'body', members: more, accessKey } = given
    demand('bearer', endpoint, isEndpoint({ path, method }), REQUEST)
    // No fetch would send it: it would fail at each call, as if the network were down.
    const bare = /^(GET|HEAD)$/i.test(`${method}`) && (more || accessKey || send === 'body')
    demand(
      options.name ?? 'bearer',
      endpoint,
      !bare,
      `a method that takes a body, or send: 'bearer' and no members`,
    )
  }
  const {
    name = 'bearer',
    login,
    reauth,
    refresh,
    logout = {},
    accessTokenKey = 'access_token',
    refreshTokenKey = 'refresh_token',
    expiresInKey = 'expires_in',
    expiresInUnit,
    tokenHeader,
    messageKey,
    refusals = [],
  } = options
  const lists = { refusals, accessTokenKey, refreshTokenKey }
  for (const [option, list] of Object.entries(lists)) {
    const texts = [list].flat()
    const fits = isTexts(texts) && (texts.length > 0 || list === refusals)
    demand('bearer', option, fits, list === refusals ? 'an array of strings' : 'a string, or some of them')
  }
  // Laravel answers in JSON only where it is asked to.
  const headers = { accept: 'application/json', ...namesAndValues(options.headers) }
  const messages = messageKey === undefined ? MESSAGES : [messageKey, ...MESSAGES]
  const signals = new Map<string, Signal>()
  for (const [said, signal] of Object.entries(options.signals ?? {})) {
    signals.set(said, signal).set(snake(said), signal)
  }
  const refusing = new Set([...refusals, ...refusals.map(snake)])

  const json = (path: string, endpoint: JsonEndpoint | undefined, all: object): RequestSpec => {
    const type = endpoint?.form ? 'x-www-form-urlencoded' : 'json'
    return {
      path: endpoint?.path ?? path,
      method: endpoint?.method ?? 'POST',
      headers: { 'content-type': `application/${type}`, ...headers },
      body: endpoint?.form ? formOf(all) : JSON.stringify(all),
    }
  }
  const withToken = (
    path: string,
    endpoint: EndpointWithToken | undefined,
    token: string,
    send: 'body' | 'bearer',
    called: string | readonly string[],
    access?: string,
  ): RequestSpec => {
    const { members = {}, accessKey, form }: RefreshEndpoint = endpoint ?? {}
    const put = (into: object, key: string, value: string): object =>
      form ? { ...into, [key]: value } : within(into, key.split('.'), value)
    const all = accessKey && access ? put(members, accessKey, access) : members
    if ((endpoint?.send ?? send) === 'body') {
      const { key = [called].flat()[0]?.split('.').at(-1) as string } = { ...endpoint }
      return json(path, endpoint, put(all, key, token))
    }
    const { body, headers: sent = headers, ...rest } = json(path, endpoint, all)
    const authorization = `Bearer ${token}`
    return all !== members || endpoint?.members
      ? { ...rest, headers: { ...sent, authorization }, body }
      : { ...rest, headers: { ...headers, authorization } }
  }

  /** What the answer says in a challenge or in words; `undefined`: nothing that means something here. */
  function said(answer: Answer): Finding | undefined {
    const told = answer.status === 401 || answer.status === 403
    // Of another error a challenge says what might have helped (RFC 9110 section 11.6.1), not that nothing was done.
    const challenge = told ? readChallenge(answer.headers) : undefined
    // A bare one comes with any 401 of many servers.
    if (challenge && challenge.signal !== 'missing' && challenge.signal !== 'other') return challenge
    for (const word of wordsOf(answer, messages)) {
      const known = told ? CODES.get(snake(word)) : undefined
      const signal = signals.get(word) ?? signals.get(snake(word)) ?? known
      if (signal) return { signal }
    }
    return challenge?.signal === 'other' ? challenge : undefined
  }

  return {
    name,
    login: (credentials) => json('login', login, { ...login?.members, ...membersOf(credentials) }),
    reauth(credentials) {
      const proof: JsonEndpoint = over({}, login, reauth)
      return json('login', proof, { ...proof.members, ...membersOf(credentials) })
    },
    refresh: (token, access) => withToken('refresh', refresh, token, 'body', refreshTokenKey, access?.token),
    logout(token, kind) {
      if (!logout) return undefined
      const { tokens = 'access' } = logout
      if (tokens !== 'both' && tokens !== kind) return undefined
      return withToken(
        'logout',
        logout,
        token,
        'bearer',
        kind === 'access' ? accessTokenKey : refreshTokenKey,
      )
    },
    tokens({ body, headers: answered }) {
      const found = atAny(body, accessTokenKey) || (tokenHeader && answered.get(tokenHeader))
      if (!found) return undefined
      const accessToken = typeof found === 'string' ? found.replace(/^Bearer +/i, '') : found
      const same = `${refreshTokenKey}` === `${accessTokenKey}`
      return {
        accessToken: accessToken as string,
        // Null and '' both mean: none came.
        refreshToken: ((same ? accessToken : atAny(body, refreshTokenKey)) || undefined) as
          | string
          | undefined,
        expiresIn: secondsOf(at(body, expiresInKey), expiresInUnit),
      }
    },
    classify: (answer) => said(answer) ?? (answer.status === 401 ? 'unknown' : 'other'),
    refused(answer) {
      const { status } = answer
      if (isGarbled(answer) || !(mayRefuse(status) || status < 300)) return false
      if (wordsOf(answer, messages).some((word) => refusing.has(word) || refusing.has(snake(word))))
        return true
      const found = said(answer)
      return status === 401 && (!found || DEAD.includes(found.signal))
    },
    message: ({ body }) => (typeof body === 'string' ? body : textAt(body, messages)),
    subject: options.subject,
    singleUse: options.refreshToken === 'single-use',
    // Of most a logout ends the session, whichever token it comes with.
    revokes: 'grant',
    revoked: options.revoked,
  }
}

/** The members with a value at a path in them. */
function within(into: object, [name = '', ...rest]: string[], value: string): object {
  return { ...into, [name]: rest.length ? within(Object(into[name as never]), rest, value) : value }
}

/** As JSON has them; what is nothing there is left out. */
function formOf(members: object): string {
  const given: Record<string, string> = JSON.parse(JSON.stringify(members))
  return `${new URLSearchParams(Object.entries(given).filter(([, value]) => value !== null))}`
}

/** By their names in lower case: fetch would join those that differ in case alone. */
function namesAndValues(headers: BearerOptions['headers']): Record<string, string> {
  try {
    return Object.fromEntries(new Headers(headers))
  } catch {
    // The error would quote the value, which may be a key.
    demand('bearer', 'headers', false, 'names and values that a request can carry')
    return {}
  }
}
