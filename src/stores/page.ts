/**
 * What the stores of a browser share: who is told of a change, here and in other contexts; a page that is left,
 * frozen, and back. No token ever goes through a channel.
 */
import { uniqueId } from '../platform.ts'
import type { Notice, Store } from '../types.ts'
import { asNotice } from './record.ts'

type Listener = (notice?: Notice) => void

/** What goes through a channel beside notices: who else is there? */
interface Roll {
  readonly asks?: string
  readonly here?: string
}

// How long the others have to say that they are there, in ms.
const A_MOMENT = 500

export interface Watchers {
  watch(listener: Listener): () => void
  /** Tells all who watch, in other contexts too; `others`: there alone. */
  tell(notice: Notice, others?: boolean): void
  /** Has all who watch here read the store. */
  wake(): void
  /** Whether no other context that watches answers in a moment. One that is frozen does not. */
  alone(): Promise<boolean>
}

/**
 * @param channel the name under which other contexts are told; without it they are not
 * @param left called when the page is left. It may come back from the back/forward cache.
 */
export function createWatchers(channel?: string, left?: () => void): Watchers {
  const listeners = new Set<{ listener: Listener }>()
  let open: BroadcastChannel | undefined
  let away = false

  function hear(): void {
    if (open || !channel || !listeners.size) return
    open = openChannel(channel)
    if (open) open.onmessage = heard
  }

  function heard({ data }: MessageEvent<Roll | Notice>): void {
    const { asks, here } = Object(data) as Roll
    if (asks !== undefined) open?.postMessage({ here: asks } satisfies Roll)
    else if (here === undefined) each(asNotice(data))
  }

  function each(notice?: Notice): void {
    for (const { listener } of [...listeners]) listener(notice)
  }

  function lived({ type }: Event): void {
    if (type === 'pagehide') {
      away = true
      // A message to a page in the back/forward cache throws it out of there.
      open?.close()
      open = undefined
      left?.()
    } else if (type === 'freeze') {
      away = true
    } else if (away && (type !== 'visibilitychange' || document.visibilityState === 'visible')) {
      away = false
      hear()
      // What was missed is read before anybody else in this page gets to run, its own listeners included.
      each()
    }
  }

  return {
    watch(listener) {
      const entry = { listener }
      listeners.add(entry)
      hear()
      if (listeners.size === 1) live(lived, true)
      return () => {
        listeners.delete(entry)
        if (listeners.size) return
        live(lived, false)
        open?.close()
        open = undefined
        left?.()
      }
    },
    tell(notice, others) {
      if (!others) each(notice)
      if (!channel) return
      const through = open ?? openChannel(channel)
      through?.postMessage(notice)
      if (through !== open) through?.close()
    },
    wake: each,
    alone: () =>
      new Promise((resolve) => {
        const through = channel === undefined ? undefined : (open ?? openChannel(channel))
        if (!through) return resolve(false)
        const asks = uniqueId()
        const over = (is: boolean): void => {
          clearTimeout(timer)
          through.removeEventListener('message', answered)
          if (through !== open) through.close()
          resolve(is)
        }
        const timer = setTimeout(over, A_MOMENT, true)
        const answered = ({ data }: MessageEvent<Roll>): void => {
          if (Object(data).here === asks) over(false)
        }
        through.addEventListener('message', answered)
        through.postMessage({ asks } satisfies Roll)
      }),
  }
}

/** In the order in which a page sees them. Captured at the window, to be the first who is told. */
function live(listener: (event: Event) => void, on: boolean): void {
  if (typeof document === 'undefined') return
  for (const type of ['pagehide', 'freeze', 'resume', 'visibilitychange', 'pageshow']) {
    if (on) addEventListener(type, listener, true)
    else removeEventListener(type, listener, true)
  }
}

/** Where storage is denied, channels may be too. */
export function openChannel(name: string): BroadcastChannel | undefined {
  try {
    const channel = new BroadcastChannel(name)
    // In Node it would keep the process alive, of a test with a document.
    ;(channel as { unref?(): void }).unref?.()
    return channel
  } catch {
    return undefined
  }
}

/** Web Locks, where there are any: in secure contexts. */
export function webLocks(): LockManager | undefined {
  return (globalThis.navigator as Navigator | undefined)?.locks as LockManager | undefined
}

/** Those that answer now: none does in a page that is rendered ahead, until it is shown. */
export function readyLocks(): LockManager | undefined {
  const { prerendering } = Object(globalThis.document) as { prerendering?: boolean }
  return prerendering ? undefined : webLocks()
}

/** On a server: empty and read-only, so that a module-level `auth` leaks nothing between users. */
export const onServer = (name: string): Store => ({
  name,
  read: () => ({ record: null, now: Date.now() }),
  empty: 'ended',
})
