/**
 * The wire below the rooms: where URLs lead and whether a token may go there, requests to the backend's own
 * endpoints, and reading an answer without spending the caller's body. It knows no session.
 */

import { consult } from './consult.ts'
import { AuthError, badOption } from './errors.ts'
import { cached } from './platform.ts'
import type { Answer, Attachment, AuthOptions, Backend, Outgoing, RequestSpec } from './types.ts'

// What is worth reading of an answer that is looked into: an error of an API, never a download.
const READ_AT_MOST = 65_536
// Of the backend's own endpoints everything within reason: what they bring would be lost.
const READ_OWN_AT_MOST = 16_777_216

// Where one of two copies was cancelled, and the request is aborted then, Node 22 rejects a promise that is out of reach,
// and the process ends by it.
const MAY_CANCEL = !/^22\./.test(
  `${(globalThis as { process?: { versions?: { node?: string } } }).process?.versions?.node}`,
)

/** Told of what was answered so, and not sent again. */
export const REDIRECTED = 'It was answered with a redirect'

export interface Wire {
  /** The base that relative inputs resolve against. Throws where there is none. */
  base(): string
  /** An absolute http(s) URL without userinfo, or an `invalid_input`. */
  resolve(input: string | URL): URL
  /** Whether the access token may go there, once the base is known. */
  allowed(url: URL): boolean
  /** Whether it is by cookies that a call is somebody's. */
  readonly cookies: boolean
  /** What goes along with a call. */
  attach(token: string | undefined, call: Outgoing): Attachment | undefined
  /** The fetch beneath, looked up at each call. */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>
  /** Where a request to the backend's own endpoints went, if the answer says that there is none. */
  astray(status: number, spec: Partial<RequestSpec>): Error | undefined
  /** Sends a request to an endpoint of the backend's. Redirects are errors: no token follows one. */
  call(spec: RequestSpec, init?: RequestInit): Promise<Response>
}

