/**
 * A real authorization server (oidc-provider) with opaque access tokens, rotating refresh tokens and reuse detection;
 * and beside it, at another origin, a resource server that asks it about each token (RFC 7662) and answers with the
 * challenges of RFC 6750 and RFC 9470. Both run by the clock of this process.
 */
import { createHash, generateKeyPairSync } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import Provider, { type Adapter, type AdapterPayload, errors, type KoaContextWithOIDC } from 'oidc-provider'
import { listen, stop } from './front.ts'

export const users: Readonly<Record<string, string>> = { alice: 'wonderland', bob: 'builder' }
/** A public client, as a page is one. */
export const web = { clientId: 'web' }
/** A confidential one, whose secret has to be form-encoded (RFC 6749 section 2.3.1). */
export const backend = { clientId: 'back end', clientSecret: 'a secret: 100 % + more' }
const api = { clientId: 'api', clientSecret: 'of the resource server' }
const redirectUri = 'https://app.test/callback'

/** What `fresh` wants: a password given not longer ago than this, in seconds. */
export const asksFor = { acrValues: 'urn:stories:password', maxAge: 300 }

export interface AuthorizationServer {
  readonly issuer: string
  readonly resources: string
  /** Every access token so far is destroyed. */
  dropAccessTokens(): Promise<void>
  /** Every token of this user is destroyed. */
  dropUser(username: string): Promise<void>
  /** RFC 7662: whether a token of either kind is good. */
  isActive(token: string): Promise<boolean>
  /** How often a refresh token that had been used came back. */
  reuses(): number
  /** The code and verifier that an authorization request of this user ends with (RFC 7636). */
  authorize(username: string): Promise<{ code: string; code_verifier: string; redirect_uri: string }>
  close(): Promise<void>
}

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

export async function startAuthorizationServer({
  lifetime,
  rotates,
}: {
  /** Life of access tokens in seconds. */
  lifetime: number
  rotates: boolean
}): Promise<AuthorizationServer> {
  let provider: Provider
  const server = createServer((request, response) => void provider.callback()(request, response))
  const issuer = await listen(server)
  const kept = new Map<string, AdapterPayload>()
  provider = new Provider(issuer, {
    adapter: (model: string) => keepIn(kept, model),
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' } as never] },
    cookies: { keys: ['known to everybody who reads the stories'] },
    clients: [
      { client_id: web.clientId, token_endpoint_auth_method: 'none' },
      { client_id: backend.clientId, client_secret: backend.clientSecret },
    ]
      .map((client) => ({
        redirect_uris: [redirectUri],
        response_types: ['code'],
        grant_types: ['authorization_code', 'refresh_token', 'password'],
        ...client,
      }))
      .concat({
        client_id: api.clientId,
        client_secret: api.clientSecret,
        redirect_uris: [],
        response_types: [],
        grant_types: [],
      }) as never,
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    scopes: ['openid', 'offline_access'],
    findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    rotateRefreshToken: () => rotates,
    issueRefreshToken: () => true,
    expiresWithSession: () => false,
    extraTokenClaims: ({ oidc }) => {
      const { RefreshToken, AuthorizationCode } = oidc.entities
      const { authTime, acr } = (RefreshToken ?? AuthorizationCode ?? {}) as {
        authTime?: number
        acr?: string
      }
      return { auth_time: authTime, acr }
    },
    ttl: { AccessToken: lifetime, RefreshToken: 86_400, Grant: 86_400, IdToken: lifetime },
    features: {
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: (_, client, token) => token.clientId === client.clientId },
    },
  })
  provider.registerGrantType('password', passwordGrant, ['username', 'password', 'scope'])

  let reuses = 0
  provider.on('grant.error', (_, error) => {
    if (error.error_detail === 'refresh token already used') reuses++
  })
  const drop = (which: (kind: string, payload: AdapterPayload) => boolean): void => {
    for (const [key, payload] of kept) if (which(key.split(' ')[0] ?? '', payload)) kept.delete(key)
  }

  const introspect = async (token: string): Promise<Record<string, unknown>> => {
    const basic = Buffer.from(`${api.clientId}:${encodeURIComponent(api.clientSecret)}`).toString('base64')
    const response = await fetch(`${issuer}/token/introspection`, {
      method: 'POST',
      headers: { authorization: `Basic ${basic}` },
      body: new URLSearchParams({ token }),
    })
    return (await response.json()) as Record<string, unknown>
  }
  const resources = createServer((request, response) => void answer(request, response, introspect))

  return {
    issuer,
    resources: await listen(resources),
    dropAccessTokens: async () => drop((kind) => kind === 'AccessToken'),
    dropUser: async (username) =>
      drop((kind, { accountId }) => accountId === username && kind.endsWith('Token')),
    isActive: async (token) => (await introspect(token)).active === true,
    reuses: () => reuses,
    async authorize(username) {
      const verifier = 'v'.repeat(43)
      const client = await provider.Client.find(web.clientId)
      const grantId = await newGrant(provider, web.clientId, username)
      const code = new provider.AuthorizationCode({
        accountId: username,
        acr: asksFor.acrValues,
        authTime: Math.floor(Date.now() / 1000),
        client,
        codeChallenge: createHash('sha256').update(verifier).digest('base64url'),
        codeChallengeMethod: 'S256',
        grantId,
        redirectUri,
        scope: 'openid offline_access',
      } as never)
      return { code: await code.save(), code_verifier: verifier, redirect_uri: redirectUri }
    },
    async close() {
      await stop(resources)
      await stop(server)
    },
  }
}

