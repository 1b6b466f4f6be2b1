/**
 * The public types, as an application meets them: what they accept, what they refuse, and what they know. Each
 * `@ts-expect-error` is enforced by `tsc -p .`; nothing below `types()` is ever run.
 */
import ky, { type KyInstance } from 'ky'
import type { MouseEventHandler } from 'react'
import { describe, expect, expectTypeOf, test } from 'vitest'
import {
  type Answer,
  type Auth,
  AuthError,
  type AuthErrorCode,
  type AuthErrorDetails,
  type AuthEvents,
  type AuthEventType,
  type AuthOptions,
  type AuthRequestInit,
  type Backend,
  type Cell,
  type ChangeReason,
  createAuth,
  type Endpoint,
  type FlaskJwtOptions,
  type Flow,
  type FlowContext,
  flaskJwt,
  isAuthError,
  type LiveRecord,
  type LogoutReason,
  memoryStore,
  type Notice,
  type Origin,
  type ReauthReason,
  type RefreshFailure,
  type RequestSpec,
  type Session,
  type Signal,
  type StandardClaims,
  type Store,
  type StoredToken,
  type StoreRecord,
  type Tokens,
  type Tombstone,
  type UsernamePassword,
} from '../src/index.ts'
import { createKy } from '../src/ky.ts'

/** A test of types alone: `check` is compiled, and not run. */
function types(title: string, check: (auth: Auth) => unknown): void {
  test(title, () => expect(check).toBeTypeOf('function'))
}

interface Claims {
  sub: string
  role: 'admin' | 'user'
  csrf: string
}
interface Credentials {
  email: string
  code: number
}

const baseUrl = 'https://api.test/'

describe('the options', () => {
  types('take what they say', () => {
    createAuth({ baseUrl, backend: flaskJwt() })
    createAuth({ baseUrl: new URL(baseUrl), backend: flaskJwt() })
    createAuth({
      baseUrl,
      backend: flaskJwt(),
      store: memoryStore(),
      initial: { refreshToken: 'abc' },
      origins: ['https://files.test'] as const,
      refreshAhead: false,
      refreshTimeout: 8_000,
      refreshLimit: { exchanges: 5, interval: 30_000 },
      reauthTimeout: 300_000,
      fetch: globalThis.fetch,
      allowInsecure: true,
    })
    createAuth({ baseUrl, backend: flaskJwt(), fetch: async () => new Response() })
  })

  types('refuse what is wrong', () => {
    // @ts-expect-error baseUrl is required
    createAuth({ backend: flaskJwt() })
    // @ts-expect-error backend is required
    createAuth({ baseUrl })
    // @ts-expect-error flaskJwt has to be called
    createAuth({ baseUrl, backend: flaskJwt })
    // @ts-expect-error there is no such option
    createAuth({ baseUrl, backend: flaskJwt(), baseURL: baseUrl })
    // @ts-expect-error a URL
    createAuth({ baseUrl: 5, backend: flaskJwt() })
    // @ts-expect-error milliseconds
    createAuth({ baseUrl, backend: flaskJwt(), refreshAhead: '60s' })
    // @ts-expect-error only false switches it off
    createAuth({ baseUrl, backend: flaskJwt(), refreshAhead: true })
    // @ts-expect-error milliseconds
    createAuth({ baseUrl, backend: flaskJwt(), refreshTimeout: false })
    // @ts-expect-error both members
    createAuth({ baseUrl, backend: flaskJwt(), refreshLimit: { exchanges: 5 } })
    // @ts-expect-error a list
    createAuth({ baseUrl, backend: flaskJwt(), origins: 'https://files.test' })
    // @ts-expect-error tokens, not a token
    createAuth({ baseUrl, backend: flaskJwt(), initial: 'abc' })
    // @ts-expect-error a store has a read()
    createAuth({ baseUrl, backend: flaskJwt(), store: {} })
    // @ts-expect-error a fetch answers with a Response
    createAuth({ baseUrl, backend: flaskJwt(), fetch: async () => 'hello' })
    // @ts-expect-error true or false
    createAuth({ baseUrl, backend: flaskJwt(), allowInsecure: 'yes' })
  })

  types('of flaskJwt take and refuse, too', () => {
    flaskJwt({ login: { path: 'signin', method: 'PUT' }, reauth: { path: 'fresh-login' }, refresh: {} })
    flaskJwt({ logout: false, messageKey: 'message', signals: { gone: 'revoked' }, revoked: 'refresh' })
    flaskJwt({ logout: { method: 'POST', tokens: 'access' }, refreshToken: 'single-use' })
    // @ts-expect-error an endpoint
    flaskJwt({ login: 'signin' })
    // @ts-expect-error a signal that there is
    flaskJwt({ signals: { gone: 'away' } })
    // @ts-expect-error one of two
    flaskJwt({ refreshToken: 'rotating' })
    // @ts-expect-error only false
    flaskJwt({ logout: true })
    // @ts-expect-error there is no such option
    flaskJwt({ path: 'login' })
    expectTypeOf(flaskJwt<Claims>)
      .parameter(0)
      .toEqualTypeOf<FlaskJwtOptions<Claims> | undefined>()
    flaskJwt<Claims>({ subject: (claims) => claims.role })
    // @ts-expect-error no such claim
    flaskJwt<Claims>({ subject: (claims) => claims.email })
  })
})

