/** The public types. No code, so that every room can import it. */
import type { AuthError } from './errors.ts'

/** `sync | async`: a memory store answers at once, others later. */
export type MaybePromise<T> = T | Promise<T>

/**
 * The tokens of a session, as an application hands them over: to `setTokens`, as `initial`, or out of a login flow.
 * They are checked where they come in; what does not fit is an `invalid_token`, which quotes nothing.
 *
 * @example
 * ```ts
 * await auth.setTokens({ accessToken, refreshToken, expiresIn: 900 })
 * ```
 */
export interface Tokens {
  /** A `b64token` (RFC 6750 section 2.1), JWT or opaque. May be left out if a refresh token is there. */
  accessToken?: string | undefined
  /** A `b64token`. Without one the session ends with its access token. */
  refreshToken?: string | null | undefined
  /** Life of the access token in **seconds** (RFC 6749 section 5.1), for tokens that don't tell it themselves. */
  expiresIn?: number | undefined
  /** What the access token says, where it doesn't tell it itself: an opaque one, or one in a cookie. Plain JSON. */
  claims?: Readonly<Record<string, unknown>> | undefined
}

/**
 * The registered claims (RFC 7519 section 4.1) and those of Flask-JWT-Extended. Another server's are given as a type
 * argument. They are what the token says: nobody here checks a signature, so let no server trust them.
 *
 * @example
 * ```ts
 * const auth = createAuth({ baseUrl, backend: flaskJwt<StandardClaims & { role: string }>() })
 * auth.session?.claims.role
 * ```
 */
export interface StandardClaims {
  /** Whose it is. */
  sub?: string | number
  /** Its end: seconds since the epoch, by the server's clock. */
  exp?: number
  /** Its issue: seconds since the epoch, by the server's clock. */
  iat?: number
  /** Its own id. */
  jti?: string
  /** `true`, `false`, or the Unix time in seconds until which the token is fresh. */
  fresh?: boolean | number
}

/**
 * Why the application is asked for a login.
 *
 * - `fresh_token_required`: the server wants a password that was proved lately (Flask-JWT-Extended's fresh tokens;
 *   `insufficient_user_authentication` of RFC 9470 section 3). The session lives on if nobody answers.
 * - `session_expired`: the refresh token was refused, or there is none, and the access token no longer works.
 * - `token_revoked`: the server says that the access token was revoked.
 */
export type ReauthReason = 'fresh_token_required' | 'session_expired' | 'token_revoked'

/**
 * Why a session ended.
 *
 * - `logout`: `logout()` was called, here or in another context.
 * - `session_expired`: the refresh token was refused, or there was none, and the access token no longer works.
 * - `token_revoked`: the server said that a token was revoked.
 * - `replaced`: another user's login took its place, or that of nobody knows whom. The same user's is a `loggedIn` alone.
 * - `storage_cleared`: the user cleared the site's data (browser stores).
 */
export type LogoutReason = 'logout' | 'session_expired' | 'token_revoked' | 'replaced' | 'storage_cleared'

/**
 * Why a session has the tokens it has.
 *
 * - `login`, `set_tokens`, `reauthenticated`: `login()`, `setTokens()`, `reauthenticate()`.
 * - `initial`: the tokens of the option, or cookies that were there.
 * - `ahead`: refreshed ahead of the expiry.
 * - `expired`: refreshed because the access token had expired by its own `exp`.
 * - `rejected`: refreshed because the server turned the access token down.
 * - `requested`: refreshed because the application asked: `refresh()`, `getAccessToken({ minValidity })`.
 */
export type ChangeReason =
  | 'login'
  | 'set_tokens'
  | 'initial'
  | 'ahead'
  | 'expired'
  | 'rejected'
  | 'requested'
  | 'reauthenticated'

/**
 * Why a refresh could not be completed. None of them ends the session.
 *
 * - `network`: no answer came, or a redirect did.
 * - `timeout`: none came within `refreshTimeout`.
 * - `status`: one that neither brings tokens nor refuses, such as a 503.
 * - `bad_answer`: a 2xx without tokens, with such as are none, or with another user's.
 * - `busy`: another context has been at it for longer than `refreshTimeout`.
 * - `cool_down`: an earlier failure's cool-down, or the server's `Retry-After` (RFC 9110 section 10.2.3), is not over. Told in
 *   the message of `refresh_unavailable` alone, by no event.
 * - `refresh_limit`: `refreshLimit` was reached; told once until it is over.
 * - `store`: the store could not be read, or written.
 */
