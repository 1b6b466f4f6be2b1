/**
 * Who is measured: each as its own README tells to set it up, at the best that is documented, in the fewest lines that
 * keep the tokens in memory. `send` gives the answer's JSON, or throws for anything that is not a 2xx.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { OAuth2Client, OAuth2Fetch } from '@badgateway/oauth2-client'
import { AuthClient } from '@supabase/auth-js'
import axios, { type AxiosError, type AxiosInstance } from 'axios'
import { type AxiosAuthRefreshOptions, createAuthRefresh } from 'axios-auth-refresh'
import { applyAuthTokenInterceptor, clearAuthTokens, setAuthTokens } from 'axios-jwt'
import ky, { type KyInstance } from 'ky'
import { configureRefreshFetch, fetchJSON } from 'refresh-fetch'
import { type Auth, createAuth, flaskJwt, memoryStore } from 'stayfresh'
import { createKy } from 'stayfresh/ky'
import { fileStore } from 'stayfresh/node'
import type { Place, Tokens } from './server.ts'

export type Family = 'fetch' | 'ky' | 'axios'

export interface Client {
  send(input: string | Request, init?: RequestInit): Promise<unknown>
  stop?(): void
  /** Somebody signs in with these, and signs out: as the README says; missing where it knows neither. */
  signIn?(tokens: Tokens): unknown
  signOut?(): unknown
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
  async (url, { method = 'GET', body, headers, signal } = {}) => {
    const streamed = body instanceof ReadableStream
    const { data } = await api.request({
      url: url as string,
      method,
      data: streamed ? Readable.fromWeb(body as never) : body,
      headers: headers as Record<string, string>,
      ...(signal ? { signal } : undefined),
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

/** What `localStorage` is to an application: in memory, or for tabs that share it in a directory. */
function storage(directory?: string): Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> {
  if (!directory) {
    const entries = new Map<string, string>()
    return {
      getItem: (key) => entries.get(key) ?? null,
      setItem: (key, value) => void entries.set(key, value),
      removeItem: (key) => void entries.delete(key),
    }
  }
  mkdirSync(directory, { recursive: true })
  const path = (key: string): string => join(directory, encodeURIComponent(key))
  return {
    getItem: (key) => {
      try {
        return readFileSync(path(key), 'utf8')
      } catch {
        return null
      }
    },
    setItem: (key, value) => writeFileSync(path(key), value),
    removeItem: (key) => rmSync(path(key), { force: true }),
  }
}

/** The tokens, where a README leaves it to the application to keep them. */
function keep({ url, tokens, shared }: Place) {
  const kept = storage(shared)
  const save = (access: string, refresh: string): void => {
    kept.setItem('access', access)
    kept.setItem('refresh', refresh)
  }
  if (kept.getItem('access') === null) save(tokens.accessToken, tokens.refreshToken)
  return {
    headers: (): { authorization?: string } => {
      const access = kept.getItem('access')
      return access ? { authorization: bearer(access) } : {}
    },
    refresh: async (): Promise<void> => {
      const { access, refresh } = await exchange(url, kept.getItem('refresh') ?? '')
      save(access, refresh)
    },
    signIn: ({ accessToken, refreshToken }: Tokens): void => save(accessToken, refreshToken),
    signOut: (): void => {
      kept.removeItem('access')
      kept.removeItem('refresh')
    },
  }
}

function createOurs({ url, tokens, shared, onLoginWanted }: Place): Auth {
  const store = shared ? fileStore(join(shared, 'session')) : memoryStore()
  const auth = createAuth({ baseUrl: url, backend: flaskJwt(), store, initial: tokens }) as Auth
  if (onLoginWanted) {
    auth.on('reauthRequired', onLoginWanted)
    auth.on('loggedOut', onLoginWanted)
  }
  return auth
}

const ours = (auth: Auth): Omit<Client, 'send'> => ({
  stop: () => auth.dispose(),
  signIn: (tokens) => auth.setTokens(tokens),
  signOut: () => auth.logout(),
})

/** What a server says of a token that can be made good, for those whose README has the application look. */
const EXPIRED = 'Token has expired'

const axiosAuthRefresh = (name: string, options: AxiosAuthRefreshOptions = {}): Contestant => ({
  name,
  family: 'axios',
  imports: ["export { default } from 'axios'", "export { createAuthRefresh } from 'axios-auth-refresh'"],
  make(place) {
    const { headers, refresh, signIn, signOut } = keep(place)
    const api = axios.create({ proxy: false })
    api.interceptors.request.use((request) => {
      request.headers.set(headers())
      return request
    })
    const shouldRefresh = ({ response }: AxiosError) =>
      response?.status === 401 && (response.data as { msg?: string }).msg === EXPIRED
    createAuthRefresh(
      api,
      async (failed) => {
        await refresh()
        failed.response.config.headers.set(headers())
      },
      { shouldRefresh, ...options },
    )
    return { send: throughAxios(api), signIn, signOut }
  },
})

// Against its README's recommendation, but it does better so where many fail at once.
const notDeduplicating = axiosAuthRefresh('axios-auth-refresh, not deduplicating', {
  deduplicateRefresh: false,
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
    make(place) {
      const auth = createOurs(place)
      return { send: readingJson(auth.fetch), ...ours(auth) }
    },
  },
  {
    name: '@badgateway/oauth2-client',
    family: 'fetch',
    imports: ["export { OAuth2Client, OAuth2Fetch } from '@badgateway/oauth2-client'"],
    make({ url, tokens, shared, onLoginWanted }) {
      const client = new OAuth2Client({ server: url, clientId: 'bench', tokenEndpoint: `${url}token` })
      // A session that begins comes from `getNewToken`, and gets a timer; one that is resumed was stored.
      const resumed = tokens.expiresAt <= Date.now()
      let fresh = resumed ? null : tokens
      const kept = storage(shared)
      if (resumed && kept.getItem('token') === null) kept.setItem('token', JSON.stringify(tokens))
      const wrapper = new OAuth2Fetch({
        client,
        getStoredToken: () => JSON.parse(kept.getItem('token') ?? 'null'),
        storeToken: (token) => kept.setItem('token', JSON.stringify(token)),
        getNewToken: () => {
          const given = fresh
          fresh = null
          if (!given) onLoginWanted?.()
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
    make(place) {
      const { headers, refresh, signIn, signOut } = keep(place)
      const fetchJSONWithToken = (input: string | Request, init?: RequestInit) =>
        fetchJSON(input, { ...init, headers: { ...init?.headers, ...headers() } })
      const refreshFetch = configureRefreshFetch({
        fetch: fetchJSONWithToken,
        shouldRefreshToken: ({ response, body }) => response?.status === 401 && body?.msg === EXPIRED,
        refreshToken: refresh,
      })
      return { send: async (input, init) => (await refreshFetch(input, init)).body, signIn, signOut }
    },
  },
  {
    name: '@supabase/auth-js',
    family: 'fetch',
    imports: ["export { AuthClient } from '@supabase/auth-js'"],
    make({ url, tokens, shared, onLoginWanted }) {
      const session = {
        access_token: tokens.accessToken,
        refresh_token: tokens.refreshToken,
        expires_at: tokens.expiresAt / 1000,
        expires_in: Math.max(0, Math.round((tokens.expiresAt - Date.now()) / 1000)),
        token_type: 'bearer',
        user: { id: 'bench' },
      }
      const kept = storage(shared)
      if (kept.getItem('session') === null) kept.setItem('session', JSON.stringify(session))
      const auth = new AuthClient({ url: url.slice(0, -1), storageKey: 'session', storage: kept })
      if (onLoginWanted) auth.onAuthStateChange((event) => event === 'SIGNED_OUT' && onLoginWanted())
      const withSession: Fetch = async (input, init) => {
        const { data } = await auth.getSession()
        const headers = new Headers(init?.headers ?? (input as Request).headers)
        if (data.session) headers.set('authorization', bearer(data.session.access_token))
        return fetch(input, { ...init, headers })
      }
      return {
        send: readingJson(withSession),
        stop: () => void auth.stopAutoRefresh(),
        signIn: ({ accessToken, refreshToken }) =>
          auth.setSession({ access_token: accessToken, refresh_token: refreshToken }),
        signOut: () => auth.signOut(),
      }
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
    make(place) {
      const auth = createOurs(place)
      return { send: throughKy(createKy(auth)), ...ours(auth) }
    },
  },
  {
    name: "ky, its README's recipe",
    family: 'ky',
    imports: ["export { default } from 'ky'"],
    make(place) {
      const { headers: kept, refresh, signIn, signOut } = keep(place)
      const authorize = (headers: Headers): void => {
        const { authorization } = kept()
        if (authorization) headers.set('authorization', authorization)
      }
      const api = ky.extend({
        hooks: {
          beforeRequest: [({ request }) => authorize(request.headers)],
          afterResponse: [
            async ({ request, response, retryCount }) => {
              if (response.status !== 401 || retryCount > 0) return undefined
              await refresh()
              const headers = new Headers(request.headers)
              authorize(headers)
              const code = 'TOKEN_REFRESHED'
              return ky.retry({ request: new Request(request, { headers }), code, delay: 0 })
            },
          ],
        },
      })
      return { send: throughKy(api), signIn, signOut }
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
  axiosAuthRefresh('axios-auth-refresh'),
  {
    name: 'axios-jwt',
    family: 'axios',
    imports: [
      "export { default } from 'axios'",
      "export { applyAuthTokenInterceptor, setAuthTokens } from 'axios-jwt'",
    ],
    make({ url, tokens, shared }) {
      const api = axios.create({ proxy: false })
      const kept = storage(shared)
      applyAuthTokenInterceptor(api, {
        getStorage: () => ({
          get: async (key) => kept.getItem(key),
          set: async (key, value) => kept.setItem(key, value),
          remove: async (key) => kept.removeItem(key),
        }),
        requestRefresh: async (refreshToken) => {
          const { access, refresh } = await exchange(url, refreshToken)
          return { accessToken: access, refreshToken: refresh }
        },
      })
      const signIn = ({ accessToken, refreshToken }: Tokens) => setAuthTokens({ accessToken, refreshToken })
      if (!shared || !readdirSync(shared).length) void signIn(tokens)
      return { send: throughAxios(api), signIn, signOut: clearAuthTokens }
    },
  },
]

/** And a peer's other configuration, where that is the better one. */
export const configurations: Contestant[] = contestants.flatMap((one) =>
  one.name === 'axios-auth-refresh' ? [one, notDeduplicating] : [one],
)
