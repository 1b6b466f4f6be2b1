/**
 * Every public type of the fake backend. Types only: nothing here runs.
 *
 * What is reproduced is what Flask-JWT-Extended 4.7 puts on the wire, which test/stories/flask-real.test.ts holds it
 * against; the JWT_… names are that library's own settings.
 */

/**
 * How the server speaks.
 *
 * - `default`: the texts of Flask-JWT-Extended itself.
 * - `tutorial`: those of the widely copied Teclado course.
 * - `simple-jwt`: Django REST Framework SimpleJWT: `POST token/`, `token/refresh/`, `token/blacklist/` (each to be moved by
 *   `paths`), the refresh token in the body.
 * - `oauth2`: an OAuth 2 server, `POST token` and `POST revoke` (to be moved as `login` and `logout`), and an API with the
 *   challenges of RFC 6750 and RFC 9470. A `code` is the name of the user who gave it. A refresh stands in the log under
 *   its own route.
 *
 * The last two take tokens in headers; to be chosen when the backend is made.
 */
export type Dialect = 'default' | 'tutorial' | 'simple-jwt' | 'oauth2'

/**
 * What an exchange does to the refresh token that paid for it.
 *
 * - `reusable`: nothing, it can be used until it expires. The library's own behaviour.
 * - `single-use`: it is spent and **no new one is given**. The tutorial's behaviour.
 * - `rotating`: it is spent and a new one is given. A spent one is refused, nothing else happens.
 * - `rotating-reuse-detection`: as `rotating`, and a spent one that comes back ends its whole family
 *   (RFC 9700, section 4.14.2), unless it comes within `reuseGrace`.
 */
export type RefreshMode = 'reusable' | 'single-use' | 'rotating' | 'rotating-reuse-detection'

/** Where the server looks for a token (JWT_TOKEN_LOCATION); `json` is a member of the body. */
export type TokenLocation = 'headers' | 'cookies' | 'query_string' | 'json'

/** The two sorts of token. */
export type TokenKind = 'access' | 'refresh'

/**
 * The routes by name, for counters, latency and faults. `api` is every route of the test's own, `unknown` every path
 * that is none of them.
 */
export type RouteName =
  | 'login'
  | 'fresh-login'
  | 'refresh'
  | 'logout'
  | 'protected'
  | 'fresh'
  | 'optional'
  | 'upload'
  | 'whoami'
  | 'validated'
  | 'redirect'
  | 'register'
  | 'admin'
  | 'api'
  | 'unknown'

/** The claims of a token, as parsed: `exp`, `iat` and `nbf` are in seconds since 1970. */
export type Claims = Record<string, unknown>

/**
 * Why the server turned a token down.
 *
 * `missing` none came · `csrf` the double-submit value is missing or wrong · `invalid` malformed, badly
 * signed, of the wrong type … · `expired` · `stale` valid, but the route wants a fresh one · `revoked` ·
 * `claims` the custom check said no · `user` the user is gone.
 */
export type RefusalReason =
  | 'missing'
  | 'csrf'
  | 'invalid'
  | 'expired'
  | 'stale'
  | 'revoked'
  | 'claims'
  | 'user'

/**
 * Somebody who can log in.
 *
 * @example
 * ```ts
 * createBackend({ dialect: 'tutorial', users: { root: { password: 'x', sub: '1', claims: { is_admin: true } } } })
 * ```
 */
export interface User {
  /** In clear, compared as it is. */
  readonly password: string
  /** The identity in the tokens. Default: the user name. */
  readonly sub?: string | undefined
  /** Extra claims for both tokens; they override built-in claims of the same name. */
  readonly claims?: Claims | undefined
  /** Further extra claims, for the refresh token only. */
  readonly refreshClaims?: Claims | undefined
}

/** Names, paths and attributes of the cookies (JWT_ACCESS_COOKIE_NAME and its like). */
export interface CookieSettings {
  /** Default `access_token_cookie`. */
  accessName: string
  /** Default `refresh_token_cookie`. */
  refreshName: string
  /** Default `csrf_access_token`. */
  accessCsrfName: string
  /** Default `csrf_refresh_token`. */
  refreshCsrfName: string
  /** Default `/`. */
  accessPath: string
  /** Default `/`. Narrowing it leaves `refreshCsrfPath` as it is. */
  refreshPath: string
  /** Default `/`. */
  accessCsrfPath: string
  /** Default `/`. */
  refreshCsrfPath: string
  /** Default `false`. */
  secure: boolean
  /** Default: the attribute is not sent. */
  sameSite: 'Lax' | 'Strict' | 'None' | undefined
  /** Default: the attribute is not sent. */
  domain: string | undefined
  /** `true` adds `Expires` and `Max-Age=31540000` (JWT_SESSION_COOKIE = False). Default `false`. */
  persistent: boolean
}

