/**
 * The session in sessionStorage: of one tab, and there after a reload. A tab that is copied (`window.open`,
 * "duplicate") brings a copy of the storage: of the two, the one that was there first keeps the session.
 */
import { uniqueId } from '../platform.ts'
import type { Cell, Store, StoreRecord } from '../types.ts'
import { createWatchers, onServer, openChannel, webLocks } from './page.ts'
import {
  asNotice,
  claimOf,
  createDecoder,
  FORMAT,
  isExpected,
  keyIn,
  noticeOf,
  type Written,
} from './record.ts'

/**
 * Options of {@link tabStore}.
 *
 * @example
 * ```ts
 * tabStore({ key: 'admin' })
 * ```
 */
export interface TabStoreOptions {
  /** Which session of this tab: two accounts at once are two clients with two keys. Default `session`. */
  key?: string | undefined
}

interface WrittenHere extends Written {
  /** The tab that it belongs to: a name that is copied with it, but held by one page at a time. */
  readonly tab: string
  /** The page that wrote it. */
  readonly page: number
}

/** A tab's name that this page holds, or hopes to. */
interface Hold {
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
 * A store in sessionStorage: the session belongs to one tab, outlives a reload, and ends with the tab. A copy of
 * the tab starts signed out. Where sessionStorage is denied or full, the session lives in memory, and
 * `storeUnavailable` tells so. For pages only: on a server and in a worker it is empty.
 *
 * @throws {TypeError} an `AuthError` of code `invalid_option` for a bad option
 * @example
 * ```ts
 * const auth = createAuth({ baseUrl: '/api/', backend: flaskJwt(), store: tabStore() })
 * ```
 */
export function tabStore(options?: TabStoreOptions): Store {
  const name = 'tabStore'
  const key = keyIn(name, options)
  // Asked of the document: newer runtimes have a sessionStorage on the server, one for all users.
  if (typeof document === 'undefined') return onServer(name)

  const decode = createDecoder(name)
  const item = `stayfresh:${key}`
  // The same for every copy of this module in the page.
  const page = performance.timeOrigin
  let hold: Hold | undefined
  let spare: { readonly record: StoreRecord | null; readonly problem: unknown } | undefined
  const { watch } = createWatchers(undefined, letGo)
  // What a logout has replaced before it was known to be this tab's own.
  let replaced: StoreRecord | undefined
  // Who watches; `undefined`: nobody ever has.
  let watching: Set<object> | undefined

  // --- the storage ---------------------------------------------------------------------------------------

  function load(): WrittenHere | null {
    const text = sessionStorage.getItem(item)
    let value: unknown
    try {
      value = text && JSON.parse(text)
    } catch {
      value = {}
    }
    const found = decode<WrittenHere>(value || null)
    return typeof found?.tab === 'string' ? found : null
  }

  function save(tab: string, record: StoreRecord, by = page): void {
    try {
      sessionStorage.setItem(item, JSON.stringify({ format: FORMAT, tab, page: by, record }))
      spare = undefined
    } catch (problem) {
      spare = { record, problem }
      try {
        // Full: what stands there is older, and must not be found by the next page.
        sessionStorage.removeItem(item)
      } catch {
        // Denied: nothing stands there.
      }
    }
    // To all stores of this page: storage tells other frames alone.
    dispatchEvent(new CustomEvent(item, { detail: noticeOf(record) }))
  }

  // --- whose it is ---------------------------------------------------------------------------------------

  /** Holds a tab's name until the page is left. `known`: what stands under it was written by this page. */
  function take(tab: string, known: boolean): Hold {
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

  function letGo(): void {
    hold?.end()
    hold = undefined
  }

  /** Who watches no more may still finish an exchange: the tab's name is held for that, and not until the page is left. */
  function settled(cell: Cell): Cell {
    if (watching?.size === 0) letGo()
    return cell
  }

  /** What stands in the storage, once it is known to be this tab's own. */
  async function find(): Promise<WrittenHere | null> {
    const found = load()
    if (!found) return null
    if (hold?.tab !== found.tab) {
      letGo()
      hold = take(found.tab, found.page === page)
    }
    const mine = hold
    const ours = await mine.ours
    const stands = load()
    if (stands?.tab !== mine.tab) return find()
    if (ours === 'copy') {
      sessionStorage.removeItem(item)
      letGo()
      return null
    }
    // An exchange that the page before has left unfinished: nobody is to wait for it.
    const left = ours === 'alone' && !mine.tidy && stands.page !== page && claimOf(stands.record)
    mine.tidy = true
    if (left) save(mine.tab, { ...stands.record, claim: undefined, revision: uniqueId() })
    return load()
  }

  // --- the cell ------------------------------------------------------------------------------------------

  const cell = (record: StoreRecord | null | undefined): Cell => ({
    record: (spare ? spare.record : record) ?? null,
    now: Date.now(),
    problem: spare?.problem,
  })

  async function look(): Promise<Cell> {
    if (spare) return cell(null)
    try {
      const found = await find()
      const ended = hold && replaced
      replaced = undefined
      return { ...cell(found?.record), ended }
    } catch (problem) {
      spare ??= { record: null, problem }
      return cell(null)
    }
  }

  return {
    name,
    read: async () => settled(await look()),
    async commit(next, expected) {
      await look()
      // Compared and written in one go.
      const found = spare ? null : load()
      const stands = spare ? spare.record : found?.record
      if (!isExpected(stands, expected)) return settled(cell(stands))
      hold ??= take(found?.tab ?? uniqueId(), true)
      save(hold.tab, next)
      return settled(cell(next))
    },
    end(id, calledAt, upTo) {
      const found = spare ? null : load()
      if (!found || 'ended' in found.record) return undefined
      const { record } = found
      if (id === undefined ? record.calledAt >= calledAt : record.id !== id) return undefined
      // Written at once: as the page is left nobody gets as far as `commit`.
      const { version } = record
      const over: StoreRecord = { id: record.id, version, calledAt, ended: 'logout', revision: uniqueId() }
      save(found.tab, over, found.page)
      if (id !== undefined) return record
      // Perhaps a copy's: then its tokens are another tab's.
      if (record.version > upTo) replaced = record
      return undefined
    },
    watch(listener) {
      const unwatch = watch(listener)
      const told = ({ detail }: CustomEventInit): void => listener(asNotice(detail))
      addEventListener(item, told)
      // From a frame of the same tab.
      const heard = ({ key }: StorageEvent): void => {
        if (key === item) listener()
      }
      addEventListener('storage', heard)
      watching = (watching ?? new Set()).add(heard)
      return () => {
        watching?.delete(heard)
        unwatch()
        removeEventListener(item, told)
        removeEventListener('storage', heard)
      }
    },
    empty: 'ended',
  }
}
