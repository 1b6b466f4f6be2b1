/**
 * What a story needs of a server, whatever speaks there and however it is reached. A further server (another
 * framework, another protocol, another machine) is a further `Server`; the stories stay as they are.
 */
import type { Backend } from '../../src/index.ts'

type MaybePromise<T> = T | Promise<T>

/** What a server's login takes. */
export type Credentials = { username: string; password: string; [more: string]: string }

/** How long an access token lives in the stories, in ms. */
export const life = 600_000

/** What a server does with a refresh token that was used. */
export type Rotation = 'reusable' | 'single-use' | 'rotating' | 'rotating-reuse-detection'

/** What the stories call for. `plain` and `fresh` echo what came; `fresh` wants a token got with a password. */
export type Role = 'login' | 'refresh' | 'logout' | 'plain' | 'fresh'

/** What goes wrong, once or for so many requests; an object is the answer in place of the server's own. */
export type Fault =
  /** The connection is closed before the server took the request up. */
  | 'drop'
  /** The connection is closed after that. */
  | 'drop-after'
  | 'hang'
  | 'not-json'
  /** The server's own 401 for a token that was revoked. */
  | 'refuse'
  | { status: number; headers?: Record<string, string> }

/** A request as the server saw it. */
export interface Seen {
  readonly role: Role | undefined
  readonly method: string
  /** The token that came with it, or its handle where it is a cookie. */
  readonly token: string | undefined
  /** What the server answered, delivered or not; `undefined` until then. */
  readonly status: number | undefined
  /** When it arrived, by the server's clock in ms. */
  readonly time: number
}

/** A request that is held up, from when it is `there` until it is released. */
export interface Hold {
  readonly there: Promise<void>
  release(): void
}

/** A server that is up, with nobody signed in. */
export interface Scene {
  readonly baseUrl: string
  /** How the client is told to speak to it. */
  readonly backend: Backend<never, never>
  readonly paths: { readonly plain: string; readonly fresh: string }
  /** Two who can sign in. */
  readonly alice: Credentials
  readonly bob: Credentials
  /** The body of a 401, by its reason. */
  readonly refusals: Record<'expired' | 'stale' | 'revoked', object>
  /** What a step-up asks for, where the server says it. */
  readonly asksFor?: { readonly acrValues: string; readonly maxAge: number }

  /** Every request since `clear`, in order of arrival; those of one role, if one is named. */
  seen(role?: Role): MaybePromise<readonly Seen[]>
  clear(): MaybePromise<void>
  /** Time goes by for the server. The client's own clock is the story's to move. */
  pass(milliseconds: number): MaybePromise<void>
  /** Every access token so far counts as expired, whatever its `exp`. */
  expireEarly(): MaybePromise<void>
  /** Every token so far of this user is revoked. */
  revoke(username: string): MaybePromise<void>
  /** Whether this token would be accepted now. */
  honours(token: string): MaybePromise<boolean>
  /** How often a spent refresh token came back. */
  reuses(): MaybePromise<number>
  fault(role: Role | '*', fault: Fault, times?: number): MaybePromise<void>
  /** Holds up the next request of a role: before it is taken up, or its answer. */
  hold(role: Role, what: 'request' | 'answer'): MaybePromise<Hold>
  /** A URL of this server that redirects to another origin, where every answer is `refusals.expired`. */
  readonly elsewhere: { readonly redirect: string; tokens(): MaybePromise<readonly (string | undefined)[]> }
  close(): MaybePromise<void>
}

export interface SceneOptions {
  /** Life of access tokens in ms. Default: `life`. */
  accessLifetime?: number
  /** Default: `reusable`, or what the server is for. */
  rotation?: Rotation
  /** With `rotating-reuse-detection`: for how long a spent refresh token gets another pair, in ms. */
  reuseGrace?: number
}

export interface Server {
  readonly name: string
  readonly abilities: {
    readonly rotations: readonly Rotation[]
    /**
     * Whether a route can ask for a fresh token. `claim`: the token says whether it is, and a refreshed one is not;
     * `age`: the server knows how long ago the password was given, and the client doesn't.
     */
    readonly stepUp: false | 'claim' | 'age'
    /** Which tokens a logout can revoke. `together`: both, with one request. */
    readonly revokes: 'both' | 'access' | 'refresh' | 'together'
    /** Whether a login waits for the answers that would overwrite its cookies. */
    readonly serial?: boolean
    /** Whether it is asked who is signed in: after a login, and before the first call. */
    readonly asksWho?: boolean
    /** Whether a server that is told `revoke` says of an access token that it was revoked, or just expired. */
    readonly tellsRevoked: boolean
    /** Whether a token says whose it is. */
    readonly tellsSubject: boolean
    /** Whether its clock can be moved, so that a story need not wait for an expiry. */
    readonly clock: boolean
    readonly faults: boolean
    /** Whether it can be told to give a spent refresh token another pair for a while. */
    readonly grace?: boolean
  }
  open(options?: SceneOptions): Promise<Scene>
}
