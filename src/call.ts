/**
 * A call, taken down at once: what the caller changes afterwards doesn't count, and nothing of the caller's is
 * ever changed. It knows how it is sent, and whether it can be sent again byte for byte.
 */
import { AuthError } from './errors.ts'
import type { AuthRequestInit } from './types.ts'
import type { Wire } from './wire.ts'

/** Wraps each single send, for clients that limit its time: see `createKy`. */
export const EACH_SEND: unique symbol = Symbol.for('stayfresh.eachSend') as never

export interface SendInit extends AuthRequestInit {
  [EACH_SEND]?: (send: (signal?: AbortSignal) => Promise<Response>) => Promise<Response>
}

export interface Call {
  readonly auth: AuthRequestInit['auth']
  /** Goes out as it is: another origin, `auth: false`, an `Authorization` of the caller's own. */
  readonly bare: boolean
  /** Method and path, without the query. */
  readonly route: string
  readonly origin: string
  /** Not one of the safe methods (RFC 9110 section 9.2.1). */
  readonly unsafe: boolean
  readonly replay: boolean
  /** Its body is a stream that can be read once. */
  readonly stream: boolean
  /** Its place in the order of calls and asks. */
  readonly began: number
  readonly signal: AbortSignal | null | undefined
  readonly disposal: AbortSignal
  /** Whether its caller has gone: aborted, or the client was disposed of. */
  gone(): boolean
  send(token?: string): Promise<Response>
  /** Lets go of what was kept for a replay. */
  done(): void
}

/** A call that sends nothing itself. */
export function plainCall(began: number, disposal: AbortSignal): Call {
  const never = (): never => {
    throw new Error('This call has no request')
  }
  const gone = (): boolean => disposal.aborted
  const rest = { bare: false, route: '', origin: '', unsafe: true, replay: false, stream: false }
  return { ...rest, auth: undefined, began, signal: undefined, disposal, gone, send: never, done: () => {} }
}

export function takeCall(
  input: string | URL | Request,
  init: SendInit | undefined,
  wire: Wire,
  began: number,
  disposal: AbortSignal,
  switched: () => boolean,
): Call {
  let request = isRequest(input) ? input : undefined
  const url = wire.resolve(request ? request.url : (input as string | URL))
  const {
    auth = (request as AuthRequestInit | undefined)?.auth,
    replay = true,
    [EACH_SEND]: each,
  } = init ?? {}
  if (![undefined, true, false, 'optional', 'fresh'].includes(auth as never)) {
    throw new AuthError(
      'invalid_input',
      `init.auth takes false, 'optional' or 'fresh', got ${String(auth)}`,
      {},
    )
  }
  let rest: RequestInit = { ...init }
  for (const own of ['auth', 'replay', EACH_SEND]) delete rest[own as never]
  // Members that sit on a prototype are lost to a copy, but not to a Request.
  if (init && ![Object.prototype, null].includes(Object.getPrototypeOf(init))) {
    request = new Request(request ?? url, init)
    rest = {}
  }
  const { body, stream } = replay ? keepBody(rest.body) : { body: rest.body, stream: isStream(rest.body) }
  if (body != null) rest.body = body
  // A form is given its boundary when it is written: once, so that a replay is the same to the byte.
  if (replay && tagOf(body) === 'FormData') {
    request = new Request(request ?? url, rest)
    const { body: _, headers: __, ...others } = rest
    rest = others
  }

  const headers = new Headers(rest.headers ?? request?.headers)
  const method = (rest.method ?? request?.method ?? 'GET').toUpperCase()
  const signal = 'signal' in rest ? rest.signal : request?.signal
  const bare = auth === false || headers.has('authorization') || !wire.allowed(url)
  // A Request's body can be sent once: the next send gets a copy, made before the first one starts.
  const copies = !bare && replay && rest.body == null && request?.body != null
  let spare: Request | undefined

  function send(token?: string): Promise<Response> {
    const options: RequestInit = { ...rest }
    if (token !== undefined) {
      options.headers = new Headers(headers)
      options.headers.set('authorization', `Bearer ${token}`)
      if (switched() && (rest.cache ?? request?.cache ?? 'default') === 'default') options.cache = 'reload'
    }
    const target = spare ?? request ?? url.href
    if (copies) spare = (target as Request).clone() as Request
    if (!each) return wire.fetch(target, options)
    return each((limit) => {
      const signals = [signal, limit].filter((one) => one != null)
      return wire.fetch(target, {
        ...options,
        signal: signals.length > 1 ? AbortSignal.any(signals) : signals[0],
      })
    })
  }

  return {
    auth,
    bare,
    route: `${method} ${url.pathname}`,
    origin: url.origin,
    unsafe: !/^(GET|HEAD|OPTIONS|TRACE)$/.test(method),
    replay: replay && !stream,
    stream,
    began,
    signal,
    disposal,
    gone: () => disposal.aborted || signal?.aborted === true,
    send,
    done: () => void spare?.body?.cancel().catch(() => {}),
  }
}

/** `promise`, unless the caller goes first: an abort frees its caller at once, and the work goes on. */
export function free<T>({ signal, disposal }: Call, promise: PromiseLike<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = <V>(end: (value: V) => void, value: V): void => {
      signal?.removeEventListener('abort', leave)
      disposal.removeEventListener('abort', leave)
      end(value)
    }
    const leave = (): void => settle(reject, signal?.aborted ? signal.reason : disposed())
    signal?.addEventListener('abort', leave)
    disposal.addEventListener('abort', leave)
    promise.then(
      (value) => settle(resolve, value),
      (error) => settle(reject, error),
    )
    if (signal?.aborted || disposal.aborted) leave()
  })
}

export function disposed(): AuthError {
  return new AuthError('disposed', 'This client was disposed of', {})
}

const tagOf = (value: unknown): string => Object.prototype.toString.call(value).slice(8, -1)

function isRequest(input: unknown): input is Request {
  return tagOf(input) === 'Request'
}

function isStream(body: unknown): boolean {
  const { getReader, [Symbol.asyncIterator]: iterate } = Object(body) as Record<PropertyKey, unknown>
  return typeof getReader === 'function' || typeof iterate === 'function'
}

/** A body as it is now, whatever the caller does to it later; a stream can't be kept. */
function keepBody(body: RequestInit['body']): { body: RequestInit['body']; stream: boolean } {
  if (isStream(body)) return { body, stream: true }
  let kept = body
  if (ArrayBuffer.isView(body)) {
    kept = new Uint8Array(body.buffer as ArrayBuffer, body.byteOffset, body.byteLength).slice()
  } else if (tagOf(body) === 'ArrayBuffer') kept = (body as ArrayBuffer).slice(0)
  else if (tagOf(body) === 'URLSearchParams') kept = new URLSearchParams(body as URLSearchParams)
  return { body: kept, stream: false }
}
