/**
 * Flask-JWT-Extended 4 with tokens in httpOnly cookies, which no script sees. In their place a session holds handles:
 * the CSRF values of its tokens, which change with them. A handle is the session's stamp on what it sends: the server
 * turns it down where the cookies are another session's by then.
 */
import { cookieRoom } from '../cookies.ts'
import { uniqueId } from '../platform.ts'
import { readToken } from '../token.ts'
import type {
  Answer,
  Attachment,
  Backend,
  RequestSpec,
  StandardClaims,
  StoredToken,
  Tokens,
} from '../types.ts'
import { textAt } from './answers.ts'
import { createCookieOwner } from './cookie-owner.ts'
import { createCookieTransport, type Marked, PURPOSE, type Purpose } from './cookie-transport.ts'
import { type Arrival, type CookieHook, createCookieValues, NONE, type Values } from './cookie-values.ts'
import { type Endpoint, type FlaskJwtOptions, flaskJwt, type UsernamePassword } from './flask-jwt.ts'
import { checkOptions, demand, isTexts, over } from './options.ts'

/**
 * Double submit (`JWT_COOKIE_CSRF_PROTECT`): what a page of another origin can't know, because it can't read the cookie.
 *
 * @example
 * ```ts
 * flaskJwtCookies({ csrf: { header: 'X-XSRF-TOKEN', accessCookie: 'xsrf_access' } })
 * ```
 */
export interface CsrfOptions {
  /** `JWT_ACCESS_CSRF_HEADER_NAME`. Default `X-CSRF-TOKEN`. */
  header?: string | undefined
  /** `JWT_REFRESH_CSRF_HEADER_NAME`. Default: as `header`. */
  refreshHeader?: string | undefined
  /** `JWT_ACCESS_CSRF_COOKIE_NAME`. Default `csrf_access_token`. */
  accessCookie?: string | undefined
  /** `JWT_REFRESH_CSRF_COOKIE_NAME`. Default `csrf_refresh_token`. */
  refreshCookie?: string | undefined
  /** Where an answer's JSON has the access token's CSRF value. Default `csrf_access_token`. */
  accessKey?: string | undefined
  /** The same for the refresh token. Default `csrf_refresh_token`. */
  refreshKey?: string | undefined
  /** `JWT_CSRF_METHODS`. Default POST, PUT, PATCH, DELETE. */
  methods?: readonly string[] | undefined
}

/**
 * Options of {@link flaskJwtCookies}. Names in capitals are Flask-JWT-Extended's own settings.
 *
 * @example
 * ```ts
 * flaskJwtCookies({ whoami: { path: 'me' }, logout: { method: 'POST' } })
 * ```
 */
export interface FlaskJwtCookiesOptions<Claims = StandardClaims>
  extends Pick<
    FlaskJwtOptions<Claims>,
    'login' | 'reauth' | 'messageKey' | 'accessTokenKey' | 'signals' | 'refreshToken' | 'revoked' | 'subject'
  > {
  /**
   * Where the access token is. `memory`: in the answer's JSON, sent as `Bearer`; only the refresh token is a cookie.
   * Default `cookie`.
   */
  accessToken?: 'cookie' | 'memory' | undefined
  /** Default `POST refresh`; `false` where the server replaces the cookie on any answer, and has no such endpoint. */
  refresh?: Endpoint | false | undefined
  /**
   * Default `DELETE logout`. It has to clear the cookies, whatever the token's state is; `{ method: 'POST' }` for the
   * library's own example. `false` for none.
   */
  logout?: Endpoint | false | undefined
  /**
   * Tells who is signed in, as JSON: the claims, and the CSRF values where the page can't read them. `{}` for
   * `GET whoami`. Default: none, so that nobody knows whose the cookies are.
   */
  whoami?: Endpoint | undefined
  /** `false` where the server has it off: then only `SameSite` protects. Default: on, with the library's own names. */
  csrf?: CsrfOptions | false | undefined
  /** The claims in an answer's JSON. Default: all of it, if it has a `sub`. */
  claims?: (body: unknown) => object | undefined
  /** Lets a call that carries a CSRF value follow redirects, and take it along. Default `false`: they are errors. */
  followRedirects?: boolean | undefined
  /** Needed where no browser keeps the cookies. Default: none. */
  cookies?: CookieHook | undefined
}