describe('claims and credentials', () => {
  const made = (): Auth<Claims, Credentials> =>
    createAuth({ baseUrl, backend: flaskJwt<Claims, Credentials>() })

  types('of the backend flow into auth', () => {
    expectTypeOf(createAuth({ baseUrl, backend: flaskJwt<Claims, Credentials>() })).toEqualTypeOf<
      Auth<Claims, Credentials>
    >()
    expectTypeOf(createAuth({ baseUrl, backend: flaskJwt() })).toEqualTypeOf<
      Auth<StandardClaims, UsernamePassword>
    >()
    expectTypeOf(createAuth({ baseUrl, backend: flaskJwt<Claims>() })).toEqualTypeOf<
      Auth<Claims, UsernamePassword>
    >()
  })

  types('flow into login and reauthenticate', () => {
    const auth = made()
    const { login } = auth
    expectTypeOf(login).parameter(0).toEqualTypeOf<Credentials | Flow>()
    expectTypeOf(auth.reauthenticate).parameter(0).toEqualTypeOf<Credentials | Flow>()
    auth.login({ email: 'a@b.test', code: 5 })
    // @ts-expect-error a member is missing
    auth.login({ email: 'a@b.test' })
    // @ts-expect-error those of another server
    auth.login({ username: 'alice', password: 'wonderland' })
    // @ts-expect-error none
    auth.login()
    // @ts-expect-error a member of another type
    auth.reauthenticate({ email: 'a@b.test', code: '5' })
  })

  types('flow into the session, and csrf does not', () => {
    const auth = made()
    expectTypeOf(auth.session).toEqualTypeOf<Session<Claims> | null | undefined>()
    expectTypeOf(auth.session?.claims.role).toEqualTypeOf<'admin' | 'user' | undefined>()
    expectTypeOf<Session<Claims>['claims']>().toEqualTypeOf<
      Readonly<{ sub?: string; role?: 'admin' | 'user' }>
    >()
    expectTypeOf(auth.login).returns.resolves.toEqualTypeOf<Session<Claims>>()
    expectTypeOf(auth.reauthenticate).returns.resolves.toEqualTypeOf<Session<Claims>>()
    expectTypeOf(auth.setTokens).returns.resolves.toEqualTypeOf<Session<Claims>>()
    expectTypeOf(auth.refresh).returns.resolves.toEqualTypeOf<Session<Claims> | null>()
    // @ts-expect-error no such claim
    auth.session?.claims.email
    // @ts-expect-error never in a snapshot
    auth.session?.claims.csrf
  })

  types('flow into what listeners are given', () => {
    const auth = made()
    auth.on('loggedIn', ({ session }) => expectTypeOf(session).toEqualTypeOf<Session<Claims>>())
    auth.on('reauthRequired', ({ session }) => expectTypeOf(session).toEqualTypeOf<Session<Claims>>())
    auth.subscribe((session) => expectTypeOf(session).toEqualTypeOf<Session<Claims> | null | undefined>())
  })

  types('of a backend of one’s own are inferred', () => {
    const backend = {
      name: 'own',
      login: ({ pin }: { pin: string }) => ({ path: 'login', body: pin }),
      refresh: () => ({ path: 'refresh' }),
      tokens: ({ body }) => (typeof body === 'string' ? { accessToken: body } : undefined),
      classify: ({ status }) => (status === 401 ? 'expired' : 'other'),
      refused: ({ status }) => status === 403,
    } satisfies Backend<Claims, { pin: string }> as Backend<Claims, { pin: string }>
    const auth = createAuth({ baseUrl, backend })
    auth.login({ pin: '1234' })
    // @ts-expect-error its credentials are others
    auth.login({ username: 'alice', password: 'wonderland' })
    const wrong: Backend = {
      ...backend,
      login: () => ({ path: 'login' }),
      subject: () => 'alice',
      // @ts-expect-error no such signal
      classify: () => 'nope',
    }
    return wrong
  })
})