export type RefreshFailure =
  | 'network'
  | 'timeout'
  | 'status'
  | 'bad_answer'
  | 'busy'
  | 'cool_down'
  | 'refresh_limit'
  | 'store'

/** Where something happened: in this `createAuth` call, or in another tab, process or client that shares the store. */
export type Origin = 'this context' | 'other context'

/**
 * An immutable picture of the session; it never holds a token.
 *
 * @example
 * ```ts
 * const session = auth.session
 * if (session?.expiresAt) console.log(`${session.subject}, until ${new Date(session.expiresAt).toISOString()}`)
 * ```
 */
export interface Session<Claims = StandardClaims> {
  /** New at each login. */
  readonly id: string
  /** Grows with each refresh and re-authentication. */
  readonly version: number
  /** `expired` while a password is asked for because no token works any more; not while a fresh one is wanted. */
  readonly status: 'active' | 'expired'
  /** Who is signed in, or `undefined` where the token doesn't tell. */
  readonly subject: string | undefined
  /** The claims of the access token, without `csrf`; empty for an opaque token. */
  readonly claims: Readonly<Partial<Omit<Claims, 'csrf'>>>
  /** Whether the access token in use is a fresh one: got with a password, not with a refresh. */
  readonly fresh: boolean
  /** When the access token in use expires: milliseconds since the epoch by this machine's clock. */
  readonly expiresAt: number | undefined
}

interface EventBase<Type> {
  readonly type: Type
  /** This context (tab, process, `createAuth` call), or another one that shares the store. */
  readonly origin: Origin
}

/**
 * What `auth.on` tells, by type. Each has its `type`, a `reason`, and an `origin`: this context or another. No event
 * holds a token. A listener that throws, rejects or hangs holds nothing up; its error goes to `reportError`, or to
 * `console.error` where that is missing.
 *
 * @example
 * ```ts
 * auth.on('loggedOut', ({ reason, origin }) => console.log(`signed out (${reason}) in ${origin}`))
 * ```
 */
export interface AuthEvents<Claims = StandardClaims> {
  /** A new session. */
  loggedIn: EventBase<'loggedIn'> & { readonly reason: ChangeReason; readonly session: Session<Claims> }
  /** The same session with a new access token. */
  tokenRefreshed: EventBase<'tokenRefreshed'> & {
    readonly reason: ChangeReason
    readonly session: Session<Claims>
  }
  /**
   * A refresh could not be completed. The session lives. `status` is that of the answer, if there was one; `retryAt` is
   * when the next try may be, in milliseconds since the epoch by this machine's clock.
   */
  refreshFailed: EventBase<'refreshFailed'> & {
    readonly reason: RefreshFailure
    readonly status: number | undefined
    /** Milliseconds since the epoch by this machine's clock. */
    readonly retryAt: number
  }
  /**
   * Only a password helps. One event, however many requests wait.
   *
   * `waitUntil(promise)` holds them until `promise` settles, which means: the dialog is closed; then the session is looked
   * at, not the value. It may be called only while the event is being dispatched; later it throws an
   * `InvalidStateError`. With nobody waiting, each caller gets the server's own 401. `signal` aborts when the ask is
   * moot: a logout, a login or the password elsewhere, `reauthTimeout`. `acrValues` (space-separated, in order of
   * preference) and `maxAge` (seconds) are what the server asks for (RFC 9470 section 3), where it says so.
   */
  reauthRequired: EventBase<'reauthRequired'> & {
    readonly reason: ReauthReason
    readonly session: Session<Claims>
    /**
     * What the server asks for (RFC 9470 section 3), where it says so: the `acr_values` (space-separated, in order of
     * preference) and `max_age` (seconds) of the authorization request to make.
     */
    readonly acrValues?: string | undefined
    readonly maxAge?: number | undefined
    /** Aborts when the ask is moot: a logout, a login or the password elsewhere, `reauthTimeout`. */
    readonly signal: AbortSignal
    /**
     * Holds the requests that need the login until `promise` settles, which means: the dialog is closed. Only
     * while the event is being dispatched, before the listener's first `await`; later it throws an `InvalidStateError`.
     * A function, or `undefined`, is no promise: a `TypeError`.
     */
    waitUntil(this: void, promise: PromiseLike<unknown>): void
  }
  /**
   * This session is over; always before the `loggedIn` of another user, who is in `auth.session` by then. `subject` is who
   * was signed in.
   */
  loggedOut: EventBase<'loggedOut'> & { readonly reason: LogoutReason; readonly subject: string | undefined }
  /** This machine's clock is off by `skew` milliseconds (the server's less ours). Informative: nothing breaks. */
  clockSkew: EventBase<'clockSkew'> & { readonly reason: 'token'; readonly skew: number }
  /** The store failed, told once until it works again; the session goes on in memory. `error` is why, and has no token. */
  storeUnavailable: EventBase<'storeUnavailable'> & {
    readonly reason: 'read' | 'commit'
    readonly error: Error
  }
}