const TAKES = {
  login: 'endpoint',
  reauth: 'endpoint',
  refresh: 'endpoint|false',
  logout: 'endpoint|false',
  whoami: 'endpoint',
  messageKey: 'string',
  accessTokenKey: 'string',
  signals: 'signals',
  refreshToken: "'reusable'|'single-use'",
  revoked: "'end'|'refresh'",
  subject: 'function',
  accessToken: "'cookie'|'memory'",
  csrf: 'object|false',
  claims: 'function',
  followRedirects: 'boolean',
  cookies: 'object',
}

const TAKES_OF_CSRF = {
  header: 'string',
  refreshHeader: 'string',
  accessCookie: 'string',
  refreshCookie: 'string',
  accessKey: 'string',
  refreshKey: 'string',
  methods: 'array',
}

const NAME = 'flaskJwtCookies'

// Begins a handle that is no CSRF value.
const NO_VALUE = '~'
// Begins one of a refresh cookie that may be another's: whoami tells whose the access cookie beside it is, no more.
const UNPROVEN = '~~'
const isUnproven = (handle: string): boolean => handle.startsWith(UNPROVEN)

/**
 * The backend for Flask-JWT-Extended with `JWT_TOKEN_LOCATION = ["cookies"]`: no script sees a token (RFC 6265 section
 * 5.2.6, HttpOnly). `auth.getAccessToken()` makes the cookie good and gives `null`.
 *
 * @throws {TypeError} an `AuthError` of code `invalid_option`, naming the option and what it takes
 * @example
 * ```ts
 * flaskJwtCookies({ whoami: { path: 'whoami' } })    // POST login, POST refresh, DELETE logout, GET whoami
 * flaskJwtCookies({ refresh: false })                // implicit refreshing: the server's after_request hook
 * flaskJwtCookies({ accessToken: 'memory' })         // only the refresh token in a cookie
 * flaskJwtCookies({ logout: { method: 'POST' } })    // the logout of the library's documentation
 * ```
 */