describe('fetch', () => {
  types('is a fetch', (auth) => {
    expectTypeOf(auth.fetch).toExtend<typeof globalThis.fetch>()
    expectTypeOf(auth.fetch).returns.toEqualTypeOf<Promise<Response>>()
    expectTypeOf<RequestInit>().toExtend<AuthRequestInit>()
    expectTypeOf<Parameters<Auth['fetch']>[0]>().toEqualTypeOf<string | URL | Request>()
  })

  types('takes auth and replay, and refuses what they are not', (auth) => {
    auth.fetch('items', { auth: false })
    auth.fetch('items', { auth: 'optional' })
    auth.fetch('items', { auth: 'fresh', replay: false, method: 'DELETE' })
    auth.fetch('items', { auth: undefined, replay: undefined })
    // @ts-expect-error no such value
    auth.fetch('items', { auth: 'nope' })
    // @ts-expect-error leave it out
    auth.fetch('items', { auth: true })
    // @ts-expect-error true or false
    auth.fetch('items', { replay: 'once' })
    // @ts-expect-error no such member
    auth.fetch('items', { fresh: true })
    // @ts-expect-error an input
    auth.fetch(5)
  })
})

describe('ky', () => {
  types('has auth and replay among its options, and refuses what they are not', (auth) => {
    const api = createKy(auth)
    expectTypeOf(api).toEqualTypeOf<KyInstance>()
    api.get('items', { auth: false })
    api.get('items', { auth: 'optional' })
    api.delete('items', { auth: 'fresh', replay: false, json: {} })
    api.extend({ auth: 'optional' })
    // @ts-expect-error no such value
    api.get('items', { auth: 'nope' })
    // @ts-expect-error leave it out
    api.get('items', { auth: true })
    // @ts-expect-error true or false
    api.post('items', { replay: 1 })
    // @ts-expect-error no such value
    api.extend({ auth: 'nope' })
  })

  types('takes any auth, and a ky as its base', () => {
    createKy(createAuth({ baseUrl, backend: flaskJwt<Claims, Credentials>() }))
    createKy(createAuth({ baseUrl, backend: flaskJwt() }), ky.create({ retry: 0 }))
    // @ts-expect-error an auth
    createKy({ fetch: globalThis.fetch })
    // @ts-expect-error options are not a ky
    createKy(createAuth({ baseUrl, backend: flaskJwt() }), { retry: 0 })
  })
})

