/**
 * The backends there are, and answers of their servers: the table that the contract is checked against. A line is what
 * a server answered (run, or read in its source), and what it means.
 */
import {
  type Backend,
  bearer,
  djRestAuth,
  flaskJwt,
  flaskJwtCookies,
  oauth2,
  type RequestSpec,
  type Signal,
  simpleJwt,
  type Tokens,
} from '../../src/index.ts'
import { jwt, type Recorded } from './support.ts'

export interface Line extends Recorded {
  /** What it says of the access token that was sent. */
  readonly means?: Signal | { signal: Signal; acrValues?: string; maxAge?: number }
  /** From the refresh endpoint: whether it refuses the refresh token. */
  readonly refuses?: boolean
  /** From the login or refresh endpoint: the tokens in it. */
  readonly brings?: Tokens | undefined
}

export interface Table {
  readonly backend: Backend<never, never>
  readonly credentials: object
  /** The requests it makes for them, for `refresh-1` and for `access-1`. */
  readonly login: RequestSpec
  readonly refresh: RequestSpec
  readonly logout: { readonly access?: RequestSpec; readonly refresh?: RequestSpec }
  readonly answers: Readonly<Record<string, Line>>
}

const accept = { accept: 'application/json' }
const json = { 'content-type': 'application/json', ...accept }
const form = { 'content-type': 'application/x-www-form-urlencoded', ...accept }
const spec = (path: string, body: object, headers: Record<string, string> = {}): RequestSpec => ({
  path,
  method: 'POST',
  headers: { ...json, ...headers },
  body: JSON.stringify(body),
})
const withBearer = (path: string, token: string, method = 'POST'): RequestSpec => ({
  path,
  method,
  headers: { authorization: `Bearer ${token}`, ...accept },
})
/** Of a preset that asks for no format: Flask has but one. */
const plain = ({ headers, ...rest }: RequestSpec): RequestSpec => {
  const { accept: _, ...others } = headers as Record<string, string>
  return { ...rest, headers: others }
}
const password = { username: 'alice', password: 'wonderland' }
const email = { email: 'alice@example.test', password: 'wonderland' }

const claims = { user_id: 7, iat: 1_800_000_000, exp: 1_800_000_300 }
const access = jwt(claims)
/** A login's refresh token, and one of a refresh an hour later, as SimpleJWT stamps them. */
const refresh = jwt({ iat: 1_800_000_000, exp: 1_800_086_400 })
const later = {
  access: jwt({ ...claims, exp: 1_800_003_900 }),
  refresh: jwt({ iat: 1_800_003_600, exp: 1_800_090_000 }),
}

const pair = { access_token: 'a.b.c', refresh_token: 'd.e.f' }
const bare: Line = { status: 401, means: 'unknown' }

const djangoAnswers: Table['answers'] = {
  'a login': {
    status: 200,
    body: { refresh, access },
    brings: { accessToken: access, refreshToken: refresh, expiresIn: 300 },
  },
  'a refresh with rotation: iat is that of the token before': {
    status: 200,
    body: later,
    brings: { accessToken: later.access, refreshToken: later.refresh, expiresIn: 300 },
  },
  'a refresh without rotation, by the server’s clock': {
    status: 200,
    headers: { date: new Date(1_800_003_601_000).toUTCString() },
    body: { access: later.access },
    brings: { accessToken: later.access, refreshToken: undefined, expiresIn: 299 },
  },
  'a refresh without rotation, and the clock is hidden: nobody knows the life': {
    status: 200,
    body: { access: later.access },
    brings: { accessToken: later.access, refreshToken: undefined, expiresIn: 0 },
  },
  'an expired access token (5.2)': {
    status: 401,
    headers: { 'www-authenticate': 'Bearer realm="api"' },
    body: {
      detail: 'Given token not valid for any token type',
      code: 'token_not_valid',
      messages: [
        { token_class: 'AccessToken', token_type: 'access', message: 'Token is invalid or expired' },
      ],
    },
    means: 'expired',
  },
  'an expired access token (5.4)': {
    status: 401,
    body: {
      detail: 'Given token not valid for any token type',
      code: 'token_not_valid',
      messages: [{ token_class: 'AccessToken', token_type: 'access', message: 'Token is expired' }],
    },
    means: 'expired',
  },
  'the same from a view whose first authentication class has no challenge': {
    status: 403,
    body: { detail: 'Given token not valid for any token type', code: 'token_not_valid', messages: [] },
    means: 'invalid',
    refuses: false,
  },
  'a token of the wrong type, in another language': {
    status: 401,
    body: {
      detail: 'Le type de jeton fourni n’est pas valide',
      code: 'token_not_valid',
      messages: [
        { token_class: 'AccessToken', token_type: 'access', message: 'Le jeton n’a pas le bon type' },
      ],
    },
    means: 'invalid',
  },
  'no token': {
    status: 401,
    body: { detail: 'Authentication credentials were not provided.' },
    means: 'missing',
    refuses: false,
  },
  'a header of three words': {
    status: 401,
    body: {
      detail: 'Authorization header must contain two space-delimited values',
      code: 'bad_authorization_header',
    },
    means: 'missing',
    refuses: false,
  },
  'a user who is gone': {
    status: 401,
    body: { detail: 'User not found', code: 'user_not_found' },
    means: 'account',
    refuses: true,
  },
  'a user who was shut out': {
    status: 401,
    body: { detail: 'User is inactive', code: 'user_inactive' },
    means: 'account',
    refuses: true,
  },
  'a user who was shut out, at the refresh (5.4)': {
    status: 401,
    body: { detail: 'No active account found for the given token.' },
    means: 'account',
    refuses: true,
  },
  'a password that was changed (CHECK_REVOKE_TOKEN)': {
    status: 401,
    body: { detail: 'The user’s password has been changed.', code: 'password_changed' },
    means: 'revoked',
    refuses: true,
  },
  'the same at the refresh, where it has no code': {
    status: 401,
    headers: { 'www-authenticate': 'Bearer realm="api"' },
    body: { detail: "The user's password has been changed." },
    means: 'revoked',
    refuses: true,
  },
  'a refresh token that has run out': {
    status: 401,
    body: { detail: 'Token is invalid or expired', code: 'token_not_valid' },
    refuses: true,
  },
  'a refresh token on the blacklist': {
    status: 401,
    body: { detail: 'Token is blacklisted', code: 'token_not_valid' },
    refuses: true,
  },
  'a refresh without its field': {
    status: 400,
    body: { refresh: ['This field is required.'] },
    means: 'other',
    refuses: false,
  },
  'no permission': {
    status: 403,
    body: { detail: 'You do not have permission to perform this action.' },
    means: 'other',
    refuses: false,
  },
  'CSRF, in a session of Django’s own': {
    status: 403,
    body: { detail: 'CSRF Failed: CSRF token missing or incorrect.' },
    means: 'csrf',
    refuses: false,
  },
  'a 401 of the application’s own': {
    status: 401,
    body: { detail: 'Ask an admin.' },
    means: 'other',
    refuses: false,
  },
  'a 401 with nothing': { ...bare, refuses: false },
}

