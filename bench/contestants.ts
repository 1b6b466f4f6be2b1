/**
 * Who is measured: each as its own README tells to set it up, at the best that is documented, in the fewest lines that
 * keep the tokens in memory. `send` gives the answer's JSON, or throws for anything that is not a 2xx.
 */
import { Readable } from 'node:stream'
import { OAuth2Client, OAuth2Fetch } from '@badgateway/oauth2-client'
import { AuthClient } from '@supabase/auth-js'
import axios, { type AxiosInstance } from 'axios'
import { createAuthRefresh } from 'axios-auth-refresh'
import { applyAuthTokenInterceptor, setAuthTokens } from 'axios-jwt'
import ky, { type KyInstance } from 'ky'
import { configureRefreshFetch, fetchJSON } from 'refresh-fetch'
import { createAuth, flaskJwt } from 'stayfresh'
import { createKy } from 'stayfresh/ky'
import type { Place } from './server.ts'

export type Family = 'fetch' | 'ky' | 'axios'

export interface Client {
  send(input: string | Request, init?: RequestInit): Promise<unknown>
  stop?(): void
}

export interface Contestant {
  name: string
  /** What it is built upon, and measured against. */
  family: Family
  /** Bare: attaches the token it was given, and refreshes nothing. */
  bare?: boolean
  /** What is imported to use it. */
  imports: string[]
  make(place: Place): Client
}

type Fetch = (input: string | Request, init?: RequestInit) => Promise<Response>

const readingJson =
  (fetch: Fetch): Client['send'] =>
  async (input, init) => {
    const response = await fetch(input, init)
    if (!response.ok) throw new Error(`HTTP ${response.status}`)
    return response.json()
  }

const bearer = (token: string | undefined): string => `Bearer ${token}`

/** A stream is not kept for a retry, and may take its time. */
const throughKy =
  (api: KyInstance): Client['send'] =>
  (input, init) =>
    api(input, init?.body instanceof ReadableStream ? { ...init, retry: 0, timeout: false } : init).json()

const throughAxios =
  (api: AxiosInstance): Client['send'] =>
  async (url, { method = 'GET', body, headers } = {}) => {
    const streamed = body instanceof ReadableStream
    const { data } = await api.request({
      url: url as string,
      method,
      data: streamed ? Readable.fromWeb(body as never) : body,
      headers: headers as Record<string, string>,
      // Nor is it kept for a redirect: what axios's README says of `maxRedirects`.
      ...(streamed ? { maxRedirects: 0, maxBodyLength: Infinity } : undefined),
    })
    return data
  }

/** The exchange, where a README leaves it to the application. */
export const exchange = async (
  url: string,
  refreshToken: string,
): Promise<{ access: string; refresh: string }> => {
  const headers = { authorization: bearer(refreshToken) }
  const response = await fetch(`${url}refresh`, { method: 'POST', headers })
  if (!response.ok) throw new Error(`HTTP ${response.status}`)
  const { access_token, refresh_token } = await response.json()
  return { access: access_token, refresh: refresh_token }
}

/** A key-value storage in memory, for those that ask for one. */
const storage = (entries: Record<string, string> = {}) => ({
  get: async (key: string) => entries[key] ?? null,
  set: async (key: string, value: string) => {
    entries[key] = value
  },
  remove: async (key: string) => {
    delete entries[key]
  },
})

