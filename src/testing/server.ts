/** What the routes work with: the server behind them and the request before them. */

import type { Match } from './api.ts'
import type { Draft } from './journal.ts'
import type { Ledger } from './ledger.ts'
import type { Signer } from './signer.ts'
import type { BackendSettings, Claims, IssuedToken, TokenKind, User } from './types.ts'

/** The server's state and means. */
export interface Server {
  readonly settings: BackendSettings
  readonly users: Map<string, User>
  readonly ledger: Ledger
  readonly signer: Signer
  /** Whether WebCrypto may be used for other things too. */
  readonly digests: boolean
  now(): number
  uuid(): string
}

/** One request being served: what Hono hands to the routes as `c.env`. */
export interface Call {
  readonly server: Server
  readonly settings: BackendSettings
  readonly request: Request
  readonly url: URL
  readonly body: Uint8Array<ArrayBuffer>
  readonly entry: Draft
  /** The route of the test's own that it is for, if it is. */
  readonly api: Match | undefined
  /** The claims of the token that was let in, if any was asked for. */
  claims: Claims | undefined
}

/** What a new token is to say. */
export interface Mint {
  readonly kind: TokenKind
  readonly sub: string
  readonly fresh?: boolean | number
  readonly family: string
  readonly generation: number
}

/** What `fetch` is given, as a request; relative to the document, where there is one, as in a browser. */
export function toRequest(input: Request | URL | string, init?: RequestInit): Request {
  if (input instanceof Request && init === undefined) return input
  const base = globalThis.document?.baseURI
  return new Request(typeof input === 'string' && base ? new URL(input, base) : input, init)
}

/** Gives out a token: claims in the library's order, signed, entered in the ledger. */
export async function mint(server: Server, order: Mint): Promise<IssuedToken> {
  const { settings } = server
  const now = server.now()
  const iat = Math.floor(now / 1000)
  const lifetime = settings[`${order.kind}Lifetime`]
  const user = findUser(server.users, order.sub)
  const claims: Claims = {
    fresh: typeof order.fresh === 'number' ? (now + order.fresh) / 1000 : (order.fresh ?? false),
    iat,
    jti: server.uuid(),
    type: order.kind,
    sub: order.sub,
    ...(settings.nbf && { nbf: iat }),
    ...(settings.csrfProtect && { csrf: server.uuid() }),
    ...(settings.audience !== undefined && { aud: settings.audience }),
    ...(settings.issuer !== undefined && { iss: settings.issuer }),
    ...(lifetime && { exp: Math.floor((now + lifetime) / 1000) }),
    ...user?.claims,
    ...(order.kind === 'refresh' && user?.refreshClaims),
  }
  const token: IssuedToken = {
    token: await server.signer.sign(claims),
    kind: order.kind,
    jti: String(claims.jti),
    sub: String(claims.sub),
    family: order.family,
    generation: order.generation,
    fresh: claims.fresh as boolean | number,
    iat: Number(claims.iat),
    exp: typeof claims.exp === 'number' ? claims.exp : null,
    claims,
  }
  server.ledger.add(token)
  return token
}

/** Gives out the tokens of a new login. */
export async function mintLogin(
  server: Server,
  username: string,
): Promise<{ access: IssuedToken; refresh: IssuedToken }> {
  const sub = server.users.get(username)?.sub ?? username
  const chain = { sub, family: server.ledger.begin(sub, server.now()).id, generation: 0 }
  const access = await mint(server, { ...chain, kind: 'access', fresh: server.settings.fresh })
  const refresh = await mint(server, { ...chain, kind: 'refresh' })
  return { access, refresh }
}

function findUser(users: Map<string, User>, sub: string): User | undefined {
  for (const [username, user] of users) if ((user.sub ?? username) === sub) return user
  return undefined
}
