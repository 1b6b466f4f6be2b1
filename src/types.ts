/** The public types. No code, so that every room can import it. */
import type { AuthError } from './errors.ts'

/** `sync | async`: a memory store answers at once, others later. */
export type MaybePromise<T> = T | Promise<T>

/** The tokens of a session, as an application hands them over. */
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

/** The registered claims (RFC 7519 section 4.1) and those of Flask-JWT-Extended. */
export interface StandardClaims {
  sub?: string | number
  exp?: number
  iat?: number
  jti?: string
  /** `true`, `false`, or the Unix time in seconds until which the token is fresh. */
  fresh?: boolean | number
}

/** Why the application is asked for a login. */
export type ReauthReason = 'fresh_token_required' | 'session_expired' | 'token_revoked'

/** Why a session ended. */
export type LogoutReason =
  /** `logout()` was called, here or in another context. */
  | 'logout'
  /** The refresh token was refused, or there was none, and the access token no longer works. */
  | 'session_expired'
  /** The server said that a token was revoked. */
  | 'token_revoked'
  /** Another login took its place. */
  | 'replaced'
  /** The data of the site was cleared by the user (browser stores). */
  | 'storage_cleared'

/** Why a session has the tokens it has. */
export type ChangeReason =
  | 'login'
  | 'set_tokens'
  | 'initial'
  /** Refreshed ahead of the expiry. */
  | 'ahead'
  /** Refreshed because the access token had expired by its own `exp`. */
  | 'expired'
  /** Refreshed because the server turned the access token down. */
  | 'rejected'
  /** Refreshed because the application asked: `refresh()`, `getAccessToken({ minValidity })`. */
  | 'requested'
  | 'reauthenticated'

/** Why a refresh could not be completed. */
export type RefreshFailure =
  | 'network'
  | 'timeout'
  | 'status'
  | 'bad_answer'
  /** Another context has been at it for longer than `refreshTimeout`. */
  | 'busy'
  /** An earlier failure's cool-down is not over. */
  | 'cool_down'
  | 'refresh_limit'
  | 'store'

/** Where something happened. */
export type Origin = 'this context' | 'other context'

