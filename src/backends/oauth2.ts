/**
 * An OAuth 2 authorization server's token endpoint (RFC 6749), and resource servers that answer with the challenges of
 * RFC 6750 and RFC 9470. Tokens may be opaque.
 */
import type { Backend, RequestSpec, StandardClaims } from '../types.ts'
import { isGarbled, mayRefuse, secondsOf, textAt } from './answers.ts'
import { ERRORS, readChallenge } from './challenge.ts'
import { checkOptions, demand, isEndpoint, isTexts, membersOf } from './options.ts'

/**
 * What a login sends to the token endpoint, beside the client's own parameters: an authorization code (RFC 6749 section
 * 4.1.3, RFC 7636), or what another grant takes. The password grant is for tests and for servers that are long there:
 * RFC 9700 section 2.4 forbids it.
 *
 * @example
 * ```ts
 * await auth.login({ grant_type: 'authorization_code', code, redirect_uri, code_verifier })
 * ```
 */
export type TokenRequest =
  | {
      grant_type: 'authorization_code'
      code: string
      redirect_uri?: string | undefined
      code_verifier?: string | undefined
    }
  | { grant_type: 'password'; username: string; password: string; scope?: string | undefined }
  | { grant_type: 'client_credentials'; scope?: string | undefined }
  | { grant_type: `urn:${string}`; [parameter: string]: string }

/**
 * Options of {@link oauth2}.
 *
 * @example
 * ```ts
 * oauth2({ tokenEndpoint: 'https://id.example/token', clientId: 'web', revocationEndpoint: 'https://id.example/revoke' })
 * ```
 */
export interface OAuth2Options<Claims = StandardClaims> {
  /** Required. Absolute, or relative to `baseUrl`. The refresh token goes there. */
  tokenEndpoint: string
  /** Required (RFC 6749 section 2.2). */
  clientId: string
  /** Of a confidential client, such as a server. What a browser is given is no secret. Default: none. */
  clientSecret?: string | undefined
  /**
   * How the client proves who it is (RFC 7591 section 2). Default `client_secret_basic` with a `clientSecret`, else
   * `none`: the `client_id` is a parameter then.
   */
  authenticate?: 'client_secret_basic' | 'client_secret_post' | 'none' | undefined
  /** RFC 7009. Default: none, and a logout revokes nothing at the server. */
  revocationEndpoint?: string | undefined
  /** Further parameters of every token request, such as `resource` (RFC 8707) or `audience`. Default: none. */
  parameters?: Readonly<Record<string, string>> | undefined
  /**
   * An `error`, or an `error_description`, that refuses a refresh token, where the server says it by another than
   * `invalid_grant` (RFC 6749 section 5.2): Dex' `Refresh token expired.` Default: none.
   */
  refusals?: readonly string[] | undefined
  /** Whose token it is. Default `sub`; nobody knows with opaque tokens. */
  subject?: ((claims: Partial<Claims>) => unknown) | undefined
}

const TAKES = {
  tokenEndpoint: 'string',
  clientId: 'string',
  clientSecret: 'string',
  authenticate: 'string',
  revocationEndpoint: 'string',
  parameters: 'object',
  refusals: 'array',
  subject: 'function',
}

// Beside RFC 6749's: fosite's (Hydra, Authelia), league/oauth2-server's before 9, GitHub's and Slack's (with a 200), and what OpenID Connect Core section
// 3.1.2.6 has for a login, which some servers say of a refresh, too: only the user can help then. Auth0 asks for a factor.
const REFUSALS =
  /^(\d+ (invalid_grant|token_inactive|(bad|invalid)_refresh_token|(interaction|login|consent|mfa)_required)|401 invalid_request)$/

const METHODS = ['client_secret_basic', 'client_secret_post', 'none']

/**
 * The backend for OAuth 2: Keycloak, oidc-provider, Auth0, Hydra, and what else has a token endpoint.
 *
 * @throws {TypeError} an `AuthError` of code `invalid_option`, naming the option and what it takes
 * @example
 * ```ts
 * const auth = createAuth({
 *   baseUrl: 'https://api.example/',
 *   backend: oauth2({ tokenEndpoint: 'https://id.example/token', clientId: 'web' }),
 * })
 * await auth.login({ grant_type: 'authorization_code', code, redirect_uri, code_verifier })
 * auth.on('reauthRequired', (event) => {
 *   event.waitUntil(authorize({ acr_values: event.acrValues, max_age: event.maxAge })) // RFC 9470
 * })
 * ```
 */
