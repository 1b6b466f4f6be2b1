/** A server that remembers nothing, so that what grows is the client's: tokens are good until their `exp`. */
import type { Tokens } from '../../src/index.ts'

export interface Server {
  /** Milliseconds since 1970. */
  now(): number
  fetch: typeof fetch
  /** How many requests came to each path. */
  readonly came: Map<string, number>
  /** Access tokens issued until now are turned down. */
  expireEarly(): void
  /** The next refresh is answered with this status. */
  failRefresh(status: number): void
  tokens(user: string, fresh: boolean): Required<Pick<Tokens, 'accessToken' | 'refreshToken'>>
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

export function createServer(now: () => number, life: number): Server {
  let issued = 0
  let expired = 0
  let failing: number | undefined
  const came = new Map<string, number>()
  const sign = (user: string, type: string, fresh: boolean): string => {
    const iat = Math.floor(now() / 1000)
    const claims = { sub: user, type, fresh, iat, exp: iat + life / 1000, jti: ++issued }
    return `${encode({ alg: 'none' })}.${encode(claims)}.x`
  }
  const tokens: Server['tokens'] = (user, fresh) => ({
    accessToken: sign(user, 'access', fresh),
    refreshToken: sign(user, 'refresh', false),
  })
  const json = (status: number, body: object): Response => Response.json(body, { status })
  const refusal = (msg: string): Response => json(401, { msg })

  return {
    now,
    came,
    tokens,
    expireEarly() {
      expired = issued
    },
    failRefresh(status) {
      failing = status
    },
    // No Request is made of it: each one listens to its signal until it is collected, and the signal is the page's.
    async fetch(input, init) {
      const { pathname } = new URL(input as string)
      came.set(pathname, (came.get(pathname) ?? 0) + 1)
      const token = new Headers(init?.headers).get('authorization')?.slice('Bearer '.length)
      const claims = token && JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
      init?.signal?.throwIfAborted()
      switch (pathname) {
        case '/login': {
          const { username } = JSON.parse(init?.body as string) as { username: string }
          const { accessToken, refreshToken } = tokens(username, true)
          return json(200, { access_token: accessToken, refresh_token: refreshToken })
        }
        case '/refresh': {
          const status = failing
          failing = undefined
          if (status) return json(status, {})
          const { accessToken, refreshToken } = tokens(claims.sub, false)
          return json(200, { access_token: accessToken, refresh_token: refreshToken })
        }
        case '/logout':
          return json(200, {})
        case '/mute':
          return new Response(null, { status: 401 })
        case '/fresh':
          if (!claims.fresh) return refusal('Fresh token required')
      }
      if (claims.exp * 1000 <= now() || claims.jti <= expired) return refusal('Token has expired')
      return json(200, { sub: claims.sub, body: init?.body })
    },
  }
}
