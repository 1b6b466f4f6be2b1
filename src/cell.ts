/**
 * The store's cell as this context sees it: asked within bounds, changed by compare-and-set, its answers put into
 * their order, and what it does not take kept until it does. It knows no token's meaning, and nobody's session.
 */
import { safeCause } from './errors.ts'
import type { Emitter } from './events.ts'
import { type Platform, type Stopwatch, sleep, stopwatch, within } from './platform.ts'
import { describe, isNumber, isToken } from './token.ts'
import type { Cell, Draft, LiveRecord, MaybePromise, Origin, Store, StoreRecord } from './types.ts'

/**
 * What stands in the cell, to what shall stand there; `undefined` leaves it. `refused`: what it gave before was not
 * written, beyond doubt; `undefined`: the store is not there, and this is what is held.
 */
export type Change = (standing: StoreRecord | null, refused?: boolean) => Draft | undefined

export interface CellRoom {
  /** What stood there when it was last heard of. */
  readonly standing: StoreRecord | null | undefined
  /** Whether there are changes that the store has not taken yet. */
  readonly unsaved: boolean
  /** Resolves when it has taken them, or was given time to. Never rejects. */
  saved(): Promise<void>
  /** The store's own time: the latest and the earliest it can be by what we know. */
  latest(): number
  earliest(): number
  /** A moment, now, in the store's time as it is known when it is asked for: the store may not have been read yet. */
  moment(): () => number
  read(): MaybePromise<void>
  /** Asks the store, within bounds, and makes nobody wait for it who does not want to. Never rejects. */
  peek(): Promise<void>
  /**
   * Compare-and-set until it is done or `fn` leaves what stands. Gives back what stands then. Throws if the
   * store fails; with `keep` it never does: the change is made here at once, and in the store when it is back.
   */
  change(fn: Change, keep?: boolean): MaybePromise<StoreRecord | null>
  /** Has the store keep at once that a session is over. Gives back what that has replaced. */
  end(id: string | undefined, calledAt: number, version: number): LiveRecord | undefined
  /** Whether a revision is one of this context's own. */
  isOwn(revision: string): boolean
}

// How long a try to save what the store has not taken may wait and still hold up a process that is about to end, in ms.
const PATIENCE = 1_600

/** An answer of the store's. */
interface Heard {
  readonly record: StoreRecord | null
  readonly overtaken: boolean
}

