/**
 * Flask-JWT-Extended 4 with tokens in httpOnly cookies, which no script sees. In their place a session holds handles:
 * the CSRF values of its tokens, which change with them. A handle is the session's stamp on what it sends: the server
 * turns it down where the cookies are another session's by then.
 */
import { cookieRoom } from '../cookies.ts'
import { AuthError } from '../errors.ts'
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
import { readAnswer } from '../wire.ts'
import { checkOptions } from './answers.ts'
import { type Endpoint, type FlaskJwtOptions, flaskJwt, type UsernamePassword } from './flask-jwt.ts'

/**
 * Cookies where no browser keeps them: a jar, or those of the request that a server is rendering for. Both answer at
 * once.
 *
 * @example
 * ```ts
 * const jar = new CookieJar() // tough-cookie
 * const cookies: CookieHook = {
 *   read: (url) => jar.getCookieStringSync(url),
 *   write: (url, setCookies) => setCookies.forEach((one) => jar.setCookieSync(one, url)),
 * }
 * ```
 */
export interface CookieHook {
  /** The `Cookie` header for a request to `url` (RFC 6265 section 5.4); empty where there is none. */
  read(url: string): string | undefined
  /** Takes the `Set-Cookie` headers of an answer from `url`. */
  write(url: string, setCookies: string[]): void
}

/**
 * Double submit (`JWT_COOKIE_CSRF_PROTECT`): what a page of another origin can't know, because it can't read the cookie.
 *
 * @example
 * ```ts
 * flaskJwtCookies({ csrf: { header: 'X-XSRF-TOKEN', accessCookie: 'xsrf_access' } })
 * ```
 */
export interface CsrfOptions {
  /** `JWT_ACCESS_CSRF_HEADER_NAME` and `JWT_REFRESH_CSRF_HEADER_NAME`. Default `X-CSRF-TOKEN`. */
  header?: string
  /** `JWT_ACCESS_CSRF_COOKIE_NAME`. Default `csrf_access_token`. */
  accessCookie?: string
  /** `JWT_REFRESH_CSRF_COOKIE_NAME`. Default `csrf_refresh_token`. */
  refreshCookie?: string
  /** Where an answer's JSON has the access token's CSRF value. Default `csrf_access_token`. */
  accessKey?: string
  /** The same for the refresh token. Default `csrf_refresh_token`. */
  refreshKey?: string
  /** `JWT_CSRF_METHODS`. Default POST, PUT, PATCH, DELETE. */
  methods?: readonly string[]
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
  accessToken?: 'cookie' | 'memory'
  /** Default `POST refresh`; `false` where the server replaces the cookie on any answer, and has no such endpoint. */
  refresh?: Endpoint | false
  /**
   * Default `DELETE logout`. It has to clear the cookies, whatever the token's state is; `{ method: 'POST' }` for the
   * library's own example. `false` for none.
   */
  logout?: Endpoint | false
  /**
   * Tells who is signed in, as JSON: the claims, and the CSRF values where the page can't read them. `{}` for
   * `GET whoami`. Default: none, so that nobody knows whose the cookies are.
   */
  whoami?: Endpoint
  /** `false` where the server has it off: then only `SameSite` protects. Default: on, with the library's own names. */
  csrf?: CsrfOptions | false
  /** The claims in an answer's JSON. Default: all of it, if it has a `sub`. */
  claims?: (body: unknown) => object | undefined
  /** Lets a call that carries a CSRF value follow redirects, and take it along. Default `false`: they are errors. */
  followRedirects?: boolean
  /** Needed where no browser keeps the cookies. Default: none. */
  cookies?: CookieHook
}

