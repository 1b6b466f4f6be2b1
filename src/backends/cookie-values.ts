/**
 * The CSRF values of tokens that no script sees: which are there to be read before a request goes out, and when its
 * answer arrives. A page reads them itself; where no browser keeps the cookies, a hook does.
 */
import { type AuthError, badOption } from '../errors.ts'
import type { Backend } from '../types.ts'

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

/** The CSRF value of each token, or where it is found. */
export interface Values {
  readonly access: string | undefined
  readonly refresh: string | undefined
}

/** What is sent: a call of the application's, a login of its own making, or a request of ours. */
export type Kind = 'call' | 'flow' | 'login' | 'refresh' | 'logout' | 'whoami'

/** What was known when an answer arrived: by the time it is read the cookies may have been replaced again. */
export interface Arrival {
  readonly kind: Kind
  before: Values
  readonly now: Values
  /** What `whoami` answered after it; `null`: it could not be found out. */
  who?: Record<string, unknown> | null | undefined
  /** Whether that may be true of the access cookie only. */
  unproven?: boolean
  /** Whether it is a flow's that asked `whoami` itself. */
  asked?: boolean
}

export type Send = Parameters<NonNullable<Backend['transport']>>[0]

export interface CookieValues {
  /** Whether it is known from here what there is: a Worker sees nothing of what its pages see. */
  readable(): boolean
  /** Those in the cookies for `url`. */
  at(url: string): Values
  /** Sends with the cookies, and takes those that come. */
  exchange(send: Send, input: string | URL | Request, init: RequestInit, kind: Kind): Promise<Response>
  /** What was known when the answer with these headers arrived; nothing of a call. */
  arrival(headers: Headers): Arrival | undefined
}

export const NONE: Values = { access: undefined, refresh: undefined }

/** `names`: of the cookies that have the values, if there are any. */
export function createCookieValues(hook: CookieHook | undefined, names: Values | undefined): CookieValues {
  // By their headers, which are what a backend is shown of an answer.
  const arrivals = new WeakMap<Headers, Arrival>()

  const cookiesFor = (url: string): string | undefined => hook && ask('read', () => hook.read(url))

  function at(url: string): Values {
    if (!names) return NONE
    const text = hook ? cookiesFor(url) : globalThis.document?.cookie
    const found: Record<string, string> = { __proto__: null as never }
    for (const pair of (text ?? '').split(';')) {
      const equals = pair.indexOf('=')
      // Of several with one name the first is that of the longest path (RFC 6265 section 5.4).
      found[pair.slice(0, equals).trim()] ??= pair.slice(equals + 1).trim()
    }
    const value = (name = ''): string | undefined => found[name] || undefined
    return { access: value(names.access), refresh: value(names.refresh) }
  }

  async function exchange(
    send: Send,
    input: string | URL | Request,
    init: RequestInit,
    kind: Kind,
  ): Promise<Response> {
    const request = typeof input === 'object' && 'url' in input ? input : undefined
    const url = request?.url ?? String(input)
    const before = kind === 'call' ? undefined : at(url)
    let given = init
    const text = cookiesFor(url)
    if (text) {
      const headers = new Headers(init.headers ?? request?.headers)
      try {
        headers.set('cookie', text)
      } catch {
        // The error quotes what it chokes on: every cookie.
        throw wrong('read', 'gave what no header can carry')
      }
      given = { ...init, headers }
    }
    const response = await send(input, given)
    const setCookies = hook ? response.headers.getSetCookie() : []
    if (hook && setCookies.length) ask('write', () => hook.write(response.url || url, setCookies))
    if (before) arrivals.set(response.headers, { kind, before, now: at(url) })
    return response
  }

  const readable = (): boolean => !!hook || !!globalThis.document || !('WorkerGlobalScope' in globalThis)

  return { readable, at, exchange, arrival: (headers) => arrivals.get(headers) }
}

/** The hook’s answer; what it throws may quote a cookie, and is not passed on. */
function ask<T>(member: keyof CookieHook, answer: () => T): T {
  let given: T
  let did = 'gave a promise: it answers at once'
  try {
    given = answer()
    if (typeof (given as { then?: unknown } | undefined)?.then !== 'function') return given
  } catch {
    did = 'threw'
  }
  throw wrong(member, did)
}

function wrong(member: keyof CookieHook, did: string): AuthError {
  const option = `cookies.${member}`
  return badOption(option, `flaskJwtCookies: ${option}() ${did}`)
}