export function flaskJwtCookies<Claims = StandardClaims, Credentials = UsernamePassword>(
  options: FlaskJwtCookiesOptions<Claims> = {},
): Backend<Claims, Credentials> {
  checkOptions(NAME, options, TAKES)
  const {
    accessToken: place = 'cookie',
    refresh = {},
    logout = {},
    whoami,
    csrf = {},
    claims: claimsIn = (body) => ((body as { sub?: unknown }).sub == null ? undefined : (body as object)),
    followRedirects = false,
    cookies: hook,
    ...rest
  } = options
  const needs = refresh !== false || place === 'cookie'
  demand(NAME, 'refresh', needs, "an endpoint where accessToken is 'memory'")
  const { read, write } = Object(hook) as Partial<CookieHook>
  const keeps = typeof read === 'function' && typeof write === 'function'
  demand(NAME, 'cookies', !hook || keeps, '{ read, write }')
  checkOptions(`${NAME}: csrf`, csrf || {}, TAKES_OF_CSRF)

  const {
    header = 'X-CSRF-TOKEN',
    refreshHeader = header,
    accessCookie = 'csrf_access_token',
    refreshCookie = 'csrf_refresh_token',
    accessKey = 'csrf_access_token',
    refreshKey = 'csrf_refresh_token',
    methods = ['POST', 'PUT', 'PATCH', 'DELETE'],
  } = csrf || {}
  // RFC 9110 section 5.6.2.
  for (const [option, name] of Object.entries({ header, refreshHeader })) {
    demand(`${NAME}: csrf`, option, /^[!#$%&'*+\-.^`|~\w]+$/.test(name), 'a name of a header')
  }
  demand(`${NAME}: csrf`, 'methods', isTexts(methods), 'an array of strings')
  const { accessTokenKey = 'access_token', messageKey = 'msg' } = rest
  const inMemory = place === 'memory'
  const plain = flaskJwt<Claims, Credentials>(rest)
  const keys = { access: accessKey, refresh: refreshKey }
  // No claims, though they may stand beside them.
  const noClaims = [accessKey, refreshKey, accessTokenKey, 'access_token', 'refresh_token', messageKey]

  const values = createCookieValues(hook, csrf ? { access: accessCookie, refresh: refreshCookie } : undefined)
  const owner =
    whoami && !inMemory
      ? createCookieOwner(values, () => askedWho(), {
          value: valueIn,
          claims: (body) => claimsOf(body) !== undefined,
          proof: (url) => (methods.includes(whoami.method ?? 'GET') ? proofOf(values.at(url).access) : {}),
          // A token that has run out by now tells nothing, nor does a server that is busy.
          passing: (answer) => plain.refused(answer) || [408, 425, 429].includes(answer.status),
          gone: isGone,
          blind: !csrf,
        })
      : undefined
  const { transport, calling } = createCookieTransport(
    values,
    { header, refreshHeader },
    owner,
    (nobody) => signOut(undefined, true, nobody),
    whoami && askedWho().path,
  )

  // --- what goes out --------------------------------------------------------------------------------------

  const newHandle = (): string => NO_VALUE + uniqueId()

  /** What proves a session: its CSRF value, if its handle is one. */
  function stampOf(handle: string): Record<string, string> | undefined {
    const value = isUnproven(handle) ? handle.slice(UNPROVEN.length) : handle
    return !csrf || value.startsWith(NO_VALUE) ? undefined : proofOf(value)
  }

  function proofOf(value: string | undefined): Record<string, string> {
    return value ? { [header]: value } : {}
  }

  function marked(spec: RequestSpec, purpose: Purpose): RequestSpec & Marked {
    return { ...spec, credentials: 'include', [PURPOSE]: purpose }
  }

  function askedWho(sure?: boolean): RequestSpec {
    return marked(over({ path: 'whoami', method: 'GET' }, whoami), { kind: 'whoami', sure })
  }

  function refreshing(handle: string, access?: StoredToken, still?: Purpose['still']): RequestSpec {
    return marked(over({ path: 'refresh', headers: stampOf(handle) }, refresh), {
      kind: 'refresh',
      anew: true,
      who: !access?.claims,
      still,
      unproven: isUnproven(handle),
    })
  }

  function signOut(
    headers: Record<string, string> | undefined,
    anew?: boolean,
    nobody?: Purpose['nobody'],
  ): RequestSpec {
    return marked(over({ path: 'logout', method: 'DELETE', headers }, logout), {
      kind: 'logout',
      anew,
      nobody,
    })
  }

  // --- what an answer says -------------------------------------------------------------------------------

  function claimsOf(body: unknown): Record<string, unknown> | undefined {
    const given = typeof body === 'object' && body !== null ? claimsIn(body) : undefined
    if (typeof given !== 'object' || given === null) return undefined
    const claims: Record<string, unknown> = { ...given }
    for (const name of noClaims) delete claims[name]
    // Prolonged by the server, with nobody told.
    if (!refresh) delete claims.exp
    return claims
  }

  /** What a new token says where nobody tells: the same as the one before it, but for its own times. */
  function inherited(before: StoredToken | undefined): Pick<Tokens, 'claims' | 'expiresIn'> {
    if (!before?.claims) return {}
    const { lasts } = readToken(before)
    const { exp: _, iat: _iat, nbf: _nbf, jti: _jti, fresh, ...claims } = before.claims
    return {
      claims: fresh === undefined ? claims : { ...claims, fresh: false },
      expiresIn: lasts === undefined ? undefined : lasts / 1000,
    }
  }

  function valueIn(from: unknown, which: keyof Values): string | undefined {
    return textAt(from, [keys[which]])
  }

  function tokens({ status, headers, body, empty }: Answer, before?: StoredToken): Tokens | undefined {
    const arrival: Arrival = values.arrival(headers) ?? { kind: 'flow', before: NONE, now: NONE }
    const { kind, before: were, now, who, unproven, asked } = arrival
    const replaced = (which: keyof Values): boolean => now[which] !== were[which]
    // A flow may come to nothing but the name of who has signed in otherwise, in a popup or by a redirect: by whoami's answer,
    // for a first step of several may name somebody, too.
    const names = (): boolean => status < 300 && !replaced('access') && claimsOf(body) !== undefined
    const asking = kind === 'whoami' || (asked && now.access !== undefined && names())

    let refreshToken: string | undefined
    if (refresh) {
      const spent = kind === 'refresh' && plain.singleUse && !replaced('refresh')
      const told = valueIn(body, 'refresh')
      // One that a login has left as it was may be another user's.
      const came = inMemory
        ? textAt(body, [accessTokenKey]) !== undefined
        : replaced('access') || valueIn(body, 'access') !== undefined
      const left = /login|flow/.test(kind) && came && !replaced('refresh')
      const value = told ?? (spent || left ? undefined : (valueIn(who, 'refresh') ?? now.refresh))
      const doubt = asking || (unproven && !told)
      if (value) refreshToken = doubt ? UNPROVEN + value : value
      // A handle that is no value says nothing of the cookie: the one that is held stays.
      else if (!csrf && !spent && !(asking && before)) refreshToken = newHandle()
    }
    // Nobody, or a refresh token is left to find out with.
    if (status >= 400) {
      return asking && !before && csrf && refreshToken && status === 401 ? { refreshToken } : undefined
    }
    // A page in place of an answer tells nobody’s name.
    if (asking && body === undefined) return undefined
    if (inMemory) {
      const accessToken = textAt(body, [accessTokenKey])
      return accessToken === undefined ? undefined : { accessToken, refreshToken }
    }
    // The value of the cookie that came with this answer; or, of an answer about the cookies, of that which it was about.
    const seen = asking || replaced('access') ? now.access : undefined
    const value = valueIn(body, 'access') ?? valueIn(who, 'access') ?? seen
    const whose = claimsOf(who)
    const claims = whose ? { ...claimsOf(body), ...whose } : claimsOf(body)
    // Without a value it can still be read with: where there is none, or the page is not told.
    // A page in place of the answer brought none.
    const answered = kind === 'refresh' && (empty || body !== undefined)
    const readable = !csrf || (now.access === undefined && (answered || (!!claims && !before)))
    const accessToken = value ?? (readable ? newHandle() : undefined)
    if (accessToken === undefined) return undefined
    return { accessToken, refreshToken, ...(claims ? { claims } : inherited(before)) }
  }

  /** Whether the server says that the cookie was not there. */
  function isGone({ body }: Answer): boolean {
    // Among others, where tokens may be in several places.
    return /\bMissing cookie \S/.test(textAt(body, [messageKey]) ?? '')
  }

  function refused(answer: Answer): boolean {
    if (plain.refused(answer)) return true
    const { status, headers } = answer
    const signal = plain.classify(answer)
    if (status !== 401 || (signal !== 'missing' && signal !== 'csrf')) return false
    // The cookie has gone. Or its value has, so that nothing can ever be proved by it; one that is there can be read anew,
    // by a page if not by its Worker.
    return isGone(answer) || (values.readable() && values.arrival(headers)?.now.refresh === undefined)
  }

  // --- the backend -----------------------------------------------------------------------------------------

  return {
    ...plain,
    name: NAME,
    cookies: inMemory ? 'refresh' : 'both',
    login: (credentials, still) => marked(plain.login(credentials), { kind: 'login', who: true, still }),
    reauth: (credentials, still) =>
      marked((plain.reauth ?? plain.login)(credentials), { kind: 'login', who: true, same: true, still }),
    refresh: refreshing,
    logout(handle, kind, ended, nobody, beside) {
      if (!logout) return undefined
      // The cookie that goes along is proved by its own value.
      const bearing = inMemory && kind === 'access'
      const headers = bearing
        ? { authorization: `Bearer ${handle}`, ...(beside ? stampOf(beside) : undefined) }
        : stampOf(handle)
      const spec = signOut(headers, ended, nobody)
      // Alone it is no cookie's: what is there is another session's by now.
      return bearing && !ended && !beside ? { ...spec, credentials: 'omit' } : spec
    },
    room: cookieRoom,
    tokens,
    refused,
    attach(token, { url, method = '', headers, credentials, redirect, flow, still }): Attachment & Marked {
      const where = globalThis.location?.origin === url.origin ? 'same-origin' : 'include'
      const along = { credentials: credentials ?? where }
      if (flow) return { ...along, [PURPOSE]: { kind: 'flow', still } }
      if (inMemory) return token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }
      // Nobody is signed in, whatever the cookies say.
      if (token === undefined) return { credentials: credentials ?? 'omit' }
      if (credentials === 'omit') return {}
      calling()
      const attached: Attachment & Marked = { ...along, [PURPOSE]: { kind: 'call' } }
      const own = headers?.has(header)
      if (!own && methods.includes(method)) attached.headers = stampOf(token)
      if ((own || attached.headers) && !followRedirects && redirect !== 'manual') attached.redirect = 'error'
      return attached
    },
    restore(base, access) {
      const { access: value, refresh: seen } = values.at(base)
      const refreshToken = refresh ? seen : undefined
      if (inMemory) {
        // Where no value shows whether there is a cookie, the server is asked, and brings the access token with it.
        if (!access && refresh && !csrf) return refreshing(newHandle())
        return access || !refreshToken ? undefined : { refreshToken }
      }
      // Nothing has changed, or the cookies have gone.
      if (access && value === access.token) return undefined
      if (whoami) return askedWho(access !== undefined)
      if (value) return { accessToken: value, refreshToken, ...inherited(access) }
      return access || !refreshToken ? undefined : { refreshToken }
    },
    transport,
  }
}
