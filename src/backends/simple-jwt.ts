/** Django REST Framework SimpleJWT 5 with tokens in headers, as it is and as dj-rest-auth serves it. */
import { jwtDecode } from 'jwt-decode'
import type { Answer, Backend, Signal, StandardClaims, Tokens } from '../types.ts'
import { at, DEAD, isGarbled, textAt } from './answers.ts'
import { bearer } from './bearer.ts'
import type { Endpoint, UsernamePassword } from './flask-jwt.ts'
import { checkOptions, over } from './options.ts'

/**
 * Options of {@link simpleJwt} and {@link djRestAuth}. Names in capitals are SimpleJWT's own settings.
 *
 * @example
 * ```ts
 * simpleJwt({ subject: (claims) => claims.sub, logout: false })
 * ```
 */
export interface SimpleJwtOptions<Claims = StandardClaims> {
  /** Default `POST token/`, with the credentials as JSON. */
  login?: Endpoint | undefined
  /** Where a password is proved again. Default: as `login`, and so is what it doesn't say. */
  reauth?: Endpoint | undefined
  /** Default `POST token/refresh/`, with `{ refresh }`. */
  refresh?: Endpoint | undefined
  /**
   * Default `POST token/blacklist/`, with `{ refresh }`: an access token can't be revoked. Where the server has no
   * blacklist its 404 does no harm; `false` spares it.
   */
  logout?: Endpoint | false | undefined
  /** Texts or codes of your own, or of another language, and what they mean. Default: SimpleJWT's own, in English. */
  signals?: Readonly<Record<string, Signal>> | undefined
  /** What a revoked access token means: the session's end (default), or a refresh. */
  revoked?: 'end' | 'refresh' | undefined
  /** Whose token it is (`USER_ID_CLAIM`). Default `user_id`. */
  subject?: ((claims: Partial<Claims>) => unknown) | undefined
}

const TAKES = {
  login: 'endpoint',
  reauth: 'endpoint',
  refresh: 'endpoint',
  logout: 'endpoint|false',
  signals: 'signals',
  revoked: "'end'|'refresh'",
  subject: 'function',
}

function claimsOf(token: unknown): { exp?: number; iat?: number } {
  try {
    return { ...jwtDecode(token as string) }
  } catch {
    // Opaque, and the parser's error would quote it.
    return {}
  }
}

const CODES = new Map<unknown, Signal>([
  ['token_not_valid', 'invalid'],
  // CHECK_REVOKE_TOKEN: the refresh token goes with the password, too.
  ['password_changed', 'revoked'],
  ['user_not_found', 'account'],
  ['user_inactive', 'account'],
  ['bad_authorization_header', 'missing'],
])

/**
 * The backend for Django REST Framework SimpleJWT, with or without rotation and blacklist.
 *
 * @throws {TypeError} an `AuthError` of code `invalid_option`, naming the option and what it takes
 * @example
 * ```ts
 * createAuth({ baseUrl: '/api/', backend: simpleJwt() })  // POST /api/token/, /api/token/refresh/, …
 * simpleJwt({ login: { path: 'auth/jwt/create/' }, refresh: { path: 'auth/jwt/refresh/' } }) // Djoser
 * ```
 */
