/**
 * The session and the ask for a password, as hooks. It needs `react` 18 or later beside it. Both are read from stores
 * that exist once for each `auth`, outside of React, so that no provider is needed and all components see the same. A
 * render sets nothing off, but for the first of all: with nobody subscribed yet it looks at `auth.session`, and may find
 * that a token is no longer fresh.
 *
 * @module stayfresh/react
 */
import { useEffect, useLayoutEffect, useSyncExternalStore } from 'react'
import type { Auth, AuthEvents, Flow, Session, StandardClaims } from './types.ts'

/** What a password dialog needs; `null` in its place while nothing is asked. */
export interface Reauth<Claims = StandardClaims, Credentials = unknown>
  extends Pick<
    AuthEvents<Claims>['reauthRequired'],
    'reason' | 'session' | 'acrValues' | 'maxAge' | 'signal'
  > {
  /** A `submit` is under way. */
  readonly pending: boolean
  /** What the last `submit` failed with: an `AuthError`, or what the flow threw. Gone with the next one. */
  readonly error: Error | undefined
  /**
   * `auth.reauthenticate`, which closes the ask if it goes well, and leaves it open, with `error`, if not. Never
   * rejects: it resolves with whether it went well. While one is under way a second gives the same promise; once
   * the ask is closed nothing is sent, and it is `false`.
   */
  readonly submit: (credentials: Credentials | Flow) => Promise<boolean>
  /** Gives up: each waiting request gets its own 401. What was submitted is not taken back. */
  readonly dismiss: () => void
}

/** What `useSession` needs of an `auth`. */
export type SessionSource<Claims> = Pick<Auth<Claims>, 'session' | 'subscribe'>

/**
 * The session, as `auth.session` has it: `null` with nobody signed in. `undefined` as long as that is not known:
 * until the store was read, and on a server, where no store of a browser is. A page that is hydrated therefore
 * begins with `undefined`, as the server's HTML did, and is rendered anew with the session right after. Let
 * `undefined` show a placeholder, and neither the login form nor what needs a user.
 *
 * @example
 * ```tsx
 * const session = useSession(auth)
 * if (session === undefined) return <Spinner />
 * if (session === null) return <Login />
 * return <p>Hello {session.subject}</p>
 * ```
 */
export function useSession<Claims>(auth: SessionSource<Claims>): Session<Claims> | null | undefined {
  const { subscribe, get } = sessionOf(auth)
  // A token whose time has run out is noticed by whoever looks. Here, because all are told of it.
  useEffect(() => void auth.session)
  return useSyncExternalStore(subscribe, get, () => undefined) as Session<Claims> | null | undefined
}

/**
 * The ask for a password that is open, or `null`. While a component that calls it is mounted, requests that need
 * the password wait for it; once none is any more, an ask that is open is dismissed. Several share one ask. It
 * closes by itself when it is moot: after a logout, a login, `reauthTimeout`, `auth.dispose()`, or with the password
 * given elsewhere.
 *
 * Its place is beside the router and outside of what suspends, so that it is there before the first request.
 *
 * @example
 * ```tsx
 * const ask = useReauth(auth)
 * return ask && <PasswordDialog key={ask.session.id} {...ask} />
 * ```
 */
export function useReauth<Claims, Credentials>(
  auth: Auth<Claims, Credentials>,
): Reauth<Claims, Credentials> | null {
  const { join, subscribe, get } = asksOf(auth)
  // Before the effects in which the components of the same commit begin to fetch.
  useEarlyEffect(() => join(1), [join])
  return useSyncExternalStore(subscribe, get, () => null) as Reauth<Claims, Credentials> | null
}

/**
 * Has requests wait for the password from now on, though no component with `useReauth` is mounted yet: for those that
 * begin before React does, in the loaders of a router. `reauthTimeout` is the bound, should none ever mount. On a
 * server it does nothing. Gives back what undoes it.
 *
 * @example
 * ```ts
 * export const auth = createAuth({ baseUrl: '/api/', backend: flaskJwt(), store: browserStore() })
 * holdReauth(auth)
 * ```
 */
