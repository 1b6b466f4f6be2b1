/**
 * A call, taken down at once: what the caller changes afterwards doesn't count, and nothing of the caller's is
 * ever changed. It knows how it is sent, and whether it can be sent again byte for byte.
 */
import { AuthError } from './errors.ts'
import { cached } from './platform.ts'
import { describe } from './token.ts'
import type { AuthRequestInit, Session } from './types.ts'
import type { Wire } from './wire.ts'

/** What a client above `fetch` knows of its request, and `fetch` can't see: see `createKy`. */
export const ABOVE: unique symbol = Symbol.for('stayfresh.above') as never

const AUTHS: unknown[] = [undefined, true, false, 'optional', 'fresh']

export interface AboveInit extends AuthRequestInit {
  [ABOVE]?: {
    /** Wraps each single send. A signal that it gives stands for that of the call as well. */
    eachSend(send: (signal?: AbortSignal) => Promise<Response>): Promise<Response>
    /** The body of the Request is a stream that can be read once. */
    stream: boolean
    /** Who was signed in when the request was made, if that is known: it may be tried again much later. */
    user: Pick<Session, 'id' | 'subject'> | null | undefined
  }
}

/** Who calls. That is all there is to a call that sends nothing itself. */
export interface Caller {
  readonly auth?: AuthRequestInit['auth']
  /** Its place in the order of calls and asks. */
  readonly began: number
  /** With a method that is not one of the safe ones (RFC 9110 section 9.2.1). */
  readonly unsafe?: boolean
  readonly signal?: AbortSignal | null | undefined
  readonly disposal: AbortSignal
}

export interface Call extends Caller {
  /** Goes out as it is: another origin, `auth: false`, an `Authorization` of the caller's own. */
  readonly bare: boolean
  /** Method and path, without the query. */
  readonly route: string
  readonly origin: string
  readonly unsafe: boolean
  readonly replay: boolean
  /** Who made it, if that was not now; `null`: nobody. */
  readonly user: Pick<Session, 'id' | 'subject'> | null | undefined
  /** Its body is a stream that can be read once. */
  readonly stream: boolean
  send(token?: string): Promise<Response>
  /** Lets go of what was kept for a replay. */
  done(): void
}