export function oauth2<Claims = StandardClaims, Credentials = TokenRequest>(
  options: OAuth2Options<Claims>,
): Backend<Claims, Credentials> {
  checkOptions('oauth2', options, TAKES)
  const {
    tokenEndpoint,
    clientId,
    clientSecret,
    revocationEndpoint,
    parameters,
    refusals = [],
    subject,
  } = options
  demand('oauth2', 'refusals', isTexts(refusals), 'an array of strings')
  for (const [option, value] of Object.entries({ tokenEndpoint, clientId })) {
    demand('oauth2', option, Boolean(value), 'a string, and is required')
  }
  for (const [option, path] of Object.entries({ tokenEndpoint, revocationEndpoint })) {
    demand('oauth2', option, isEndpoint({ path }), 'a path, or an http(s) URL without userinfo')
  }
  const { authenticate = clientSecret === undefined ? 'none' : 'client_secret_basic' } = options
  demand('oauth2', 'authenticate', METHODS.includes(authenticate), METHODS.join(', '))
  const proves = authenticate === 'none' || clientSecret !== undefined
  demand('oauth2', 'clientSecret', proves, `a string where authenticate is ${authenticate}`)

  // RFC 6749 section 2.3.1: both are form-encoded first.
  const encoded = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1)
  const basic = { authorization: `Basic ${btoa(`${encoded(clientId)}:${encoded(clientSecret ?? '')}`)}` }

  const form = (path: string, members: object): RequestSpec => {
    const given = Object.entries(members).filter(([, value]) => value !== undefined)
    const all = new URLSearchParams(given as [string, string][])
    if (authenticate !== 'client_secret_basic') all.set('client_id', clientId)
    if (authenticate === 'client_secret_post') all.set('client_secret', clientSecret ?? '')
    return {
      path,
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        accept: 'application/json',
        ...(authenticate === 'client_secret_basic' && basic),
      },
      body: all.toString(),
    }
  }

  return {
    name: 'oauth2',
    login: (request) => form(tokenEndpoint, { ...parameters, ...membersOf(request) }),
    // RFC 6749 section 6.
    refresh: (token) =>
      form(tokenEndpoint, { ...parameters, grant_type: 'refresh_token', refresh_token: token }),
    logout: (token, kind) =>
      revocationEndpoint ? form(revocationEndpoint, { token, token_type_hint: `${kind}_token` }) : undefined,
    tokens({ body }) {
      const { access_token, refresh_token, expires_in, token_type } = Object(body) as Record<string, unknown>
      if (!access_token) return undefined
      // RFC 6749 section 7.1: a token of a type that is not understood is not to be used. `BearerToken` is Apigee's,
      // `bot` and `user` are Slack's.
      if (typeof token_type === 'string' && !/^(bearer(token)?|bot|user)$/i.test(token_type)) {
        throw new TypeError('the token_type is another than Bearer')
      }
      return {
        accessToken: access_token as string,
        refreshToken: (refresh_token || undefined) as string | undefined,
        expiresIn: secondsOf(expires_in),
      }
    },
    classify({ status, headers, body }) {
      // Of another error a challenge says what might have helped (RFC 9110 section 11.6.1), not that nothing was done.
      const refused = status === 401 || status === 403
      const challenge = refused ? readChallenge(headers) : undefined
      if (challenge && challenge.signal !== 'missing') return challenge
      // A browser may have hidden the challenge from another origin: many servers say it in the body, too.
      const told = refused ? ERRORS.get(textAt(body, ['error'])) : undefined
      return told ?? challenge ?? (status === 401 ? 'unknown' : 'other')
    },
    // RFC 6749 section 5.2. Every other error is about the client or the request, and the token may still be good.
    refused: (answer) =>
      (mayRefuse(answer.status) || answer.status === 200) &&
      !isGarbled(answer) &&
      (REFUSALS.test(`${answer.status} ${textAt(answer.body, ['error'])}`) ||
        ['error', 'error_description'].some((key) => refusals.includes(`${textAt(answer.body, [key])}`))),
    message: ({ body }) => textAt(body, ['error_description', 'detail', 'error']),
    revokes: 'grant',
    subject,
  }
}
