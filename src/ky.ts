/**
 * A ky whose requests go through `auth.fetch`. It needs `ky` 2 beside it.
 *
 * @module stayfresh/ky
 */
import ky, { type KyInstance, type Options, TimeoutError } from 'ky'
import { ABOVE, type AboveInit } from './call.ts'
import { MAX_DELAY } from './platform.ts'
import type { Auth, AuthRequestInit, Session } from './types.ts'

declare module 'ky' {
  interface Options extends Pick<AuthRequestInit, 'auth' | 'replay'> {}
}

// How ky's limit, and what is known of the body and the user, reach the fetch: ky hands options that it doesn't know down.
interface Handed {
  stayfresh?: {
    timeout: number | false
    stream: boolean
    /**
     * Who made the request, whose retries come later; `sends`: it goes out now. Not as data: ky shows its options to hooks
     * and in its errors.
     */
    user(sends?: boolean): Session<unknown> | null | undefined
    /** The caller keeps a signal of his own. */
    signal: boolean
    /** The text of the body, where it is known that the Request was made of it. */
    text(): string | undefined
  }
}

// ky's own.
const DEFAULT_TIMEOUT = 10_000

/**
 * Makes a ky that attaches the token, refreshes it and replays, beneath ky: its `retry`, hooks and errors stay
 * what they are; a retry goes out as who made the request, or not at all (`session_changed`). `baseUrl` is that of
 * `auth`; `timeout` limits each send alone, so that a request which waits for a refresh or for a password outlives it
 * (a `totalTimeout` spans these waits, and alone bounds the reading of a body where `onDownloadProgress`, or a hook, puts
 * another response in the place of the answer); `auth` and `replay` are options of each request. The fetch beneath is that of
 * `auth` (`createAuth({ fetch })`); one that is given to a request, or to `extend`, takes the place of all this: no token,
 * and ky's own limits. Requests reject as ky's do, and with what `auth.fetch` throws.
 *
 * @param auth what `createAuth` gave
 * @param base a ky with options of your own. Default: ky as it is, whose `timeout` is 10,000 ms
 * @example
 * ```ts
 * const api = createKy(auth)
 * await api.get('items').json()
 * await api.delete('account', { auth: 'fresh' })
 * ```
 */
export function createKy(
  auth: Pick<Auth<unknown>, 'fetch' | 'baseUrl' | 'session'>,
  base?: KyInstance,
): KyInstance {
  const fetch = (input: string | URL | Request, init?: RequestInit & Handed): Promise<Response> => {
    const { stayfresh, ...rest } = init ?? {}
    const { timeout = false, stream = false, user, signal, text } = stayfresh ?? {}
    // Sent again from its text, a body is neither copied nor read through the copy (docs/bench.md).
    const body = text?.()
    if (body !== undefined) rest.body = body
    const above: AboveInit[typeof ABOVE] = {
      eachSend(send) {
        user?.(true)
        return limited(send, timeout, input as Request, signal)
      },
      // A Request no longer tells a stream that can be read once from a body that can be copied.
      stream,
      user: user?.(),
    }
    return auth.fetch(input, { ...rest, [ABOVE]: above } as AboveInit)
  }
  if (typeof auth?.fetch !== 'function') throw new TypeError('createKy: auth takes what createAuth gave')
  const beneath = base ?? ky
  if (typeof beneath.extend !== 'function') throw new TypeError('createKy: base takes a ky')
  return beneath.extend({
    fetch,
    hooks: {
      init: [
        (options: Options & Handed) => {
          // Here, because a relative base is known at the first use, not at the import.
          options.baseUrl ??= auth.baseUrl
          // A call that is given another fetch is ky's alone, with its limits.
          if (options.fetch !== fetch) return
          const { body } = options
          const timeout = options.timeout ?? DEFAULT_TIMEOUT
          const stream = body instanceof ReadableStream || Symbol.asyncIterator in Object(body)
          let { session } = auth
          let sent = false
          // Until it is known whose it is: whoever it goes out as at first, which may be nobody.
          const user = (sends?: boolean): typeof session => {
            if (!sent) session ??= auth.session
            sent ||= sends === true
            return sent ? session : (session ?? undefined)
          }
          options.stayfresh = { timeout, stream, user, signal: !!options.signal, text: textOf(options) }
          options.timeout = false
        },
      ],
    },
  })
}

/** Tells the text that ky has made a body of, once it has: to the byte, or `undefined`. */
function textOf(options: Options): () => string | undefined {
  const { stringifyJson } = options
  let written: string | undefined
  // What is written here is what ky sends: a value may turn out differently the next time.
  const write = (data: unknown): string => {
    written = stringifyJson?.(data) ?? JSON.stringify(data)
    return written
  }
  options.stringifyJson = write
  return () => {
    const { hooks, json, body, onUploadProgress } = options
    // A hook can put another Request in its place.
    const { beforeRequest, beforeRetry, afterResponse } = { ...hooks }
    if ([beforeRequest, beforeRetry, afterResponse].some((each) => each?.length)) return
    if (onUploadProgress) return undefined
    if (json !== undefined) return options.stringifyJson === write ? written : undefined
    return typeof body === 'string' ? body : undefined
  }
}

/** One send, with ky's own error if it takes too long. */
async function limited(
  send: (signal?: AbortSignal) => Promise<Response>,
  timeout: number | false,
  request: Request,
  kept?: boolean,
): Promise<Response> {
  if (timeout === false) return send()
  const controller = new AbortController()
  // Not every runtime's Request has one.
  const signal = request.signal as AbortSignal | undefined
  let limit = controller.signal
  if (kept && signal && AbortSignal.any) {
    // A browser keeps what listens to a signal for as long as the caller keeps his, and the answer with it.
    limit = AbortSignal.any([signal, limit])
  } else {
    // By hand: the weak references of AbortSignal.any cost more than the rest of a call does here (docs/bench.md).
    const follow = (): void => controller.abort(signal?.reason)
    signal?.addEventListener('abort', follow)
    if (signal?.aborted) follow()
  }
  const response = await bounded(send(limit), timeout, request, controller)
  // ky sets `accept` where it will read the body itself (`.json()`, …), and bounds that reading too. A type that it does
  // not set is the caller's, who may take his time over an export.
  if (!/\*|[+/]json|form-data/.test(String(request.headers.get('accept')))) return response
  for (const name of READERS) {
    const read = response[name] as (() => Promise<unknown>) | undefined
    if (!read) continue
    Object.assign(response, { [name]: () => bounded(read.call(response), timeout, request, controller) })
  }
  return response
}

const READERS = ['json', 'text', 'arrayBuffer', 'blob', 'formData', 'bytes'] as const

/** `work`, or a TimeoutError, the connection given up. */
function bounded<T>(
  work: Promise<T>,
  timeout: number,
  request: Request,
  controller: AbortController,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => {
      reject(new TimeoutError(request))
      controller.abort()
    }
    const timer = setTimeout(giveUp, Math.min(timeout, MAX_DELAY))
    work.then(
      (value) => {
        clearTimeout(timer)
        resolve(value)
      },
      (error) => {
        clearTimeout(timer)
        reject(error)
      },
    )
  })
}
