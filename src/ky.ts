/** `stayfresh/ky`: a ky whose requests go through `auth.fetch`. */
import ky, { type KyInstance, type Options, TimeoutError } from 'ky'
import { EACH_SEND, type SendInit } from './call.ts'
import type { Auth, AuthRequestInit } from './types.ts'

declare module 'ky' {
  interface Options extends Pick<AuthRequestInit, 'auth' | 'replay'> {}
}

// How ky's limit and the kind of the body reach the fetch: ky hands options that it doesn't know down.
interface Handed {
  stayfresh?: { timeout: number | false; stream: boolean }
}

// ky's own.
const DEFAULT_TIMEOUT = 10_000

/**
 * Makes a ky that attaches the token, refreshes it and replays, beneath ky: its `retry`, hooks and errors stay
 * what they are. `baseUrl` is that of `auth`; `timeout` limits each send alone, so that a request which waits
 * for a refresh or for a password outlives it; `auth` and `replay` are options of each request.
 *
 * @example
 * ```ts
 * const api = createKy(auth)
 * await api.get('items').json()
 * await api.delete('account', { auth: 'fresh' })
 * ```
 */
export function createKy(auth: Pick<Auth, 'fetch' | 'baseUrl'>, base: KyInstance = ky): KyInstance {
  return base.extend({
    fetch: (input: string | URL | Request, init?: RequestInit & Handed) => {
      const { stayfresh, ...rest } = init ?? {}
      const { timeout = false, stream = false } = stayfresh ?? {}
      const each: SendInit = { ...rest, [EACH_SEND]: (send) => limited(send, timeout, input as Request) }
      // A Request no longer tells a stream that can be read once from a body that can be copied.
      if (stream) each.replay = false
      return auth.fetch(input, each)
    },
    hooks: {
      init: [
        (options: Options & Handed) => {
          const { timeout = DEFAULT_TIMEOUT, body } = options
          options.stayfresh = { timeout, stream: body instanceof ReadableStream }
          options.timeout = false
          // Here, because a relative base is known at the first use, not at the import.
          options.baseUrl ??= auth.baseUrl
        },
      ],
    },
  })
}

/** One send, with ky's own error if it takes too long. */
async function limited(
  send: (signal?: AbortSignal) => Promise<Response>,
  timeout: number | false,
  request: Request,
): Promise<Response> {
  if (timeout === false) return send()
  const controller = new AbortController()
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new TimeoutError(request))
      controller.abort()
    }, timeout)
  })
  try {
    const response = await Promise.race([send(controller.signal), late])
    // ky sets `accept` where it will read the body itself (`.json()`, …), and bounds that reading too.
    return request.headers?.has('accept') ? withBound(response, timeout, request) : response
  } finally {
    clearTimeout(timer)
  }
}

const READERS = ['json', 'text', 'arrayBuffer', 'blob', 'formData', 'bytes'] as const

/** The response, its body readers bounded. */
function withBound(response: Response, timeout: number, request: Request): Response {
  for (const name of READERS) {
    const read = response[name] as (() => Promise<unknown>) | undefined
    if (!read) continue
    const bounded = (): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new TimeoutError(request)), timeout)
        read
          .call(response)
          .then(resolve, reject)
          .finally(() => clearTimeout(timer))
      })
    Object.defineProperty(response, name, { value: bounded, configurable: true, writable: true })
  }
  return response
}
