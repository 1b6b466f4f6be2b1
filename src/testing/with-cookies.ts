/**
 * What a browser does about cookies, for the environments that only look like one (jsdom): it keeps them, sends them
 * along, and lets the page read those that are not `HttpOnly`. Knows nothing of tokens.
 */

import { toRequest } from './server.ts'

interface Kept {
  readonly name: string
  readonly value: string
  readonly path: string
}

/**
 * Puts a browser's cookies before a backend: those that its answers set go along with later requests, and, but for the
 * `HttpOnly` ones, stand in `document.cookie` where there is a document. It starts with none, and clears what stands
 * there. Times of expiry count only where they take a cookie back; `Domain` and `SameSite` do not count.
 *
 * Not for a real browser, where no request made by a script may carry `Cookie`, and not for Node without a document:
 * there `flaskJwtCookies` takes its `cookies` hook.
 *
 * @example
 * ```ts
 * // In a test whose environment is jsdom:
 * const backend = withCookies(createBackend({ prefix: '/api/', locations: ['cookies'] }))
 * const auth = createAuth({ baseUrl: '/api/', backend: flaskJwtCookies(), fetch: backend.fetch })
 * ```
 */
export function withCookies<Given extends { fetch(request: Request): Response | Promise<Response> }>(
  backend: Given,
): Omit<Given, 'fetch'> & Pick<typeof globalThis, 'fetch'> {
  const jar = new Map<string, Kept>()
  const page = globalThis.document as { cookie: string; baseURI: string } | undefined
  const now = 'Thu, 01 Jan 1970 00:00:00 GMT'
  for (const pair of (page?.cookie ?? '').split('; ')) {
    if (page && pair) page.cookie = `${pair.split('=')[0]}=; Path=/; Expires=${now}`
  }

  const keep = (line: string): void => {
    const [pair = '', ...attributes] = line.split(/;\s*/)
    const at = pair.indexOf('=')
    const name = pair.slice(0, at)
    const attribute = (wanted: string): string | undefined =>
      attributes.find((each) => each.toLowerCase().split('=')[0] === wanted)
    const path = attribute('path')?.slice(5) || '/'
    const ends = Date.parse(attribute('expires')?.slice(8) ?? '')
    const gone = attribute('max-age') === 'Max-Age=0' || ends === 0
    if (gone) jar.delete(`${path} ${name}`)
    else jar.set(`${path} ${name}`, { name, value: pair.slice(at + 1), path })
    // Without what the document would turn down: another domain, `Secure` over http.
    if (page && !attribute('httponly')) {
      page.cookie = `${pair}; Path=${path}${gone ? `; Expires=${now}` : ''}`
    }
  }

  const matching = ({ pathname }: URL): string =>
    [...jar.values()]
      .filter(({ path }) => `${pathname}/`.startsWith(path.endsWith('/') ? path : `${path}/`))
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ')

  const fetch: typeof globalThis.fetch = async (input, init) => {
    const request = toRequest(input, init)
    const url = new URL(request.url)
    const near = !page || new URL(page.baseURI).origin === url.origin
    const allowed = request.credentials === 'include' || (request.credentials === 'same-origin' && near)
    const cookies = allowed ? matching(url) : ''
    if (cookies) request.headers.set('Cookie', cookies)
    const response = await backend.fetch(request)
    if (allowed) for (const line of response.headers.getSetCookie()) keep(line)
    // No script sees these.
    const headers = new Headers(response.headers)
    headers.delete('Set-Cookie')
    const { status, statusText, body } = response
    return new Response(body, { status, statusText, headers })
  }
  // All else is the backend's own, and stays live.
  return Object.assign(Object.create(backend), { fetch })
}