/**
 * How long a request is under way, in milliseconds.
 *
 * @example A refresh that the server has done 50 ms before its caller hears of it:
 * ```ts
 * backend.settings.latency = { refresh: { before: 10, after: 50 } }
 * ```
 */
export interface Latency {
  /** Until the server takes the request up. Default 0. */
  readonly before?: number | undefined
  /** From then until the answer arrives. Default 0. */
  readonly after?: number | undefined
}

/**
 * How the server behaves. Each is an option of {@link createBackend}, and can be changed at any time in
 * `backend.settings`.
 */
export interface BackendSettings {
  /** Whose texts are sent. Default `default`. */
  dialect: Dialect
  /** What an exchange does to the refresh token. Default `reusable`, or `single-use` in the tutorial's dialect. */
  refresh: RefreshMode
  /**
   * With `rotating-reuse-detection`: for how many milliseconds after its first use a spent refresh token
   * gets a further pair instead of raising the alarm. Default 0.
   */
  reuseGrace: number
  /** Where tokens are looked for, in this order. Default `['headers']`. */
  locations: readonly TokenLocation[]
  /**
   * How tokens are given out. `split`: the access token in the body, the refresh token in a cookie. Default: `both` if
   * `locations` has headers and cookies, `cookies` if it has cookies but not headers, else `body`.
   */
  deliver: 'body' | 'cookies' | 'both' | 'split' | undefined
  /** Life of an access token in milliseconds, `null` for no `exp`. Default 900 000 (15 minutes). */
  accessLifetime: number | null
  /** Life of a refresh token in milliseconds, `null` for no `exp`. Default 2 592 000 000 (30 days). */
  refreshLifetime: number | null
  /**
   * How fresh a login makes the access token: `true` until it expires, or for so many milliseconds, which
   * gives a numeric claim. Default `true`.
   */
  fresh: boolean | number
  /** Tolerance for `exp`, `iat` and `nbf` in milliseconds, whole seconds as a rule. Default 0. */
  leeway: number
  /**
   * Milliseconds: a token that expires within them gets a new access cookie on any answer, as by the `after_request` hook of
   * the library's "Implicit Refreshing With Cookies". Default: off.
   */
  implicitRefresh: number | undefined
  /** The member that holds the text of an error in the default dialect (JWT_ERROR_MESSAGE_KEY). Default `msg`. */
  messageKey: string
  /** Default `Authorization`. */
  headerName: string
  /** Default `Bearer`. Empty: the header is the bare token. */
  headerType: string
  /** Default `jwt`. */
  queryStringName: string
  /** Default empty. */
  queryStringPrefix: string
  /** Double submit for cookies, and the `csrf` claim (JWT_COOKIE_CSRF_PROTECT). Default `true`. */
  csrfProtect: boolean
  /** Whether the CSRF values are given out as cookies. Default `true`. */
  csrfInCookies: boolean
  /**
   * Whether the answers of login and refresh, and `/whoami`, tell the CSRF values as `csrf_access_token` and
   * `csrf_refresh_token`, for a page at another origin. Default `false`.
   */
  csrfInBody: boolean
  /** Whether a `csrf_token` field of a urlencoded form will do instead of the header. Default `false`. */
  csrfCheckForm: boolean
  /** Methods that need the double submit. Default POST, PUT, PATCH, DELETE. */
  csrfMethods: readonly string[]
  /** Header of the double submit. Default `X-CSRF-TOKEN`. */
  csrfHeader: string
  /** The same for the refresh token. Default: as `csrfHeader`. */
  csrfRefreshHeader: string | undefined
  /** Names, paths and attributes of the cookies. Default: the library's own. */
  cookies: CookieSettings
  /** Written as `aud` and demanded. Default: none. */
  audience: string | undefined
  /** Written as `iss` and demanded. Default: none. */
  issuer: string | undefined
  /** Whether `nbf` is written (JWT_ENCODE_NBF). Default `true`. */
  nbf: boolean
  /** Whether `sub` has to be a string (JWT_VERIFY_SUB). Default `true`. */
  verifySub: boolean
  /**
   * What `DELETE /logout` takes: either token, or only an access token. Default `either`. Where tokens are given out in
   * cookies it clears them, and takes those that no longer work, too: a cookie may outlive its token.
   */
  logout: 'either' | 'access'
  /** The application's own check of the claims; `false` → 400. Default: none. */
  verifyClaims: ((claims: Claims) => boolean) | undefined
  /** Whether the user still exists; `false` → 401 `Error loading the user <sub>`. Default: none. */
  lookupUser: ((sub: string, claims: Claims) => boolean) | undefined
  /**
   * Where routes live if not at their own names, relative to `prefix`: `{ login: 'auth/login', refresh: 'token/refresh/' }`.
   * Default: none is moved.
   */
  paths: Partial<Record<RouteName, string>>
  /**
   * Delay per route: `api` for those of your own, `*` for every route that is not named; a number is `before`. Default:
   * none.
   */
  latency: Partial<Record<RouteName | '*', number | Latency>>
}