export function holdReauth<Claims, Credentials>(auth: Auth<Claims, Credentials>): () => void {
  return isServer ? () => {} : asksOf(auth).join(0)
}

// React Native has a window, and no document.
const isServer = typeof window === 'undefined'
// React 18 warns of layout effects on a server.
const useEarlyEffect = isServer ? useEffect : useLayoutEffect

/** What `useSyncExternalStore` takes. */
interface Shown<T> {
  get(): T
  subscribe(listener: () => void): () => void
}

/** The same for all who ask for the same `auth`, as long as there is one. */
function perAuth<Of extends object, T>(make: (auth: Of) => T): (auth: object) => T {
  const made = new WeakMap<object, T>()
  return (auth) => {
    const known = made.get(auth) ?? make(auth as Of)
    made.set(auth, known)
    return known
  }
}

const sessionOf = perAuth((auth: SessionSource<unknown>): Shown<unknown> => {
  const listeners = new Set<() => void>()
  let latest: unknown
  let stop: (() => void) | undefined
  return {
    // Not `auth.session`, where it can be helped: it may find that the time of a token has run out, and would then
    // tell other components so while React renders.
    get: () => (stop ? latest : auth.session),
    subscribe(listener) {
      listeners.add(listener)
      stop ??= auth.subscribe((session) => {
        latest = session
        for (const tell of listeners) tell()
      })
      return () => {
        listeners.delete(listener)
        if (listeners.size) return
        stop?.()
        stop = undefined
      }
    },
  }
})

/** What was thrown, as an error: it may be anything, without a text even. */
function errorOf(thrown: unknown): Error {
  try {
    return thrown instanceof Error ? thrown : new Error(String(thrown), { cause: thrown })
  } catch {
    return new Error('unreadable', { cause: thrown })
  }
}

const asksOf = perAuth(
  (auth: Auth<unknown, unknown>): Shown<Reauth | null> & { join(dialog: 0 | 1): () => void } => {
    const listeners = new Set<() => void>()
    let shown: Reauth | null = null
    let taken: unknown
    let dialogs = 0

    function show(next: Reauth | null): void {
      shown = next
      for (const tell of listeners) tell()
    }

    function open(event: AuthEvents<unknown>['reauthRequired']): void {
      const { reason, session, acrValues, maxAge, signal } = event
      // Every component listens, and one of them takes it. A listener before us may have ended the session.
      if (taken === event || signal.aborted) return
      taken = event
      let close = (): void => {}
      const closed = new Promise<void>((resolve) => {
        close = resolve
      })
      event.waitUntil(closed)

      let over = false
      function dismiss(): void {
        if (over) return
        over = true
        for (const stop of stops) stop()
        show(null)
        close()
      }
      const stops = [
        // The password was given in another tab, or by other means than `submit`.
        auth.on('loggedIn', dismiss),
        auth.on('tokenRefreshed', ({ reason: by }) => {
          if (by === 'reauthenticated' || reason !== 'fresh_token_required') dismiss()
        }),
      ]
      signal.addEventListener('abort', dismiss)

      let running: Promise<boolean> | undefined
      async function attempt(credentials: unknown): Promise<boolean> {
        if (over) return false
        draw(true)
        try {
          await auth.reauthenticate(credentials)
          dismiss()
          return true
        } catch (error) {
          if (!over) draw(false, errorOf(error))
          return false
        }
      }
      const submit: Reauth['submit'] = (credentials) => {
        running ??= attempt(credentials).finally(() => {
          running = undefined
        })
        return running
      }
      const draw = (pending: boolean, error?: Error): void =>
        show({ reason, session, acrValues, maxAge, signal, pending, error, submit, dismiss })
      draw(false)
    }

    return {
      get: () => shown,
      subscribe(listener) {
        listeners.add(listener)
        return () => void listeners.delete(listener)
      },
      join(dialog) {
        dialogs += dialog
        const stop = auth.on('reauthRequired', open)
        return () => {
          stop()
          dialogs -= dialog
          // Not at once: StrictMode undoes effects only to run them again.
          queueMicrotask(() => {
            if (!dialogs) shown?.dismiss()
          })
        }
      },
    }
  },
)
