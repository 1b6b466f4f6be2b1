/**
 * The session in IndexedDB: shared by all tabs and workers of an origin, and there after a reload. It knows
 * nothing of the protocol but this: a record may hold a claim, and the lock of that name is free once the one who
 * claims is gone.
 */
import type { Cell, LiveRecord, Notice, Store, StoreRecord, Tombstone } from '../types.ts'
import { createWatchers, onServer, random, readyLocks } from './page.ts'
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

const DATABASE = 'stayfresh'
const CELLS = 'cells'
// How long a database may take to open, and then to be read, in ms, before this context goes on without it.
const PATIENCE = 3000
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
  const { watch, tell, wake, alone } = createWatchers(prefix)
  // Set once the database was read: from then on others may know of what this context holds.
  let reached = false
  // Openings and transactions that took too long and are still under way.
  let stuck = 0
  // No transaction has been in time since one was late.
  let behind = false
  // What only this context knows, while it can't be written.
  let spare: { readonly record: StoreRecord | null } | undefined
  // The session that `initial` made then, refreshed or not.
  let started: string | undefined
  // When the last logout was called then.
  let out = -Infinity
  // The locks of claims of ours; `stands`: the claim has been committed.
  const held = new Map<string, { release(): void; stands: boolean }>()

  // --- the database --------------------------------------------------------------------------------------

  /** How long an opening or a transaction is waited for. */
  function patience(reject: (error: Error) => void): { readonly late: boolean; stop(): void; over(): void } {
    let late = false
    const giveUp = (): void => {
      late = true
      stuck++
      reject(new Error(`IndexedDB did not answer in ${PATIENCE} ms`))
    }
    // After a while in which the page was frozen timers run before what has come meanwhile.
    let timer = setTimeout(() => {
      timer = setTimeout(giveUp, A_MOMENT)
    }, PATIENCE - A_MOMENT)
    const stop = (): void => clearTimeout(timer)
    return {
      get late() {
        return late
      },
      stop,
      over() {
        stop()
        if (!late) return
        stuck--
        // Those who went on without it look again: once, or a database that is always late would keep them looking. Who
        // knows only what is in memory is looked for by nobody else.
        if (!behind || spare) wake()
        behind = true
      },
    }
  }

  /** A connection for one transaction: none is left open to be closed under us, or to block somebody. */
  function open(version?: number): Promise<IDBDatabase> {
    return new Promise((resolve, reject) => {
      if (stuck) throw new Error('IndexedDB is still busy')
      const request = indexedDB.open(DATABASE, version)
      const waiting = patience(reject)
      request.onupgradeneeded = () => {
        const { result } = request
        if (!result.objectStoreNames.contains(CELLS)) result.createObjectStore(CELLS)
      }
      request.onerror = () => {
        waiting.over()
        reject(request.error)
      }
      request.onsuccess = () => {
        const database = request.result
        database.onversionchange = () => database.close()
        const complete = database.objectStoreNames.contains(CELLS)
        const { late } = waiting
        if (late || !complete) database.close()
        waiting.over()
        if (!late) resolve(complete ? database : open(database.version + 1))
      }
    })
  }

  /**
   * One transaction; resolves with what stands once it is complete, and so seen by every later one. What `decide`
   * gives is written; `null` empties the cell, `undefined` leaves it.
   */
  async function transact(
    decide?: (found: WrittenHere | null) => WrittenHere | null | undefined,
    again = true,
  ): Promise<WrittenHere | null> {
    let opened: IDBDatabase | undefined
    let left = false
    try {
      const database = await open()
      opened = database
      return await new Promise((resolve, reject) => {
        // Strict: after a power cut a refresh token that was spent must not be back.
        const transaction = database.transaction(CELLS, decide ? 'readwrite' : 'readonly', {
          durability: 'strict',
        })
        // With a page in the back/forward cache WebKit keeps it open, and everybody else waits for it.
        const leave = (): void => {
          left = true
          try {
            transaction.abort()
          } catch {
            // It is decided, and goes through by itself.
          }
        }
        globalThis.addEventListener?.('pagehide', leave)
        // A Worker of such a page hears of nothing: who waits for one goes on without it.
        const waiting = patience(reject)
        const over = (): void => {
          globalThis.removeEventListener?.('pagehide', leave)
          waiting.over()
        }
        const cells = transaction.objectStore(CELLS)
        let stands: WrittenHere | null = null
        const see = (value: unknown): void => {
          // From here on it waits for the disk alone, and what is decided will stand there.
          waiting.stop()
          stands = decode<WrittenHere>(value)
          const next = waiting.late ? undefined : decide?.(stands)
          if (next === undefined) return
          stands = next
          if (next) cells.put(next, key)
          else cells.delete(key)
          // From now on it needs this page no more.
          transaction.commit?.()
        }
        const request = cells.get(key)
        request.onsuccess = () => see(request.result)
        request.onerror = (event) => {
          // Damaged: it can't be read by anybody any more, but replaced.
          if (request.error?.name !== 'DataError' && request.error?.name !== 'NotReadableError') return
          event.preventDefault()
          see({})
        }
        if (!decide) transaction.commit?.()
        transaction.oncomplete = () => {
          over()
          if (!waiting.late) behind = false
          resolve(stands)
        }
        transaction.onabort = () => {
          over()
          reject(transaction.error ?? new DOMException('IndexedDB aborted a transaction', 'AbortError'))
        }
      })
    } catch (error) {
      // Closed under us, before or in the middle, or the process behind it is gone: a moment later there is another.
      const { name } = Object(error) as { name?: unknown }
      const lost = name === 'InvalidStateError' || name === 'AbortError' || name === 'UnknownError'
      if (lost && (again || left)) return transact(decide, again && left)
      throw error
    } finally {
      opened?.close()
    }
  }

  // --- the locks -----------------------------------------------------------------------------------------

  const lockName = (by: string): string => `${prefix}:${by}`

  /** Takes the lock of a claim that is about to be made. Nobody ever waits for it. */
  function take(by: string): Promise<boolean> {
    return new Promise((resolve) => {
      const locks = readyLocks()
      if (!locks) return resolve(false)
      const use = (lock: Lock | null): Promise<void> | undefined => {
        resolve(lock !== null)
        if (!lock) return undefined
        return new Promise((end) => {
          const release = (): void => {
            held.delete(by)
            globalThis.removeEventListener?.('pagehide', release)
            end()
          }
          held.set(by, { release, stands: false })
          // A page that is left may never come back; and one that does finds out that its claim is gone.
          globalThis.addEventListener?.('pagehide', release)
        })
      }
      locks.request(lockName(by), { ifAvailable: true }, use).catch(() => resolve(false))
    })
  }

  /** What stands is known: a lock whose claim stood there, and does no more, says nothing any more. */
  function sort(stands: WrittenHere | null): void {
    const by = claimOf(stands?.record)
    for (const [claim, lock] of held) {
      if (claim === by) lock.stands = true
      else if (lock.stands) lock.release()
    }
  }

  /** Whether the one who made a claim is gone, as far as can be told. */
  async function isGone({ record, lock }: WrittenHere): Promise<boolean> {
    const by = claimOf(record)
    if (by === undefined || by !== lock || held.has(by)) return false
    const names = await readyLocks()
      ?.query()
      .then(
        (state) => state.held?.map((one) => one.name),
        () => undefined,
      )
    return names !== undefined && !names.includes(lockName(by))
  }

  // --- a logout whose page was left in the same moment -----------------------------------------------------

  // A transaction dies with its page, what is written here does not. It holds no token, and is final: no matter how late
  // another process sees it.
  const mark = `${prefix}:ended`

  // What this context has marked: it sees to that itself, and takes the tokens that stand there back.
  let mine: string | undefined

  function end(id: string | undefined, calledAt: number, version: number): undefined {
    // Called again, with nobody there any more: whoever ended before is over, too, whatever the clocks say.
    const before = id === undefined && mine !== undefined ? JSON.parse(mine) : { id, version }
    mine = JSON.stringify({ ...before, calledAt, all: id === undefined })
    put()
    // Applications that clear localStorage do so right after.
    queueMicrotask(put)
    globalThis.addEventListener?.('pagehide', put)
    // Workers have no localStorage, and a page that is left tells nobody later.
    if (id !== undefined) tell({ revision: mine, id, version, calledAt, ended: 'logout' }, true)
  }

  function put(): void {
    if (mine !== undefined) keep(mine)
  }

  /** `null`: nothing is kept any more. */
  function keep(text: string | null): void {
    for (const place of ['localStorage', 'sessionStorage'] as const) {
      try {
        if (text === null) globalThis[place]?.removeItem(mark)
        else {
          globalThis[place]?.setItem(mark, text)
          return
        }
      } catch {
        // Denied, or full: then for the next page of this tab alone, or the tombstone is all there is.
      }
    }
  }

  /** What was marked here is seen to. */
  function unmark(): void {
    mine = undefined
    globalThis.removeEventListener?.('pagehide', put)
    keep(null)
  }

  function marked():
    | { id?: unknown; calledAt: number; version?: unknown; all?: unknown; own: boolean }
    | undefined {
    try {
      // Where that is full something older may stand in the other.
      const text = sessionStorage.getItem(mark) ?? localStorage.getItem(mark) ?? 'null'
      const { id, calledAt, version, all = id === undefined } = Object(JSON.parse(text))
      return typeof calledAt === 'number' ? { id, calledAt, version, all, own: text === mine } : undefined
    } catch {
      // Denied, or not ours.
      return undefined
    }
  }

  /** The end of a session, if it was marked and nothing more; a mark that has nothing left to end is removed. */
  function endOf(record: StoreRecord | undefined): Tombstone | undefined {
    const said = marked()
    if (!said) return undefined
    const { id, calledAt, all, own } = said
    const over = 'ended' in Object(record)
    if (record && !over && (record.id === id || (all && record.calledAt < calledAt))) {
      if (own) return undefined
      return { id: record.id, version: record.version, calledAt, ended: 'logout', revision: random() }
    }
    if (all || (over && record?.id === id)) {
      if (own) unmark()
      else keep(null)
    }
    return undefined
  }

  /** What stands there, if whoever marked its end has revoked nothing so new. */
  function unrevoked(record: StoreRecord | undefined): StoreRecord | undefined {
    const version = marked()?.version
    return typeof version === 'number' && record && record.version > version ? record : undefined
  }

  // --- the cell ------------------------------------------------------------------------------------------

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
      sort(found)
      if (mine && spare === mine) {
        spare = undefined
        if (found && found.record === mine.record) tell(noticeOf(found.record))
      }
      if (endOf(found?.record)) {
        // Who has marked it may be there yet, and knows what to take back.
        await new Promise((resolve) => void setTimeout(resolve, A_MOMENT))
        found = await transact()
      }
      const over = endOf(found?.record)
      if (over && found) {
        const ended = unrevoked(found.record)
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

  /** Ends the claim of one who is gone, so that nobody waits it out. */
  async function unclaim(record: StoreRecord): Promise<StoreRecord | undefined> {
    const next = { ...record, claim: undefined, revision: random() }
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
    const over = 'ended' in wanted ? undefined : endOf(wanted)
    const next = over ?? wanted
    let ended: StoreRecord | undefined
    const by = claimOf(next)
    const taken = by !== undefined && !held.has(by) && (await take(by))
    let done = false
    try {
      const stands = await transact((found) => {
        // Tried again: the first time may have been done after all.
        const written = found?.record.revision === next.revision
        done = written || isExpected(found?.record, expected)
        if (written || !done) return undefined
        if (over) ended = unrevoked(found?.record)
        // A claim that stood there before keeps what was known of it.
        const lock = by === claimOf(found?.record) ? found?.lock : by && held.has(by) ? by : undefined
        return { format: FORMAT, record: next, lock }
      })
      reached = true
      sort(stands)
      if (!done) return endOf(stands?.record) ? read() : cell(stands?.record)
      // Written: what was marked here is seen to, or has been followed by a login.
      const said = marked()
      if (said?.own && (said.id === undefined || ('ended' in next && next.id === said.id))) unmark()
    } finally {
      const lock = by === undefined ? undefined : held.get(by)
      // The claim was not made.
      if (!lock?.stands) lock?.release()
    }
    tell(noticeOf(next))
    // Left meanwhile: others may have taken the claim for that of one who is gone.
    return taken && !held.has(by) ? read() : { ...cell(next), ended }
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
    end,
    watch(listener: (notice?: Notice) => void) {
      const unwatch = watch(listener)
      const marking = ({ key, newValue }: StorageEvent): void => {
        if (key === mark && newValue !== null) listener()
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
