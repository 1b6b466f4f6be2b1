/** A client whose tokens are cookies in a jar, as a browser would keep them, and the server that it speaks to. */
import { CookieJar } from 'tough-cookie'
import { onTestFinished } from 'vitest'
import {
  type Auth,
  type AuthOptions,
  createAuth,
  type FlaskJwtCookiesOptions,
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