const oauth2Answers: Table['answers'] = {
  'a token response (RFC 6749 section 5.1)': {
    status: 200,
    body: { ...pair, token_type: 'bearer', expires_in: 3600, scope: 'openid', example: 'unknown' },
    brings: { accessToken: 'a.b.c', refreshToken: 'd.e.f', expiresIn: 3600 },
  },
  'one without a refresh token': {
    status: 200,
    body: { access_token: 'a.b.c', token_type: 'BEARER', expires_in: '3600' },
    brings: { accessToken: 'a.b.c', refreshToken: undefined, expiresIn: 3600 },
  },
  'a refresh token that was used (RFC 6749 section 5.2)': {
    status: 400,
    headers: { 'cache-control': 'no-store' },
    body: { error: 'invalid_grant', error_description: 'grant request is invalid' },
    means: 'other',
    refuses: true,
  },
  'a refresh token that is dead, with a 200 (GitHub)': {
    status: 200,
    body: {
      error: 'bad_refresh_token',
      error_description: 'The refresh token passed is incorrect or expired.',
    },
    means: 'other',
    refuses: true,
  },
  'the same (Slack)': {
    status: 200,
    body: { ok: false, error: 'invalid_refresh_token' },
    means: 'other',
    refuses: true,
  },
  'a refresh that wants another factor (Auth0)': {
    status: 403,
    body: { error: 'mfa_required', error_description: 'Multifactor authentication required' },
    means: 'other',
    refuses: true,
  },
  'another way to say Bearer (Apigee)': {
    status: 200,
    body: { access_token: 'a', token_type: 'BearerToken', expires_in: '1799' },
    brings: { accessToken: 'a', refreshToken: undefined, expiresIn: 1799 },
  },
  'a token of Slack’s': {
    status: 200,
    body: {
      ok: true,
      access_token: 'xoxe.xoxb-1',
      token_type: 'bot',
      refresh_token: 'xoxe-1',
      expires_in: 43_200,
    },
    brings: { accessToken: 'xoxe.xoxb-1', refreshToken: 'xoxe-1', expiresIn: 43_200 },
  },
  'a refresh token that was used, or revoked (Hydra, Authelia)': {
    status: 401,
    body: {
      error: 'token_inactive',
      error_description: 'Token is inactive because it is malformed, expired or otherwise invalid.',
    },
    means: 'unknown',
    refuses: true,
  },
  'a refresh token that is too old (Dex), where nobody said what that is called': {
    status: 400,
    body: { error: 'invalid_request', error_description: 'Refresh token expired.' },
    means: 'other',
    refuses: false,
  },
  'the same with a 403 (Auth0)': {
    status: 403,
    body: { error: 'invalid_grant', error_description: 'Unknown or invalid refresh token.' },
    means: 'other',
    refuses: true,
  },
  'a client that the server doesn’t know': {
    status: 401,
    headers: { 'www-authenticate': 'Basic realm="id"' },
    body: { error: 'invalid_client' },
    means: 'other',
    refuses: false,
  },
  'a refresh that only the user can help, of Microsoft Entra': {
    status: 400,
    body: { error: 'interaction_required', error_codes: [50076], suberror: 'basic_action' },
    means: 'other',
    refuses: true,
  },
  'a refresh token that was revoked, of Laravel Passport before 13': {
    status: 401,
    body: {
      error: 'invalid_request',
      error_description: 'The refresh token is invalid.',
      hint: 'Token has been revoked',
    },
    means: 'unknown',
    refuses: true,
  },
  'a request that is wrong': {
    status: 400,
    body: { error: 'invalid_request' },
    means: 'other',
    refuses: false,
  },
  'a server that is busy and says so': {
    status: 429,
    body: { error: 'invalid_grant' },
    means: 'other',
    refuses: false,
  },
  'an expired token (RFC 6750 section 3)': {
    status: 401,
    headers: {
      'www-authenticate':
        'Bearer realm="example", error="invalid_token", error_description="The access token expired"',
    },
    means: 'invalid',
  },
  'the same beside another scheme': {
    status: 401,
    headers: { 'www-authenticate': 'Basic realm="old, error=\\"x\\"", bearer ERROR = invalid_token' },
    body: { title: 'No' },
    means: 'invalid',
  },
  'a scope that is missing': {
    status: 403,
    headers: { 'www-authenticate': 'Bearer error="insufficient_scope", scope="admin"' },
    means: 'scope',
  },
  'an authentication that is too old (RFC 9470 section 3)': {
    status: 401,
    headers: {
      'www-authenticate':
        'Bearer error="insufficient_user_authentication", acr_values="myACR phr", max_age="5"',
    },
    means: { signal: 'step_up', acrValues: 'myACR phr', maxAge: 5 },
  },
  'no token': {
    status: 401,
    headers: { 'www-authenticate': 'Bearer realm="example"' },
    means: 'missing',
  },
  'a 401 whose challenge the browser has hidden': { ...bare, body: { title: 'No' }, refuses: false },
  'one that says it in the body, too': {
    status: 401,
    body: { error: 'invalid_token', error_description: 'expired' },
    means: 'invalid',
    refuses: false,
  },
  'a step-up that says it in the body, beside a bare challenge': {
    status: 401,
    headers: { 'www-authenticate': 'Bearer' },
    body: { error: 'insufficient_user_authentication' },
    means: 'step_up',
    refuses: false,
  },
  'a 403 without a challenge': { status: 403, body: { title: 'No' }, means: 'other' },
}

