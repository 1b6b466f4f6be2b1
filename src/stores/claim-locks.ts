/** A Web Lock for each claim: it is free once the one who claims is gone, so that nobody waits a claim out. */
import { readyLocks } from './page.ts'

export interface ClaimLocks {
  /** Takes the lock of a claim that is about to be made. Nobody ever waits for it. */
  take(by: string): Promise<boolean>
  /** Whether it is ours. */
  holds(by: string): boolean
  /** The claim that stands is known: a lock whose claim stood there, and does no more, says nothing any more. */
  sort(by: string | undefined): void
  /** Gives the lock back, unless its claim stands. */
  drop(by: string): void
  /** Whether the one who made a claim under its lock is gone, as far as can be told. */
  isGone(by: string): Promise<boolean>
}

/** @param prefix begins the locks' names */
export function createClaimLocks(prefix: string): ClaimLocks {
  // Those of claims of ours; `stands`: the claim has been committed.
  const held = new Map<string, { release(): void; stands: boolean }>()

  const lockName = (by: string): string => `${prefix}:${by}`

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

  function sort(by: string | undefined): void {
    for (const [claim, lock] of held) {
      if (claim === by) lock.stands = true
      else if (lock.stands) lock.release()
    }
  }

  async function isGone(by: string): Promise<boolean> {
    if (held.has(by)) return false
    const names = await readyLocks()
      ?.query()
      .then(
        (state) => state.held?.map((one) => one.name),
        () => undefined,
      )
    return names !== undefined && !names.includes(lockName(by))
  }

  return {
    take,
    holds: (by) => held.has(by),
    sort,
    drop(by) {
      const lock = held.get(by)
      if (!lock?.stands) lock?.release()
    },
    isGone,
  }
}
