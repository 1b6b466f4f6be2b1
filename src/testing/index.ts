/**
 * A backend to test against. It needs `hono` and `jose` beside it. The MSW handlers over it are an entry of their own,
 * `stayfresh/testing/msw`, so that nobody needs MSW who does not use it.
 *
 * @module stayfresh/testing
 */

export { createBackend } from './backend.ts'
export { checksum } from './encoding.ts'
export { fakeTokens } from './fake-tokens.ts'
export { ConnectionDropped } from './faults.ts'
export type {
  ApiAnswer,
  ApiCall,
  ApiRoute,
  Backend,
  BackendOptions,
  BackendSettings,
  Claims,
  CookieSettings,
  Dialect,
  FakeTokens,
  FakeTokensOptions,
  Family,
  Fault,
  FaultAnswer,
  FaultHandle,
  FaultOptions,
  IssuedToken,
  Latency,
  LogEntry,
  PresentedToken,
  RefreshMode,
  RefusalReason,
  RouteName,
  SignedIn,
  TimelineOptions,
  TokenKind,
  TokenLocation,
  User,
} from './types.ts'
export { withCookies } from './with-cookies.ts'
