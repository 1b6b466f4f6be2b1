/**
 * One `auth` for one request that a server answers, for `sveltekit.ts` and `next.ts`: the session is in the cookies that
 * came with it, and what is refreshed on the way goes back with the answer. Never one `auth` for a whole server: that
 * would be one session for all its users.
 *
 * For Flask-JWT-Extended with tokens in cookies (`flaskJwtCookies()`), reached under the origin or the domain of the pages.
 */
import { type Auth, createAuth, flaskJwtCookies } from 'stayfresh'

const TOKENS = /^((access|refresh)_token_cookie|csrf_(access|refresh)_token)$/

// How long a page may take, in ms. So long a token has to be good for, because a page that is streamed sets no cookies once
// it has begun; and so long its requests may still come with the cookies from before.
const WHILE_RENDERING = 30_000

export interface RequestAuth {
  readonly auth: Auth
  /** The `Cookie` header of the request, as it is by now. */
  cookieHeader(): string
  /** The answer, with the cookies that are to go back. From then on nothing is refreshed: no cookie could tell of it. */
  respond(response: Response): Promise<Response>
}

/** `cookieHeader`: the `Cookie` header that came. */
export async function requestAuth(baseUrl: string, cookieHeader: string | null): Promise<RequestAuth> {
  const jar = new Map<string, string>()
  const setCookies: string[] = []
  const underWay: Promise<void>[] = []
  let begun = false
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
    // What runs beside a call may be answered when the cookies have gone back already.
    refreshAhead: false,
    async fetch(input, init) {
      const spent = input === new URL('refresh', auth.baseUrl).href && jar.get('refresh_token_cookie')
      if (!spent) return fetch(input, init)
      if (begun) throw new Error('The answer has begun, so that no cookie can be set')
      const exchange = () => fetch(input, outliving(init))
      const answer = exchangeOnce(spent, jar.get('access_token_cookie'), exchange)
      underWay.push(answer.then(aTurn, aTurn))
      return answer
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
    async respond(response) {
      begun = true
      await Promise.all(underWay)
      if (!setCookies.length) return response
      const answer = new Response(response.body, response)
      // Whatever it said before: these cookies are one user's.
      answer.headers.set('cache-control', 'private, no-store')
      for (const cookie of setCookies) answer.headers.append('set-cookie', cookie)
      return answer
    },
  }
}

interface Exchange {
  readonly answer: Promise<Response>
  /** The access token that it brought. */
  brought?: string | undefined
}

// One for the process: Next has a copy of this file in the proxy, and in each route.
const shared = globalThis as typeof globalThis & { stayfreshExchanges?: Map<string, Exchange> }
shared.stayfreshExchanges ??= new Map()
const exchanges = shared.stayfreshExchanges

/**
 * A browser's requests come side by side, with the same cookies: where refresh tokens rotate, the second exchange would
 * end the session. So all that bring the same one soon after share one answer, but for those who have that already.
 */
async function exchangeOnce(
  refreshToken: string,
  accessToken: string | undefined,
  exchange: () => Promise<Response>,
): Promise<Response> {
  const known = exchanges.get(refreshToken)
  if (known && !(accessToken && known.brought === accessToken)) return (await known.answer).clone()
  const mine: Exchange = { answer: exchange() }
  exchanges.set(refreshToken, mine)
  const forget = (): unknown => exchanges.get(refreshToken) === mine && exchanges.delete(refreshToken)
  mine.answer.then(({ ok, headers }) => {
    mine.brought = /(?<=^access_token_cookie=)[^;]+/m.exec(headers.getSetCookie().join('\n'))?.[0]
    setTimeout(forget, ok ? WHILE_RENDERING : 0)
  }, forget)
  return (await mine.answer).clone()
}

/** What is answered has been taken to the jar a turn later. */
const aTurn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve))

/** Not under the signal of the request that happened to be first. */
const outliving = (init?: RequestInit): RequestInit => ({ ...init, signal: AbortSignal.timeout(8_000) })
