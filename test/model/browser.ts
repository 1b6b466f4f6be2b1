/**
 * What a browser has beside its pages: one cookie jar for all of them, `document.cookie`, and the global timers. The
 * cookies come and go when the network says so, whatever becomes of the page that asked.
 */

interface Cookie {
  readonly value: string
  /** HttpOnly: no page sees it. */
  readonly hidden: boolean
}

export interface Jar {
  /** The `Cookie` header of what leaves now. */
  header(): string
  /** What a page sees. */
  readonly visible: string
  get(name: string): string | undefined
  /** Takes the `Set-Cookie` headers of an answer; by whom it was asked for, for whoever reads a failure. */
  take(setCookies: readonly string[], by: string): void
  clear(names: readonly string[], by: string): void
  /** What happened to it. */
  readonly story: readonly { readonly seq: number; readonly at: number; readonly text: string }[]
}

export const ACCESS = 'access_token_cookie'
export const REFRESH = 'refresh_token_cookie'
export const CSRF_ACCESS = 'csrf_access_token'
export const CSRF_REFRESH = 'csrf_refresh_token'

export function createJar(seq: () => number, now: () => number): Jar {
  const cookies = new Map<string, Cookie>()
  const story: Jar['story'][number][] = []
  const tell = (text: string): void => void story.push({ seq: seq(), at: now(), text })
  const written = (shown: (cookie: Cookie) => boolean): string =>
    [...cookies]
      .filter(([, cookie]) => shown(cookie))
      .map(([name, { value }]) => `${name}=${value}`)
      .join('; ')
  return {
    header: () => written(() => true),
    get visible() {
      return written(({ hidden }) => !hidden)
    },
    get: (name) => cookies.get(name)?.value,
    take(setCookies, by) {
      if (!setCookies.length) return
      for (const one of setCookies) {
        const [pair = '', ...attributes] = one.split('; ')
        const at = pair.indexOf('=')
        const name = pair.slice(0, at)
        if (attributes.some((attribute) => /^Expires=Thu, 01 Jan 1970/.test(attribute))) cookies.delete(name)
        else cookies.set(name, { value: pair.slice(at + 1), hidden: attributes.includes('HttpOnly') })
      }
      tell(`${by} sets ${[...new Set(setCookies.map((one) => one.slice(0, one.indexOf('='))))].join(', ')}`)
    },
    clear(names, by) {
      for (const name of names) cookies.delete(name)
      tell(`${by} clears ${names.join(', ')}`)
    },
    story,
  }
}

/** Puts a page's globals in place, over virtual time; gives back what takes them away again. */
export function furnish(
  jar: Jar,
  base: string,
  timer: (callback: () => void, ms: number) => () => void,
): () => void {
  const { setTimeout: realSet, clearTimeout: realClear } = globalThis
  const realTimeout = AbortSignal.timeout
  const document = {
    baseURI: base,
    get cookie() {
      return jar.visible
    },
  }
  Object.defineProperty(globalThis, 'document', { configurable: true, value: document })
  // Node's are shared by all its threads, and keep their own time.
  Object.defineProperty(globalThis.navigator, 'locks', { configurable: true, value: undefined })
  globalThis.setTimeout = ((callback: () => void, ms: number) => ({ stop: timer(callback, ms) })) as never
  globalThis.clearTimeout = ((handle?: { stop?(): void }) => handle?.stop?.()) as never
  AbortSignal.timeout = (ms) => {
    const controller = new AbortController()
    timer(() => controller.abort(new DOMException('It took too long', 'TimeoutError')), ms)
    return controller.signal
  }
  return () => {
    Reflect.deleteProperty(globalThis, 'document')
    Reflect.deleteProperty(globalThis.navigator, 'locks')
    globalThis.setTimeout = realSet
    globalThis.clearTimeout = realClear
    AbortSignal.timeout = realTimeout
  }
}