/** A request to a route of the test's own, once its token was let in. */
export interface ApiCall {
  /** As it came; its body is there to be read. */
  readonly request: Request
  /** Its URL, parsed. */
  readonly url: URL
  /** What stood in the place of each `:name`. */
  readonly params: Readonly<Record<string, string>>
  /** Whose token came; `undefined` where none had to. */
  readonly sub: string | undefined
  /** What it says. */
  readonly claims: Claims | undefined
}

/** Answers with a `Response`, or with what becomes one of JSON: 200, or 204 for `undefined`. What it throws, the caller gets. */
export type ApiAnswer = (call: ApiCall) => unknown

/** A route of the test's own. */
export interface ApiRoute {
  /**
   * The token it asks for before it answers, in the words of Flask-JWT-Extended: any access token, a `fresh` one,
   * `optional` one or none, `false` never any. Default `access`.
   */
  readonly token?: 'access' | 'fresh' | 'optional' | false | undefined
  /** What it answers once the token was let in. */
  readonly answer: ApiAnswer
}

/**
 * What {@link createBackend} takes: the settings, and what is fixed once it stands. `Api`: the names of the test's own
 * routes.
 *
 * @example
 * ```ts
 * const backend = createBackend({ prefix: '/api/', users: { carol: 'secret' }, refresh: 'rotating' })
 * ```
 */
export interface BackendOptions<Api extends string = string>
  extends Partial<Omit<BackendSettings, 'cookies'>> {
  /** Names, paths and attributes of the cookies; what is left out keeps its default. */
  readonly cookies?: Partial<CookieSettings> | undefined
  /**
   * Routes of the application under test, by `path` (any method) or `METHOD path`, relative to `prefix`; `:name` takes a
   * segment. The first that fits answers, before the built-in ones. Their names are good for `count` and `fault`, too.
   * Default none.
   *
   * @example
   * ```ts
   * const backend = createBackend({
   *   api: {
   *     'GET items/:id': ({ params }) => ({ id: params.id }),
   *     'DELETE account': { token: 'fresh', answer: () => undefined },
   *   },
   * })
   * backend.fault('GET items/:id', { status: 503 })
   * ```
   */
  readonly api?: Readonly<Record<Api, ApiAnswer | ApiRoute>> | undefined
  /** The path under which the routes live. Default `/`. */
  readonly prefix?: string | undefined
  /** Who can log in: by user name, a password or a {@link User}. Default `{ alice: 'wonderland', bob: 'builder' }`. */
  readonly users?: Readonly<Record<string, string | User>> | undefined
  /** The server's clock, in milliseconds since 1970. Default: `Date`. */
  readonly clock?: { now(): number } | undefined
  /** How `latency` is waited for. Default: `setTimeout`. */
  readonly sleep?: ((milliseconds: number) => Promise<unknown>) | undefined
  /**
   * `webcrypto`: real HS256, by jose. `fast`: a checksum instead of a signature, worked out at once.
   *
   * WebCrypto answers from a thread pool, which no virtual clock can see. With `fast` every answer settles
   * in microtasks alone (unless `latency` or a fault asks otherwise, or the body is a `Blob`), and a
   * simulation stays deterministic. Default `webcrypto`.
   */
  readonly signer?: 'webcrypto' | 'fast' | undefined
  /** The signing key, not empty; HS256 asks for 32 bytes. Default: a fixed one, the same for every backend. */
  readonly secret?: string | undefined
  /** Where ids (`jti`, `csrf`, families) come from. Default `crypto.randomUUID`. */
  readonly uuid?: (() => string) | undefined
}

