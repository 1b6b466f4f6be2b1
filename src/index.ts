/**
 * The main entry: the client, how servers speak, the store in memory, and every type. Left out on purpose: the rooms
 * behind `createAuth`, and the platform they run on.
 *
 * @module stayfresh
 */
export { createAuth } from './auth.ts'
export {
  type BearerOptions,
  bearer,
  type EndpointWithToken,
  type JsonEndpoint,
  type RefreshEndpoint,
} from './backends/bearer.ts'
export type { CookieHook } from './backends/cookie-values.ts'
export {
  type Endpoint,
  type FlaskJwtOptions,
  flaskJwt,
  type UsernamePassword,
} from './backends/flask-jwt.ts'
export {
  type CsrfOptions,
  type FlaskJwtCookiesOptions,
  flaskJwtCookies,
} from './backends/flask-jwt-cookies.ts'
export { type OAuth2Options, oauth2, type TokenRequest } from './backends/oauth2.ts'
export { djRestAuth, type SimpleJwtOptions, simpleJwt } from './backends/simple-jwt.ts'
export { cookieRoom } from './cookies.ts'
export { AuthError, type AuthErrorCode, type AuthErrorDetails, isAuthError } from './errors.ts'
export { memoryStore } from './stores/memory.ts'
export type {
  Answer,
  Attachment,
  Auth,
  AuthEvents,
  AuthEventType,
  AuthOptions,
  AuthRequestInit,
  Backend,
  Cell,
  ChangeReason,
  Finding,
  Flow,
  FlowContext,
  HistoryEntry,
  LiveRecord,
  LogoutReason,
  MaybePromise,
  Notice,
  Origin,
  Outgoing,
  ReauthReason,
  RefreshFailure,
  RequestSpec,
  Session,
  Signal,
  StandardClaims,
  Store,
  StoredToken,
  StoreRecord,
  Tokens,
  Tombstone,
} from './types.ts'