export const contestants: Contestant[] = [
  {
    name: 'fetch',
    family: 'fetch',
    bare: true,
    imports: [],
    make({ tokens }) {
      const authorization = bearer(tokens.accessToken)
      // A Request brings its own, put there by whoever made it.
      return {
        send: readingJson((input, init) =>
          typeof input === 'string'
            ? fetch(input, { ...init, headers: { ...init?.headers, authorization } })
            : fetch(input, init),
        ),
      }
    },
  },
  {
    name: 'stayfresh',
    family: 'fetch',
    imports: ["export { createAuth, flaskJwt } from 'stayfresh'"],
    make({ url, tokens }) {
      const auth = createAuth({ baseUrl: url, backend: flaskJwt(), initial: tokens })
      return { send: readingJson(auth.fetch), stop: () => auth.dispose() }
    },
  },
  {
    name: '@badgateway/oauth2-client',
    family: 'fetch',
    imports: ["export { OAuth2Client, OAuth2Fetch } from '@badgateway/oauth2-client'"],
    make({ url, tokens }) {
      const client = new OAuth2Client({ server: url, clientId: 'bench', tokenEndpoint: `${url}token` })
      // A session that begins comes from `getNewToken`, and gets a timer; one that is resumed was stored.
      const resumed = tokens.expiresAt <= Date.now()
      let fresh = resumed ? null : tokens
      const wrapper = new OAuth2Fetch({
        client,
        getStoredToken: () => (resumed ? tokens : null),
        getNewToken: () => {
          const given = fresh
          fresh = null
          return given
        },
      })
      return { send: readingJson((input, init) => wrapper.fetch(input, init)) }
    },
  },
  {
    name: 'refresh-fetch',
    family: 'fetch',
    imports: ["export { configureRefreshFetch, fetchJSON } from 'refresh-fetch'"],
    make({ url, tokens }) {
      let { accessToken: access, refreshToken: refresh } = tokens
      const fetchJSONWithToken = (input: string | Request, init?: RequestInit) =>
        fetchJSON(input, { ...init, headers: { ...init?.headers, authorization: bearer(access) } })
      const refreshFetch = configureRefreshFetch({
        fetch: fetchJSONWithToken,
        shouldRefreshToken: ({ response }) => response?.status === 401,
        refreshToken: async () => {
          ;({ access, refresh } = await exchange(url, refresh))
        },
      })
      return { send: async (input, init) => (await refreshFetch(input, init)).body }
    },
  },
  {
    name: '@supabase/auth-js',
    family: 'fetch',
    imports: ["export { AuthClient } from '@supabase/auth-js'"],
    make({ url, tokens }) {
      const session = {
        access_token: tokens.accessToken,
        refresh_token: tokens.refreshToken,
        expires_at: tokens.expiresAt / 1000,
        expires_in: Math.max(0, Math.round((tokens.expiresAt - Date.now()) / 1000)),
        token_type: 'bearer',
        user: { id: 'bench' },
      }
      const { get, set, remove } = storage({ session: JSON.stringify(session) })
      const auth = new AuthClient({
        url: url.slice(0, -1),
        storageKey: 'session',
        storage: { getItem: get, setItem: set, removeItem: remove },
      })
      const withSession: Fetch = async (input, init) => {
        const { data } = await auth.getSession()
        const headers = new Headers(init?.headers ?? (input as Request).headers)
        headers.set('authorization', bearer(data.session?.access_token))
        return fetch(input, { ...init, headers })
      }
      return { send: readingJson(withSession), stop: () => void auth.stopAutoRefresh() }
    },
  },
  {
    name: 'ky',
    family: 'ky',
    bare: true,
    imports: ["export { default } from 'ky'"],
    make({ tokens }) {
      const api = ky.extend({ headers: { authorization: bearer(tokens.accessToken) } })
      return { send: throughKy(api) }
    },
  },
  {
    name: 'stayfresh/ky',
    family: 'ky',
    imports: ["export { createAuth, flaskJwt } from 'stayfresh'", "export { createKy } from 'stayfresh/ky'"],
    make({ url, tokens }) {
      const auth = createAuth({ baseUrl: url, backend: flaskJwt(), initial: tokens })
      return { send: throughKy(createKy(auth)), stop: () => auth.dispose() }
    },
  },
  {
    name: "ky, its README's recipe",
    family: 'ky',
    imports: ["export { default } from 'ky'"],
    make({ url, tokens }) {
      let { accessToken: access, refreshToken: refresh } = tokens
      const api = ky.extend({
        hooks: {
          beforeRequest: [({ request }) => request.headers.set('authorization', bearer(access))],
          afterResponse: [
            async ({ request, response, retryCount }) => {
              if (response.status !== 401 || retryCount > 0) return undefined
              ;({ access, refresh } = await exchange(url, refresh))
              const headers = new Headers(request.headers)
              headers.set('authorization', bearer(access))
              const code = 'TOKEN_REFRESHED'
              return ky.retry({ request: new Request(request, { headers }), code, delay: 0 })
            },
          ],
        },
      })
      return { send: throughKy(api) }
    },
  },
  {
    name: 'axios',
    family: 'axios',
    bare: true,
    imports: ["export { default } from 'axios'"],
    make({ tokens }) {
      const api = axios.create({ proxy: false, headers: { authorization: bearer(tokens.accessToken) } })
      return { send: throughAxios(api) }
    },
  },
  {
    name: 'axios-auth-refresh',
    family: 'axios',
    imports: ["export { default } from 'axios'", "export { createAuthRefresh } from 'axios-auth-refresh'"],
    make({ url, tokens }) {
      let { accessToken: access, refreshToken: refresh } = tokens
      const api = axios.create({ proxy: false })
      api.interceptors.request.use((request) => {
        request.headers.Authorization = bearer(access)
        return request
      })
      createAuthRefresh(api, async (failed) => {
        ;({ access, refresh } = await exchange(url, refresh))
        failed.response.config.headers.Authorization = bearer(access)
      })
      return { send: throughAxios(api) }
    },
  },
  {
    name: 'axios-jwt',
    family: 'axios',
    imports: [
      "export { default } from 'axios'",
      "export { applyAuthTokenInterceptor, setAuthTokens } from 'axios-jwt'",
    ],
    make({ url, tokens }) {
      const api = axios.create({ proxy: false })
      const held = storage()
      applyAuthTokenInterceptor(api, {
        getStorage: () => held,
        requestRefresh: async (refreshToken) => {
          const { access, refresh } = await exchange(url, refreshToken)
          return { accessToken: access, refreshToken: refresh }
        },
      })
      void setAuthTokens({ accessToken: tokens.accessToken, refreshToken: tokens.refreshToken })
      return { send: throughAxios(api) }
    },
  },
]