/** A token that the backend gave out. */
export interface IssuedToken {
  /** The token itself. */
  readonly token: string
  /** Which of the two. */
  readonly kind: TokenKind
  /** Its own id. */
  readonly jti: string
  /** Whose it is; a claim that is no string is written out as one. */
  readonly sub: string
  /** The id of the login chain it belongs to. */
  readonly family: string
  /** 0 for what the login gave, n for what the n-th exchange of the family gave. */
  readonly generation: number
  /** The claim as written: a number is in seconds since 1970. */
  readonly fresh: boolean | number
  /** Seconds since 1970; with a fraction in those of {@link fakeTokens}. */
  readonly iat: number
  /** The same, `null` if it never expires. */
  readonly exp: number | null
  /** All its claims, `csrf` among them. */
  readonly claims: Readonly<Claims>
}

/** A login and all that was exchanged for it: what other servers call a session. */
export interface Family {
  /** To be given to `sessionAlive` and `revoke`. */
  readonly id: string
  /** Whose it is. */
  readonly sub: string
  /** When it began, in milliseconds of the server's clock. */
  readonly startedAt: number
  /** How many exchanges it has seen. */
  readonly generation: number
  /** Why all of it is refused: `revoked` by the test's hand, `reuse` because a spent refresh token came back. */
  readonly ended: 'revoked' | 'reuse' | undefined
  /** All that was given out in it, oldest first. */
  readonly tokens: readonly IssuedToken[]
}

/** A token as it came with a request. All but `where` and `token` are known only of tokens issued here. */
export interface PresentedToken {
  /** Where in the request it stood. */
  readonly where: 'header' | 'cookie' | 'query' | 'json'
  /** The token itself. */
  readonly token: string
  /** As {@link IssuedToken} has it. */
  readonly kind?: TokenKind | undefined
  /** As {@link IssuedToken} has it. */
  readonly jti?: string | undefined
  /** As {@link IssuedToken} has it. */
  readonly sub?: string | undefined
  /** As {@link IssuedToken} has it. */
  readonly family?: string | undefined
  /** As {@link IssuedToken} has it. */
  readonly generation?: number | undefined
}

/** One request as the server saw it. It is entered when the request arrives and filled in as it is served. */
export interface LogEntry {
  /** 1, 2, 3 … in order of arrival, never reused. */
  readonly id: number
  /** When it arrived, in milliseconds of the server's clock. */
  readonly time: number
  /** As `Request` has it. */
  readonly method: string
  /** Absolute, with the query. */
  readonly url: string
  /** The path of `url`, prefix and all, without the query. */
  readonly path: string
  /** Told by the path alone, whatever the method; `api` for the test's own. */
  readonly route: RouteName
  /** Which of the test's own, as it stands in `api`; else `undefined`. */
  readonly api: string | undefined
  /** The headers, names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** The body as text; not kept for `/upload`. */
  readonly body: string | undefined
  /** Every token that came with it, the one the route would look at first. */
  readonly tokens: readonly PresentedToken[]
  /** The first of `tokens`. */
  readonly token: PresentedToken | undefined
  /** Whether the server took it up. A fault can answer, or drop it, before that. */
  readonly processed: boolean
  /** What the server answered, whether or not it arrived; `undefined` until then. */
  readonly status: number | undefined
  /** Whether the answer's head was handed over. */
  readonly delivered: boolean
  /** Why the token was turned down, if it was. */
  readonly error: RefusalReason | undefined
  /** The text that goes with `error` in the default dialect. */
  readonly detail: string | undefined
  /** The fault that struck. */
  readonly fault: Fault | undefined
  /** What the server gave out for it, whether or not the answer arrived. */
  readonly issued: readonly IssuedToken[]
}

/**
 * What {@link Backend.timeline} takes.
 *
 * @example
 * ```ts
 * const backend = createBackend()
 * console.log(backend.timeline({ times: true }))
 * ```
 */
export interface TimelineOptions {
  /** Whether each line begins with the server's time since the first one. Default `false`: then it can be a snapshot. */
  readonly times?: boolean | undefined
}

