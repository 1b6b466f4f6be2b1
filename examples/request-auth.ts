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

  const auth: Auth = createAuth({
    baseUrl,
    fetch(input, init) {
      const spent = input === new URL('refresh', auth.baseUrl).href && jar.get('refresh_token_cookie')
      return spent ? exchangeOnce(spent, () => fetch(input, outliving(init))) : fetch(input, init)
    },
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
 * end the session. So all that bring the same one within 10 s share one answer.
 */
async function exchangeOnce(refreshToken: string, exchange: () => Promise<Response>): Promise<Response> {
  let answer = exchanges.get(refreshToken)
  if (!answer) {
    answer = exchange()
    exchanges.set(refreshToken, answer)
    const forget = (): boolean => exchanges.delete(refreshToken)
    answer.then(({ ok }) => setTimeout(forget, ok ? 10_000 : 0), forget)
  }
  return (await answer).clone()
}

/** Not under the signal of the request that happened to be first. */
const outliving = (init?: RequestInit): RequestInit => ({ ...init, signal: AbortSignal.timeout(8_000) })