const TAKES = {
  login: 'endpoint',
  reauth: 'endpoint',
  refresh: 'endpoint|false',
  logout: 'endpoint|false',
  whoami: 'endpoint',
  messageKey: 'string',
  accessTokenKey: 'string',
  signals: 'object',
  refreshToken: "'reusable'|'single-use'",
  revoked: "'end'|'refresh'",
  subject: 'function',
  accessToken: "'cookie'|'memory'",
  csrf: 'object|false',
  claims: 'function',
  followRedirects: 'boolean',
  cookies: 'object',
}

/** What something that goes out is for; rides along to `transport`, unseen by `fetch`. */
const PURPOSE: unique symbol = Symbol('purpose')
interface Purpose {
  kind: 'call' | 'flow' | 'login' | 'refresh' | 'logout' | 'whoami'
  /** Whether the value that is in the cookies counts, whatever the session was stamped with. */
  anew?: boolean | undefined
  /** Whether it is still wanted: by who called, and by the store. */
  still?: (() => Promise<boolean>) | undefined
  /** Whether to ask who it is, where the answer doesn't tell. */
  who?: boolean
  /** Whether it has to be the same user as before. */
  same?: boolean
  /** Whether an answer about cookies that it replaced itself won’t do. */
  sure?: boolean | undefined
  /** Whether the refresh cookie may be another’s. */
  unproven?: boolean
}
interface Marked {
  [PURPOSE]?: Purpose
}

/** The CSRF values in the cookies. */
interface Values {
  access: string | undefined
  refresh: string | undefined
}

/** What was known when an answer arrived: by the time it is read the cookies may have been replaced again. */
interface Arrival {
  kind: Purpose['kind']
  before: Values
  now: Values
  /** What `whoami` answered after it; `null`: it could not be found out. */
  who?: Record<string, unknown> | null | undefined
  /** Whether that may be true of the access cookie only. */
  unproven?: boolean
}

type Send = Parameters<NonNullable<Backend['transport']>>[0]
type Init = RequestInit & Marked