/** A name of {@link AuthEvents}: what `auth.on` takes first. */
export type AuthEventType = keyof AuthEvents

/**
 * A line of `auth.history`: what happened and why, for a bug report. It holds no token, URL or header.
 *
 * @example
 * ```ts
 * auth.history.map(({ at, type, reason }) => `${new Date(at).toISOString()} ${type}: ${reason}`)
 * ```
 */
export interface HistoryEntry {
  /** Milliseconds since the epoch by this machine's clock. */
  readonly at: number
  /** An event, or `refreshRefused`: the server turned the refresh token down. */
  readonly type: AuthEventType | 'refreshRefused'
  /** As the event's: {@link ChangeReason}, {@link LogoutReason}, {@link ReauthReason}, {@link RefreshFailure}, … */
  readonly reason: string
  /** This context or another. */
  readonly origin: Origin
  /** The status of the answer that brought it about, where there was one. */
  readonly status: number | undefined
  /** The session's version at that moment, if there was one. */
  readonly version: number | undefined
}

/**
 * A request that a backend wants sent. It goes out with `redirect: 'manual'` and `cache: 'no-store'`: no token follows a
 * redirect (RFC 9110 section 15.4), and none is left in a cache (RFC 6749 section 5.1).
 *
 * @example
 * ```ts
 * const spec: RequestSpec = { path: 'refresh', headers: { authorization: `Bearer ${refreshToken}` } }
 * ```
 */
export interface RequestSpec {
  /** Relative to `baseUrl`, or absolute: https, or http on loopback, unless `allowInsecure` is set. */
  path: string
  /** Default `POST`. */
  method?: string | undefined
  /** Default: none. */
  headers?: Record<string, string> | undefined
  /** Default: none. */
  body?: string | undefined
  /** Whether cookies go along and are taken (Fetch, 2.2.5). Default `same-origin`. */
  credentials?: RequestInit['credentials'] | undefined
}

/** A call that is about to be sent, as `attach` of a backend sees it. */
export interface Outgoing {
  /** Where to; its origin is one that tokens may go to. */
  readonly url: URL
  /** In upper case. Missing for a step of a login flow. */
  readonly method?: string | undefined
  /** The caller's own. */
  readonly headers?: Headers | undefined
  /** The caller's own, where he chose one. */
  readonly credentials?: RequestInit['credentials'] | undefined
  /** The caller's own, where he chose one. */
  readonly redirect?: RequestInit['redirect'] | undefined
  /** A step of a login flow: it brings cookies, and may need some. */
  readonly flow?: boolean | undefined
  /** Of such a step: whether the login is still wanted, for a `transport` that waits before it sends. */
  readonly still?: (() => Promise<boolean>) | undefined
}

/** What a backend adds to a call: headers, and how `fetch` treats cookies and redirects. */
export interface Attachment extends Pick<RequestInit, 'credentials' | 'redirect'> {
  /** They replace the caller's of the same name. */
  headers?: Record<string, string> | undefined
}

/** A server's answer as a backend reads it: body parsed where it is JSON, else `undefined`. */
export interface Answer {
  /** As HTTP has it (RFC 9110 section 15). */
  status: number
  /** Across origins a browser shows only those that the server exposes. */
  headers: Headers
  /** The parsed JSON body; `undefined` where there is none, or it is not JSON. */
  body: unknown
  /**
   * Whether the answer has no body at all (a HEAD, an empty one), so that it tells nothing. Nobody waits to find that out
   * of what is neither JSON nor a 401: such an answer without a `Content-Length` counts as having one.
   */
  empty: boolean
}