describe('errors', () => {
  const error = undefined as unknown

  types('are narrowed by their code', () => {
    if (isAuthError(error, 'refresh_unavailable')) {
      expectTypeOf(error.retryAt).toEqualTypeOf<number>()
      expectTypeOf(error.code).toEqualTypeOf<'refresh_unavailable'>()
      expectTypeOf(error.name).toEqualTypeOf<'AuthError'>()
      expectTypeOf(error).toExtend<TypeError>()
      // @ts-expect-error that of another code
      error.serverMessage
    }
    if (isAuthError(error, 'login_refused')) {
      expectTypeOf(error.status).toEqualTypeOf<number>()
      expectTypeOf(error.serverMessage).toEqualTypeOf<string | undefined>()
      expectTypeOf(error.response).toEqualTypeOf<Response>()
    }
    if (isAuthError(error, 'login_incomplete')) expectTypeOf(error.response).toEqualTypeOf<Response>()
    if (isAuthError(error, 'login_unavailable')) {
      expectTypeOf(error.status).toEqualTypeOf<number | undefined>()
      expectTypeOf(error.response).toEqualTypeOf<Response | undefined>()
    }
    if (isAuthError(error, 'invalid_option')) expectTypeOf(error.option).toEqualTypeOf<string>()
    if (isAuthError(error, 'invalid_token')) expectTypeOf(error.field).toEqualTypeOf<string>()
    // @ts-expect-error no such code
    isAuthError(error, 'nope')
  })

  types('without a code are a union, told apart by it', () => {
    if (!isAuthError(error)) return
    expectTypeOf(error).toEqualTypeOf<AuthError>()
    expectTypeOf(error.code).toEqualTypeOf<AuthErrorCode>()
    // @ts-expect-error not every code has it
    error.retryAt
    if (error.code === 'refresh_unavailable') expectTypeOf(error.retryAt).toEqualTypeOf<number>()
    switch (error.code) {
      case 'login_refused':
        expectTypeOf(error.serverMessage).toEqualTypeOf<string | undefined>()
        break
      case 'invalid_token':
        expectTypeOf(error.field).toEqualTypeOf<string>()
    }
    // @ts-expect-error not to be written to
    error.code = 'disposed'
  })

  types('can be made, for a backend or a store of one’s own', () => {
    expectTypeOf(new AuthError('refresh_unavailable', 'Later', { retryAt: 5 })).toEqualTypeOf<
      AuthError<'refresh_unavailable'>
    >()
    new AuthError('disposed', 'Gone', {}, new Error('why'))
    new AuthError('disposed', 'Gone')
    // @ts-expect-error its details are missing
    new AuthError('refresh_unavailable', 'Later')
    // @ts-expect-error its details are missing
    new AuthError('refresh_unavailable', 'Later', {})
    // @ts-expect-error no such code
    new AuthError('nope', 'No', {})
  })

  types('have the codes that are documented', () => {
    expectTypeOf<AuthErrorCode>().toEqualTypeOf<
      | 'invalid_option'
      | 'invalid_input'
      | 'invalid_token'
      | 'login_refused'
      | 'login_incomplete'
      | 'login_unavailable'
      | 'subject_mismatch'
      | 'not_signed_in'
      | 'refresh_unavailable'
      | 'session_changed'
      | 'store_read_only'
      | 'disposed'
    >()
    expectTypeOf<keyof AuthErrorDetails>().toEqualTypeOf<AuthErrorCode>()
  })
})

describe('events', () => {
  types('are known by name', (auth) => {
    expectTypeOf<AuthEventType>().toEqualTypeOf<keyof AuthEvents>()
    auth.on('loggedIn', (event) => {
      expectTypeOf(event.reason).toEqualTypeOf<ChangeReason>()
      expectTypeOf(event.origin).toEqualTypeOf<Origin>()
    })
    auth.on('tokenRefreshed', (event) => expectTypeOf(event.session).toEqualTypeOf<Session>())
    auth.on('refreshFailed', (event) => {
      expectTypeOf(event.reason).toEqualTypeOf<RefreshFailure>()
      expectTypeOf(event.retryAt).toEqualTypeOf<number>()
      expectTypeOf(event.status).toEqualTypeOf<number | undefined>()
      // @ts-expect-error that of another event
      event.session
    })
    auth.on('reauthRequired', (event) => {
      expectTypeOf(event.reason).toEqualTypeOf<ReauthReason>()
      expectTypeOf(event.signal).toEqualTypeOf<AbortSignal>()
      expectTypeOf(event.waitUntil).parameter(0).toEqualTypeOf<PromiseLike<unknown>>()
      // @ts-expect-error a promise
      event.waitUntil(5)
      // @ts-expect-error not to be written to
      event.reason = 'session_expired'
    })
    auth.on('loggedOut', (event) => {
      expectTypeOf(event.reason).toEqualTypeOf<LogoutReason>()
      expectTypeOf(event.subject).toEqualTypeOf<string | undefined>()
    })
    auth.on('clockSkew', (event) => expectTypeOf(event.skew).toEqualTypeOf<number>())
    // @ts-expect-error no such event
    auth.on('nope', () => {})
    // @ts-expect-error a listener
    auth.on('loggedIn', 5)
  })

  types('take listeners that look at nothing, are async, or want less', (auth) => {
    auth.on('loggedIn', () => {})
    auth.on('loggedIn', async () => 5)
    auth.on('loggedIn', (event: { reason: string }) => event.reason)
    // @ts-expect-error more than there is
    auth.on('loggedIn', (event: { reason: string; more: number }) => event.more)
    expectTypeOf(auth.on('loggedIn', () => {})).toEqualTypeOf<() => void>()
  })
})