/**
 * What goes wrong with a request.
 *
 * | fault | processed? | the caller sees |
 * | --- | --- | --- |
 * | `drop` | no | {@link ConnectionDropped} |
 * | `drop-after` | yes | {@link ConnectionDropped} |
 * | `hang` | no | nothing, until its own signal aborts |
 * | `hang-after` | yes | nothing, until its own signal aborts |
 * | `cut-body` | yes | status and headers, then a body that breaks off |
 * | `stall-body` | yes | status and headers, then a body that never ends, until its own signal aborts |
 * | `not-json` | no | 200 with an HTML page |
 * | an object | if `process` | that answer |
 */
export type Fault =
  | 'drop'
  | 'drop-after'
  | 'hang'
  | 'hang-after'
  | 'cut-body'
  | 'stall-body'
  | 'not-json'
  | FaultAnswer

/** An answer that takes the place of the server's own. */
export interface FaultAnswer {
  /** As HTTP has it. */
  readonly status: number
  /** Besides `Content-Type`, which they may override. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** An object is sent as JSON, a string as HTML unless `headers` say otherwise. Default: empty. */
  readonly body?: string | object | undefined
  /** Whether the server processes the request first. Default `false`. */
  readonly process?: boolean | undefined
}

/**
 * Which requests a fault strikes.
 *
 * @example Every upload with a token of the login, none with a token that was refreshed:
 * ```ts
 * backend.fault('upload', 'drop', { times: Infinity, when: ({ token }) => token?.generation === 0 })
 * ```
 */
export interface FaultOptions {
  /** How many. Default 1; `Infinity` until it is removed. */
  readonly times?: number | undefined
  /** Only those for which this is true: headers and tokens are there to be looked at, the body is not yet. Default: all. */
  readonly when?: ((entry: LogEntry) => boolean) | undefined
}

/** A fault in waiting. */
export interface FaultHandle {
  /** How many requests it struck. */
  readonly fired: number
  /** How many more it will strike. */
  readonly left: number
  /** Takes it back. */
  remove(): void
}

/** What a login gives, see {@link Backend.signIn}. */
export interface SignedIn {
  /** A fresh one. */
  readonly accessToken: string
  /** The first of its family. */
  readonly refreshToken: string
  /** The id of the new family. */
  readonly family: string
}

/**
 * What {@link fakeTokens} takes.
 *
 * @example
 * ```ts
 * const options: FakeTokensOptions = { subject: '42', fresh: false, expiresIn: -1 }
 * ```
 */
export interface FakeTokensOptions {
  /** Whose they are. Default `alice`. */
  readonly subject?: string | undefined
  /** Whether the access token is a fresh one, as after a login. Default `true`. */
  readonly fresh?: boolean | undefined
  /** Life of the access token in **seconds** from `now`: negative if it has run out, `null` for no expiry. Default 900. */
  readonly expiresIn?: number | null | undefined
  /** The same of the refresh token. Default 2 592 000 (30 days). */
  readonly refreshExpiresIn?: number | null | undefined
  /** Further claims of both, such as `aud`; they override those of the same name, and `undefined` takes one away. Default none. */
  readonly claims?: Claims | undefined
  /** When they are given out, in milliseconds since 1970; `backend.now()` after an `advance`. Default `Date.now()`. */
  readonly now?: number | undefined
  /** The backend's. Default: the one of every backend that is given none. */
  readonly secret?: string | undefined
}

/** What {@link fakeTokens} gives: it goes into `initial` and `auth.setTokens()` as it is. */
export interface FakeTokens {
  /** A JWT with the claims of Flask-JWT-Extended. */
  readonly accessToken: string
  /** The refresh token beside it, another JWT. */
  readonly refreshToken: string
}

/** The fake backend. See {@link createBackend}. `Api`: the names of the test's own routes. */
export interface Backend<Api extends string = never> {
  /**
   * Serves a request, whatever its origin. It has the signature of the global `fetch` and stands in for it,
   * but is a server: it follows no redirects, keeps no cookies, and consumes the body of a given `Request`.
   *
   * Rejects with {@link ConnectionDropped} where a fault says so, and with the signal's reason once the
   * request's signal aborts. An abort frees the caller; what the server has received it still processes.
   */
  fetch(input: Request | URL | string, init?: RequestInit): Promise<Response>
  /** The settings, to be changed at any time. */
  readonly settings: BackendSettings
  /** Who can log in, by user name; to be changed at any time. */
  readonly users: Map<string, User>

  /** The server's time in milliseconds: the clock's, plus all that was advanced. */
  now(): number
  /** Moves the server's clock, and only the server's. Back, if negative. */
  advance(milliseconds: number): void