/** An immutable picture of the session; it never holds a token. */
export interface Session<Claims = StandardClaims> {
  /** New at each login. */
  readonly id: string
  /** Grows with each refresh and re-authentication. */
  readonly version: number
  /** `expired` while the user is being asked for a password. */
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

/** What `auth.on` tells, by type. No event holds a token. */
export interface AuthEvents<Claims = StandardClaims> {
  /** A new session. */
  loggedIn: EventBase<'loggedIn'> & { readonly reason: ChangeReason; readonly session: Session<Claims> }
  /** The same session with a new access token. */
  tokenRefreshed: EventBase<'tokenRefreshed'> & {
    readonly reason: ChangeReason
    readonly session: Session<Claims>
  }
  /** A refresh could not be completed. The session lives. */
  refreshFailed: EventBase<'refreshFailed'> & {
    readonly reason: RefreshFailure
    readonly status: number | undefined
    /** Milliseconds since the epoch by this machine's clock. */
    readonly retryAt: number
  }
  /** Only a password helps. */
  reauthRequired: EventBase<'reauthRequired'> & {
    readonly reason: ReauthReason
    readonly session: Session<Claims>
    /**
     * What the server asks for (RFC 9470 section 3), where it says so: the `acr_values` (space-separated, in order of
     * preference) and `max_age` (seconds) of the authorization request to make.
     */
    readonly acrValues?: string | undefined
    readonly maxAge?: number | undefined
    /** Aborts when the ask is moot: a logout, a login elsewhere, `reauthTimeout`. */
    readonly signal: AbortSignal
    /**
     * Holds the requests that need the login until `promise` settles, which means: the dialog is closed. Only
     * while the event is being dispatched; later it throws an `InvalidStateError`.
     */
    waitUntil(promise: PromiseLike<unknown>): void
  }
  /** Nobody is signed in any more. */
  loggedOut: EventBase<'loggedOut'> & { readonly reason: LogoutReason; readonly subject: string | undefined }
  /** This machine's clock is off by `skew` milliseconds (the server's less ours). Informative: nothing breaks. */
  clockSkew: EventBase<'clockSkew'> & { readonly reason: 'token'; readonly skew: number }
  /** The store failed; the session goes on in memory. */
  storeUnavailable: EventBase<'storeUnavailable'> & {
    readonly reason: 'read' | 'commit'
    readonly error: Error
  }
}

/** A name of {@link AuthEvents}. */
export type AuthEventType = keyof AuthEvents

/** A line of `auth.history`: what happened and why, for a bug report. It holds no token, URL or header. */
export interface HistoryEntry {
  /** Milliseconds since the epoch by this machine's clock. */
  readonly at: number
  /** An event, or `refreshRefused`: the server turned the refresh token down. */
  readonly type: AuthEventType | 'refreshRefused'
  readonly reason: string
  readonly origin: Origin
  /** The status of the answer that brought it about, where there was one. */
  readonly status: number | undefined
  /** The session's version at that moment, if there was one. */
  readonly version: number | undefined
}

/** A request that a backend wants sent. `path` is relative to `baseUrl`, or absolute. */
export interface RequestSpec {
  path: string
  /** Default `POST`. */
  method?: string
  headers?: Record<string, string>
  body?: string
  /** Whether cookies go along and are taken (Fetch, 2.2.5). Default `same-origin`. */
  credentials?: RequestCredentials
}

/** A call that is about to be sent. */
export interface Outgoing {
  readonly url: URL
  readonly method?: string
  /** The caller's own. */
  readonly headers?: Headers
  /** The caller's own, where he chose one. */
  readonly credentials?: RequestCredentials | undefined
  readonly redirect?: RequestRedirect | undefined
  /** A step of a login flow: it brings cookies, and may need some. */
  readonly flow?: boolean
}

/** What a backend adds to a call. */
export interface Attachment extends Pick<RequestInit, 'credentials' | 'redirect'> {
  headers?: Record<string, string>
}

/** A server's answer as a backend reads it: body parsed where it is JSON, else `undefined`. */
export interface Answer {
  status: number
  headers: Headers
  /** The parsed JSON body; `undefined` where there is none, or it is not JSON. */
  body: unknown
  /** Whether the answer has no body at all (a HEAD, an empty one), so that it tells nothing. */
  empty: boolean
}

/** What an answer says of the token that was sent. */
export type Signal =
  | 'expired'
  | 'invalid'
  | 'revoked'
  | 'missing'
  | 'step_up'
  | 'scope'
  | 'csrf'
  | 'account'
  /** Not about the token. */
  | 'other'
  /** A 401 that tells nothing. */
  | 'unknown'

/** A signal, and what a `step_up` asks for (RFC 9470 section 3), where the server says it. */
export interface Finding {
  readonly signal: Signal
  /** Authentication contexts that would do, space-separated, in order of preference. */
  readonly acrValues?: string | undefined
  /** How old the authentication may be, in seconds. */
  readonly maxAge?: number | undefined
}

/**
 * How a server speaks: data and pure functions, which answer at once. It decides nothing; what follows from a signal
 * is decided in one place, by the flow. One that throws or gives a promise is reported by its name, and the caller
 * gets the server's own answer. To change one, spread it: `{ ...flaskJwt(), message: () => 'No' }`.
 */
export interface Backend<Claims = StandardClaims, Credentials = unknown> {
  /** For messages. */
  readonly name: string
  /** The request that signs in. */
  login(credentials: Credentials): RequestSpec
  /** The request that proves the password again. Default: `login`. */
  reauth?(credentials: Credentials): RequestSpec
  /** The request that spends a refresh token. `access`: the access token that is to be replaced. */
  refresh(refreshToken: string, access?: StoredToken): RequestSpec
  /**
   * The request that revokes one token, or `undefined` if the server has none for that kind. `ended`: the user signed
   * out; else it is one that came too late.
   */
  logout?(token: string, kind: 'access' | 'refresh', ended?: boolean): RequestSpec | undefined
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
  /** Whether a refresh token dies at its first use and none comes in its place. Default `false`. */
  readonly singleUse?: boolean
  /** What a revoked access token means: the session's end (default), or a refresh. */
  readonly revoked?: 'end' | 'refresh'
  /**
   * Which tokens the server keeps in cookies. What is held in their place are handles: a string for each that changes
   * with the token, such as its CSRF value.
   */
  readonly cookies?: 'both' | 'refresh'
  /** What goes along with a call: `token` is `undefined` with nobody signed in. Default: `Authorization: Bearer`. */
  attach?(token: string | undefined, call: Outgoing): Attachment
  /**
   * Who is signed in by the cookies for `base`: the request that asks, or what is known without one. `access`: what is held, if
   * anything is; `undefined` then means that there is nothing newer.
   */
  restore?(base: string, access?: StoredToken): RequestSpec | Tokens | undefined
  /** What `restore` needs of the client: `cookieRoom`. Left out of what is bundled where no backend has it. */
  readonly room?: (...rooms: never) => unknown
  /** Comes between the client and the fetch beneath, for all that is sent. */
  transport?(
    send: (input: string | URL | Request, init?: RequestInit) => Promise<Response>,
    input: string | URL | Request,
    init: RequestInit | undefined,
    base: string,
  ): Promise<Response>
}

/** An access token as the store keeps it. */
export interface StoredToken {
  readonly token: string
  /** When the request that brought it began, in the store's time; missing where that is not known. */
  readonly at?: number
  /** Life in milliseconds, for a token that doesn't tell it itself. */
  readonly life?: number
  /** What it says, for a token that doesn't tell it itself. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined
}

/** A live session, or one that was. Plain JSON; a store looks at nothing but `revision`. */
export interface LiveRecord {
  /** Unique to each commit: what compare-and-set compares. */
  readonly revision: string
  readonly id: string
  readonly version: number
  /** When the login was called, in the store's time: of logins and logouts the last called wins. */
  readonly calledAt: number
  readonly reason: ChangeReason
  readonly subject?: string | undefined
  readonly access?: StoredToken | undefined
  /** A fresh access token that stays in use to its own end, beside the refreshed one. */
  readonly fresh?: StoredToken | undefined
  /** Gone once it was refused, or spent without a new one. */
  readonly refreshToken?: string | undefined
  /** How far into the life of `access` it is to be refreshed, in ms: drawn once, so that all contexts agree. */
  readonly due?: number | undefined
  /** Who is exchanging the refresh token, until when in the store's time, and how many ms that was at first. */
  readonly claim?: { readonly by: string; readonly until: number; readonly span: number } | undefined
  /** Exchanges failed in a row, and the store's time before which none is tried. */
  readonly failures?: number | undefined
  readonly retryAt?: number | undefined
  /** When the latest early exchanges began, in the store's time (`refreshLimit`). */
  readonly begun?: readonly number[] | undefined
}

/** The tombstone of a session: "ended" and "the data is gone" are two things. */
export interface Tombstone {
  readonly revision: string
  readonly id: string
  readonly version: number
  readonly calledAt: number
  readonly ended: LogoutReason
}

/** What a store's cell holds. */
export type StoreRecord = LiveRecord | Tombstone

/** A record that is yet to get its revision, when it is committed. */
export type Draft = Omit<LiveRecord, 'revision'> | Omit<Tombstone, 'revision'>

/** What stands in the cell, and the store's own time in ms, by which claims end. */
export interface Cell {
  readonly record: StoreRecord | null
  readonly now: number
  /** Why this is kept in the memory of this context alone: what the store stands on can't be reached, or written. */
  readonly problem?: unknown
}

/** Told by a store that watches: what stands there now, without a token. */
export type Notice = Pick<StoreRecord, 'revision' | 'id' | 'version'> & {
  /** Why it ended; missing if it is alive. */
  readonly ended?: LogoutReason | undefined
}

/**
 * One atomic cell. Everything else (claims, versions, tombstones) is built on it once, in the protocol.
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
   * Calls back when the record has changed, from another context or this one: with what stands there, or with
   * nothing where that has to be read. Gives back what ends the watching.
   */
  watch?(listener: (notice?: Notice) => void): () => void
  /**
   * What an empty cell means to a context that holds a session: the user cleared it (`ended`), or the data was
   * lost and is written back (`lost`, default).
   */
  readonly empty?: 'ended' | 'lost'
}

/** Options of `createAuth`. */
export interface AuthOptions<Claims = StandardClaims, Credentials = unknown> {
  /**
   * Relative inputs resolve against it; its origin gets the token, no other does. A missing trailing slash is
   * added. Relative to the document where there is one, else the first use throws.
   */
  baseUrl: string | URL
  /** How the server speaks. */
  backend: Backend<Claims, Credentials>
  /** Where the session lives and who shares it. Default: `memoryStore()`, which a reload empties. */
  store?: Store
  /** Tokens to start from; committed only into an empty store. `{ refreshToken }` alone will do. */
  initial?: Tokens
  /** Further origins that may get the access token, such as `https://files.example`. Default: none. */
  origins?: readonly string[]
  /**
   * The latest moment to refresh ahead of the expiry, in ms; at most half of a token's life. `false`: only on
   * a 401 or past the expiry. Default 60,000.
   */
  refreshAhead?: number | false
  /** Bound on one exchange, its retries included, in ms. Waiting for another context's has the same. Default 8,000. */
  refreshTimeout?: number
  /**
   * At most so many exchanges begun, per `interval` ms, before half the life of the token they replace has
   * passed. Default 5 per 30,000.
   */
  refreshLimit?: { exchanges: number; interval: number }
  /** Bound on requests held for a person, in ms. Default 300,000. */
  reauthTimeout?: number
  /** The fetch beneath. Default: `globalThis.fetch`, looked up at each call. */
  fetch?: typeof globalThis.fetch
  /** Lets `http:` be used for hosts other than loopback. Default `false`. */
  allowInsecure?: boolean
}

/** What `auth.fetch` takes beside the standard `RequestInit`. */
export interface AuthRequestInit extends RequestInit {
  /**
   * `false`: no token. `'optional'`: with the token if it can be made good, without it if not. `'fresh'`: ask
   * for the password before sending when the token is known not to be fresh.
   */
  auth?: false | 'optional' | 'fresh' | undefined
  /** `false`: never sent twice, and its body never copied. */
  replay?: boolean | undefined
}

/** What a login flow is given. */
export interface FlowContext {
  /** A `fetch` on `baseUrl` that carries no token. Cookies it carries, and takes, where the backend keeps tokens there. */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>
  /** Aborted by a logout, a later login, `dispose()`. */
  signal: AbortSignal
}

/** A login in steps of your own: a second factor, an OAuth code, a passkey. */
export type Flow = (context: FlowContext) => MaybePromise<Response | Tokens>

/** A client that keeps its user signed in. */
export interface Auth<Claims = StandardClaims, Credentials = unknown> {
  /** `fetch`, with the token attached, refreshed and the request replayed where needed. */
  fetch(input: string | URL | Request, init?: AuthRequestInit): Promise<Response>
  /**
   * Signs in: a new session with a new id.
   *
   * @throws {AuthError} `login_refused`, `login_incomplete`, `login_unavailable`, `session_changed`
   */
  login(credentials: Credentials | Flow): Promise<Session<Claims>>
  /**
   * Proves the password again: the same session, made fresh.
   *
   * @throws {AuthError} as `login`, and `subject_mismatch`, `not_signed_in`
   */
  reauthenticate(credentials: Credentials | Flow): Promise<Session<Claims>>
  /**
   * Signs out: cleared before it returns. The promise covers the revocation at the server and never rejects.
   * `revoke: false` leaves the tokens alive at the server.
   */
  logout(options?: { revoke?: boolean }): Promise<void>
  /** A new session from tokens got elsewhere. */
  setTokens(tokens: Tokens): Promise<Session<Claims>>
  /**
   * Refreshes now.
   *
   * @throws {AuthError} `refresh_unavailable`, `not_signed_in`
   */
  refresh(): Promise<Session<Claims> | null>
  /**
   * The access token, made good, or `null` with nobody signed in. For what is not `fetch`: a WebSocket, an
   * event stream.
   *
   * @throws {AuthError} `refresh_unavailable`
   */
  getAccessToken(options?: {
    /** Milliseconds the token must be valid for. Default 0. */
    minValidity?: number
    /** A token that a server has turned down. */
    rejected?: string
  }): Promise<string | null>
  /** A snapshot; `null` with nobody signed in, `undefined` until the store was first read. */
  readonly session: Session<Claims> | null | undefined
  /**
   * Resolves once the store was read, and, with an empty one, the cookies were asked who it is, where the backend keeps
   * tokens there. Bounded; never rejects.
   */
  readonly ready: Promise<void>
  /** Calls back at once, then at each change (the Svelte store contract). Gives back what unsubscribes. */
  subscribe(listener: (session: Session<Claims> | null | undefined) => void): () => void
  /** Listens to one type of event. Gives back what unsubscribes. */
  on<Type extends keyof AuthEvents<Claims>>(
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
  /** Ends this client, and nobody's session: waiters get `disposed`, a running exchange is finished and stored. */
  dispose(): void
  [Symbol.dispose](): void
  /** The base that relative inputs resolve against. Throws where there is none. */
  readonly baseUrl: string
}

export type { AuthError }
