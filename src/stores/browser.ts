/**
 * The session in IndexedDB: shared by all tabs and workers of an origin, and there after a reload. It knows
 * nothing of the protocol but this: a record may hold a claim, and the lock of that name is free once the one who
 * claims is gone.
 */
import { uniqueId } from '../platform.ts'
import type { Cell, LiveRecord, Notice, Store, StoreRecord, Tombstone } from '../types.ts'
import { createClaimLocks } from './claim-locks.ts'
import { createDatabase } from './database.ts'
import { createMark } from './mark.ts'
import { createWatchers, onServer } from './page.ts'
import { claimOf, createDecoder, FORMAT, isExpected, keyIn, noticeOf, type Written } from './record.ts'

/**
 * Options of {@link browserStore}.
 *
 * @example
 * ```ts
 * browserStore({ key: 'admin' })
 * ```
 */
export interface BrowserStoreOptions {
  /** Which session of this origin: two accounts at once are two clients with two keys. Default `session`. */
  key?: string | undefined
}

interface WrittenHere extends Written {
  /** The claim whose Web Lock was held when it was written. */
  readonly lock?: string | undefined
}

// How long whoever marks a logout has to see to it himself, in ms.
const A_MOMENT = 250

/**
 * A store in IndexedDB, shared by every tab and worker of the origin: one refresh for all of them, and a login or
 * logout in one is one in each. Also in a Worker, a SharedWorker and a Service Worker. Where IndexedDB is refused,
 * full or stuck, the session lives in memory, and `storeUnavailable` tells so. On a server it is empty.
 *
 * Like everything that JavaScript of the page can read, the tokens can be read by a script that was injected
 * (SECURITY.md says what that means for each store).
 *
 * @throws {TypeError} an `AuthError` of code `invalid_option` for a bad option
 * @example
 * ```ts
 * const auth = createAuth({ baseUrl: '/api/', backend: flaskJwt(), store: browserStore() })
 * ```
 */
