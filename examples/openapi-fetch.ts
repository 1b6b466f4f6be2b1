/**
 * openapi-fetch: typed paths over `auth.fetch`. In your project `paths` is what openapi-typescript made of your schema.
 */
import createClient from 'openapi-fetch'
import type { Auth, AuthRequestInit } from 'stayfresh'

interface Echo {
  sub: string | null
  method: string
  body: string
}

type Answer<T> = {
  200: { content: { 'application/json': T } }
  401: { content: { 'application/json': { msg: string } } }
}

export interface paths {
  '/whoami': { get: { responses: Answer<{ sub: string; fresh: boolean }> } }
  '/optional': { get: { responses: Answer<Echo> } }
  '/fresh': { delete: { responses: Answer<Echo> } }
  '/protected': {
    post: {
      requestBody: { content: { 'application/json': { name: string } } }
      responses: Answer<Echo>
    }
  }
}

export const createApi = (auth: Auth) => createClient<paths>({ baseUrl: auth.baseUrl, fetch: auth.fetch })

/**
 * What a single call is to have of `auth` or `replay`.
 *
 * @example
 * ```ts
 * const { data } = await api.DELETE('/fresh', given(auth, { auth: 'fresh' }))
 * const { data } = await api.POST('/protected', { body, ...given(auth, { replay: false }) })
 * ```
 */
export const given = (auth: Auth, options: Pick<AuthRequestInit, 'auth' | 'replay'>) => ({
  fetch: (request: Request) => auth.fetch(request, options),
})
