/**
 * The main entry. Left out on purpose: the rooms behind `createAuth`, and the platform they run on. Other
 * entries: `stayfresh/ky`, `stayfresh/testing`.
 */
export { createAuth } from './auth.ts'
export {
  type Endpoint,
  type FlaskJwtOptions,
  flaskJwt,
  type UsernamePassword,
} from './backends/flask-jwt.ts'
export { AuthError, type AuthErrorCode, type AuthErrorDetails, isAuthError } from './errors.ts'
export { memoryStore } from './stores/memory.ts'
export type {
  Answer,
  Auth,
  AuthEvents,
  AuthEventType,
  AuthOptions,
  AuthRequestInit,
  Backend,
  Cell,
  ChangeReason,
  Flow,
  FlowContext,
  HistoryEntry,
  LiveRecord,
  LogoutReason,
  MaybePromise,
  Notice,
  Origin,
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
