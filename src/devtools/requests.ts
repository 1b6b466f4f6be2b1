/**
 * The requests of a client as the platform saw them: resource timings (W3C Resource Timing) of `fetch`, which browsers
 * and undici keep. They tell a URL, a start, an end and a status; nothing of methods, headers or bodies, and so nothing of
 * tokens. What a request was is told by its path.
 */

/** A request that is over. Times are those of `real()`. */
export interface Seen {
  /** Without the query, and relative to the client's base where it lies beneath it. */
  readonly path: string
  readonly at: number
  readonly end: number
  /** `undefined` where none came, or the platform does not tell. */
  readonly status: number | undefined
  readonly kind: 'refresh' | 'sign-in' | 'call'
  /** The send of the same URL that got a 401 before, which this one most likely replays. */
  readonly replays: Seen | undefined
}

/** What {@link watchRequests} takes. */
export interface RequestOptions {
  /** Paths of the refresh. Default: `refresh` or `renew` in the last segment, or `token` as the whole of it. */
  readonly refresh?: RegExp | undefined
  /** Whose requests are meant. Default: those to the origin of the client's `baseUrl`. */
  readonly requests?: ((url: URL) => boolean) | undefined
}

const REFRESH = /(?:refresh|renew)[^/]*\/?$|(?:^|\/)token\/?$/i
const SIGN_IN = /(?:^|\/)(?:fresh-)?(?:log-?in|log-?out|sign-?in|sign-?out|auth|revoke|blacklist)\/?$/i
// How long a 401 waits for its replay, in ms: `reauthTimeout`'s default.
const HELD = 300_000

/**
 * Watches the requests to a client's origin, those before the call included where they are still kept.
 *
 * @param base The client's `baseUrl`; a function, for it may throw where there is no document.
 * @returns `flush` hands over what is known and not yet told; `end` ends it.
 */
export function watchRequests(
  base: () => string,
  told: (seen: Seen) => void,
  { refresh = REFRESH, requests }: RequestOptions = {},
): { flush(): void; end(): void } {
  const refused: Seen[] = []
  // With `g` or `y` a RegExp keeps its `lastIndex` from call to call, and would match every other path.
  const isRefresh = new RegExp(refresh, refresh.flags.replace(/[gy]/g, ''))

  // A relative base that nothing resolves can't have been called either; and nobody would catch its error here.
  function rootOf(): URL | undefined {
    try {
      return new URL(base())
    } catch {
      return undefined
    }
  }

  function take(entry: PerformanceResourceTiming): void {
    if (entry.initiatorType !== 'fetch') return
    const root = rootOf()
    if (!root) return
    const url = new URL(entry.name)
    if (!(requests ? requests(url) : url.origin === root.origin)) return
    // Neither queries nor fragments: secrets are put there.
    const beneath = url.origin === root.origin && url.pathname.startsWith(root.pathname)
    const path = beneath ? url.pathname.slice(root.pathname.length) : `${url.origin}${url.pathname}`
    const { timeOrigin } = performance
    const at = timeOrigin + entry.startTime
    const kind = isRefresh.test(path) ? 'refresh' : SIGN_IN.test(path) ? 'sign-in' : 'call'
    const before = refused.findIndex((one) => one.path === path && one.end <= at && at - one.end < HELD)
    const seen: Seen = {
      path,
      at,
      end: timeOrigin + entry.responseEnd,
      status: entry.responseStatus || undefined,
      kind,
      replays: kind === 'call' ? refused[before] : undefined,
    }
    if (seen.replays) refused.splice(before, 1)
    else if (kind === 'call' && seen.status === 401) refused.push(seen)
    if (refused.length > 100) refused.shift()
    told(seen)
  }

  const takeAll = (entries: readonly PerformanceEntry[]): void => {
    for (const entry of [...entries].sort((a, b) => a.startTime - b.startTime)) {
      take(entry as PerformanceResourceTiming)
    }
  }
  const observer = new PerformanceObserver((list) => takeAll(list.getEntries()))
  observer.observe({ type: 'resource', buffered: true })
  return {
    flush: () => takeAll(observer.takeRecords()),
    end: () => observer.disconnect(),
  }
}