async function newGrant(provider: Provider, clientId: string, accountId: string): Promise<string> {
  const grant = new provider.Grant({ accountId, clientId })
  grant.addOIDCScope('openid offline_access')
  return grant.save()
}

/** RFC 6749 section 4.3, so that a story can sign in without a browser. */
async function passwordGrant(ctx: KoaContextWithOIDC): Promise<void> {
  const { provider, params, client } = ctx.oidc
  const { username, password } = params as { username: string; password: string }
  if (!client || users[username] !== password) throw new errors.InvalidGrant('wrong username or password')
  const grantId = await newGrant(provider, client.clientId, username)
  const common = { accountId: username, client, grantId, gty: 'password', scope: 'openid offline_access' }
  const refreshToken = new provider.RefreshToken({
    ...common,
    acr: asksFor.acrValues,
    authTime: Math.floor(Date.now() / 1000),
    rotations: 0,
  } as never)
  ctx.oidc.entity('RefreshToken', refreshToken)
  const accessToken = new provider.AccessToken(common as never)
  ctx.body = {
    access_token: await accessToken.save(),
    refresh_token: await refreshToken.save(),
    expires_in: accessToken.expiration,
    token_type: 'Bearer',
    scope: accessToken.scope,
  }
}

/** The resource server: `plain` for any token, `fresh` for one whose password was given of late. */
async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  introspect: (token: string) => Promise<Record<string, unknown>>,
): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  const body = Buffer.concat(chunks)
  const reply = (status: number, content: object, challenge?: string): void => {
    response.writeHead(status, {
      'content-type': 'application/json',
      ...(challenge !== undefined && { 'www-authenticate': challenge }),
    })
    response.end(JSON.stringify(content))
  }
  const token = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1]
  if (token === undefined)
    return reply(401, { title: 'Who are you?' }, 'Basic realm="old", Bearer realm="api"')
  const { active, sub, auth_time } = await introspect(token)
  if (!active) {
    return reply(
      401,
      { title: 'No' },
      'Bearer realm="api", error="invalid_token", error_description="It is \\"over\\", or is it?"',
    )
  }
  if (request.url?.startsWith('/fresh') && Date.now() / 1000 - Number(auth_time) > asksFor.maxAge) {
    const { acrValues, maxAge } = asksFor
    return reply(
      401,
      { title: 'Too old' },
      `Bearer error="insufficient_user_authentication", error_description="More recent authentication is required", acr_values="${acrValues}", max_age="${maxAge}"`,
    )
  }
  if (request.url?.startsWith('/scoped')) {
    return reply(403, { title: 'Not you' }, 'Bearer error="insufficient_scope", scope="admin"')
  }
  reply(200, {
    sub,
    method: request.method,
    body: body.toString(),
    base64: body.toString('base64'),
    content_type: request.headers['content-type'] ?? null,
  })
}

/** What the provider keeps, under `<model> <id>`. */
function keepIn(kept: Map<string, AdapterPayload>, model: string): Adapter {
  const key = (id: string): string => `${model} ${id}`
  const find = async (id: string): Promise<AdapterPayload | undefined> => kept.get(key(id))
  return {
    upsert: async (id, payload) => void kept.set(key(id), payload),
    find,
    findByUserCode: async () => undefined,
    findByUid: async () => undefined,
    destroy: async (id) => void kept.delete(key(id)),
    async consume(id) {
      const payload = kept.get(key(id))
      if (payload) payload.consumed = Math.floor(Date.now() / 1000)
    },
    async revokeByGrantId(grantId) {
      for (const [name, payload] of kept) if (payload.grantId === grantId) kept.delete(name)
    },
  }
}
