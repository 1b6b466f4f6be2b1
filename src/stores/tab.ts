/**
 * The session in sessionStorage: of one tab, and there after a reload. A tab that is copied (`window.open`,
 * "duplicate") brings a copy of the storage: of the two, the one that was there first keeps the session.
 */
import { uniqueId } from '../platform.ts'
import type { Cell, Store, StoreRecord } from '../types.ts'
import { createWatchers, onServer } from './page.ts'
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
import { type Hold, holdTab } from './tab-hold.ts'

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
      hold = holdTab(item, found.tab, found.page === page)
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
      hold ??= holdTab(item, found?.tab ?? uniqueId(), true)
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