export function simpleJwt<Claims = StandardClaims, Credentials = UsernamePassword>(
  options: SimpleJwtOptions<Claims> = {},
): Backend<Claims, Credentials> {
  checkOptions('simpleJwt', options, TAKES)
  const { login, reauth, refresh, logout, revoked } = options
  const signals = new Map(Object.entries(options.signals ?? {}))
  const beneath = bearer<Claims, Credentials>({
    name: 'simpleJwt',
    login: over({ path: 'token/' }, login),
    reauth,
    refresh: over({ path: 'token/refresh/' }, refresh),
    logout: logout !== false && {
      ...over({ path: 'token/blacklist/' }, logout),
      send: 'body',
      tokens: 'refresh',
    },
    accessTokenKey: 'access',
    refreshTokenKey: 'refresh',
    revoked,
    subject: options.subject ?? ((claims) => claims['user_id' as never] ?? claims['sub' as never]),
  })

  function classify({ status, body, empty }: Answer): Signal {
    if (empty) return status === 401 ? 'unknown' : 'other'
    const code = at(body, 'code')
    const detail = textAt(body, ['detail'])
    const own = signals.get(code as string) ?? signals.get(detail as string)
    if (own) return own
    // 403 in place of 401 where the view's first authentication class has no challenge of its own.
    if (status !== 401 && status !== 403) return 'other'
    const signal = CODES.get(code)
    if (signal === 'invalid') {
      const why = textAt(body, ['messages.0.message']) ?? detail
      // In the server's language, so that it may be missed: the refresh will tell.
      if (why === 'Token is blacklisted') return 'revoked'
      return why === 'Token is expired' || why === 'Token is invalid or expired' ? 'expired' : 'invalid'
    }
    if (signal) return signal
    if (status === 403) return detail?.startsWith('CSRF Failed') ? 'csrf' : 'other'
    if (detail?.startsWith('No active account found')) return 'account'
    // At the refresh it has no code.
    if (/^The user.s password has been changed/.test(`${detail}`)) return 'revoked'
    return detail === 'Authentication credentials were not provided.' ? 'missing' : 'other'
  }

  /**
   * An access token got by a refresh has the `iat` of the refresh token that was spent, so that `exp - iat` is no life.
   * A refresh token that comes along was issued at that moment; else the server's clock is asked, where it shows.
   */
  function tokens(answer: Answer): Tokens | undefined {
    const found = beneath.tokens(answer)
    const { exp } = found?.accessToken ? claimsOf(found.accessToken) : {}
    if (!found || typeof exp !== 'number') return found
    const now = claimsOf(found.refreshToken).iat ?? Date.parse(answer.headers.get('date') ?? '') / 1000
    // 0: nobody knows, and `iat` is not to be believed.
    return { ...found, expiresIn: Math.max(exp - now, 0) || 0 }
  }

  return {
    ...beneath,
    revokes: 'token',
    // What `subject` is made of may be in access tokens alone.
    refreshClaims: options.subject === undefined,
    tokens,
    classify,
    refused: (answer) => answer.status === 401 && !isGarbled(answer) && DEAD.includes(classify(answer)),
    message: ({ body }) => textAt(body, ['detail', 'non_field_errors.0', 'message']),
  }
}

/**
 * The backend for dj-rest-auth over SimpleJWT with tokens in headers (`JWT_AUTH_HTTPONLY: False`): `POST login/`,
 * `POST token/refresh/`, `POST logout/`. Takes the options of {@link simpleJwt}.
 *
 * @throws {TypeError} an `AuthError` of code `invalid_option`, naming the option and what it takes
 * @example
 * ```ts
 * createAuth({ baseUrl: '/api/auth/', backend: djRestAuth() })
 * ```
 */
export function djRestAuth<Claims = StandardClaims, Credentials = UsernamePassword>(
  options: SimpleJwtOptions<Claims> = {},
): Backend<Claims, Credentials> {
  checkOptions('djRestAuth', options, TAKES)
  const { login, logout } = options
  const own = {
    login: over({ path: 'login/' }, login),
    logout: logout !== false && over({ path: 'logout/' }, logout),
  }
  const beneath = simpleJwt<Claims, Credentials>({ ...options, ...own })
  return {
    ...beneath,
    name: 'djRestAuth',
    tokens(answer) {
      const { body } = answer
      // As older versions name them, at the login only.
      const older = { access: at(body, 'access_token'), refresh: at(body, 'refresh_token') }
      return beneath.tokens(answer) ?? beneath.tokens({ ...answer, body: older })
    },
  }
}