/**
 * What an answer says of the token that was sent. What follows from it is the flow's to decide.
 *
 * - `expired`, `invalid`: one refresh, and the call goes out again.
 * - `unknown`: a 401 that tells nothing; the same, once for each token.
 * - `revoked`: the session's end, or one refresh (`revoked: 'refresh'` of the backend).
 * - `step_up`: `reauthRequired` with `fresh_token_required` (RFC 9470 section 3).
 * - `missing`, `scope`, `csrf`, `account`, `other` (not about the token): the answer is handed back. With tokens in
 *   cookies `csrf` and `missing` are looked into first.
 */
export type Signal =
  | 'expired'
  | 'invalid'
  | 'revoked'
  | 'missing'
  | 'step_up'
  | 'scope'
  | 'csrf'
  | 'account'
  | 'other'
  | 'unknown'

/** A signal, and what a `step_up` asks for (RFC 9470 section 3), where the server says it. */
export interface Finding {
  /** What the answer says. */
  readonly signal: Signal
  /** Authentication contexts that would do, space-separated, in order of preference. */
  readonly acrValues?: string | undefined
  /** How old the authentication may be, in seconds. */
  readonly maxAge?: number | undefined
}

/**
 * How a server speaks: data and pure functions, which answer at once. It decides nothing; what follows from a signal
 * is decided in one place, by the flow. One that throws or gives a promise is reported by its name, and the caller
 * gets the server's own answer. To change one, spread it.
 *
 * @example
 * ```ts
 * const backend: Backend = { ...flaskJwt(), message: () => 'No' }
 * ```
 */
export interface Backend<Claims = StandardClaims, Credentials = unknown> {
  /** For messages. */
  readonly name: string
  /** The request that signs in. `still`: whether that is still wanted, for a `transport` that waits before it sends. */
  login(credentials: Credentials, still?: () => Promise<boolean>): RequestSpec
  /** The request that proves the password again. Default: `login`. */
  reauth?(credentials: Credentials, still?: () => Promise<boolean>): RequestSpec
  /** The request that spends a refresh token. `access`: the access token that is to be replaced. */
  refresh(refreshToken: string, access?: StoredToken, still?: () => Promise<boolean>): RequestSpec
  /**
   * The request that revokes one token, or `undefined` if the server has none for that kind. `ended`: the user signed
   * out; else it is one that came too late. With tokens in cookies `~` stands for whatever is there, of which nobody knows.
   * `nobody`: whether nobody has signed in since, for what is found out later. `beside`: the refresh token that an access
   * token is revoked with.
   */
  logout?(
    token: string,
    kind: 'access' | 'refresh',
    ended?: boolean,
    nobody?: () => Promise<boolean>,
    beside?: string | null,
  ): RequestSpec | undefined
  /** The tokens of a login or refresh answer, or `undefined` if it brought none. `access`: as for `refresh`. */
  tokens(answer: Answer, access?: StoredToken): Tokens | undefined
  /** Which responses to look into. Default: the error statuses. */
  inspect?(response: Response): boolean
  /** What an answer says of the access token that was sent. */
  classify(answer: Answer): Signal | Finding
  /** Whether an answer of the refresh endpoint is a definite refusal of the refresh token. */
  refused(answer: Answer): boolean
  /** The server's own words for a person. */
  message?(answer: Answer): string | undefined
  /** Whose token it is. Default: `sub`. */
  subject?(claims: Partial<Claims>): unknown
  /**
   * Whether a refresh token is a JWT that names its user as the access token does: who it is, is then known before there is
   * an access token. Default `false`.
   */
  readonly refreshClaims?: boolean | undefined
  /** Whether a refresh token dies at its first use and none comes in its place. Default `false`. */
  readonly singleUse?: boolean | undefined
  /** What a revoked access token means: the session's end (default), or a refresh. */
  readonly revoked?: 'end' | 'refresh' | undefined
  /**
   * What a `logout` request ends at the server: the token that it carries (default), or all that have come of the same
   * login (RFC 7009 section 2.1: the grant). Then what a refresh brings too late is left to run out where another refresh
   * has been faster, for the session would end with it.
   */
  readonly revokes?: 'token' | 'grant' | undefined
  /**
   * Which tokens the server keeps in cookies. What is held in their place are handles: a string for each that changes
   * with the token, such as its CSRF value.
   */
  readonly cookies?: 'both' | 'refresh' | undefined
  /** What goes along with a call: `token` is `undefined` with nobody signed in. Default: `Authorization: Bearer`. */
  attach?(token: string | undefined, call: Outgoing): Attachment
  /**
   * Who is signed in by the cookies for `base`: the request that asks, or what is known without one. `access`: what is held, if
   * anything is; `undefined` then means that there is nothing newer.
   */
  restore?(base: string, access?: StoredToken): RequestSpec | Tokens | undefined
  /** What `restore` needs of the client: `cookieRoom`. Left out of what is bundled where no backend has it. */
  readonly room?: ((...rooms: never) => unknown) | undefined
  /** Comes between the client and the fetch beneath, for all that is sent. */
  transport?(
    send: (input: string | URL | Request, init?: RequestInit) => Promise<Response>,
    input: string | URL | Request,
    init: RequestInit | undefined,
    base: string,
  ): Promise<Response>
}

