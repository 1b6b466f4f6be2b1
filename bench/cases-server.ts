/**
 * The server of the cases: an origin of its own for each, whose every answer the case can hold back or replace, and
 * that remembers what came. It speaks as bench/server.ts does: refresh tokens rotate, and one that comes a second time
 * ends the session (RFC 9700 section 4.14.2).
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Place, Tokens } from './server.ts'

export interface Arrival {
  /** What it was for: a path beneath the API, with its query. */
  path: string
  method: string
  /** Whose token it brought, `undefined` without one, `null` with one that is none of this server's. */
  user: string | null | undefined
  body: string
  /** By `performance.now()`. */
  at: number
}

export interface Reply {
  status: number
  headers?: Record<string, string>
  body?: object
}

/** Looks at a request first: may hold it back, reply in the server's place, or cut its connection. */
type Look = (arrival: Arrival) => Promise<Reply | 'cut' | undefined> | Reply | 'cut' | undefined

export interface Api extends Place {
  /** All but refreshes and what a client asks about its user. */
  calls: Arrival[]
  refreshes: Arrival[]
  /** Refresh tokens that came again after they had been spent. */
  reuses: number
  onRefresh?: Look
  /** After the token was looked at: the 401 of an expired one can be held back, and another reply given. */
  onCall?: Look
  /** New tokens, for this user. */
  signIn(user: string): Tokens
  /** From now on every access token given so far gets a 401, whatever its `exp` says. */
  turnDown(): void
  close(): void
}

export interface Opening {
  /** Life of the first access token in s, and how much of it is over; later ones last 15 minutes. */
  life?: number
  age?: number
  /** How far the server's clock is ahead of the client's, in s. */
  ahead?: number
}

const LIFE = 900
const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')

async function textOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) text += chunk
  return text
}

export async function openApi({ life = LIFE, age = 0, ahead = 0 }: Opening = {}): Promise<Api> {
  const now = (): number => Date.now() + ahead * 1000
  const access = new Map<string, { user: string; until: number }>()
  const refresh = new Map<string, { user: string; spent: boolean }>()
  let issued = 0

  const issue = (user: string, life: number, age = 0): Tokens => {
    const iat = Math.floor(now() / 1000) - age
    const exp = iat + life
    const claims = { sub: user, iat, exp, jti: ++issued, fresh: false, type: 'access' }
    const accessToken = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}.${'s'.repeat(43)}`
    const refreshToken = `refresh-${++issued}`
    access.set(accessToken, { user, until: exp * 1000 })
    refresh.set(refreshToken, { user, spent: false })
    return { accessToken, refreshToken, expiresAt: exp * 1000 }
  }

  const exchange = (sent: string): Reply => {
    const found = refresh.get(sent)
    if (!found || found.spent) {
      if (found) {
        api.reuses++
        for (const one of refresh.values()) if (one.user === found.user) one.spent = true
        for (const one of access.values()) if (one.user === found.user) one.until = 0
      }
      return { status: 401, body: { msg: 'Token has been revoked', error: 'invalid_grant' } }
    }
    found.spent = true
    const { accessToken, refreshToken, expiresAt } = issue(found.user, LIFE)
    return {
      status: 200,
      body: {
        access_token: accessToken,
        refresh_token: refreshToken,
        token_type: 'bearer',
        expires_in: LIFE,
        expires_at: expiresAt / 1000,
        user: { id: found.user },
      },
    }
  }

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const [path = '', query = ''] = (request.url ?? '').slice(1).split('?')
    const body = await textOf(request)
    const bearer = request.headers.authorization?.slice('Bearer '.length)
    const known = bearer ? access.get(bearer) : undefined
    const arrival: Arrival = {
      path: query ? `${path}?${query}` : path,
      method: request.method ?? '',
      user: bearer === undefined ? undefined : (known?.user ?? null),
      body,
      at: performance.now(),
    }
    const send = ({ status, headers, body = {} }: Reply): void => {
      response.sendDate = false
      response.writeHead(status, {
        'content-type': 'application/json',
        date: new Date(now()).toUTCString(),
        ...headers,
      })
      response.end(JSON.stringify(body))
    }
    const act = (reply: Reply | 'cut'): void => {
      if (reply === 'cut') request.socket.destroy()
      else send(reply)
    }
    if (path === 'refresh' || path === 'token') {
      api.refreshes.push(arrival)
      // Bearer, JSON, or the form of OAuth 2.
      const json = body.startsWith('{') ? JSON.parse(body).refresh_token : undefined
      const sent = bearer ?? json ?? new URLSearchParams(body).get('refresh_token') ?? ''
      act((await api.onRefresh?.(arrival)) ?? exchange(sent))
    } else if (path === 'logout') {
      send({ status: 200 })
    } else if (path === 'user') {
      send(known ? { status: 200, body: { id: known.user } } : { status: 401 })
    } else {
      api.calls.push(arrival)
      const allowed = known && known.until > now()
      const reply: Reply = allowed
        ? { status: 200, body: { user: known.user } }
        : { status: 401, body: { msg: 'Token has expired' } }
      act((await api.onCall?.(arrival)) ?? reply)
    }
  }

  const server = createServer((request, response) => {
    // A client that has hung up gets no answer.
    serve(request, response).catch(() => request.socket.destroy())
  })
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 })
  await once(server, 'listening')
  const api: Api = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    tokens: issue('alice', life, age),
    calls: [],
    refreshes: [],
    reuses: 0,
    signIn: (user) => issue(user, LIFE),
    turnDown: () => {
      for (const one of access.values()) one.until = 0
    },
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
  return api
}