const LOOPBACK = /^(localhost|.+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/

export function createWire(options: AuthOptions<never, never>): Wire {
  const { allowInsecure } = options
  const backend: Backend<never, never> = options.backend
  const beneath: Wire['fetch'] = (input, init) => (options.fetch ?? globalThis.fetch)(input, init)
  const given = String(options.baseUrl)
  const secure = (url: URL): boolean =>
    url.protocol === 'https:' || allowInsecure === true || LOOPBACK.test(url.hostname)

  /** Checks a base or an origin, and says by the option's name what is wrong with it. */
  const check = (option: string, url: URL): URL => {
    const bad = (what: string): AuthError =>
      badOption(option, `${option} takes ${what}, got ${url.protocol}${url.host && `//${url.host}`}`)
    if (!/^https?:$/.test(url.protocol)) throw bad('an http(s) URL')
    if (url.username || url.password) throw bad('a URL without userinfo')
    if (!secure(url)) throw bad('https: for any host but loopback (or allowInsecure: true)')
    return url
  }
  const parse = (option: string, value: string, base?: string): URL => {
    if (URL.canParse(value, base)) return check(option, new URL(value, base))
    // Nothing is relative to what a Worker may be made of: a `blob:` or `data:` URL.
    const relative = URL.canParse(value, 'http://localhost')
    const what = !relative
      ? 'a URL'
      : `an absolute URL${option === 'baseUrl' ? ' where there is no document' : ''}`
    throw badOption(option, `${option} takes ${what}`)
  }

  let known: string | undefined
  const origins = new Set<string>()
  for (const entry of options.origins ?? []) {
    const url = parse('origins', String(entry))
    if (![url.origin, `${url.origin}/`].includes(String(entry))) {
      throw badOption('origins', `origins takes origins such as ${url.origin}, nothing more`)
    }
    origins.add(url.origin)
  }

  function base(): string {
    if (known === undefined) {
      const url = parse('baseUrl', given, globalThis.document?.baseURI ?? globalThis.location?.href)
      if (!url.pathname.endsWith('/')) url.pathname += '/'
      url.search = url.hash = ''
      origins.add(url.origin)
      known = url.href
    }
    return known
  }
  // An absolute one is judged at once; a relative one at first use, so that a module can be imported anywhere.
  if (URL.canParse(given)) base()
  else if (!URL.canParse(given, 'http://localhost')) parse('baseUrl', given)

  const wire: Wire = {
    base,
    resolve(input) {
      const from = base()
      let url: URL
      try {
        url = new URL(input, from)
      } catch {
        throw new AuthError('invalid_input', 'The input is not a URL')
      }
      if (!/^https?:$/.test(url.protocol)) {
        throw new AuthError('invalid_input', `The input takes http(s) URLs, got ${url.protocol}`)
      }
      if (url.username || url.password) {
        throw new AuthError('invalid_input', `The input takes a URL without userinfo (${url.host})`)
      }
      return url
    },
    allowed: (url) => origins.has(url.origin),
    cookies: backend.cookies === 'both',
    attach: (token, call) =>
      backend.attach
        ? consult(backend, 'attach', token, call)
        : token === undefined
          ? undefined
          : { headers: { authorization: `Bearer ${token}` } },
    fetch: (input, init) =>
      backend.transport ? backend.transport(beneath, input, init, base()) : beneath(input, init),
    astray(status, { path, method = 'POST' }) {
      if (!path || (status !== 404 && status !== 405)) return undefined
      const url = wire.resolve(path)
      // What follows the path may be a secret.
      return new Error(`is there a ${method} ${url.origin + url.pathname}? See the backend's options`)
    },
    async call({ path, method = 'POST', ...more }, init) {
      const url = wire.resolve(path)
      if (!secure(url)) throw new AuthError('invalid_input', `No token goes to ${url.origin} over http:`)
      // Not `error`: that doesn't say what was wrong, and Cloudflare's fetch knows no such thing.
      const options = { method, ...more, redirect: 'manual', ...cached('no-store'), ...init } as const
      const response = await wire.fetch(url.href, options)
      const { type, status } = response
      if (type === 'opaqueredirect' || /30[12378]/.test(`${status}`) || wasLed(response, url)) {
        void response.body?.cancel?.().catch(() => {})
        throw new Error(REDIRECTED)
      }
      return response
    },
  }
  return wire
}

/** Whether a fetch over XMLHttpRequest, which follows all redirects and says of none, was led elsewhere. */
function wasLed({ redirected, url }: Response, from: URL): boolean {
  return redirected === undefined && !!url && url.split(/[?#]/)[0] !== from.origin + from.pathname
}

/** An answer of whose body nothing is known, or but that it has one. */
export function unread({ status, headers }: Response, empty = false): Answer {
  return { status, headers, body: undefined, empty }
}

/**
 * Reads an answer through a clone, up to a bound, and the caller's body stays unread: JSON only, but for `own`
 * answers, those of the backend's own endpoints, which may come under any name. `cut`: there is more of it than that.
 */
export async function readAnswer(
  response: Response,
  signal?: AbortSignal,
  own?: boolean,
): Promise<Answer & { cut?: boolean }> {
  const { headers } = response
  const nothing = unread(response, true)
  const something: Answer & { cut?: boolean } = unread(response)
  if (response.body === null || headers.get('content-length') === '0') return nothing
  const json = own || /[/+]json\s*(;|$)/i.test(`${headers.get('content-type')}`)
  // A body may be long in coming: nobody waits for its first bytes to learn that they are not JSON. Only a 401 means
  // something else without one.
  if (!json && response.status !== 401) return something
  const copy = response.clone()
  const reader = copy.body?.getReader?.()
  const cancel = (): void => void (MAY_CANCEL ? reader?.cancel().catch(() => {}) : reader?.releaseLock())
  // Where there is no reader, there may be none.
  const decoder = reader && new TextDecoder()
  let text = ''
  let size = 0
  // Of what is not JSON only whether there is any.
  const most = own ? READ_OWN_AT_MOST : json ? READ_AT_MOST : 0
  const enough = (): boolean => size > most
  signal?.addEventListener('abort', cancel)
  try {
    while (reader && !enough()) {
      const { done, value } = await reader.read()
      if (done) break
      size += value.byteLength
      text += decoder?.decode(value, { stream: true })
    }
    // Not every fetch's body can be read bit by bit: React Native's is not to be seen, node-fetch's is of Node's kind.
    if (!reader) {
      text = await copy.text()
      size = text.length
    }
  } finally {
    signal?.removeEventListener('abort', cancel)
  }
  if (enough()) {
    cancel()
    something.cut = true
    return something
  }
  if (size === 0) return nothing
  try {
    something.body = JSON.parse(text)
  } catch {
    // Not JSON after all; the parser's error would quote it.
  }
  return something
}
