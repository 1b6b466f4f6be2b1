/**
 * A cell in IndexedDB, one transaction at a time, over a database that may be slow, stuck, closed under us, or kept busy by
 * a page that was left. It knows nothing of what it keeps.
 */

// The database and its only object store.
const DATABASE = 'stayfresh'
const CELLS = 'cells'
// How long it may take to open, and then to be read, in ms, before this context goes on without it.
const PATIENCE = 3000
// The last part of that, in ms, is waited for apart.
const A_MOMENT = 250

/**
 * One transaction; resolves with what stands once it is complete, and so seen by every later one. What `decide`
 * gives is written; `null` empties the cell, `undefined` leaves it.
 */
export type Transact<Kept> = (
  decide?: (found: Kept | null) => Kept | null | undefined,
) => Promise<Kept | null>

/**
 * @param decode reads what stands there, which may be anybody's
 * @param freed is called when what took too long is over; `first`: it is the first since one was in time
 */
export function createDatabase<Kept>(
  key: string,
  decode: (value: unknown) => Kept | null,
  freed: (first: boolean) => void,
): Transact<Kept> {
  // Openings and transactions that took too long and are still under way.
  let stuck = 0
  // No transaction has been in time since one was late.
  let behind = false

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
        freed(!behind)
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

  async function transact(decide: Parameters<Transact<Kept>>[0], again: boolean): Promise<Kept | null> {
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
        let stands: Kept | null = null
        const see = (value: unknown): void => {
          // From here on it waits for the disk alone, and what is decided will stand there.
          waiting.stop()
          stands = decode(value)
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

  return (decide) => transact(decide, true)
}
