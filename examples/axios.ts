/**
 * axios: through its fetch adapter. An interceptor of your own that attaches or refreshes tokens has to go, and axios'
 * `auth` option (Basic) stays unused.
 */
import axios from 'axios'
import type { Auth, AuthRequestInit } from 'stayfresh'

export const createApi = (auth: Auth) =>
  axios.create({ baseURL: auth.baseUrl, adapter: 'fetch', env: { fetch: auth.fetch } })

/**
 * What a single call is to have of `auth` or `replay`.
 *
 * @example
 * ```ts
 * await api.delete('fresh', given({ auth: 'fresh' }))
 * await api.post('upload', file, { ...given({ replay: false }), onUploadProgress })
 * ```
 */
export const given = (options: Pick<AuthRequestInit, 'auth' | 'replay'>) => ({ fetchOptions: options })
