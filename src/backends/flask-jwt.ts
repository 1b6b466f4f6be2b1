/** Flask-JWT-Extended 4 with tokens in headers: its default messages, and the codes of the well-known tutorial. */

import type { Answer, Backend, RequestSpec, Signal, StandardClaims } from '../types.ts'
import { at, DEAD } from './answers.ts'
import { checkOptions, membersOf, over } from './options.ts'

/**
 * An endpoint of the server's.
 *
 * @example
 * ```ts
 * flaskJwt({ refresh: { path: 'token/refresh', method: 'PUT' } })
 * ```
 */
export interface Endpoint {
  /** Relative to `baseUrl`, or absolute. Default: the preset's own. */
  path?: string | undefined
  /** Default: the preset's own, mostly `POST`. */
  method?: string | undefined
}

/**
 * What the library's documentation and the tutorial log in with. Another server's credentials are a type argument.
 *
 * @example
 * ```ts
 * createAuth({ baseUrl, backend: flaskJwt<StandardClaims, { email: string; pin: string }>() })
 * ```
 */
export interface UsernamePassword {
  /** Sent as it is. */
  username: string
  /** Sent as it is, to the login endpoint alone, and kept nowhere. */
  password: string
}

/**
 * Options of {@link flaskJwt}. Names in capitals are Flask-JWT-Extended's own settings.
 *
 * @example
 * ```ts
 * flaskJwt({ messageKey: 'detail', signals: { 'Signature has expired': 'expired' } }) // fastapi-jwt-auth
 * ```
 */
export interface FlaskJwtOptions<Claims = StandardClaims> {
  /** Default `POST login`, with the credentials as JSON. */
  login?: Endpoint | undefined
  /** Where a password is proved again. Default: as `login`, and so is what it doesn't say. */
  reauth?: Endpoint | undefined
  /** Default `POST refresh`, with the refresh token as `Bearer`. */
  refresh?: Endpoint | undefined
  /**
   * Default `DELETE logout`, once per token. `tokens: 'access'` for a server that takes only the access token
   * (the tutorial's: `{ method: 'POST', tokens: 'access' }`), `'refresh'` for the other; `false` for none.
   */
  logout?: (Endpoint & { tokens?: 'both' | 'access' | 'refresh' }) | false | undefined
  /** `JWT_ERROR_MESSAGE_KEY`, or the path in what your own loaders answer: `error.message`. Default `msg`. */
  messageKey?: string | undefined
  /** What the access token is called in an answer, or its path there: `data.access_token`. Default `access_token`. */
  accessTokenKey?: string | undefined
  /** The same for the refresh token. Default `refresh_token`. */
  refreshTokenKey?: string | undefined
  /** Texts or codes of your own error loaders, and what they mean. Default: the library's and the tutorial's alone. */
  signals?: Record<string, Signal> | undefined
  /**
   * `single-use` where a refresh token dies at its first use and no new one is given, as in the tutorial: then
   * nothing is refreshed ahead. Default `reusable`, which also fits rotating ones.
   */
  refreshToken?: 'reusable' | 'single-use' | undefined
  /**
   * What a revoked access token means: the session's end (default), because refreshing would bring back what was
   * logged out elsewhere; or a refresh.
   */
  revoked?: 'end' | 'refresh' | undefined
  /** Whose token it is (`JWT_IDENTITY_CLAIM`). Default `sub`. */
  subject?: ((claims: Partial<Claims>) => unknown) | undefined
}

// Without a prototype: a server may say `constructor`.
const CODES: Record<string, Signal> = {
  __proto__: null as never,
  token_expired: 'expired',
  'Token has expired': 'expired',
  invalid_token: 'invalid',
  token_revoked: 'revoked',
  'Token has been revoked': 'revoked',
  authorization_required: 'missing',
  fresh_token_required: 'step_up',
  'Fresh token required': 'step_up',
  'Missing CSRF token': 'csrf',
  'CSRF double submit tokens do not match': 'csrf',
}

