/**
 * Which page a tab's session belongs to. `window.open` and "duplicate" copy sessionStorage, and with it the name of the tab:
 * a page holds that name by a Web Lock, and whoever finds it held asks its holder over a channel whether both see the same
 * storage (docs/decisions/0013-a-copied-tab-is-signed-out.md). It knows no record.
 */
import { uniqueId } from '../platform.ts'
import { openChannel, webLocks } from './page.ts'

/** A tab's name that this page holds, or hopes to. */
export interface Hold {
  readonly tab: string
  /** `alone`: no page but this; `beside` another in the same tab, such as a frame; `copy`: of another tab. */
  readonly ours: Promise<'alone' | 'beside' | 'copy'>
  /** Whether what the page before has left was looked through. */
  tidy: boolean
  end(): void
}

// How long to wait for a page that neither answers nor goes, in ms: it is frozen, or stuck. Without Web Locks there
// is no telling it from one that is gone, and every reload waits.
const PATIENCE = 3000
const PATIENCE_WITHOUT_LOCKS = 250

/**
 * Holds a tab's name until the page is left.
 *
 * @param item of the session in sessionStorage, whose name begins that of the mark
 * @param known what stands under it was written by this page
 */
export function holdTab(item: string, tab: string, known: boolean): Hold {
  const over = new AbortController()
  const { signal } = over
  const lock = `stayfresh:tab:${tab}`
  const mark = `${item}?${uniqueId()}`
  const channel = openChannel(lock)
  const locks = webLocks()
  const end = (): void => over.abort()
  addEventListener('pagehide', end, { signal })

  const ours = new Promise<'alone' | 'beside' | 'copy'>((resolve, reject) => {
    let speaks = false
    // No room for a mark, so that nobody can be asked; whoever gets the lock needs no answer.
    let full: unknown
    const settle = (is: 'alone' | 'beside' | 'copy'): void => {
      clearTimeout(timer)
      if (!known) sessionStorage.removeItem(mark)
      speaks = is !== 'copy'
      resolve(is)
    }
    const waited = async (): Promise<void> => {
      const { held = [] } = (await locks?.query().catch(() => undefined)) ?? {}
      if (full) reject(full)
      else if (!locks) settle('alone')
      // Else it is free by now, and about to be ours.
      else if (held.some((one) => one.name === lock)) settle('copy')
    }
    const timer = setTimeout(() => void waited(), locks ? PATIENCE : PATIENCE_WITHOUT_LOCKS)
    signal.addEventListener('abort', () => {
      channel?.close()
      settle('beside')
    })
    if (channel) {
      channel.onmessage = ({ data }: MessageEvent) => {
        // It can be written to by others.
        const { asks, told, same } = Object(data) as { asks?: unknown; told?: unknown; same?: unknown }
        // Who sees the mark shares the storage; a copy of it was made before the mark was.
        if (typeof asks === 'string' && speaks)
          channel.postMessage({ told: asks, same: sessionStorage.getItem(asks) !== null })
        else if (told === mark) settle(same ? 'beside' : 'copy')
      }
    }
    if (known) settle('beside')
    else {
      try {
        sessionStorage.setItem(mark, '?')
        channel?.postMessage({ asks: mark })
      } catch (error) {
        full = error
      }
    }
    // In line for it even beside another: that one may go first.
    const holding = (): Promise<void> => {
      settle('alone')
      return new Promise((release) => signal.addEventListener('abort', () => release()))
    }
    // Chromium loses a request that it grants while the page is inside of `window.open`: asked once more then.
    const stand = (again: boolean): void => {
      locks?.request(lock, { signal }, holding).catch(() => {
        if (again && !signal.aborted) setTimeout(stand, 0, false)
      })
    }
    stand(true)
  })
  return { tab, ours, tidy: known, end }
}