describe('auth', () => {
  types('has what the design says', (auth) => {
    expectTypeOf(auth.getAccessToken).returns.toEqualTypeOf<Promise<string | null>>()
    expectTypeOf(auth.logout).returns.toEqualTypeOf<Promise<void>>()
    expectTypeOf(auth.ready).toEqualTypeOf<Promise<void>>()
    expectTypeOf(auth.baseUrl).toEqualTypeOf<string>()
    expectTypeOf(auth.dispose).returns.toEqualTypeOf<Promise<void>>()
    expectTypeOf(auth).toExtend<Disposable>()
    auth.getAccessToken({ minValidity: 5_000, rejected: 'abc' })
    auth.logout({ revoke: false })
    // @ts-expect-error milliseconds
    auth.getAccessToken({ minValidity: '5s' })
    // @ts-expect-error no such option
    auth.logout({ everywhere: true })
    // @ts-expect-error an immutable snapshot
    auth.session = null
    // @ts-expect-error an immutable snapshot
    if (auth.session) auth.session.version = 5
    // @ts-expect-error an immutable snapshot
    if (auth.session) auth.session.claims.sub = 'bob'
  })

  types('has a logout that listens to a button, in the DOM and in React', (auth) => {
    expectTypeOf(auth.logout).toExtend<MouseEventHandler<HTMLButtonElement>>()
    expectTypeOf(auth.logout).toExtend<NonNullable<HTMLElement['onclick']>>()
    document.addEventListener('click', auth.logout)
    // @ts-expect-error a string is neither options nor an event
    auth.logout('click')
  })

  types('fits the store contract of Svelte', (auth) => {
    interface Readable<T> {
      subscribe(run: (value: T) => void): () => void
    }
    expectTypeOf(auth).toExtend<Readable<Session | null | undefined>>()
  })

  types('takes tokens with or without their parts', (auth) => {
    auth.setTokens({ accessToken: 'a', refreshToken: 'b', expiresIn: 900 })
    auth.setTokens({ refreshToken: 'b' })
    auth.setTokens({ accessToken: 'a', refreshToken: null })
    // @ts-expect-error the names on the wire
    auth.setTokens({ access_token: 'a' })
    // @ts-expect-error seconds
    auth.setTokens({ accessToken: 'a', expiresIn: '900' })
  })

  types('takes flows', () => {
    const auth = createAuth({ baseUrl, backend: flaskJwt() })
    auth.login(({ fetch }) => fetch('login', { method: 'POST' }))
    auth.login(async ({ fetch, signal }) => {
      expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
      const response = await fetch('login', { signal })
      return { accessToken: await response.text() }
    })
    auth.reauthenticate(() => ({ accessToken: 'a' }))
    // @ts-expect-error a Response or tokens
    auth.login(() => 'abc')
    // @ts-expect-error nothing comes back
    auth.login(async () => {})
  })
})

describe('stores', () => {
  types('are read, committed to and watched', () => {
    expectTypeOf(memoryStore()).toEqualTypeOf<Store>()
    const readOnly: Store = { name: 'mine', read: () => ({ record: null, now: 5 }) }
    const whole: Store = {
      name: 'mine',
      empty: 'ended',
      read: async () => ({ record: null, now: 5 }),
      commit(next, expected) {
        expectTypeOf(next).toEqualTypeOf<StoreRecord>()
        expectTypeOf(expected).toEqualTypeOf<string | null>()
        return { record: next, now: 5 }
      },
      watch(listener) {
        expectTypeOf(listener).parameter(0).toEqualTypeOf<Notice | undefined>()
        return () => {}
      },
    }
    // @ts-expect-error the store's own time
    const timeless: Store = { name: 'mine', read: () => ({ record: null }) }
    return [readOnly, whole, timeless]
  })

  types('tell a live record from a tombstone', () => {
    const record = undefined as unknown as StoreRecord
    if ('ended' in record) expectTypeOf(record).toEqualTypeOf<Tombstone>()
    else expectTypeOf(record).toEqualTypeOf<LiveRecord>()
  })
})

