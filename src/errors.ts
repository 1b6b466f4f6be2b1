/**
 * The one error class. Nothing here may quote a token: runtimes and JSON parsers quote what they choke on, so
 * whoever puts a foreign error into a `cause` copies it with `safeCause` first.
 */

/**
 * What each `code` of an {@link AuthError} carries beside its message. None of it holds a token; a `response` is for the
 * caller, and is not among the members that are logged.
 *
 * @example
 * ```ts
 * if (isAuthError(error, 'refresh_unavailable')) console.log('again at', new Date(error.retryAt))
 * ```
 */
export interface AuthErrorDetails {
  /** An option of `createAuth`, a backend or a store is wrong. `option` names it. */
  invalid_option: { option: string }
  /**
   * An input of `auth.fetch` can't be sent: no URL, not http(s), with userinfo, a `Request` whose body was used, or an
   * `init.auth` that does not exist. Or `on` was given a type of event that does not exist, or no function.
   */
  invalid_input: object
  /** A token is no `b64token` (RFC 6750 section 2.1). `field` names where it stood. The token is not quoted. */
  invalid_token: { field: string }
  /** The server turned the credentials down. `response` is its answer, body unread. */
  login_refused: { status: number; serverMessage: string | undefined; response: Response }
  /** A 2xx without tokens: a second factor is due, or the backend preset doesn't fit. Body unread. */
  login_incomplete: { status: number; response: Response }
  /** The login could not be completed: network, timeout, 429, 5xx. Nobody was signed out by it. */
  login_unavailable: { status: number | undefined; response: Response | undefined }
  /** `reauthenticate` brought tokens of another user. Nothing was changed. */
  subject_mismatch: object
  /** There is nobody to re-authenticate or refresh. */
  not_signed_in: object
  /**
   * A refresh could not be completed, and the session lives. `retryAt`: the earliest time at which asking
   * again makes sense, in milliseconds since the epoch by this machine's clock.
   */
  refresh_unavailable: { retryAt: number }
  /** The user who made the call is no longer the one signed in; nothing was sent as somebody else. */
  session_changed: object
  /** The store has no `commit`, so that nobody can sign in through it. */
  store_read_only: object
  /** `dispose()` was called. */
  disposed: object
}

/** Every `code` an {@link AuthError} can have: a name of {@link AuthErrorDetails}. */
export type AuthErrorCode = keyof AuthErrorDetails

// fetch() rejects with a TypeError for whatever is not an abort, and code around it looks for one.
class Base extends TypeError {
  readonly code: AuthErrorCode

  constructor(code: AuthErrorCode, message: string, details?: object, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    for (const [key, value] of Object.entries(details ?? {})) {
      // A Response is for the caller, not for a log line: its headers may hold cookies.
      Object.defineProperty(this, key, { value, enumerable: key !== 'response' })
    }
  }
}
Object.defineProperty(Base.prototype, 'name', { value: 'AuthError' })
// What a console prints is the name of the class.
Object.defineProperty(Base, 'name', { value: 'AuthError' })

/**
 * What stayfresh throws, discriminated by `code`. A `TypeError`, as everything `fetch` rejects with (but for
 * an abort) is one.
 *
 * @example
 * ```ts
 * try {
 *   await auth.fetch('items')
 * } catch (error) {
 *   if (isAuthError(error, 'refresh_unavailable')) retryLater(error.retryAt)
 * }
 * ```
 */
export type AuthError<Code extends AuthErrorCode = AuthErrorCode> = {
  [C in Code]: TypeError & { readonly name: 'AuthError'; readonly code: C } & Readonly<AuthErrorDetails[C]>
}[Code]

/**
 * The class of {@link AuthError}: for `instanceof`, and for backends and stores of one's own. Its `cause` is kept as it
 * is given: don't give it what may quote a token.
 *
 * @example
 * ```ts
 * throw new AuthError('invalid_option', 'pin takes four digits', { option: 'pin' })
 * ```
 */
export const AuthError: new <Code extends AuthErrorCode>(
  code: Code,
  message: string,
  ...rest: object extends AuthErrorDetails[Code]
    ? [details?: object, cause?: unknown]
    : [details: AuthErrorDetails[Code], cause?: unknown]
) => AuthError<Code> = Base as never

/** An `invalid_option`, of `createAuth`, a backend or a store. */
export function badOption(option: string, message: string, cause?: unknown): AuthError<'invalid_option'> {
  return new AuthError('invalid_option', message, { option }, cause)
}

/**
 * Whether `error` is an {@link AuthError}, and, where a code is given, of that code. Works across realms and
 * across two copies of the package.
 *
 * @example
 * ```ts
 * if (isAuthError(error, 'login_refused')) show(error.serverMessage)
 * ```
 */
export function isAuthError<Code extends AuthErrorCode = AuthErrorCode>(
  error: unknown,
  code?: Code,
): error is AuthError<Code> {
  const { name, code: actual } = Object(error) as { name?: unknown; code?: unknown }
  return name === 'AuthError' && (code === undefined || actual === code)
}

/** What looks like a JWT, wherever it stands in a text. */
export const JWT: RegExp = /\beyJ[\w-]+\.[\w.-]+/g

/**
 * A copy of `cause` that holds no object that could hold a token, and neither `secrets`, as they are or as a URL has them,
 * nor any JWT.
 */
export function safeCause(
  cause: unknown,
  secrets: string | RegExp | readonly (string | undefined)[] = [],
  depth = 0,
): Error {
  try {
    const { name, message, code, cause: inner } = Object(cause) as Record<string, unknown>
    const hide = (value: unknown): string => {
      let text = String(value)
      for (const secret of [secrets].flat()) {
        if (!secret) continue
        text = text.replaceAll(secret, '[token]').replaceAll(encodeURIComponent(String(secret)), '[token]')
      }
      // Cut first: over a long text that is made for it the pattern takes quadratic time.
      return text.slice(0, 2000).replace(JWT, '[token]')
    }
    const copy = new Error(
      hide(message ?? cause),
      // A chain may lead back to itself.
      inner && depth < 5 ? { cause: safeCause(inner, secrets, depth + 1) } : undefined,
    )
    // Defined: where Error.prototype is frozen no name can be assigned.
    Object.defineProperty(copy, 'name', { value: hide(name ?? 'Error') })
    return Object.assign(copy, code !== undefined && { code: typeof code === 'number' ? code : hide(code) })
  } catch {
    return new Error('unreadable')
  }
}