export function createCell(
  store: Store,
  emitter: Emitter,
  on: Platform,
  storeTimeout: number,
  room: {
    /** What this context holds. */
    held(): LiveRecord | undefined
    /** Whether it is the end of an older version than that, by who had not heard of ours: no more than data that was lost. */
    isOutdated(record: StoreRecord): boolean
    /** Told of what stands there; `decided`: or shall stand there, as soon as it can be written. */
    see(record: StoreRecord | null, origin: Origin, decided?: boolean): void
    /** Told of a session that the store has ended for a context that is gone. */
    ended(record: LiveRecord): void
  },
): CellRoom {
  // The store's time when last heard of: known to lie between the asking and the answer.
  let heard: { now: number; asked: Stopwatch; answered: Stopwatch } | undefined
  let standing: StoreRecord | null | undefined
  let available = true
  // Called when the store is there again: what it has not taken is brought to it before others go on without it.
  let back = (): void => {}
  // Changes that the store has not taken yet, oldest first.
  const unsaved: Change[] = []
  let saving: Promise<void> = Promise.resolve()
  // Revisions of this context's own: what it hears of them is no news.
  const own = new Set<string>()

  function heardOf(record: StoreRecord | null, decided?: boolean): void {
    standing = record
    room.see(record, record && own.has(record.revision) ? 'this context' : 'other context', decided)
  }

  const latest = (): number => (heard ? heard.now + heard.asked() : on.now())
  const earliest = (): number => (heard ? heard.now + heard.answered.least() : on.now())

  /** Asks the store, within bounds. `overtaken`: others were answered meanwhile, so that this may be older news. */
  function ask(
    what: 'read' | 'commit',
    call: () => MaybePromise<Cell>,
    next?: StoreRecord,
  ): MaybePromise<Heard> {
    const asked = stopwatch(on)
    const before = heard
    const answered = (cell: Cell): Heard => {
      // Nothing at all is no answer.
      const { record, now, problem, ended }: Cell = Object(cell)
      // Sealed by encrypted(): to who lacks the key it is an error, and no lost data that may be written over.
      if ('sealed' in Object(record) && store.empty !== 'ended')
        failed(new Error(`${store.name}: the session is encrypted()`))
      if (!isNumber(now))
        failed(new Error(`${store.name}: now takes ms since the epoch, got ${describe(now)}`))
      if (problem !== undefined) tell(safe(problem))
      else {
        available = true
        back()
      }
      const left = live(ended)
      if (left) room.ended(left)
      const overtaken = heard !== before
      heard = { now, asked, answered: stopwatch(on) }
      return { record, overtaken }
    }
    const tell = (error: Error): void => {
      // Said once for each time that it goes away.
      if (available) {
        available = false
        emitter.emit({ type: 'storeUnavailable', reason: what, error, origin: 'this context' })
      }
    }
    // Database drivers quote what they could not write.
    const safe = (error: unknown): Error => safeCause(error, [next, room.held()].flatMap(tokensOf))
    const failed = (error: unknown): never => {
      const cause = safe(error)
      tell(cause)
      throw cause
    }
    try {
      const answer = call()
      if (!isPromise(answer)) return answered(answer)
      const late = (): Error => new Error(`${store.name}: no answer to ${what} in ${storeTimeout} ms`)
      return within(on, answer, storeTimeout, late).then(answered, failed)
    } catch (error) {
      return failed(error)
    }
  }

  /** What stands in the store: read again if the answer may be older than what is known. */
  function look(tries = 10): MaybePromise<StoreRecord | null> {
    return chain(
      ask('read', () => store.read()),
      ({ record, overtaken }) =>
        overtaken && tries && record?.revision !== standing?.revision ? look(tries - 1) : record,
    )
  }

  const known = (record: StoreRecord | null): StoreRecord | null => {
    const found = sound(record)
    return found && room.isOutdated(found) ? null : found
  }

  const read = (): MaybePromise<void> => chain(look(), (record) => heardOf(known(record)))

  function write(fn: Change): MaybePromise<StoreRecord | null> {
    let tries = 0
    const attempt = (stands: StoreRecord | null): MaybePromise<StoreRecord | null> => {
      const found = known(stands)
      const wanted = fn(found, tries > 0)
      if (!wanted || !store.commit) {
        heardOf(found)
        return found
      }
      if (tries++ > 100) throw new Error(`${store.name}: commits are neither done nor refused`)
      const next = stamp(wanted)
      return chain(
        ask('commit', () => store.commit?.(next, stands?.revision ?? null) as MaybePromise<Cell>, next),
        ({ record: given, overtaken }): MaybePromise<StoreRecord | null> => {
          if (given?.revision !== next.revision) return chain(overtaken ? look() : given, attempt)
          const record = sound(given) ?? next
          return chain(overtaken ? look() : record, (latest) => {
            const stands = latest?.revision === next.revision ? record : known(latest)
            // It may have been lost since, written back by who knows less, or gone on: what was done here comes first.
            if (!stands || (stands.id === record.id && !('ended' in stands))) heardOf(record)
            heardOf(stands)
            return record
          })
        },
      )
    }
    return chain(look(), attempt)
  }

  function stamp(wanted: Draft): StoreRecord {
    const revision = on.id()
    if (own.add(revision).size > 50) own.delete(own.keys().next().value as string)
    return { ...wanted, revision }
  }

  /** A change that must not be lost: made here at once if the store fails, and there when it is back. */
  function keep(fn: Change): MaybePromise<StoreRecord | null> {
    const here = (): StoreRecord | null => {
      const inHand = room.held() ?? null
      const wanted = fn(inHand)
      const next = wanted && stamp(wanted)
      unsaved.push((stands, refused) => {
        const late = fn(stands, refused)
        // Written late is what this context still holds, or an end; nothing that was given up meanwhile.
        return late && ('ended' in late || late.id === room.held()?.id) ? late : undefined
      })
      if (unsaved.length === 1) saving = saveLater()
      if (!next) return inHand
      heardOf(next, true)
      return next
    }
    if (unsaved.length) return here()
    try {
      const done = write(fn)
      return isPromise(done) ? done.catch(here) : done
    } catch {
      return here()
    }
  }

  async function save(): Promise<void> {
    while (unsaved[0]) {
      const fn = unsaved[0]
      await write(fn)
      if (unsaved[0] === fn) unsaved.shift()
    }
    // What stood there instead of ours was not looked at until now. Not read again: that may fail, and be tried no more.
    heardOf(standing ?? null)
  }

  async function saveLater(): Promise<void> {
    for (let wait = 100; unsaved.length; wait = Math.min(wait * 2, 30_000)) {
      // The first tries hold a process up that is about to end: what it got last would be lost with it.
      await sleep(on, wait, wait > PATIENCE, (wake) => {
        back = wake
      })
      await save().catch(() => {})
    }
  }

  return {
    get standing() {
      return standing
    },
    get unsaved() {
      return unsaved.length > 0
    },
    latest,
    earliest,
    moment() {
      const since = stopwatch(on)
      const [from, to] = heard ? [earliest(), latest()] : [Infinity, 0]
      return () => {
        // Only together do what was known then and what is known by now tell a sleep from a clock that was set.
        const least = Math.max(from, earliest() - since())
        const most = Math.min(to, latest() - since.least())
        // They have nothing in common where it was not heard of before, or its own clock was set.
        return least > most ? (earliest() + latest()) / 2 - since() : (least + most) / 2
      }
    },
    read,
    peek: () =>
      Promise.resolve()
        .then(read)
        .catch(() => {}),
    change: (fn, keeping) =>
      keeping ? keep(fn) : unsaved.length ? chain(save(), () => write(fn)) : write(fn),
    end(id, calledAt, version) {
      try {
        const left = store.end?.(id, calledAt, version)
        // Nobody else would catch it.
        Promise.resolve(left).catch(() => {})
        return live(left)
      } catch {
        // The commit that follows does it all the same.
        return undefined
      }
    },
    isOwn: (revision) => own.has(revision),
    saved: () => within(on, saving, 2 * PATIENCE, () => undefined).catch(() => {}),
  }
}