// A login waits for what would overwrite its cookies, but not for ever, ms.
const PATIENCE = 10_000
// What is asked after a login or a refresh must not cost it, ms.
const WHOAMI_TIMEOUT = 3_000
const MOVED = 'Who is signed in is another by now'
const WHOSE = 'Nobody knows whose cookies came'
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
  checkOptions('flaskJwtCookies', options, TAKES)
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
  const demand = (option: string, holds: boolean, takes: string): void => {
    if (holds) return
    throw new AuthError('invalid_option', `flaskJwtCookies: ${option} takes ${takes}`, { option })
  }
  demand('refresh', refresh !== false || place === 'cookie', "an endpoint where accessToken is 'memory'")
  const { read, write } = Object(hook) as Partial<CookieHook>
  demand('cookies', !hook || (typeof read === 'function' && typeof write === 'function'), '{ read, write }')

  const {
    header = 'X-CSRF-TOKEN',
    accessCookie = 'csrf_access_token',
    refreshCookie = 'csrf_refresh_token',
    accessKey = 'csrf_access_token',
    refreshKey = 'csrf_refresh_token',
    methods = ['POST', 'PUT', 'PATCH', 'DELETE'],
  } = csrf || {}
  const { accessTokenKey = 'access_token', messageKey = 'msg' } = rest
  const inMemory = place === 'memory'
  const plain = flaskJwt<Claims, Credentials>(rest)
  // No claims, though they may stand beside them.
  const noClaims = [accessKey, refreshKey, accessTokenKey, 'access_token', 'refresh_token', messageKey]

  // --- cookies -------------------------------------------------------------------------------------------

  /** The hook’s answer; what it throws may quote a cookie, and is not passed on. */
  const ask = <T>(member: 'read' | 'write', answer: () => T): T => {
    let given: T
    let did = 'gave a promise: it answers at once'
    try {
      given = answer()
      if (typeof (given as { then?: unknown } | undefined)?.then !== 'function') return given
    } catch {
      did = 'threw'
    }
    const option = `cookies.${member}`
    throw new AuthError('invalid_option', `flaskJwtCookies: ${option}() ${did}`, { option })
  }
  const cookiesFor = (url: string): string | undefined => hook && ask('read', () => hook.read(url))
  const cookie = (name: string, url: string): string | undefined => {
    const text = hook ? cookiesFor(url) : globalThis.document?.cookie
    for (const pair of (text ?? '').split(';')) {
      const at = pair.indexOf('=')
      if (pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim() || undefined
    }
    return undefined
  }
  const valuesAt = (url: string): Values =>
    csrf
      ? { access: cookie(accessCookie, url), refresh: cookie(refreshCookie, url) }
      : { access: undefined, refresh: undefined }
  const newHandle = (): string => NO_VALUE + crypto.getRandomValues(new Uint32Array(4)).join('')
  /** What proves a session: its CSRF value, if its handle is one. */
  const stampOf = (handle: string): Record<string, string> | undefined => {
    const value = isUnproven(handle) ? handle.slice(2) : handle
    return !csrf || value.startsWith(NO_VALUE) ? undefined : { [header]: value }
  }

  // By their headers, which are what `tokens` and `refused` are given.
  const arrivals = new WeakMap<Headers, Arrival>()

  /** Sends with the cookies, and takes those that come. */
  async function exchange(
    send: Send,
    input: string | URL | Request,
    init: Init,
    kind: Purpose['kind'],
  ): Promise<Response> {
    const request = typeof input === 'object' && 'url' in input ? input : undefined
    const url = request?.url ?? String(input)
    const before = kind === 'call' ? undefined : valuesAt(url)
    let given = init
    const text = cookiesFor(url)
    if (text) {
      const headers = new Headers(init.headers ?? request?.headers)
      headers.set('cookie', text)
      given = { ...init, headers }
    }
    const response = await send(input, given)
    const setCookies = hook ? response.headers.getSetCookie() : []
    if (hook && setCookies.length) ask('write', () => hook.write(response.url || url, setCookies))
    if (before) arrivals.set(response.headers, { kind, before, now: valuesAt(url) })
    return response
  }

  // --- our own requests ------------------------------------------------------------------------------------

  // Each until it is answered, or patience with it has ended: one that never is must not hold up all that come after.
  const running = new Set<Promise<void>>()
  let signingIn: Promise<void> | undefined
  // The values that the last answer told, though no session was given them.
  let lastTold: Partial<Values> = {}
  // The user's logout, while nobody has signed in after it.
  let ending: { at: number; sent: Promise<unknown> } | undefined

  async function transport(
    send: Send,
    input: string | URL | Request,
    init: Init | undefined,
    base: string,
  ): Promise<Response> {
    const purpose = init?.[PURPOSE]
    if (!purpose) return send(input, init)
    const { kind } = purpose
    if (kind === 'flow' || kind === 'login') ending = undefined
    if (kind === 'flow') return exchange(send, input, init, kind)
    if (kind === 'call') {
      const response = await exchange(send, input, init, kind)
      if (ending) void takeBack(ending, send, base)
      return response
    }
    const { still, anew } = purpose
    // The cookies that come last are those that stay, whoever was called last: a login waits for all that was called
    // before it, and what is called after it for the login; but for a logout, often the last thing that a page does.
    const unhurried = kind !== 'logout' || !anew
    const earlier = kind === 'login' ? [...running] : signingIn && unhurried ? [signingIn] : []
    const inTurn = async (): Promise<Response> => {
      if (earlier.length) {
        await Promise.all(earlier)
        init.signal?.throwIfAborted()
        // Nothing of what has ended meanwhile goes out, though it was asked for before.
        if (still && !(await still())) throw new Error(MOVED)
      }
      return own(send, String(input), init, purpose, base)
    }
    const sent = inTurn()
    const over = bounded(sent).then(() => {
      running.delete(over)
      if (signingIn === over) signingIn = undefined
    })
    running.add(over)
    if (kind === 'login') signingIn = over
    if (kind === 'logout' && anew) ending = { at: Date.now(), sent }
    return sent
  }

  /**
   * A call that was answered after the logout may have brought a cookie, which the server had replaced by itself. What is
   * there much later is of a login elsewhere.
   */
  async function takeBack(mine: NonNullable<typeof ending>, send: Send, base: string): Promise<void> {
    await mine.sent.catch(() => {})
    if (ending !== mine || Date.now() - mine.at > PATIENCE || !valuesAt(base).access) return
    const { path, ...spec } = signOut(undefined, true)
    ending = undefined
    const last = { redirect: 'error', cache: 'no-store', keepalive: true } as const
    await transport(send, new URL(path, base).href, { ...spec, ...last }, base).catch(() => {})
  }

  async function own(
    send: Send,
    url: string,
    init: Init,
    { kind, anew, who, same, sure, still, unproven }: Purpose,
    base: string,
  ): Promise<Response> {
    if (kind === 'whoami') return look(send, url, init, sure)
    const which = kind === 'refresh' ? 'refresh' : 'access'
    let told: string | undefined
    for (let tries = 0; ; tries++) {
      const headers = new Headers(init.headers)
      const stamp = headers.get(header)
      // Either value proves a logout.
      const read = (values = valuesAt(url)): string | false | null | undefined =>
        (anew && (told ?? values[which] ?? (kind === 'logout' && values.refresh))) || stamp
      let value = read()
      // Another value may be that of who has signed in since. A login, here or in another tab, is in the store a moment after
      // its answer: until then its cookies are nobody's to spend.
      for (let left = 10; still && (left < 10 || value !== stamp); left--) {
        if (!(await still())) throw new Error(MOVED)
        if (!left || value === stamp) break
        await new Promise((resolve) => setTimeout(resolve, 100))
        value = read()
      }
      init.signal?.throwIfAborted()
      if (value) headers.set(header, value)
      const response = await exchange(send, url, { ...init, headers }, kind)
      const arrival = arrivals.get(response.headers) as Arrival
      const now = arrival.now[which]
      // Replaced between the reading and the sending: a mismatch that one more try cures.
      if (anew && response.status === 401 && !tries && now !== undefined && now !== value) {
        void response.body?.cancel().catch(() => {})
        continue
      }
      // The same, of a value that no page can read.
      if (anew && response.status === 401 && !tries && now === undefined && whoami) {
        const asked = kind === 'logout' ? await inquire(send, init, base).catch(() => undefined) : undefined
        told = textIn(asked?.body, accessKey) ?? lastTold[which]
        if (told !== undefined && told !== value) {
          void response.body?.cancel()
          continue
        }
      }
      // Under another value than the stamp's it may be another user by now; and where both cookies were replaced, it may
      // have been a login elsewhere that did.
      const doubtful =
        kind === 'refresh' && (unproven || value !== stamp || arrival.now.refresh !== arrival.before.refresh)
      if (whoami && !inMemory && response.ok && (who || doubtful)) {
        arrival.who = await askWho(send, init, response, arrival, base)
        if (arrival.who !== null) lastTold = {}
        // Both cookies are there anew, and not all of them may be of this answer.
        const both = arrival.now.refresh !== arrival.before.refresh
        arrival.unproven = arrival.who !== undefined && (kind === 'refresh' ? both : same === true)
        // A session is not given cookies that may be another user's. If it has ended they are taken back.
        if (arrival.who === null && (doubtful || same) && (await still?.())) throw new Error(WHOSE)
      }
      return response
    }
  }

  /** Asks who it is until the answer is about the cookies that are there: any answer may replace them. */
  async function look(send: Send, url: string, init: Init, sure?: boolean): Promise<Response> {
    let last: string | undefined
    for (let tries = 0; ; tries++) {
      const response = await exchange(send, url, init, 'whoami')
      const { before, now } = arrivals.get(response.headers) as Arrival
      if (!response.ok || tries === 2) return response
      if (now.access === undefined) {
        // Not to be seen from here, but two answers that tell the same are about the same.
        const { body } = await readAnswer(response, init.signal ?? undefined, true)
        const told = textIn(body, accessKey)
        if (!sure || told === undefined || told === last) return response
        last = told
      } else if (now.access === before.access) return response
      void response.body?.cancel().catch(() => {})
    }
  }

  /** Asks `whoami` within bounds of its own. */
  async function inquire(send: Send, { signal }: Init, base: string): Promise<Answer> {
    const late = soon(signal)
    const { path, ...asked } = askedWho()
    const response = await look(send, new URL(path, base).href, {
      ...asked,
      cache: 'no-store',
      redirect: 'error',
      signal: late,
    })
    // Looked into already, perhaps, until it was too late: what is aborted before nobody hears of.
    late.throwIfAborted()
    const answer = await readAnswer(response, late, true)
    late.throwIfAborted()
    return answer
  }

  /** What `whoami` says, where an answer that brought a token doesn't tell. What goes wrong here costs no login. */
  async function askWho(
    send: Send,
    init: Init,
    response: Response,
    { before, now }: Arrival,
    base: string,
  ): Promise<Record<string, unknown> | null | undefined> {
    if (now.access !== undefined && now.access === before.access) return undefined
    try {
      const answer = await readAnswer(response, soon(init.signal), true)
      const told = textIn(answer.body, accessKey)
      lastTold = { access: told, refresh: textIn(answer.body, refreshKey) }
      // The value of the cookie that is there may be another's all the same.
      if (claimsOf(answer.body) && (told || !now.access)) return undefined
      const said = await inquire(send, init, base)
      const { status, headers, body } = said
      // Replaced meanwhile: nobody knows which of the two it was about.
      const same =
        arrivals.get(headers)?.now.access === now.access &&
        told === (told && (textIn(body, accessKey) ?? told))
      if (status < 300 && same && body) return Object(body) as Record<string, unknown>
      // What turns this down (there is no such route, say) would turn it down for ever, and no refresh would ever be taken. A
      // token that has run out by now tells nothing, nor does a server that is busy.
      const passing = plain.refused(said) || isGone(said) || [408, 425, 429].includes(status)
      return status >= 400 && status < 500 && same && !passing ? undefined : null
    } catch {
      return null
    }
  }

  const askedWho = (sure?: boolean): RequestSpec =>
    marked({ path: 'whoami', method: 'GET', ...whoami }, { kind: 'whoami', sure })

  const marked = (spec: RequestSpec, purpose: Purpose): RequestSpec & Marked => ({
    ...spec,
    credentials: 'include',
    [PURPOSE]: purpose,
  })

  const signOut = (headers: Record<string, string> | undefined, anew?: boolean): RequestSpec =>
    marked({ path: 'logout', method: 'DELETE', ...(logout || {}), headers }, { kind: 'logout', anew })

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

  function textIn(from: unknown, key: string): string | undefined {
    const value = (Object(from) as Record<string, unknown>)[key]
    return (typeof value === 'string' && value) || undefined
  }

  function tokens({ status, headers, body, empty }: Answer, before?: StoredToken): Tokens | undefined {
    const none: Values = { access: undefined, refresh: undefined }
    const arrival: Arrival = arrivals.get(headers) ?? { kind: 'flow', before: none, now: none }
    const { kind, now, who, unproven } = arrival
    const asking = kind === 'whoami'
    const told = (key: string): string | undefined => textIn(body, key) ?? textIn(who, key)
    const replaced = (which: keyof Values): boolean => now[which] !== arrival.before[which]

    let refreshToken: string | undefined
    if (refresh) {
      const spent = kind === 'refresh' && plain.singleUse && !replaced('refresh')
      const value = textIn(body, refreshKey) ?? (spent ? undefined : (textIn(who, refreshKey) ?? now.refresh))
      const doubt = asking || (unproven && !textIn(body, refreshKey))
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
      const accessToken = textIn(body, accessTokenKey)
      return accessToken === undefined ? undefined : { accessToken, refreshToken }
    }
    // The value of the cookie that came with this answer; or, of an answer about the cookies, of that which it was about.
    const value = told(accessKey) ?? (asking || replaced('access') ? now.access : undefined)
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
  const isGone = ({ body }: Answer): boolean => /^Missing cookie /.test(textIn(body, messageKey) ?? '')

  function refused(answer: Answer): boolean {
    if (plain.refused(answer)) return true
    const { status, headers } = answer
    const signal = plain.classify(answer)
    if (status !== 401 || (signal !== 'missing' && signal !== 'csrf')) return false
    // The cookie has gone. Or its value has, so that nothing can ever be proved by it; one that is there can be read anew.
    return isGone(answer) || arrivals.get(headers)?.now.refresh === undefined
  }

  // --- the backend -----------------------------------------------------------------------------------------

  return {
    ...plain,
    name: 'flaskJwtCookies',
    cookies: inMemory ? 'refresh' : 'both',
    login: (credentials, still) => marked(plain.login(credentials), { kind: 'login', who: true, still }),
    reauth: (credentials, still) =>
      marked((plain.reauth ?? plain.login)(credentials), { kind: 'login', who: true, same: true, still }),
    refresh: (handle, access, still) =>
      marked(
        { path: 'refresh', ...(refresh || {}), headers: stampOf(handle) },
        {
          kind: 'refresh',
          anew: true,
          who: !access?.claims,
          still,
          unproven: isUnproven(handle),
        },
      ),
    logout(handle, kind, ended) {
      if (!logout) return undefined
      const bearing = inMemory && kind === 'access'
      const headers = bearing ? { authorization: `Bearer ${handle}` } : stampOf(handle)
      return signOut(headers, ended && !bearing)
    },
    room: cookieRoom,
    tokens,
    refused,
    attach(token, { url, method = '', headers, credentials, redirect, flow }): Attachment & Marked {
      const where = globalThis.location?.origin === url.origin ? 'same-origin' : 'include'
      const along = { credentials: credentials ?? where }
      if (flow) return { ...along, [PURPOSE]: { kind: 'flow' } }
      if (inMemory) return token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }
      // Nobody is signed in, whatever the cookies say.
      if (token === undefined) return { credentials: credentials ?? 'omit' }
      if (credentials === 'omit') return {}
      ending = undefined
      const attached: Attachment & Marked = { ...along, [PURPOSE]: { kind: 'call' } }
      const own = headers?.has(header)
      if (!own && methods.includes(method)) attached.headers = stampOf(token)
      if ((own || attached.headers) && !followRedirects && redirect !== 'manual') attached.redirect = 'error'
      return attached
    },
    restore(base, access) {
      const { access: value, refresh: seen } = valuesAt(base)
      const refreshToken = refresh ? seen : undefined
      if (inMemory) return access || !refreshToken ? undefined : { refreshToken }
      // Nothing has changed, or the cookies have gone.
      if (access && value === access.token) return undefined
      if (whoami) return askedWho(access !== undefined)
      if (value) return { accessToken: value, refreshToken, ...inherited(access) }
      return access || !refreshToken ? undefined : { refreshToken }
    },
    transport,
  }
}

/** Waits for `what`, but not for ever. */
function bounded(what: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, PATIENCE)
    void what
      .catch(() => {})
      .then(() => {
        clearTimeout(timer)
        resolve()
      })
  })
}

/** What is asked beside must not take long. */
function soon(signal: AbortSignal | null | undefined): AbortSignal {
  const late = AbortSignal.timeout(WHOAMI_TIMEOUT)
  return signal ? AbortSignal.any([signal, late]) : late
}
