/** Time, timers and randomness: all that the rooms take from the world, in one place that a test can own. */

export interface Platform {
  /** Wall clock, ms since the epoch. It may be wrong, and it may jump. */
  now(): number
  /** Monotonic clock, ms. It never jumps, but may stand still while the machine sleeps. */
  monotonic(): number
  /** Calls back after `ms`. Gives back what ends it. `idle`: nobody awaits it, so it keeps no process alive. */
  timer(callback: () => void, ms: number, idle?: boolean): () => void
  random(): number
  id(): string
}

/** The longest delay of a timer, in ms: longer ones overflow a signed 32-bit integer and fire at once. */
export const MAX_DELAY: number = 2 ** 31 - 1

/** A name that nobody else has. randomUUID exists in secure contexts only. */
export const uniqueId = (): string => crypto.getRandomValues(new Uint32Array(4)).join('')

export const platform: Platform = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  timer(callback, ms, idle) {
    const timer = setTimeout(callback, Math.max(0, Math.min(ms, MAX_DELAY)))
    if (idle) (timer as { unref?(): void }).unref?.()
    return () => clearTimeout(timer)
  },
  random: () => Math.random(),
  id: uniqueId,
}

/** How a request goes by caches. Cloudflare's fetch takes no `reload`, and its older ones no such member at all. */
export function cached(cache: RequestCache): { cache?: RequestCache } {
  return globalThis.navigator?.userAgent === 'Cloudflare-Workers' ? {} : { cache }
}

/** How much time has passed since a moment: the larger of both clocks, for neither alone sees a sleep and a jump. */
export interface Stopwatch {
  (): number
  /** What has passed beyond doubt: by the monotonic one, whatever the wall clock was set to meanwhile. */
  least(): number
}

export function stopwatch(on: Platform): Stopwatch {
  const wall = on.now()
  const monotonic = on.monotonic()
  const least = (): number => on.monotonic() - monotonic
  return Object.assign(() => Math.max(on.now() - wall, least()), { least })
}

/** Resolves after `ms`, or sooner: by what `early` is given. `idle`: as of a timer. */
export function sleep(
  on: Platform,
  ms: number,
  idle?: boolean,
  early?: (wake: () => void) => void,
): Promise<void> {
  return new Promise((resolve) => {
    const stop = on.timer(resolve, ms, idle)
    early?.(() => {
      stop()
      resolve()
    })
  })
}

// What came while nothing ran is read within this, in ms.
const CATCH_UP = 250

/**
 * `promise`, or a rejection with `late()` after `ms`. `once`: for what can't be asked for again, such as the answer to a
 * refresh. It may have come while this context was frozen or busy, and timers go first.
 */
export function within<T>(
  on: Platform,
  promise: PromiseLike<T>,
  ms: number,
  late: () => unknown,
  once = false,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const elapsed = stopwatch(on)
    const over = (): void => reject(late())
    let stop = on.timer(() => {
      if (once && elapsed() > ms + 50) stop = on.timer(over, CATCH_UP)
      else over()
    }, ms)
    promise.then(
      (value) => {
        stop()
        resolve(value)
      },
      (error) => {
        stop()
        reject(error)
      },
    )
  })
}