export function takeCall(
  input: string | URL | Request,
  init: AboveInit | undefined,
  wire: Wire,
  began: number,
  disposal: AbortSignal,
  switched: () => boolean,
): Call {
  let request = isRequest(input) ? input : undefined
  const url = wire.resolve(request ? urlOf(request) : (input as string | URL))
  // A client that makes a Request copies onto it what it was given for fetch.
  const copied = request as AuthRequestInit | undefined
  // Others put an `auth` of their own onto it, which is an object or a function.
  const choice = /string|boolean/.test(typeof copied?.auth) ? copied?.auth : undefined
  const { auth = choice, replay = copied?.replay !== false, [ABOVE]: above, ...rest } = init ?? {}
  if (!AUTHS.includes(auth)) {
    throw new AuthError(
      'invalid_input',
      `init.auth takes false, 'optional' or 'fresh', got ${describe(auth)}`,
    )
  }
  // Members that sit on a prototype are lost to a copy: those that fetch knows go by way of a Request.
  let from = init && Object.getPrototypeOf(init)
  if (from && from !== Object.prototype) {
    request = new Request(request ?? url, init)
    for (; from; from = Object.getPrototypeOf(from)) {
      // What every object has stays its own.
      for (const name of Object.getOwnPropertyNames(from))
        rest[name as never] ??= (init as object)[name as never]
    }
    for (const known in rest) if (known in request) delete rest[known as never]
  }
  // The body of a Request that is given as `init` can be copied, though it is a stream.
  const stream = above?.stream || (!isMessage(init) && isStream(init?.body))
  const body = replay && !stream ? keepBody(rest.body) : rest.body
  if (body != null) rest.body = body
  // A form is given its boundary when it is written: once, so that a replay is the same to the byte. One of another
  // fetch's own is for that fetch to write.
  if (replay && body instanceof FormData) {
    request = new Request(request ?? url, rest)
    delete rest.body
    delete rest.headers
  }
  if (request?.bodyUsed && rest.body == null) {
    throw new AuthError('invalid_input', 'The body of this Request has been used already')
  }

  const headers = new Headers(rest.headers ?? request?.headers)
  // What was given may be an iterator, which can be read once.
  if (rest.headers) rest.headers = headers
  const method = String(rest.method ?? request?.method ?? 'GET').toUpperCase()
  const signal = rest.signal === undefined ? request?.signal : rest.signal
  const foreign = headers.has('authorization') || !wire.allowed(url)
  // With tokens in cookies, a call that takes none along is nobody's.
  const omits = wire.cookies && (rest.credentials ?? request?.credentials) === 'omit'
  const bare = auth === false || foreign || omits
  // A Request's body can be sent once: the next send gets a copy, made before the first one starts.
  // Where `Request.body` is not implemented (Firefox) it is undefined, whatever the body. To Deno a text that was looked at
  // is a stream, and goes out in chunks: what has a type has a body.
  const bodied =
    request !== undefined &&
    !/^(GET|HEAD)$/.test(request.method) &&
    (request.headers.has?.('content-type') || request.body !== null)
  const copies = !bare && replay && !stream && rest.body == null && bodied
  let spare: Request | undefined

  function send(token?: string): Promise<Response> {
    const options: RequestInit = { ...rest }
    if (!foreign) {
      // A Request doesn't tell its default from a choice.
      const chosen = request?.credentials === 'same-origin' ? undefined : request?.credentials
      const { credentials = chosen, redirect = request?.redirect } = rest
      const own = new Headers(headers)
      const { headers: added, ...more } =
        wire.attach(token, { url, method, headers: own, credentials, redirect }) ?? {}
      // A backend of one's own may give them in any form that fetch takes.
      const pairs: Iterable<string[]> =
        Symbol.iterator in Object(added) ? (added as never) : Object.entries(added ?? {})
      for (const [name, value] of pairs) own.set(name as string, value as string)
      if (added || !bare) options.headers = own
      Object.assign(options, more)
    }
    if (!bare || omits) {
      // A Request that is given further members forgets where it came from (Fetch, the Request constructor).
      if (request) {
        if (request.referrer !== 'about:client') options.referrer ??= request.referrer
        if (request.referrerPolicy) options.referrerPolicy ??= request.referrerPolicy
      }
      if (switched() && (rest.cache ?? request?.cache ?? 'default') === 'default')
        Object.assign(options, cached('reload'))
    }
    const target = spare ?? request ?? url.href
    if (copies) spare = (target as Request).clone() as Request
    const beneath = (limit?: AbortSignal): Promise<Response> => {
      const sent = wire.fetch(target, limit ? { ...options, signal: limit } : options)
      // Raced, for a fetch that doesn't heed its signal. What is out there comes home after a disposal, too.
      return signal ? abortable({ signal }, sent) : sent
    }
    return above ? above.eachSend(beneath) : beneath()
  }

  return {
    auth,
    bare,
    route: `${method} ${url.pathname}`,
    origin: url.origin,
    // TRACE is safe, too (RFC 9110 section 9.2.1), but no fetch sends it.
    unsafe: !['GET', 'HEAD', 'OPTIONS'].includes(method),
    replay: replay && !stream,
    user: above?.user,
    stream,
    began,
    signal,
    disposal,
    send,
    done: () => void spare?.body?.cancel?.().catch(() => {}),
  }
}

// Who waits on a signal. One listener for all of them: an EventTarget looks through those that it has for each that comes
// or goes, and thousands may wait on the one of a page.
const waiting = new WeakMap<AbortSignal, { all: Set<() => void>; tell(): void }>()