function tokensOf(record: StoreRecord | undefined): (string | undefined)[] {
  const { access, fresh, refreshToken, former = [] } = (record ?? {}) as Partial<LiveRecord>
  return [access?.token, fresh?.token, refreshToken, ...former]
}

/** What a store gave, if it is a record of ours: a store can be written to by others. */
function sound(given: StoreRecord | null): StoreRecord | null {
  if (typeof given?.id !== 'string' || given.revision == null || !Number.isInteger(given.version)) return null
  // A database has `null` for what is not there.
  const there = Object.entries(given).filter(([, value]) => value !== null)
  const record = Object.fromEntries(there) as unknown as StoreRecord
  const { access, fresh, refreshToken, subject, due, retryAt, failures, claim } = record as LiveRecord
  const times = [record.calledAt, due, retryAt, failures, claim?.until]
  const tokens: unknown[] = refreshToken === undefined ? [] : [refreshToken]
  for (const stored of [access, fresh]) {
    if (stored === undefined) continue
    times.push(stored.at, stored.life)
    tokens.push(stored.token)
  }
  if ('former' in record) Object.assign(record, { former: [record.former].flat().filter(isToken) })
  if (times.some((time) => time != null && typeof time !== 'number')) return null
  if ('ended' in record) return typeof record.ended === 'string' ? record : null
  const known = subject === undefined || typeof subject === 'string'
  return known && (access || refreshToken) && tokens.every(isToken) ? record : null
}

/** The same, if it is a session. */
function live(given: StoreRecord | undefined): LiveRecord | undefined {
  const record = sound(given ?? null)
  return record && !('ended' in record) ? record : undefined
}

export function isPromise<T>(value: MaybePromise<T>): value is Promise<T> {
  return typeof (value as PromiseLike<T> | null)?.then === 'function'
}

/** `fn(value)`, now if the value is there: what a memory store answers is used in the same tick. */
export function chain<T, R>(value: MaybePromise<T>, fn: (value: T) => MaybePromise<R>): MaybePromise<R> {
  return isPromise(value) ? value.then(fn) : fn(value)
}
