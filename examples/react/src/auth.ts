import { isHTTPError, isKyError } from 'ky'
import { createAuth, flaskJwt, isAuthError } from 'stayfresh'
import { browserStore } from 'stayfresh/browser'
import { createKy } from 'stayfresh/ky'

export const auth = createAuth({ baseUrl: '/api/', backend: flaskJwt(), store: browserStore() })
export const api = createKy(auth)

const AWAY = 'The server can not be reached. Please try again in a moment.'

/** What to tell a person of whatever went wrong. */
export function words(error: unknown): string {
  if (isAuthError(error, 'login_refused')) return error.serverMessage ?? 'That was not accepted.'
  if (isAuthError(error, 'login_unavailable') || isAuthError(error, 'refresh_unavailable')) {
    return AWAY
  }
  // The server's own: a dismissed dialog ends in the 401 of the request. ky's are for developers, with a URL.
  if (isHTTPError(error)) {
    const { msg = 'The server could not do that.' } = Object(error.data) as { msg?: string }
    return msg
  }
  if (isKyError(error)) return AWAY
  return error instanceof Error ? error.message : 'Something went wrong.'
}