describe('no public type', () => {
  type IsAny<T> = 0 extends 1 & T ? true : false
  /** What the platform declares is not ours. */
  type Platform = Response | Request | Headers | URL | AbortSignal | RequestInit | Error | Promise<never>
  /** The paths to every `any` in a type, its members, parameters and results; to a depth. */
  type Anys<T, Path extends string = '', Depth extends 1[] = []> =
    IsAny<T> extends true
      ? `${Path}: any`
      : Depth['length'] extends 7
        ? never
        : T extends Platform | string | number | boolean | bigint | symbol | null | undefined
          ? never
          : T extends PromiseLike<infer V>
            ? Anys<V, `${Path}~`, [...Depth, 1]>
            : T extends (...parameters: infer P) => infer R
              ? Anys<P[number], `${Path}()`, [...Depth, 1]> | Anys<R, `${Path}=>`, [...Depth, 1]>
              : T extends readonly (infer V)[]
                ? Anys<V, `${Path}[]`, [...Depth, 1]>
                : T extends object
                  ? {
                      [K in keyof T]-?: Anys<T[K], `${Path}.${K extends string ? K : '?'}`, [...Depth, 1]>
                    }[keyof T]
                  : never

  types('holds an any', () => {
    expectTypeOf<Anys<Auth>>().toEqualTypeOf<never>()
    expectTypeOf<Anys<Auth<Claims, Credentials>>>().toEqualTypeOf<never>()
    expectTypeOf<Anys<AuthOptions>>().toEqualTypeOf<never>()
    expectTypeOf<Anys<Omit<AuthRequestInit, keyof RequestInit>>>().toEqualTypeOf<never>()
    expectTypeOf<Anys<AuthEvents>>().toEqualTypeOf<never>()
    expectTypeOf<Anys<AuthErrorDetails>>().toEqualTypeOf<never>()
    expectTypeOf<Anys<Omit<AuthError, keyof Error>>>().toEqualTypeOf<never>()
    expectTypeOf<Anys<Backend>>().toEqualTypeOf<never>()
    expectTypeOf<Anys<Store>>().toEqualTypeOf<never>()
    expectTypeOf<Anys<FlaskJwtOptions>>().toEqualTypeOf<never>()
    expectTypeOf<
      Anys<[Answer, Cell, Endpoint, Flow, FlowContext, LiveRecord, Notice]>
    >().toEqualTypeOf<never>()
    expectTypeOf<Anys<[RequestSpec, Session, Signal, StandardClaims, StoredToken]>>().toEqualTypeOf<never>()
    expectTypeOf<Anys<[StoreRecord, Tokens, Tombstone, UsernamePassword]>>().toEqualTypeOf<never>()
    expectTypeOf<Anys<typeof createAuth<Claims, Credentials>>>().toEqualTypeOf<never>()
    expectTypeOf<Anys<typeof flaskJwt<Claims, Credentials>>>().toEqualTypeOf<never>()
    expectTypeOf<Anys<typeof isAuthError>>().toEqualTypeOf<never>()
    expectTypeOf<Anys<typeof memoryStore>>().toEqualTypeOf<never>()
    expectTypeOf<Anys<Parameters<typeof createKy>[0]>>().toEqualTypeOf<never>()
  })

  types('would hide one from the look', () => {
    // biome-ignore lint/suspicious/noExplicitAny: what is looked for
    type Hidden = any
    expectTypeOf<Anys<{ a: { b(c: Hidden): void } }>>().toEqualTypeOf<'.a.b(): any'>()
    expectTypeOf<Anys<() => Promise<{ a?: Hidden[] }>>>().toEqualTypeOf<'=>~.a[]: any'>()
  })
})