export const tables: readonly Table[] = [
  {
    // A page that sees no cookie.
    backend: flaskJwtCookies({ cookies: { read: () => '', write() {} } }),
    credentials: password,
    login: plain(spec('login', password)),
    refresh: { path: 'refresh', headers: { 'X-CSRF-TOKEN': 'refresh-1' } },
    logout: {
      access: { path: 'logout', method: 'DELETE', headers: { 'X-CSRF-TOKEN': 'access-1' } },
      refresh: { path: 'logout', method: 'DELETE', headers: { 'X-CSRF-TOKEN': 'refresh-1' } },
    },
    answers: {
      'a login that tells the CSRF values': {
        status: 200,
        body: { msg: 'login successful', csrf_access_token: 'value-a', csrf_refresh_token: 'value-r' },
        brings: { accessToken: 'value-a', refreshToken: 'value-r' },
      },
      'a login that tells who it is, and gives the token in its body, too': {
        status: 200,
        body: {
          access_token: 'a.b.c',
          csrf_access_token: 'value-a',
          sub: 'alice',
          exp: 1_800_000_900,
          roles: ['x'],
        },
        brings: {
          accessToken: 'value-a',
          refreshToken: undefined,
          claims: { sub: 'alice', exp: 1_800_000_900, roles: ['x'] },
        },
      },
      'a login whose cookies nobody can read': {
        status: 200,
        body: { msg: 'login successful' },
        brings: undefined,
      },
      'an expired token': {
        status: 401,
        body: { msg: 'Token has expired' },
        means: 'expired',
        refuses: true,
      },
      'a revoked token': {
        status: 401,
        body: { msg: 'Token has been revoked' },
        means: 'revoked',
        refuses: true,
      },
      'a cookie that has gone': {
        status: 401,
        body: { msg: 'Missing cookie "refresh_token_cookie"' },
        means: 'missing',
        refuses: true,
      },
      'the same, as fastapi-jwt-auth has it': {
        status: 401,
        body: { msg: 'Missing cookie refresh_token_cookie' },
        means: 'missing',
        refuses: true,
      },
      'the same, where tokens may be in several places': {
        status: 401,
        body: {
          msg: 'Missing JWT in headers or cookies (Missing Authorization Header; Missing cookie "refresh_token_cookie")',
        },
        means: 'missing',
        refuses: true,
      },
      'no CSRF value': { status: 401, body: { msg: 'Missing CSRF token' }, means: 'csrf' },
      'a CSRF value that is another token’s, with none left to read': {
        status: 401,
        body: { msg: 'CSRF double submit tokens do not match' },
        means: 'csrf',
        refuses: true,
      },
      'the tutorial’s, for a CSRF value or a missing cookie': {
        status: 401,
        body: { description: 'Request does not contain an access token.', error: 'authorization_required' },
        means: 'missing',
      },
      'a wrong type': {
        status: 422,
        body: { msg: 'Only refresh tokens are allowed' },
        means: 'invalid',
        refuses: true,
      },
      'a page of a proxy': { status: 401, body: '<h1>Sign in</h1>', means: 'other', refuses: false },
    },
  },
  {
    backend: flaskJwt(),
    credentials: password,
    login: plain(spec('login', password)),
    refresh: plain(withBearer('refresh', 'refresh-1')),
    logout: {
      access: plain(withBearer('logout', 'access-1', 'DELETE')),
      refresh: plain(withBearer('logout', 'refresh-1', 'DELETE')),
    },
    answers: {
      'a login': {
        status: 200,
        body: pair,
        brings: { accessToken: 'a.b.c', refreshToken: 'd.e.f' },
      },
      'a refresh': {
        status: 200,
        body: { access_token: 'a.b.c', refresh_token: null },
        brings: { accessToken: 'a.b.c', refreshToken: undefined },
      },
      expired: { status: 401, body: { msg: 'Token has expired' }, means: 'expired', refuses: true },
      revoked: { status: 401, body: { msg: 'Token has been revoked' }, means: 'revoked', refuses: true },
      'not fresh': { status: 401, body: { msg: 'Fresh token required' }, means: 'step_up', refuses: false },
      'no header': {
        status: 401,
        body: { msg: 'Missing Authorization Header' },
        means: 'missing',
        refuses: false,
      },
      'a header of another scheme': {
        status: 401,
        body: {
          msg: "Missing 'Bearer' type in 'Authorization' header. Expected 'Authorization: Bearer <JWT>'",
        },
        means: 'missing',
      },
      'no cookie': { status: 401, body: { msg: 'Missing cookie "access_token_cookie"' }, means: 'missing' },
      'another content type': {
        status: 401,
        body: { msg: 'Invalid content-type. Must be application/json.' },
        means: 'missing',
      },
      'in none of several places': {
        status: 401,
        body: {
          msg: 'Missing JWT in headers or cookies (Missing Authorization Header; Missing cookie "access_token_cookie")',
        },
        means: 'missing',
      },
      'no CSRF value': { status: 401, body: { msg: 'Missing CSRF token' }, means: 'csrf', refuses: false },
      'another CSRF value': {
        status: 401,
        body: { msg: 'CSRF double submit tokens do not match' },
        means: 'csrf',
        refuses: false,
      },
      'a user who is gone': {
        status: 401,
        body: { msg: 'Error loading the user 7' },
        means: 'account',
        refuses: true,
      },
      'claims that were turned down': {
        status: 400,
        body: { msg: 'User claims verification failed' },
        means: 'scope',
        refuses: false,
      },
      'another key': {
        status: 422,
        body: { msg: 'Signature verification failed' },
        means: 'invalid',
        refuses: true,
      },
      'not a token': { status: 422, body: { msg: 'Not enough segments' }, means: 'invalid', refuses: true },
      ...Object.fromEntries(
        [
          'Only non-refresh tokens are allowed',
          "Bad Authorization header. Expected 'Authorization: Bearer <JWT>'",
          "Invalid value for query parameter 'jwt'. Expected the value to start with 'Bearer '",
          'Missing claim: csrf',
          'Invalid header padding',
          'Invalid header string: must be a json object',
          'Invalid payload string: Expecting value: line 1 column 1 (char 0)',
          'Invalid crypto padding',
          'The specified alg value is not allowed',
          'Issued At claim (iat) must be an integer.',
          'Not Before claim (nbf) must be an integer.',
          'Expiration Time claim (exp) must be an integer.',
          "Audience doesn't match",
          'Token is missing the "aud" claim',
          'Invalid issuer',
          'Subject must be a string',
          'JWT ID must be a string',
        ].map((msg): [string, Line] => [
          msg,
          { status: 422, body: { msg }, means: 'invalid', refuses: true },
        ]),
      ),
      'a token from a moment ago, by a clock that is behind': {
        status: 422,
        body: { msg: 'The token is not yet valid (iat)' },
        means: 'invalid',
        refuses: false,
      },
      'a message of the application’s own': {
        status: 422,
        body: { msg: 'The quantity must be positive' },
        means: 'unknown',
        refuses: true,
      },
      'an access token at the refresh': {
        status: 422,
        body: { msg: 'Only refresh tokens are allowed' },
        means: 'invalid',
        refuses: true,
      },
      'the application’s own validation': {
        status: 422,
        body: { msg: 'Bad input', errors: { name: ['Missing data for required field.'] } },
        means: 'other',
        refuses: false,
      },
      'the same without a message': {
        status: 422,
        body: { code: 422, status: 'Unprocessable Entity', errors: { json: { name: ['Missing'] } } },
        means: 'other',
        refuses: false,
      },
      'expired, says the tutorial': {
        status: 401,
        body: { message: 'The token has expired.', error: 'token_expired' },
        means: 'expired',
        refuses: true,
      },
      'invalid, says the tutorial': {
        status: 401,
        body: { message: 'Signature verification failed.', error: 'invalid_token' },
        means: 'invalid',
        refuses: true,
      },
      'no token or no CSRF value, says the tutorial': {
        status: 401,
        body: { description: 'Request does not contain an access token.', error: 'authorization_required' },
        means: 'missing',
        refuses: false,
      },
      'not fresh, says the tutorial': {
        status: 401,
        body: { description: 'The token is not fresh.', error: 'fresh_token_required' },
        means: 'step_up',
        refuses: false,
      },
      'revoked, says the tutorial': {
        status: 401,
        body: { description: 'The token has been revoked.', error: 'token_revoked' },
        means: 'revoked',
        refuses: true,
      },
      'a 401 of the tutorial’s own': {
        status: 401,
        body: { code: 401, status: 'Unauthorized', message: 'Admin privilege required.' },
        means: 'other',
        refuses: false,
      },
      'a code that every object has': {
        status: 401,
        body: { error: 'constructor' },
        means: 'other',
        refuses: false,
      },
      'a 401 with nothing': { ...bare, refuses: false },
    },
  },
  {
    backend: {
      ...flaskJwt({ messageKey: 'detail', signals: { 'Jeton expiré': 'expired' } }),
      name: 'flaskJwt, another key',
    },
    credentials: password,
    login: plain(spec('login', password)),
    refresh: plain(withBearer('refresh', 'refresh-1')),
    logout: {
      access: plain(withBearer('logout', 'access-1', 'DELETE')),
      refresh: plain(withBearer('logout', 'refresh-1', 'DELETE')),
    },
    answers: {
      expired: { status: 401, body: { detail: 'Token has expired' }, means: 'expired', refuses: true },
      'expired, in another language': { status: 401, body: { detail: 'Jeton expiré' }, means: 'expired' },
      'under the default key': {
        status: 401,
        body: { msg: 'Token has expired' },
        means: 'other',
        refuses: false,
      },
      'another key': { status: 422, body: { detail: 'Signature verification failed' }, means: 'invalid' },
      'the application’s own validation': {
        status: 422,
        body: { detail: [{ loc: ['body', 'name'], msg: 'field required' }] },
        means: 'other',
        refuses: false,
      },
    },
  },
  {
    backend: simpleJwt(),
    credentials: password,
    login: spec('token/', password),
    refresh: spec('token/refresh/', { refresh: 'refresh-1' }),
    logout: { refresh: spec('token/blacklist/', { refresh: 'refresh-1' }) },
    answers: djangoAnswers,
  },
  {
    backend: djRestAuth(),
    credentials: password,
    login: spec('login/', password),
    refresh: spec('token/refresh/', { refresh: 'refresh-1' }),
    logout: { refresh: spec('logout/', { refresh: 'refresh-1' }) },
    answers: {
      ...djangoAnswers,
      'a login of dj-rest-auth’s': {
        status: 200,
        body: { access, refresh, user: { pk: 7, username: 'alice' } },
        brings: { accessToken: access, refreshToken: refresh, expiresIn: 300 },
      },
      'one of an older version': {
        status: 200,
        body: { access_token: access, refresh_token: refresh, user: { pk: 7 } },
        brings: { accessToken: access, refreshToken: refresh, expiresIn: 300 },
      },
      'a refresh that tells a date': {
        status: 200,
        headers: { date: new Date(1_800_003_600_000).toUTCString() },
        body: { access: later.access, access_expiration: '2027-01-15T09:05:00Z' },
        brings: { accessToken: later.access, refreshToken: undefined, expiresIn: 300 },
      },
      'a login whose refresh token went into a cookie': {
        status: 200,
        headers: { date: new Date(1_800_000_000_000).toUTCString() },
        body: { access, refresh: '', user: { pk: 7 } },
        brings: { accessToken: access, refreshToken: undefined, expiresIn: 300 },
      },
    },
  },
  {
    backend: oauth2({ tokenEndpoint: 'https://id.test/token', clientId: 'web' }),
    credentials: {
      grant_type: 'authorization_code',
      code: 'c-1',
      redirect_uri: 'https://app.test/cb',
      code_verifier: undefined,
    },
    login: {
      path: 'https://id.test/token',
      method: 'POST',
      headers: form,
      body: 'grant_type=authorization_code&code=c-1&redirect_uri=https%3A%2F%2Fapp.test%2Fcb&client_id=web',
    },
    refresh: {
      path: 'https://id.test/token',
      method: 'POST',
      headers: form,
      body: 'grant_type=refresh_token&refresh_token=refresh-1&client_id=web',
    },
    logout: {},
    answers: oauth2Answers,
  },
  {
    backend: oauth2({
      tokenEndpoint: 'https://id.test/token',
      clientId: 'back end',
      clientSecret: 'ü: %+',
      revocationEndpoint: 'https://id.test/revoke',
      parameters: { resource: 'https://api.test/' },
    }),
    credentials: { grant_type: 'password', ...password },
    login: {
      path: 'https://id.test/token',
      method: 'POST',
      headers: { ...form, authorization: `Basic ${btoa('back+end:%C3%BC%3A+%25%2B')}` },
      body: 'resource=https%3A%2F%2Fapi.test%2F&grant_type=password&username=alice&password=wonderland',
    },
    refresh: {
      path: 'https://id.test/token',
      method: 'POST',
      headers: { ...form, authorization: `Basic ${btoa('back+end:%C3%BC%3A+%25%2B')}` },
      body: 'resource=https%3A%2F%2Fapi.test%2F&grant_type=refresh_token&refresh_token=refresh-1',
    },
    logout: {
      access: {
        path: 'https://id.test/revoke',
        method: 'POST',
        headers: { ...form, authorization: `Basic ${btoa('back+end:%C3%BC%3A+%25%2B')}` },
        body: 'token=access-1&token_type_hint=access_token',
      },
      refresh: {
        path: 'https://id.test/revoke',
        method: 'POST',
        headers: { ...form, authorization: `Basic ${btoa('back+end:%C3%BC%3A+%25%2B')}` },
        body: 'token=refresh-1&token_type_hint=refresh_token',
      },
    },
    answers: oauth2Answers,
  },
  {
    backend: bearer(),
    credentials: email,
    login: spec('login', email),
    refresh: spec('refresh', { refresh_token: 'refresh-1' }),
    logout: { access: withBearer('logout', 'access-1') },
    answers: {
      'a token response': {
        status: 200,
        body: { ...pair, expires_in: 600 },
        brings: { accessToken: 'a.b.c', refreshToken: 'd.e.f', expiresIn: 600 },
      },
      'a life that is none': {
        status: 200,
        body: { ...pair, expires_in: 'soon' },
        brings: { accessToken: 'a.b.c', refreshToken: 'd.e.f', expiresIn: undefined },
      },
      'a 401 with nothing': { ...bare, refuses: true },
      'a 401 in one word (Express)': {
        status: 401,
        headers: { 'content-type': 'text/plain; charset=utf-8' },
        body: 'Unauthorized',
        means: 'unknown',
        refuses: true,
      },
      'a 401 of NestJS': {
        status: 401,
        body: { message: 'Unauthorized', statusCode: 401 },
        means: 'unknown',
        refuses: true,
      },
      'a 401 of Spring Security': {
        status: 401,
        headers: {
          'www-authenticate':
            'Bearer error="invalid_token", error_description="An error occurred while attempting to decode the Jwt: Jwt expired at 2026-01-01T00:00:00Z", error_uri="https://tools.ietf.org/html/rfc6750#section-3.1"',
        },
        means: 'invalid',
        refuses: true,
      },
      'a scope that is missing, in Spring Security': {
        status: 403,
        headers: { 'www-authenticate': 'Bearer error="insufficient_scope"' },
        means: 'scope',
        refuses: false,
      },
      'a 401 with a code, in any case': {
        status: 401,
        body: { error: 'Unauthorized', code: 'TokenExpired' },
        means: 'expired',
        refuses: true,
      },
      'a 401 of jsonwebtoken’s words': {
        status: 401,
        body: { message: 'jwt expired' },
        means: 'expired',
        refuses: true,
      },
      'a 401 of the gateway before it': {
        status: 401,
        headers: { 'www-authenticate': 'Basic realm="staging"' },
        body: '<h1>401 Authorization Required</h1>',
        means: 'other',
        refuses: false,
      },
      'a 401 that is a page': {
        status: 401,
        body: '<h1>Sign in to this network</h1>',
        means: 'unknown',
        refuses: false,
      },
      'a 401 whose JSON was cut off': {
        status: 401,
        headers: { 'content-type': 'application/json' },
        body: '{"message":"Unauth',
        means: 'unknown',
        refuses: false,
      },
      'a 403': { status: 403, body: { message: 'Forbidden' }, means: 'other', refuses: false },
    },
  },
  {
    backend: bearer({
      name: 'bearer, with signals and refusals',
      signals: { トークンの期限切れ: 'expired', AccountLocked: 'account', 'Please log in anew': 'revoked' },
      refusals: ['invalid_refresh_token'],
      refresh: { send: 'bearer', members: { device: 'd-1' } },
      logout: { tokens: 'both', send: 'body', key: 'token' },
    }),
    credentials: email,
    login: spec('login', email),
    refresh: spec('refresh', { device: 'd-1' }, { authorization: 'Bearer refresh-1' }),
    logout: {
      access: spec('logout', { token: 'access-1' }),
      refresh: spec('logout', { token: 'refresh-1' }),
    },
    answers: {
      'a text of another script': {
        status: 400,
        body: { message: 'トークンの期限切れ' },
        means: 'expired',
        refuses: false,
      },
      'another text of that script': {
        status: 400,
        body: { message: '権限がありません' },
        means: 'other',
        refuses: false,
      },
      'a code in another case': {
        status: 401,
        body: { code: 'ACCOUNT_LOCKED' },
        means: 'account',
        refuses: true,
      },
      'a text as it is': {
        status: 401,
        body: { msg: 'Please log in anew' },
        means: 'revoked',
        refuses: true,
      },
      'a refusal with a 200': {
        status: 200,
        body: { success: false, code: 'INVALID_REFRESH_TOKEN' },
        means: 'other',
        refuses: true,
      },
      'a refusal with a 403, in words': {
        status: 403,
        body: { message: 'Invalid refresh token' },
        means: 'other',
        refuses: true,
      },
    },
  },
  {
    backend: bearer({
      name: 'ASP.NET MapIdentityApi',
      accessTokenKey: 'accessToken',
      refreshTokenKey: 'refreshToken',
      expiresInKey: 'expiresIn',
      logout: false,
    }),
    credentials: email,
    login: spec('login', email),
    refresh: spec('refresh', { refreshToken: 'refresh-1' }),
    logout: {},
    answers: {
      'a login or a refresh': {
        status: 200,
        body: { tokenType: 'Bearer', accessToken: 'CfDJ8-a_B', expiresIn: 3600, refreshToken: 'CfDJ8-r_B' },
        brings: { accessToken: 'CfDJ8-a_B', refreshToken: 'CfDJ8-r_B', expiresIn: 3600 },
      },
      'whatever is wrong with the access token': {
        status: 401,
        headers: { 'www-authenticate': 'Bearer' },
        means: 'unknown',
      },
      'a refresh token that is not taken': {
        status: 401,
        headers: { 'www-authenticate': 'Bearer' },
        refuses: true,
      },
      'a wrong password': {
        status: 401,
        headers: { 'content-type': 'application/problem+json' },
        body: { title: 'Unauthorized', status: 401, detail: 'Failed' },
        brings: undefined,
      },
      'no right to it': { status: 403, means: 'other', refuses: false },
    },
  },
  {
    backend: bearer({
      name: 'tymon/jwt-auth',
      login: { path: 'auth/login' },
      // The access token itself is exchanged, for as long as JWT_REFRESH_TTL says.
      refresh: { path: 'auth/refresh', send: 'bearer' },
      refreshTokenKey: 'access_token',
      tokenHeader: 'Authorization',
      logout: { path: 'auth/logout' },
    }),
    credentials: email,
    login: spec('auth/login', email),
    refresh: withBearer('auth/refresh', 'refresh-1'),
    logout: { access: withBearer('auth/logout', 'access-1') },
    answers: {
      'a login or a refresh': {
        status: 200,
        body: { access_token: 'a.b.c', token_type: 'bearer', expires_in: 3600 },
        brings: { accessToken: 'a.b.c', refreshToken: 'a.b.c', expiresIn: 3600 },
      },
      'a refresh in a header': {
        status: 204,
        headers: { authorization: 'Bearer g.h.i' },
        brings: { accessToken: 'g.h.i', refreshToken: 'g.h.i', expiresIn: undefined },
      },
      'whatever is wrong with the token': {
        status: 401,
        body: { message: 'Unauthenticated.' },
        means: 'unknown',
        refuses: true,
      },
      // Its middleware challenges under a name of its own.
      'a token that is blacklisted': {
        status: 401,
        headers: { 'www-authenticate': 'jwt-auth' },
        body: { message: 'The token has been blacklisted' },
        means: 'unknown',
        refuses: true,
      },
      'a login that tells the scheme beside the token': {
        status: 200,
        body: { access_token: 'Bearer a.b.c' },
        brings: { accessToken: 'a.b.c', refreshToken: 'a.b.c', expiresIn: undefined },
      },
      'a failure of the server’s': {
        status: 500,
        body: { message: 'Server Error' },
        means: 'other',
        refuses: false,
      },
    },
  },
  {
    backend: bearer({
      name: 'Directus',
      login: { path: 'auth/login', members: { mode: 'json' } },
      refresh: { path: 'auth/refresh', members: { mode: 'json' } },
      logout: { path: 'auth/logout', send: 'body', tokens: 'refresh', members: { mode: 'json' } },
      accessTokenKey: 'data.access_token',
      refreshTokenKey: 'data.refresh_token',
      expiresInKey: 'data.expires',
      expiresInUnit: 'milliseconds',
      subject: (claims) => (claims as { id?: string }).id,
    }),
    credentials: email,
    login: spec('auth/login', { mode: 'json', ...email }),
    refresh: spec('auth/refresh', { mode: 'json', refresh_token: 'refresh-1' }),
    logout: { refresh: spec('auth/logout', { mode: 'json', refresh_token: 'refresh-1' }) },
    answers: {
      'a login or a refresh': {
        status: 200,
        body: { data: { access_token: 'a.b.c', refresh_token: 'r-2', expires: 900_000 } },
        brings: { accessToken: 'a.b.c', refreshToken: 'r-2', expiresIn: 900 },
      },
      'an expired access token': {
        status: 401,
        body: { errors: [{ message: 'Token expired.', extensions: { code: 'TOKEN_EXPIRED' } }] },
        means: 'expired',
      },
      'a token that is none of its own': {
        status: 403,
        body: { errors: [{ message: 'Invalid token.', extensions: { code: 'INVALID_TOKEN' } }] },
        means: 'invalid',
      },
      'a refresh token that is not taken': {
        status: 401,
        body: {
          errors: [{ message: 'Invalid user credentials.', extensions: { code: 'INVALID_CREDENTIALS' } }],
        },
        refuses: true,
      },
      'no right to it': {
        status: 403,
        body: { errors: [{ message: 'You don’t have permission.', extensions: { code: 'FORBIDDEN' } }] },
        means: 'other',
        refuses: false,
      },
      'too many requests': {
        status: 429,
        body: { errors: [{ message: 'Too many requests', extensions: { code: 'REQUESTS_EXCEEDED' } }] },
        means: 'other',
        refuses: false,
      },
    },
  },
  {
    backend: bearer({
      name: 'Strapi',
      login: { path: 'auth/local' },
      refresh: { path: 'auth/refresh' },
      logout: { path: 'auth/logout' },
      accessTokenKey: 'jwt',
      refreshTokenKey: 'refreshToken',
      subject: (claims) => (claims as { id?: number }).id,
    }),
    credentials: { identifier: 'alice', password: 'wonderland' },
    login: spec('auth/local', { identifier: 'alice', password: 'wonderland' }),
    refresh: spec('auth/refresh', { refreshToken: 'refresh-1' }),
    logout: { access: withBearer('auth/logout', 'access-1') },
    answers: {
      'a login': {
        status: 200,
        body: { jwt: 'a.b.c', refreshToken: 'd.e.f', user: { id: 7 } },
        brings: { accessToken: 'a.b.c', refreshToken: 'd.e.f', expiresIn: undefined },
      },
      'whatever is wrong with the access token': {
        status: 401,
        body: {
          data: null,
          error: {
            status: 401,
            name: 'UnauthorizedError',
            message: 'Missing or invalid credentials',
            details: {},
          },
        },
        means: 'unknown',
      },
      'a refresh token that is not taken': {
        status: 401,
        body: {
          data: null,
          error: { status: 401, name: 'UnauthorizedError', message: 'Invalid refresh token' },
        },
        refuses: true,
      },
      'a wrong password': {
        status: 400,
        body: {
          data: null,
          error: { status: 400, name: 'ValidationError', message: 'Invalid identifier or password' },
        },
        means: 'other',
        refuses: false,
        brings: undefined,
      },
      'no right to it': {
        status: 403,
        body: { data: null, error: { status: 403, name: 'ForbiddenError', message: 'Forbidden' } },
        means: 'other',
        refuses: false,
      },
    },
  },
  {
    backend: bearer({
      name: 'Supabase Auth',
      headers: { apikey: 'public-anon-key' },
      login: { path: 'auth/v1/token?grant_type=password' },
      refresh: { path: 'auth/v1/token?grant_type=refresh_token' },
      logout: { path: 'auth/v1/logout?scope=local' },
      signals: {
        session_not_found: 'revoked',
        session_expired: 'revoked',
        user_banned: 'account',
        PGRST301: 'invalid',
        PGRST303: 'expired',
      },
      refusals: [
        'refresh_token_not_found',
        'refresh_token_already_used',
        'session_not_found',
        'session_expired',
        'user_banned',
        'invalid_grant',
      ],
    }),
    credentials: email,
    login: spec('auth/v1/token?grant_type=password', email, { apikey: 'public-anon-key' }),
    refresh: spec(
      'auth/v1/token?grant_type=refresh_token',
      { refresh_token: 'refresh-1' },
      { apikey: 'public-anon-key' },
    ),
    logout: {
      access: {
        path: 'auth/v1/logout?scope=local',
        method: 'POST',
        headers: { apikey: 'public-anon-key', authorization: 'Bearer access-1', ...accept },
      },
    },
    answers: {
      'a login or a refresh': {
        status: 200,
        body: {
          access_token: 'a.b.c',
          token_type: 'bearer',
          expires_in: 3600,
          expires_at: 1_800_003_600,
          refresh_token: 'r_2',
          user: {},
        },
        brings: { accessToken: 'a.b.c', refreshToken: 'r_2', expiresIn: 3600 },
      },
      'an access token that is not good': {
        status: 403,
        body: {
          code: 403,
          error_code: 'bad_jwt',
          msg: 'invalid JWT: unable to parse or verify signature, token is expired',
        },
        means: 'invalid',
      },
      'a session that was ended elsewhere': {
        status: 403,
        body: { code: 'session_not_found', message: 'Session from session_id claim in JWT does not exist' },
        means: 'revoked',
      },
      'an expired access token, at PostgREST': {
        status: 401,
        headers: { 'www-authenticate': 'Bearer error="invalid_token", error_description="JWT expired"' },
        body: { code: 'PGRST303', details: null, hint: null, message: 'JWT expired' },
        means: 'invalid',
      },
      'a refresh token that nobody knows': {
        status: 400,
        body: { code: 'refresh_token_not_found', message: 'Invalid Refresh Token: Refresh Token Not Found' },
        refuses: true,
      },
      'a refresh token that came back': {
        status: 400,
        body: {
          code: 400,
          error_code: 'refresh_token_already_used',
          msg: 'Invalid Refresh Token: Already Used',
        },
        refuses: true,
      },
      'the same from an older version': {
        status: 400,
        body: { error: 'invalid_grant', error_description: 'Invalid Refresh Token: Refresh Token Not Found' },
        refuses: true,
      },
      'a body that it can’t read': {
        status: 400,
        body: { code: 'bad_json', message: 'Could not parse request body as JSON' },
        means: 'other',
        refuses: false,
      },
      'too many requests': {
        status: 429,
        body: { code: 'over_request_rate_limit', message: 'Request rate limit reached' },
        means: 'other',
        refuses: false,
      },
    },
  },
]