/** An access token as the store keeps it: what a store's records hold, and what `refresh` of a backend is shown. */
export interface StoredToken {
  /** A `b64token` (RFC 6750 section 2.1); with tokens in cookies a handle in its place. */
  readonly token: string
  /** When the request that brought it began, in the store's time; missing where that is not known. */
  readonly at?: number | undefined
  /** Life in milliseconds, for a token that doesn't tell it itself. */
  readonly life?: number | undefined
  /** What it says, for a token that doesn't tell it itself. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined
}

/** A live session, or one that was. Plain JSON; a store looks at nothing but `revision`. */
export interface LiveRecord {
  /** Unique to each commit: what compare-and-set compares. */
  readonly revision: string
  /** New at each login. */
  readonly id: string
  /** Grows with each refresh and re-authentication. */
  readonly version: number
  /** When the login was called, in the store's time: of logins and logouts the last called wins. */
  readonly calledAt: number
  /** Why it has the tokens it has. */
  readonly reason: ChangeReason
  /** Who is signed in, where the token tells. */
  readonly subject?: string | undefined
  /** The access token; with `fresh`, the refreshed one that takes over from it. */
  readonly access?: StoredToken | undefined
  /** A fresh access token that stays in use to its own end, beside the refreshed one. */
  readonly fresh?: StoredToken | undefined
  /** Gone once it was refused, or spent without a new one. */
  readonly refreshToken?: string | undefined
  /** Refresh tokens that a password has replaced, and that the server may still take: a logout revokes them, too. */
  readonly former?: readonly string[] | undefined
  /** How far into the life of `access` it is to be refreshed, in ms: drawn once, so that all contexts agree. */
  readonly due?: number | undefined
  /** Who is exchanging the refresh token, until when in the store's time, and how many ms that was at first. */
  readonly claim?: { readonly by: string; readonly until: number; readonly span: number } | undefined
  /** How many exchanges failed in a row. */
  readonly failures?: number | undefined
  /** The time before which none is tried: milliseconds, the store's own. */
  readonly retryAt?: number | undefined
  /** When the latest early exchanges began, in the store's time (`refreshLimit`). */
  readonly begun?: readonly number[] | undefined
}

/** The tombstone of a session, with no token in it: "ended" and "the data is gone" are two things. */
export interface Tombstone {
  /** Unique to each commit. */
  readonly revision: string
  /** Of the session that ended. */
  readonly id: string
  /** Its last. */
  readonly version: number
  /** When its end was called for, in the store's time. */
  readonly calledAt: number
  /** Why it ended. */
  readonly ended: LogoutReason
}

/** What a store's cell holds: a session, or the tombstone of one. */
export type StoreRecord = LiveRecord | Tombstone

/** A record that is yet to get its revision, when it is committed. */
export type Draft = Omit<LiveRecord, 'revision'> | Omit<Tombstone, 'revision'>

/** What stands in the cell, and the store's own time in ms, by which claims end. */
export interface Cell {
  /** `null`: it is empty. */
  readonly record: StoreRecord | null
  /** Milliseconds since the epoch. */
  readonly now: number
  /** Why this is kept in the memory of this context alone: what the store stands on can't be reached, or written. */
  readonly problem?: unknown | undefined
  /** A session that this call has ended, for a context that is gone and has revoked older tokens of it: these are revoked. */
  readonly ended?: StoreRecord | undefined
}

/** Told by a store that watches: what stands there now, without a token. It is what is broadcast among tabs. */
export type Notice = Pick<StoreRecord, 'revision' | 'id' | 'version'> & {
  /** As in the record: by it an end that is told late, when somebody has signed in since, is not taken for theirs. */
  readonly calledAt?: number | undefined
  /** Why it ended; missing if it is alive. */
  readonly ended?: LogoutReason | undefined
}

/**
 * Where a session lives: one atomic cell. Everything else (claims, versions, tombstones) is built on it once, in the
 * protocol. A store that throws or rejects costs no session: it is told as `storeUnavailable`.
 *
 * @example
 * ```ts
 * let record: StoreRecord | null = null
 * const store: Store = {
 *   name: 'mine',
 *   read: () => ({ record, now: Date.now() }),
 *   commit(next, expected) {
 *     if ((record?.revision ?? null) === expected) record = next
 *     return { record, now: Date.now() }
 *   },
 * }
 * ```
 */
export interface Store {
  /** For messages. */
  readonly name: string
  /** What stands there. What is not a record with a string `revision` counts as empty, here and in `commit`. */
  read(): MaybePromise<Cell>
  /**
   * Writes `next` if the record that stands there has the revision `expected` (`null`: the cell is empty).
   * Gives back what stands there afterwards; it was done if that is `next`'s revision. A store without it is
   * read-only: its refresh token is never spent.
   */
  commit?(next: StoreRecord, expected: string | null): MaybePromise<Cell>
  /**
   * Told of a logout in its tick, before that is committed: the page may be left in this very moment. From then on what
   * stands there of session `id` counts as ended by it; without an `id`, what was called for before `calledAt`, in ms. For
   * a store whose `commit` outlasts the tick, and who has a way to keep that at once. Gives back the session if it is replaced
   * by then: its tokens are revoked. `version`: the last of whose tokens the logout revokes by itself; a later one that
   * stands there is to be given to whoever ends it ({@link Cell.ended}).
   */
  end?(id: string | undefined, calledAt: number, version: number): LiveRecord | undefined
  /**
   * Calls back when the record has changed, from another context or this one: with what stands there, or with
   * nothing where that has to be read. Gives back what ends the watching.
   */
  watch?(listener: (notice?: Notice) => void): () => void
  /**
   * What an empty cell means to a context that holds a session: the user cleared it (`ended`), or the data was
   * lost and is written back (`lost`, default).
   */
  readonly empty?: 'ended' | 'lost' | undefined
}

/**
 * Options of {@link createAuth}. A bad one throws at once, naming it and what it takes.
 *
 * @example
 * ```ts
 * const options: AuthOptions = { baseUrl: 'https://api.example/', backend: flaskJwt(), refreshAhead: 30_000 }
 * ```
 */
export interface AuthOptions<Claims = StandardClaims, Credentials = unknown> {
  /**
   * Required. Relative inputs resolve against it; its origin gets the token, no other does. A missing trailing slash is
   * added. Relative to the document, in a Worker to its script (begin with a slash there); where there is neither, the
   * first use throws. `https:`, or `http:` on loopback, unless `allowInsecure` is set.
   */
  baseUrl: string | URL
  /** Required. How the server speaks: `flaskJwt()`, `simpleJwt()`, `oauth2()`, `bearer()`, … */
  backend: Backend<Claims, Credentials>
  /** Where the session lives and who shares it. Default: `memoryStore()`, which a reload empties. */
  store?: Store | undefined
  /** Tokens to start from; committed only into an empty store. `{ refreshToken }` alone will do. Default: none. */
  initial?: Tokens | undefined
  /** Further origins that may get the access token, such as `https://files.example`. Default: none. */
  origins?: readonly string[] | undefined
  /**
   * The latest moment to refresh ahead of the expiry, in ms; at most half of a token's life. `false`: only on
   * a 401 or past the expiry. Default 60,000.
   */
  refreshAhead?: number | false | undefined
  /** Bound on one exchange, its retries included, in ms. Waiting for another context's has the same. Default 8,000. */
  refreshTimeout?: number | undefined
  /**
   * At most so many exchanges begun, per `interval` ms, before half the life of the token they replace has
   * passed. Default 5 per 30,000.
   */
  refreshLimit?: { exchanges: number; interval: number } | undefined
  /** Bound on requests held for a person, in ms. Default 300,000. */
  reauthTimeout?: number | undefined
  /** The fetch beneath. Default: `globalThis.fetch`, looked up at each call. */
  fetch?: ((input: string | URL | Request, init?: RequestInit) => Promise<Response>) | undefined
  /** Lets `http:` be used for hosts other than loopback (against RFC 6750 section 5.3). Default `false`. */
  allowInsecure?: boolean | undefined
}

/**
 * What `auth.fetch` takes beside the standard `RequestInit`.
 *
 * @example
 * ```ts
 * await auth.fetch('account', { method: 'DELETE', auth: 'fresh' })
 * ```
 */
export interface AuthRequestInit extends RequestInit {
  /**
   * `false`: no token. `'optional'`: with the token if it can be made good, without it if not. `'fresh'`: ask
   * for the password before sending when the token is known not to be fresh. Default: with the token, and without one
   * if nobody is signed in.
   */
  auth?: false | 'optional' | 'fresh' | undefined
  /** `false`: never sent twice, and its body never copied. Default `true`. */
  replay?: boolean | undefined
}

/** What a login flow is given. */
export interface FlowContext {
  /** A `fetch` on `baseUrl` that carries no token. Cookies it carries, and takes, where the backend keeps tokens there. */
  fetch(this: void, input: string | URL | Request, init?: RequestInit): Promise<Response>
  /** Aborted by a logout, a later login, `dispose()`. */
  signal: AbortSignal
}

/**
 * A login in steps of your own: a second factor, an OAuth code, a passkey. What it throws is what `login` rejects with.
 *
 * @example
 * ```ts
 * await auth.login(async ({ fetch, signal }) => {
 *   const post = (path: string, body: object) =>
 *     fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body), signal })
 *   const { ticket } = await (await post('login', credentials)).json()
 *   return post('login/code', { ticket, code: await askForCode() })
 * })
 * ```
 */
export type Flow = (context: FlowContext) => MaybePromise<Response | Tokens>

/**
 * A client that keeps its user signed in. Its functions need no `this`: they may be handed on as they are.
 *
 * @example
 * ```ts
 * const auth = createAuth({ baseUrl: '/api/', backend: flaskJwt() })
 * const client = createClient<paths>({ baseUrl: auth.baseUrl, fetch: auth.fetch }) // openapi-fetch
 * ```
 */
export interface Auth<Claims = StandardClaims, Credentials = unknown> {
  /**
   * `fetch`, with the token attached (RFC 6750 section 2.1), refreshed and the request replayed where needed. Two sends
   * at most, and one more after a password that the application asked for. A refused or ended session is no exception:
   * the caller gets the server's own 401, its body unread.
   *
   * @throws {AuthError} `refresh_unavailable`, `session_changed`, `invalid_input`, `invalid_option`, `disposed`; and
   * whatever the fetch beneath throws, as it is
   * @example
   * ```ts
   * const response = await auth.fetch('items', { signal })
   * ```
   */
  fetch(this: void, input: string | URL | Request, init?: AuthRequestInit): Promise<Response>
  /**
   * Signs in: a new session with a new id. Bounded at 30 seconds; a flow is not, for a person may be slow. Of logins and
   * logouts the last called wins.
   *
   * Over a session that stands it takes its place here, and revokes nothing: at the server the tokens of that one live on,
   * also after a later logout, which revokes those of the new one. `await auth.logout()` first ends it. (Cookies are
   * overwritten.)
   *
   * @throws {AuthError} `login_refused`, `login_incomplete`, `login_unavailable`, `session_changed` (a logout or another
   * login was called meanwhile), `invalid_token`, `store_read_only`, `disposed`
   * @example
   * ```ts
   * try {
   *   await auth.login({ username, password })
   * } catch (error) {
   *   if (isAuthError(error, 'login_refused')) show(error.serverMessage ?? 'Wrong password')
   *   else throw error
   * }
   * ```
   */
  login(this: void, credentials: Credentials | Flow): Promise<Session<Claims>>
  /**
   * Proves the password again: the same session, made fresh.
   *
   * @throws {AuthError} as `login`, and `subject_mismatch`, `not_signed_in`
   * @example
   * ```ts
   * auth.on('reauthRequired', (event) => {
   *   event.waitUntil(passwordDialog({ signal: event.signal, submit: auth.reauthenticate }))
   * })
   * ```
   */
  reauthenticate(this: void, credentials: Credentials | Flow): Promise<Session<Claims>>
  /**
   * Signs out: cleared before it returns. The promise covers the revocation at the server and never rejects.
   * `revoke: false` leaves the tokens alive at the server. Default `true` (RFC 7009). An event is no options: `logout` may
   * be a listener as it is.
   *
   * @example
   * ```ts
   * void auth.logout() // nobody is signed in any more
   * button.addEventListener('click', auth.logout)
   * ```
   */
  logout(this: void, options?: { revoke?: boolean | undefined } | { preventDefault(): void }): Promise<void>
  /**
   * A new session from tokens got elsewhere. As with `login`, those of a session that stands live on at the server.
   *
   * @throws {AuthError} `invalid_token`, `session_changed`, `store_read_only`, `disposed`
   * @example
   * ```ts
   * await auth.setTokens({ accessToken, refreshToken })
   * ```
   */
  setTokens(this: void, tokens: Tokens): Promise<Session<Claims>>
  /**
   * Refreshes now, joining one that is under way. Gives the session, or `null` if it has ended by that.
   *
   * @throws {AuthError} `refresh_unavailable`, `not_signed_in`, `session_changed`, `disposed`
   * @example
   * ```ts
   * await auth.refresh() // new claims, after an upgrade
   * ```
   */
  refresh(this: void): Promise<Session<Claims> | null>
  /**
   * The access token, made good, or `null` with nobody signed in. For what is not `fetch`: a WebSocket, an
   * event stream. While the user is asked for the password it waits for that, as a call does (so that `waitUntil` must not
   * wait for it). With tokens in cookies it makes the cookie good and gives `null`. Don't put it into a URL (RFC 6750
   * section 5.3).
   *
   * @throws {AuthError} `refresh_unavailable`, `session_changed`, `invalid_option` (`minValidity`), `disposed`
   * @example
   * ```ts
   * socket.send(JSON.stringify({ token: await auth.getAccessToken({ minValidity: 30_000 }) }))
   * ```
   */
  getAccessToken(
    this: void,
    options?: {
      /** Milliseconds the token must be valid for. Default 0. */
      minValidity?: number | undefined
      /** A token that a server has turned down: if it is still the one in hand, it is refreshed. Default: none. */
      rejected?: string | undefined
    },
  ): Promise<string | null>
  /** A snapshot without tokens; `null` with nobody signed in, `undefined` until the store was first read. */
  readonly session: Session<Claims> | null | undefined
  /**
   * Resolves once the store was read, and, with an empty one, the cookies were asked who it is, where the backend keeps
   * tokens there. Bounded; never rejects.
   */
  readonly ready: Promise<void>
  /**
   * Calls back at once, then at each change (the Svelte store contract). Gives back what unsubscribes.
   *
   * @example
   * ```ts
   * const stop = auth.subscribe((session) => render(session?.subject ?? 'nobody'))
   * ```
   */
  subscribe(this: void, listener: (session: Session<Claims> | null | undefined) => void): () => void
  /**
   * Listens to one type of event ({@link AuthEvents}). Gives back what unsubscribes.
   *
   * @example
   * ```ts
   * auth.on('refreshFailed', ({ reason, retryAt }) => banner(`offline (${reason})`, retryAt))
   * ```
   */
  on<Type extends keyof AuthEvents<Claims>>(
    this: void,
    type: Type,
    listener: (event: AuthEvents<Claims>[Type]) => unknown,
  ): () => void
  /**
   * The last 100 events, oldest first: what to attach to a bug report that asks "why was I signed out?".
   *
   * @example
   * ```ts
   * console.table(auth.history)
   * ```
   */
  readonly history: readonly HistoryEntry[]
  /**
   * Ends this client, and nobody's session: waiters get `disposed`, a running exchange is finished and stored. Its promise
   * covers that, and never rejects: until then the store's connection has to stay open, and the process alive, for a
   * refresh may run beside a call that has been answered.
   *
   * @example
   * ```ts
   * await auth.dispose()
   * await client.quit()
   * ```
   */
  dispose(this: void): Promise<void>
  /** `dispose()`, for `await using auth = createAuth(…)`. */
  [Symbol.asyncDispose](): Promise<void>
  /** `dispose()`, for `using auth = createAuth(…)`, which does not wait. */
  [Symbol.dispose](): void
  /** The base that relative inputs resolve against, absolute and with a trailing slash. Throws where there is none. */
  readonly baseUrl: string
}

export type { AuthError }
