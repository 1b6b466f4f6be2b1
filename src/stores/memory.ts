/** The session in this object's memory: a reload or a restart signs out. Shared by whoever is given it. */
import type { Cell, Notice, Store, StoreRecord } from '../types.ts'
import { isExpected, noticeOf } from './record.ts'

/**
 * A store in memory, the default: nothing is written anywhere, so a script injected later finds no token at
 * rest, and a reload signs out. One store given to several clients makes them share the session. It takes no options
 * and never fails.
 *
 * @example
 * ```ts
 * const auth = createAuth({ baseUrl: '/api/', backend: flaskJwt(), store: memoryStore() })
 * ```
 */
export function memoryStore(): Store {
  let record: StoreRecord | null = null
  const listeners = new Set<(notice: Notice) => void>()
  const cell = (): Cell => ({ record, now: Date.now() })

  return {
    name: 'memoryStore',
    read: cell,
    commit(next, expected) {
      if (isExpected(record, expected)) {
        record = next
        for (const listener of listeners) listener(noticeOf(next))
      }
      return cell()
    },
    watch(listener) {
      listeners.add(listener)
      return () => {
        listeners.delete(listener)
      }
    },
  }
}
