import { createAuth, flaskJwt, isAuthError } from 'stayfresh'
import { browserStore } from 'stayfresh/browser'
import { createKy } from 'stayfresh/ky'

export const auth = createAuth({ baseUrl: '/api/', backend: flaskJwt(), store: browserStore() })
export const api = createKy(auth)

/** What to tell a person of whatever went wrong. */
export function words(error: unknown): string {
  if (isAuthError(error, 'login_refused')) return error.serverMessage ?? 'That was not accepted.'
  if (isAuthError(error, 'login_unavailable') || isAuthError(error, 'refresh_unavailable')) {
    return 'The server can not be reached. Please try again in a moment.'
  }
  // ky's HTTPError has the server's answer: a dismissed dialog ends in the 401 of the request.
  const { data, message } = Object(error) as { data?: { msg?: string }; message?: string }
  return data?.msg ?? message ?? 'Something went wrong.'
}
