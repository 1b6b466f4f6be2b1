/**
 * One `auth` for one request that a server answers, for `sveltekit.ts` and `next.ts`: the session is in the cookies that
 * came with it, and what is refreshed on the way goes back with the answer. Never one `auth` for a whole server: that
 * would be one session for all its users.
 *
 * For Flask-JWT-Extended with tokens in cookies (`flaskJwtCookies()`), reached under the origin or the domain of the pages.
 */
import { type Auth, createAuth, flaskJwtCookies } from 'stayfresh'

const TOKENS = /^((access|refresh)_token_cookie|csrf_(access|refresh)_token)$/

// How long a token has to be good for, in ms: a page that is streamed sets no cookies once it has begun.
const WHILE_RENDERING = 30_000

export interface RequestAuth {
  readonly auth: Auth
  /** The `Cookie` header of the request, as it is by now. */
  cookieHeader(): string
  /** The answer, with the cookies that are to go back. */
  respond(response: Response): Response
}

/** `cookieHeader`: the `Cookie` header that came. */
export async function requestAuth(baseUrl: string, cookieHeader: string | null): Promise<RequestAuth> {
  const jar = new Map<string, string>()
  const setCookies: string[] = []
  const keep = (cookie: string): void => {
    const [name = '', ...value] = cookie.trim().split('=')
    if (value.join('=')) jar.set(name, value.join('='))
    else jar.delete(name)
  }
  const header = (of = (_: string): boolean => true): string =>
    [...jar].flatMap(([name, value]) => (of(name) ? `${name}=${value}` : [])).join('; ')
  // Of two with one name the first is the nearer one (RFC 6265 section 5.4).
  cookieHeader?.split(';').reverse().forEach(keep)

  const auth = createAuth({
    baseUrl,
    fetch: (input, init) => (isRefresh(input) ? exchangeOnce(String(input), init) : fetch(input, init)),
    backend: flaskJwtCookies({
      whoami: {},
      cookies: {
        read: () => header((name) => TOKENS.test(name)),
        write(_, sent) {
          for (const cookie of sent) {
            keep(cookie.split(';', 1)[0] ?? '')
            setCookies.push(cookie)
          }
        },
      },
    }),
  })
  const isRefresh = (input: unknown): boolean => input === new URL('refresh', auth.baseUrl).href

  if (jar.has('refresh_token_cookie')) {
    // What can't be refreshed now is told by the call that needs it.
    await auth.getAccessToken({ minValidity: WHILE_RENDERING }).catch(() => null)
  }
  return {
    auth,
    cookieHeader: () => (setCookies.length ? header() : (cookieHeader ?? '')),
    respond(response) {
      if (!setCookies.length) return response
      const answer = new Response(response.body, response)
      for (const cookie of setCookies) answer.headers.append('set-cookie', cookie)
      return answer
    },
  }
}

const exchanges = new Map<string, Promise<Response>>()

/**
 * A browser's requests come side by side, with the same cookies: where refresh tokens rotate, the second exchange would
 * end the session. So all that bring the same ones within 10 s share one answer.
 */
async function exchangeOnce(url: string, init: RequestInit = {}): Promise<Response> {
  const key = new Headers(init.headers).get('cookie') ?? ''
  let answer = exchanges.get(key)
  if (!answer) {
    // Not under the signal of the request that happened to be first.
    answer = fetch(url, { ...init, signal: AbortSignal.timeout(8_000) })
    exchanges.set(key, answer)
    const forget = (): boolean => exchanges.delete(key)
    answer.then(({ ok }) => setTimeout(forget, ok ? 10_000 : 0), forget)
  }
  return (await answer).clone()
}