export function browserStore(options?: BrowserStoreOptions): Store {
  const name = 'browserStore'
  const key = keyIn(name, options)
  if (typeof document === 'undefined' && typeof indexedDB === 'undefined') return onServer(name)

  const decode = createDecoder(name)
  const prefix = `stayfresh:${key}`
  const markName = `${prefix}:ended`
  const { watch, tell, wake, alone } = createWatchers(prefix)
  const locks = createClaimLocks(prefix)
  const mark = createMark(markName)
  const transact = createDatabase<WrittenHere>(key, decode, (first) => {
    // Those who went on without it look again: once, or a database that is always late would keep them looking. Who knows
    // only what is in memory is looked for by nobody else.
    if (first || spare) wake()
  })
  // Set once the database was read: from then on others may know of what this context holds.
  let reached = false
  // What only this context knows, while it can't be written.
  let spare: { readonly record: StoreRecord | null } | undefined
  // The session that `initial` made then, refreshed or not.
  let started: string | undefined
  // When the last logout was called then.
  let out = -Infinity

  const cell = (record: StoreRecord | null | undefined, problem?: unknown): Cell => ({
    record: record ?? null,
    now: Date.now(),
    problem,
  })

  /** Whether what only we know is newer than what the database knows. */
  const isNews = (mine: StoreRecord | null, found: WrittenHere | null): mine is StoreRecord => {
    if (!mine || !found) return mine !== null
    const { id, version, calledAt } = found.record
    // Of the same session an end is, and what nobody has ended or refreshed meanwhile.
    if (id === mine.id) return 'ended' in mine || !('ended' in found.record || version > mine.version)
    // What a client is only started with is for a store that is empty.
    return calledAt < mine.calledAt && mine.id !== started
  }

  async function read(): Promise<Cell> {
    const mine = spare
    let before: StoreRecord | undefined
    try {
      let found = await transact(
        mine &&
          ((found) => {
            if (!isNews(mine.record, found)) return undefined
            // Nobody has revoked what a logout has ended here without knowing of it.
            if (found && found.record.calledAt <= out) before = found.record
            return { format: FORMAT, record: mine.record }
          }),
      )
      reached = true
      locks.sort(claimOf(found?.record))
      if (mine && spare === mine) {
        spare = undefined
        if (found && found.record === mine.record) tell(noticeOf(found.record))
      }
      if (mark.endOf(found?.record)) {
        // Who has marked it may be there yet, and knows what to take back.
        await new Promise((resolve) => void setTimeout(resolve, A_MOMENT))
        found = await transact()
      }
      const over = mark.endOf(found?.record)
      if (over && found) {
        const ended = mark.unrevoked(found.record)
        const stands = await commit(over, found.record.revision)
        return stands.record === over ? { ...stands, ended } : stands
      }
      const stands = found && (await isGone(found)) ? await unclaim(found.record) : found?.record
      return { ...cell(stands), ended: before }
    } catch (error) {
      // What others may know of can't go on here alone: both would spend the same refresh token.
      if (reached && !spare) throw error
      spare ??= { record: null }
      return cell(spare.record, error)
    }
  }

  /** Whether who made a claim is gone: it can be told of one that was written under its lock. */
  async function isGone({ record, lock }: WrittenHere): Promise<boolean> {
    return lock !== undefined && lock === claimOf(record) && locks.isGone(lock)
  }

  /** Ends the claim of one who is gone, so that nobody waits it out. */
  async function unclaim(record: StoreRecord): Promise<StoreRecord | undefined> {
    const next = { ...record, claim: undefined, revision: uniqueId() }
    try {
      const stands = await transact((found) =>
        isExpected(found?.record, record.revision) ? { format: FORMAT, record: next } : undefined,
      )
      if (stands?.record === next) tell(noticeOf(next))
      return stands?.record
    } catch {
      return record
    }
  }

  async function commit(next: StoreRecord, expected: string | null): Promise<Cell> {
    if (!spare) {
      try {
        return await write(next, expected)
      } catch (error) {
        if (!reached) spare ??= { record: null }
        else if (!isFull(error) || !(await giveUp(next, expected))) throw error
      }
    }
    if (spare && isExpected(spare.record, expected)) {
      spare = { record: next }
      const { reason, ended } = next as Partial<LiveRecord & Tombstone>
      if (ended === 'logout') out = next.calledAt
      if (reason === 'initial') started = next.id
      // A logout, or a password, is the user's.
      else if (ended === 'logout' || reason === 'reauthenticated') started = undefined
      tell(noticeOf(next))
    }
    return read()
  }

  async function write(wanted: StoreRecord, expected: string | null): Promise<Cell> {
    // Ended meanwhile, by who is gone.
    const over = 'ended' in wanted ? undefined : mark.endOf(wanted)
    const next = over ?? wanted
    let ended: StoreRecord | undefined
    const by = claimOf(next)
    const taken = by !== undefined && !locks.holds(by) && (await locks.take(by))
    let done = false
    try {
      const stands = await transact((found) => {
        // Tried again: the first time may have been done after all.
        const written = found?.record.revision === next.revision
        done = written || isExpected(found?.record, expected)
        if (written || !done) return undefined
        if (over) ended = mark.unrevoked(found?.record)
        // A claim that stood there before keeps what was known of it.
        const lock = by === claimOf(found?.record) ? found?.lock : by && locks.holds(by) ? by : undefined
        return { format: FORMAT, record: next, lock }
      })
      reached = true
      locks.sort(claimOf(stands?.record))
      if (!done) return mark.endOf(stands?.record) ? read() : cell(stands?.record)
      mark.written(next)
    } finally {
      // If the claim was not made.
      if (by !== undefined) locks.drop(by)
    }
    tell(noticeOf(next))
    // Left meanwhile: others may have taken the claim for that of one who is gone.
    return taken && !locks.holds(by) ? read() : { ...cell(next), ended }
  }

  /**
   * Where there is no room, at least what stands there can be removed: a session that is over, or one that goes on
   * in the memory of this context, if there is no other that would lose it.
   */
  async function giveUp(next: StoreRecord, expected: string | null): Promise<boolean> {
    const over = 'ended' in next
    const goesOn = !over && (next.version > 1 || next.claim !== undefined) && (await alone())
    let old: StoreRecord | undefined
    let done = false
    await transact((found) => {
      done = isExpected(found?.record, expected) && (over || goesOn || found?.record.id !== next.id)
      old = found?.record
      return done ? null : undefined
    })
    if (!done) return false
    spare = { record: next }
    const ended = over ? next.ended : old?.id === next.id ? 'storage_cleared' : 'replaced'
    if (old) tell({ ...noticeOf(old), revision: next.revision, ended })
    return true
  }

  return {
    name,
    read,
    commit,
    end(id, calledAt, version) {
      const revision = mark.end(id, calledAt, version)
      // Workers have no localStorage, and a page that is left tells nobody later.
      if (id !== undefined) tell({ revision, id, version, calledAt, ended: 'logout' }, true)
    },
    watch(listener: (notice?: Notice) => void) {
      const unwatch = watch(listener)
      const marking = ({ key, newValue }: StorageEvent): void => {
        if (key === markName && newValue !== null) listener()
      }
      globalThis.addEventListener?.('storage', marking)
      return () => {
        unwatch()
        globalThis.removeEventListener?.('storage', marking)
      }
    },
    empty: 'ended',
  }
}

/** A `QuotaExceededError` is a `DOMException`, or of late a class of its own. */
function isFull(error: unknown): boolean {
  return (error as Error | null)?.name === 'QuotaExceededError'
}
