/** A client whose tokens are cookies in a jar, as a browser would keep them, and the server that it speaks to. */
import { CookieJar } from 'tough-cookie'
import { onTestFinished } from 'vitest'
import {
  type Auth,
  type AuthOptions,
  type Cell,
  createAuth,
  type FlaskJwtCookiesOptions,
  type FlowContext,
  flaskJwtCookies,
  memoryStore,
  type Store,
  type StoreRecord,
} from '../../src/index.ts'
import { type Backend, type BackendOptions, createBackend, type LogEntry } from '../../src/testing/index.ts'
import { door, type Fetch } from '../support.ts'

export const base = 'https://api.test/'
export const alice = { username: 'alice', password: 'wonderland' }
export const bob = { username: 'bob', password: 'builder' }

export interface CookieBench {
  auth: Auth
  backend: Backend
  jar: CookieJar
  store: Store
  /** Another page of the same browser: the same cookies, and with `store` the same store. */
  page(options?: PageOptions): Auth
  /** What is in the jar. */
  cookies(): Record<string, string>
  /** Who the server takes the jar for, or `null`. */
  who(): Promise<string | null>
  record(): StoreRecord | null
  /** `METHOD route status` of what came, oldest first. */
  came(): string[]
}

export interface PageOptions extends Partial<AuthOptions> {
  preset?: FlaskJwtCookiesOptions
  beneath?: (next: Fetch) => Fetch
}

export interface CookieBenchOptions extends PageOptions {
  server?: BackendOptions
  /** Who is signed in. Default alice; `false` nobody. */
  as?: typeof alice | false
}

/** The hook that a jar takes. */
export function hookOf(jar: CookieJar): NonNullable<FlaskJwtCookiesOptions['cookies']> {
  return {
    read: (url) => jar.getCookieStringSync(url),
    write(url, setCookies) {
      for (const one of setCookies) jar.setCookieSync(one, url)
    },
  }
}

export const line = ({ method, route, status }: LogEntry): string => `${method} ${route} ${status}`

/** The cookies that go out are those there are at that moment, as in a browser; not those of when it was asked for. */
function browserly(next: Fetch, jar: CookieJar): Fetch {
  return (input, init) => {
    const request = new Request(input, init)
    if (request.headers.has('cookie')) request.headers.set('cookie', jar.getCookieStringSync(request.url))
    return next(request)
  }
}

export async function cookieBench({
  server,
  as = alice,
  ...options
}: CookieBenchOptions = {}): Promise<CookieBench> {
  const backend = createBackend({ locations: ['cookies'], ...server })
  const jar = new CookieJar()
  const shared = options.store ?? memoryStore()
  const page = ({ preset, beneath = (next) => next, ...more }: PageOptions = {}): Auth => {
    const auth = createAuth({
      baseUrl: base,
      backend: flaskJwtCookies({ cookies: hookOf(jar), whoami: {}, ...preset }),
      fetch: beneath(browserly(backend.fetch, jar)),
      ...more,
    }) as Auth
    onTestFinished(() => void auth.dispose())
    return auth
  }
  const auth = page({ ...options, store: shared })
  if (as) {
    await auth.login(as)
    backend.clearLog()
  }
  return {
    auth,
    backend,
    jar,
    store: shared,
    page: (more) => page({ ...options, ...more }),
    cookies: () => Object.fromEntries(jar.getCookiesSync(base).map(({ key, value }) => [key, value])),
    async who() {
      const response = await backend.fetch(`${base}whoami`, {
        headers: { cookie: jar.getCookieStringSync(base) },
      })
      return response.ok ? ((await response.json()) as { sub: string }).sub : null
    },
    record: () => (shared.read() as { record: StoreRecord | null }).record,
    came: () => backend.log.map(line),
  }
}

/**
 * The first answer from a path is held up on its way back; with a `jar`, between browser and page: its cookies have
 * been taken by then.
 */
export function lateAnswer(path: string, jar?: CookieJar): ReturnType<typeof door> {
  const held = door(path)
  let count = 0
  return {
    ...held,
    beneath: (next) => {
      const hold = held.beneath(async () => new Response())
      return async (input, init) => {
        const url = input instanceof Request ? input.url : String(input)
        const response = await next(input, init)
        if (new URL(url).pathname !== path || count++) return response
        if (jar) {
          for (const one of response.headers.getSetCookie()) jar.setCookieSync(one, url)
          response.headers.delete('set-cookie')
        }
        await hold(url)
        return response
      }
    },
  }
}

/** Options where the page is at another origin than the cookies: answers tell it the values. */
export const told = { csrfInBody: true, csrfInCookies: false } as const
/** Options of server and client without CSRF protection. */
export const unprotected = [{ csrf: false }, { csrfProtect: false }] as const
/** Options of server and client for an access token in memory and a refresh token in a cookie. */
export const split = { locations: ['headers', 'cookies'], deliver: 'split' } as const
export const hybrid = { accessToken: 'memory', whoami: undefined } as const

export const post = { method: 'POST', body: 'a form' }

export const json = (body: object): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
})

/** A login of one step that the application makes by itself. */
export const flowOf =
  (who: object, path = 'login') =>
  ({ fetch }: FlowContext): Promise<Response> =>
    fetch(path, json(who))

/** Time enough for all that needs none. */
export async function settle(): Promise<void> {
  for (let turns = 0; turns < 30; turns++) await new Promise((resolve) => setImmediate(resolve))
}

/** A store that answers when it may. */
export function slowed(
  beneath: Store,
  { reads = true, watched = false } = {},
): { store: Store; slow(): void; fast(): void } {
  let open = (): void => {}
  let opened: Promise<void> | undefined
  return {
    slow() {
      opened = new Promise((resolve) => {
        open = resolve
      })
    },
    fast() {
      open()
      opened = undefined
    },
    store: {
      ...beneath,
      async read() {
        if (reads) await opened
        return beneath.read() as Cell
      },
      async commit(next, expected) {
        await opened
        return beneath.commit?.(next, expected) as Cell
      },
      watch: (listener) => (watched ? (beneath.watch?.(listener) as () => void) : () => {}),
    },
  }
}

/** Signs somebody in past the client: in a popup, say. */
export async function past({ backend, jar }: CookieBench, who: object, path = 'login'): Promise<void> {
  const response = await backend.fetch(`${base}${path}`, json(who))
  for (const one of response.headers.getSetCookie()) jar.setCookieSync(one, base)
  backend.clearLog()
}

/** Answers some paths itself. */
export const answering =
  (answers: Record<string, () => Response>) =>
  (next: typeof fetch): typeof fetch =>
  async (input, init) =>
    answers[new URL(new Request(input, init).url).pathname]?.() ?? next(input, init)
