/**
 * The mark of a logout whose page was left in the same moment. A transaction dies with its page, what is written here does
 * not. It holds no token, and is final: no matter how late another process sees it.
 */
import { uniqueId } from '../platform.ts'
import type { StoreRecord, Tombstone } from '../types.ts'

export interface Mark {
  /** Marks what ends at this moment, and gives a revision for who is told of it. */
  end(id: string | undefined, calledAt: number, version: number): string
  /** The end of a session, if it was marked and nothing more; a mark that has nothing left to end is removed. */
  endOf(record: StoreRecord | undefined): Tombstone | undefined
  /** What stands there, if whoever marked its end has revoked nothing so new. */
  unrevoked(record: StoreRecord | undefined): StoreRecord | undefined
  /** What was marked here is seen to by what is written, or followed by a login. */
  written(next: StoreRecord): void
}

/** @param name of the mark, in localStorage or sessionStorage */
export function createMark(name: string): Mark {
  // What this context has marked: it sees to that itself, and takes the tokens that stand there back.
  let mine: string | undefined

  function end(id: string | undefined, calledAt: number, version: number): string {
    // Called again, with nobody there any more: whoever ended before is over, too, whatever the clocks say.
    const before = id === undefined && mine !== undefined ? JSON.parse(mine) : { id, version }
    mine = JSON.stringify({ ...before, calledAt, all: id === undefined })
    put()
    // Applications that clear localStorage do so right after.
    queueMicrotask(put)
    globalThis.addEventListener?.('pagehide', put)
    return mine
  }

  function put(): void {
    if (mine !== undefined) keep(mine)
  }

  /** `null`: nothing is kept any more. */
  function keep(text: string | null): void {
    for (const place of ['localStorage', 'sessionStorage'] as const) {
      try {
        if (text === null) globalThis[place]?.removeItem(name)
        else {
          globalThis[place]?.setItem(name, text)
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
      const text = sessionStorage.getItem(name) ?? localStorage.getItem(name) ?? 'null'
      const { id, calledAt, version, all = id === undefined } = Object(JSON.parse(text))
      return typeof calledAt === 'number' ? { id, calledAt, version, all, own: text === mine } : undefined
    } catch {
      // Denied, or not ours.
      return undefined
    }
  }

  function endOf(record: StoreRecord | undefined): Tombstone | undefined {
    const said = marked()
    if (!said) return undefined
    const { id, calledAt, all, own } = said
    const over = 'ended' in Object(record)
    if (record && !over && (record.id === id || (all && record.calledAt < calledAt))) {
      if (own) return undefined
      return { id: record.id, version: record.version, calledAt, ended: 'logout', revision: uniqueId() }
    }
    if (all || (over && record?.id === id)) {
      if (own) unmark()
      else keep(null)
    }
    return undefined
  }

  function unrevoked(record: StoreRecord | undefined): StoreRecord | undefined {
    const version = marked()?.version
    return typeof version === 'number' && record && record.version > version ? record : undefined
  }

  return {
    end,
    endOf,
    unrevoked,
    written(next) {
      const said = marked()
      if (said?.own && (said.id === undefined || ('ended' in next && next.id === said.id))) unmark()
    },
  }
}
