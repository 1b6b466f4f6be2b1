/** The test's own routes: finding the one for a request, letting it in, answering. */

import { findToken } from './find.ts'
import { admit, present, verify } from './guard.ts'
import type { Call } from './server.ts'
import type { ApiAnswer, ApiRoute, Claims } from './types.ts'

/** A route of the test's own, as it was found for a request. */
export interface Match {
  /** As it stands in `api`. */
  readonly name: string
  readonly params: Readonly<Record<string, string>>
  readonly token: 'access' | 'fresh' | 'optional' | false
  readonly answer: ApiAnswer
}

/**
 * Reads the routes once; what it gives finds the first that fits a method and a path beneath the prefix.
 *
 * @throws TypeError for a route that is none.
 */
export function readApi(
  api: Readonly<Record<string, ApiAnswer | ApiRoute>>,
): (method: string, path: string) => Match | undefined {
  const routes = Object.entries(api).map(([name, route]) => {
    const { token = 'access', answer } = typeof route === 'function' ? { answer: route } : route
    if (typeof answer !== 'function')
      throw new TypeError(`api: "${name}" takes a function, or one as its answer`)
    if (!['access', 'fresh', 'optional', false].includes(token)) {
      throw new TypeError(`api: "${name}" takes "access", "fresh", "optional" or false as its token`)
    }
    const [, method, path = ''] = /^(?:([A-Z]+)\s+)?\/?(.*)$/.exec(name) ?? []
    return { name, token, answer, method, segments: path.split('/') }
  })
  return (asked, path) => {
    const method = asked === 'HEAD' ? 'GET' : asked
    const given = path.split('/')
    for (const route of routes) {
      const { segments } = route
      if (segments.length !== given.length || (route.method ?? method) !== method) continue
      const params: Record<string, string> = {}
      const fits = segments.every((segment, at) => {
        const value = given[at] ?? ''
        if (!segment.startsWith(':')) return segment === value
        params[segment.slice(1)] = decoded(value)
        return value !== ''
      })
      if (fits) return { ...route, params }
    }
    return undefined
  }
}

/** Asks for the token that the route wants, then for its answer. */
export async function serveApi(call: Call, { token, params, answer }: Match): Promise<Response> {
  const claims = token === false ? undefined : await admitted(call, token)
  const { request, body, url } = call
  const { method, headers } = request
  const given = await answer({
    // The one that came was read for the log.
    request: new Request(url, { method, headers, ...(body.length > 0 && { body }) }),
    url,
    params,
    sub: claims && String(claims.sub),
    claims,
  })
  if (given instanceof Response) return given
  return given === undefined ? new Response(null, { status: 204 }) : Response.json(given)
}

async function admitted(call: Call, token: 'access' | 'fresh' | 'optional'): Promise<Claims | undefined> {
  if (call.request.method === 'OPTIONS') return undefined
  if (token !== 'optional') {
    return admit(call, await present(call, 'access'), { type: 'access', fresh: token === 'fresh' })
  }
  const found = findToken(call, 'access')
  return 'missing' in found ? undefined : admit(call, await verify(call, found), { type: 'access' })
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}