/** Has `leave` called at an abort. Gives back what ends that, and leaves the caller's signal as it was. */
function wait(signal: AbortSignal | null | undefined, leave: () => void): () => void {
  // What is no signal is for the fetch beneath to refuse.
  if (!signal?.addEventListener) return () => {}
  let room = waiting.get(signal)
  if (!room) {
    const all = new Set<() => void>()
    const tell = (): void => {
      for (const each of [...all]) each()
    }
    room = { all, tell }
    waiting.set(signal, room)
  }
  const { all, tell } = room
  if (!all.size) signal.addEventListener('abort', tell)
  all.add(leave)
  return () => {
    if (all.delete(leave) && !all.size) signal.removeEventListener?.('abort', tell)
  }
}

/** `promise`, unless the caller goes first: an abort frees its caller at once, and the work goes on. */
export function abortable<T>({ signal, disposal }: Partial<Caller>, promise: PromiseLike<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = <V>(end: (value: V) => void, value: V): void => {
      stop()
      over()
      end(value)
    }
    const leave = (): void => settle(reject, signal?.aborted ? reasonOf(signal) : disposed())
    const stop = wait(signal, leave)
    const over = wait(disposal, leave)
    // Another fetch's answer may be no promise.
    Promise.resolve(promise).then(
      (value) => settle(resolve, value),
      (error) => settle(reject, error),
    )
    if (signal?.aborted || disposal?.aborted) leave()
  })
}

/** Why it was aborted: React Native's signals keep no reason. */
export function reasonOf({ reason }: AbortSignal): unknown {
  return reason ?? Object.assign(new Error('The call was aborted'), { name: 'AbortError' })
}

export function disposed(): AuthError {
  return new AuthError('disposed', 'This client was disposed of')
}

export const tagOf = (value: unknown): string => Object.prototype.toString.call(value).slice(8, -1)

/** Whether it is a Request or a Response, of whatever realm or fetch: React Native's have no tag. */
export function isMessage(value: unknown): value is Request | Response {
  return typeof (Object(value) as Partial<Request>).clone === 'function'
}

/**
 * Whether it is a Request: the platform's, or of another realm or fetch. What else has a text of its own is coerced to that,
 * as `fetch` does it: URLs can be cloned, too.
 */
export function isRequest(value: unknown): value is Request {
  return (
    isMessage(value) &&
    typeof value.url === 'string' &&
    (value instanceof Request || /^\[object /.test(String(value)))
  )
}

/** Where it leads, whatever a class that was made of it says. */
export function urlOf(request: Request): string {
  try {
    return (request instanceof Request && Reflect.get(Request.prototype, 'url', request)) || request.url
  } catch {
    // A Proxy of one, or what has its prototype alone: no fetch of the platform's takes it.
    return request.url
  }
}

function isStream(body: unknown): boolean {
  // `pipe` alone: those that Node had first, of which packages still make forms.
  const { getReader, pipe, [Symbol.asyncIterator]: iterate } = Object(body) as Record<PropertyKey, unknown>
  return [getReader, pipe, iterate].some((method) => typeof method === 'function')
}

/** A body as it is now, whatever the caller does to it later. */
function keepBody(body: RequestInit['body']): RequestInit['body'] {
  if (body == null) return body
  if (ArrayBuffer.isView(body)) {
    return new Uint8Array(body.buffer as ArrayBuffer, body.byteOffset, body.byteLength).slice()
  }
  switch (tagOf(body)) {
    case 'ArrayBuffer':
      return (body as ArrayBuffer).slice(0)
    case 'URLSearchParams':
      return new URLSearchParams(body as URLSearchParams)
    case 'Blob':
    case 'File':
    case 'FormData':
      return body
    default: {
      // Whatever else is given is sent as its text. What has none (a form of React Native's) the fetch beneath knows.
      const text = String(body)
      return text === '[object Object]' ? body : text
    }
  }
}