// What the library and PyJWT say of a token with a 422. Another text may be the application's own.
const SAID =
  /^(Audience |Bad Auth|Invalid (crypto|header|issuer|payload|value for)|JWT |Missing claim|Not enough|Only |Signature |Subject |The (specified alg|token)|Token is|[\w ]+ claim \()/
// By a clock that is behind the one that stamped it: it will be taken in a moment.
const NOT_YET = /^The token is not yet valid/

const TAKES = {
  login: 'endpoint',
  reauth: 'endpoint',
  refresh: 'endpoint',
  logout: 'endpoint|false',
  messageKey: 'string',
  accessTokenKey: 'string',
  refreshTokenKey: 'string',
  signals: 'signals',
  refreshToken: "'reusable'|'single-use'",
  revoked: "'end'|'refresh'",
  subject: 'function',
}

/**
 * The backend for Flask-JWT-Extended 4 with tokens in headers.
 *
 * @throws {TypeError} an `AuthError` of code `invalid_option`, naming the option and what it takes
 * @example
 * ```ts
 * flaskJwt()                                         // POST login, POST refresh, DELETE logout
 * flaskJwt({ refresh: { path: 'token/refresh' } })
 * flaskJwt({ refreshToken: 'single-use', logout: { method: 'POST', tokens: 'access' } }) // the tutorial
 * ```
 */
export function flaskJwt<Claims = StandardClaims, Credentials = UsernamePassword>(
  options: FlaskJwtOptions<Claims> = {},
): Backend<Claims, Credentials> {
  checkOptions('flaskJwt', options, TAKES)
  const {
    login,
    reauth,
    refresh,
    logout = {},
    messageKey = 'msg',
    accessTokenKey = 'access_token',
    refreshTokenKey = 'refresh_token',
  } = options
  const signals: Record<string, Signal> = { __proto__: null as never, ...options.signals }

  const withCredentials = (endpoint: Endpoint | undefined, credentials: Credentials): RequestSpec => ({
    ...endpoint,
    path: endpoint?.path ?? 'login',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(membersOf(credentials)),
  })
  const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })

  function classify({ status, body, empty }: Answer): Signal {
    if (empty) return status === 401 ? 'unknown' : 'other'
    const members = Object(body) as Record<string, unknown>
    const text = at(body, messageKey)
    for (const said of [members.error, members.code, text]) {
      const signal = typeof said === 'string' && (signals[said] ?? (status === 401 ? CODES[said] : undefined))
      if (signal) return signal
    }
    if (typeof text !== 'string') return 'other'
    // A 422 that says more than one thing is the application's own validation.
    if (status === 422 && Object.keys(members).length === 1) return SAID.test(text) ? 'invalid' : 'unknown'
    if (status === 400) return text === 'User claims verification failed' ? 'scope' : 'other'
    if (status !== 401) return 'other'
    if (text.startsWith('Error loading the user ')) return 'account'
    return /^(Missing |Invalid content-type\.)/.test(text) ? 'missing' : 'other'
  }

  return {
    name: 'flaskJwt',
    login: (credentials) => withCredentials(login, credentials),
    reauth: (credentials) => withCredentials(over({}, login, reauth), credentials),
    refresh: (token) => ({ ...refresh, path: refresh?.path ?? 'refresh', headers: bearer(token) }),
    logout(token, kind) {
      if (!logout) return undefined
      const { path = 'logout', method = 'DELETE', tokens = 'both' } = logout
      // Any other word than the two is `both`.
      if (tokens === (kind === 'access' ? 'refresh' : 'access')) return undefined
      return { path, method, headers: bearer(token) }
    },
    tokens({ body }) {
      const accessToken = at(body, accessTokenKey) as string | null | undefined
      // Null and '' both mean: none came.
      const refreshToken = (at(body, refreshTokenKey) || undefined) as string | undefined
      return accessToken == null ? undefined : { accessToken, refreshToken }
    },
    classify,
    refused(answer) {
      const signal = classify(answer)
      const text = at(answer.body, messageKey)
      if (typeof text === 'string' && NOT_YET.test(text)) return false
      // What this endpoint says alone with a 422 is about the token, in whatever words.
      return DEAD.includes(signal) || (answer.status === 422 && signal === 'unknown')
    },
    message({ body }) {
      const members = Object(body) as Record<string, unknown>
      return [at(body, messageKey), members.message, members.description].find(
        (text) => typeof text === 'string',
      ) as string | undefined
    },
    subject: options.subject,
    // What `subject` is made of may be in access tokens alone.
    refreshClaims: options.subject === undefined,
    singleUse: options.refreshToken === 'single-use',
    revoked: options.revoked,
  }
}