  /**
   * Lets the next requests to a route fail. Several faults on a route strike one after the other, in the
   * order in which they were given.
   *
   * @param route `*` for all.
   * @throws TypeError for a route, a fault or an option that is none, naming it.
   *
   * @example
   * ```ts
   * backend.fault('refresh', { status: 503, headers: { 'retry-after': '2' } })
   * const lost = backend.fault('refresh', 'drop-after', { times: 2 })
   * // …
   * lost.fired // 2
   * ```
   */
  fault(route: RouteName | Api | '*', fault: Fault, options?: FaultOptions): FaultHandle
  /** Takes back every fault in waiting. */
  clearFaults(): void
  /** How many faults have struck, on one route or on all. */
  faultsFired(route?: RouteName | Api): number

  /** Gives out a pair as a login would, without a request. Rejects with a `RangeError` for an unknown user. */
  signIn(username: string): Promise<SignedIn>
  /**
   * Signs any payload with the server's key, to present what the server itself would never issue. Such a
   * token is accepted if it passes the checks, but is unknown to `issued`, `isHonoured` and the log.
   *
   * @param header Default `{"alg":"HS256","typ":"JWT"}`. Under another `alg` the signature fits nothing: such
   * a token is refused before anybody looks at it.
   *
   * @example
   * ```ts
   * const stale = await backend.sign({ sub: 'alice', exp: 1 })
   * ```
   */
  sign(payload: unknown, header?: Claims): Promise<string>
  /** From now on every access token issued so far counts as expired, its `exp` notwithstanding. */
  expireAccessTokens(): void
  /** Revokes a token (itself or its `jti`), or every session so far of a user, or one family. */
  revoke(target: string | { readonly sub: string } | { readonly family: string }): void
  /**
   * Starts the server anew. What it kept in its process is gone: every revocation, by logout or by
   * {@link Backend.revoke}, and with `single-use` and `rotating` the list of spent refresh tokens. What
   * reuse detection knows stays, since no server could detect reuse without a database.
   */
  restart(): void

  /**
   * Whether the server would accept this token now: issued here, neither expired nor declared so, not
   * revoked, and a refresh token not spent (within `reuseGrace` it still counts). The check on users and
   * `verifyClaims` are not asked.
   */
  isHonoured(token: string): boolean
  /** Whether any token of a family, or of a user, is still honoured. Takes the family's id or the `sub`. */
  sessionAlive(familyOrSub: string): boolean
  /** Every login chain so far, oldest first. */
  families(): readonly Family[]
  /** How many families ended because a spent refresh token came back. */
  readonly reuseDetected: number
  /** Every token ever given out, oldest first; never cleared. */
  readonly issued: readonly IssuedToken[]

  /**
   * The log as text: a line for each request, in order of arrival, and for what the test did to the server in between.
   * Tokens go by name in order of appearance: access tokens `a1`, `a2` …, refresh tokens `r1` …, those of another
   * server `?1` …. Equal lines in a row are one, with their number. The same story gives the same text: it can be a
   * snapshot.
   *
   * @example
   * ```ts
   * expect(backend.timeline()).toMatchInlineSnapshot(`
   *   "POST /login          → 200 gives a1 (alice, fresh) r1
   *   — the server's clock moves by +61 s
   *   GET /protected   a1  → 401 expired  ×2
   *   POST /refresh    r1  → 200 gives a2 (alice)
   *   GET /protected   a2  → 200  ×2"
   * `)
   * ```
   */
  timeline(options?: TimelineOptions): string
  /**
   * Throws unless so many requests came to the refresh route since the start or the last {@link Backend.clearLog}; the
   * error shows the timeline. It goes by what arrived: an exchange that was tried again after a 503 counts twice.
   *
   * @example
   * ```ts
   * await Promise.all([load('items'), load('account')])
   * backend.expectRefreshes(1)
   * await vi.waitFor(() => backend.expectRefreshes(2)) // one that runs beside a call
   * ```
   */
  expectRefreshes(times: number): void
  /** Every request since the start or the last {@link Backend.clearLog}, in order of arrival. */
  readonly log: readonly LogEntry[]
  /** How many requests arrived at a route, or at all, since the start or the last {@link Backend.clearLog}. */
  count(route?: RouteName | Api): number
  /** How many requests arrived with the token of this `jti`, accepted or not, since the start or the last {@link Backend.clearLog}. */
  uses(jti: string): number
  /** Empties the log and sets `count`, `uses` and `faultsFired` to zero. */
  clearLog(): void
}
