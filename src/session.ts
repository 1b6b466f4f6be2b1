/**
 * The one owner of the session in this context: what is held, what follows from what the store says, who is told.
 * Everything that changes the session goes through `cell.change`, everything learned through `see`. It sends
 * nothing.
 */
import { type CellRoom, type Change, createCell, isPromise } from './cell.ts'
import { callListener, type Emitter } from './events.ts'
import { createHand, type Hand, type HeldToken } from './hand.ts'
import { type Platform, type Stopwatch, sleep, stopwatch } from './platform.ts'
import type {
  LiveRecord,
  LogoutReason,
  MaybePromise,
  Notice,
  Origin,
  Session,
  Store,
  StoreRecord,
  Tombstone,
} from './types.ts'

/** The session as this context holds it. */
export interface Held {
  readonly record: LiveRecord
  readonly access: HeldToken | undefined
  readonly fresh: HeldToken | undefined
  /** A person is being asked for the password; no token works. */
  expired: boolean
  /**
   * How much is left until a moment in the store's time, in ms; at most `most`. Counted from when this record was
   * first seen here, so that a clock that is set back doesn't make a claim or a cool-down last for hours. `surely`: a
   * clock that is set ahead ends nothing, either.
   */
  left(until: number | undefined, most: number, surely?: boolean): number
}

/** Who made a call. */
export interface Stamp {
  readonly id: string
  readonly subject?: string | undefined
}

/** What an empty store is given at the start: until it has been asked, and here if it is empty and does not take it. */
export interface Initial {
  readonly change: Change
  /** Whether it has been: `change` says so. */
  readonly asked: boolean
  /** Called once the store has been asked, and what it is given is a session, or is none. */
  decided(): void
}

export interface SessionRoom extends Omit<Hand, 'hold' | 'forget'> {
  /** Reads the store for the first time, with what makes a session where there is none. */
  start(initial?: Initial): void
  /** `undefined` until the store was read. */
  readonly held: Held | null | undefined
  /** Set while what is held may be out of date: settles once the store was asked, within bounds. */
  readonly unread: Promise<void> | undefined
  readonly ready: Promise<void>
  readonly cell: CellRoom
  /** Whether the user changed, or left, while this context lived: private answers of the last one may be cached. */
  readonly switched: boolean
  /** Whether the user has signed out, as far as is known here, and nobody has signed in since. */
  readonly signedOut: boolean
  /** When the last logout elsewhere was called for, in the store's time: it counts though the store has lost it. */
  readonly lastLogout: number
  readonly writable: boolean
  /** Whether the store tells nobody of changes. */
  readonly blind: boolean
  /** Whether an empty cell means that data was lost. */
  readonly lossy: boolean
  /** Whether `held` still is who made the call: the same session, or another of the same user, both known. */
  owns(stamp: Stamp, held: Pick<Held, 'record'> | null | undefined): boolean
  /** Asks the store, within bounds; `unread` until then. Never rejects. */
  reread(): Promise<void>
  /** Resolves at the next change of the record, or after `ms`: the last who asked does, others after `ms`. */
  changed(ms: number): Promise<void>
  /**
   * Every session whose login was called before `at()` has been ended. What it gives back is called once that is written,
   * with what stands then.
   */
  close(at: () => number): (stands?: StoreRecord | null) => void
  /**
   * The user ended it: from now on nothing of it is held, whatever the store says. `revoked`: the last version of whose tokens
   * none need be revoked any more; of another context's logout it is not known, of one here it is what is held.
   */
  end(id: string, reason: LogoutReason, origin: Origin, revoked?: number): void
  isEnded(id: string): boolean
  /** Whether what stands in the store is a session that `mine` has replaced here: it has lost data. */
  isBehind(stands: StoreRecord | null, mine: LiveRecord): boolean
  /** Why a session ended, as far as this context knows. */
  endReason(id: string): LogoutReason | undefined
  /** The same, if nobody ended it. */
  ranOut(id: string): LogoutReason | undefined
  snapshot(): Session | null | undefined
  /** Calls back when asking for this session's password makes no sense any more. */
  onMoot(listener: () => void): void
  /** Calls back with a session that was ended here for a context that is gone: its tokens are to be revoked. */
  onEnded(listener: (record: LiveRecord) => void): void
  dispose(): void
}

interface Ending {
  readonly reason: LogoutReason
  /** Up to which version. */
  readonly version: number
  /** Up to which version whoever ended it has revoked its tokens. */
  revoked: number
  /** Whether it was held here until another took its place. */
  readonly held: boolean | undefined
  /** Which session was held when it was first known. */
  readonly during: string | undefined
}

// The last that a Date can tell, in ms.
const LAST_DATE = 8.64e15
// Why a session ends that nobody ended.
const RAN_OUT = /^(session_expired|token_revoked)$/

export function createSession(
  store: Store,
  emitter: Emitter,
  on: Platform,
  storeTimeout: number,
): SessionRoom {
  let held: Held | null | undefined
  let unread: Promise<void> | undefined
  // Whether the store could not be asked when a change was told: it is asked again until it answers.
  let missed = false
  let signedOut = false
  let lastLogout = 0
  // The end that a notice told of last, until the store has said what stands there.
  let told: Tombstone | undefined
  let disposed = false
  let switched = false
  // The session that was held last, though it may be over: whose private answers may be cached.
  let last: LiveRecord | undefined
  let picture: Session | null | undefined
  // What the picture was drawn of.
  let drawn: string
  // Sessions that were ended, should the store still show them.
  const endings = new Map<string, Ending>()
  // How often each that was replaced has been written over, and when last: whoever holds it may think the same of ours.
  const overwritten = new Map<string, { times: number; since: Stopwatch }>()
  // Ends the waiting of who waits for a change.
  let wake = (): void => {}
  // Told when the password is asked for in vain.
  let moot = (): void => {}
  let revoke = (_: LiveRecord): void => {}
  // The last logout here: what was begun before `at()`, and is still found in the store, counts as ended by it.
  let closed: { since: Stopwatch; at(): number } | undefined
  // Logouts that are being written: they revoke what stands there, too.
  let closing = 0
  // Whether a session was set aside for them.
  let setAside = false

  const cell = createCell(store, emitter, on, storeTimeout, {
    held: () => held?.record,
    isOutdated,
    see,
    ended: (record) => revoke(record),
  })
  const hand = createHand(cell, emitter, on)

  // --- who is signed in ----------------------------------------------------------------------------------

  function become(next: Held | null): void {
    held = next
    if (!next) hand.forget()
    else {
      const { id, subject } = next.record
      // Another session of nobody knows whom may be anybody's.
      if (last && last.id !== id && (subject === undefined || subject !== last.subject)) switched = true
      last = next.record
    }
    publish()
  }

  function publish(): void {
    const next = draw()
    if (next === picture) return
    picture = next
    emitter.publish(next)
  }

  function draw(): Session | null | undefined {
    if (!held) return held
    const { id, version, subject } = held.record
    const current = hand.token(held)
    const status = held.expired ? 'expired' : 'active'
    const fresh = hand.isFresh(current) === true
    // A cookie may be another one, that says more, while the version is the same.
    const key = [id, version, status, fresh, current?.token].join()
    if (picture && key === drawn) return picture
    drawn = key
    const { csrf: _, ...claims } = current?.claims ?? {}
    const expiresAt =
      current?.lasts === undefined
        ? undefined
        : Math.min(Math.round(on.now() + current.lasts - current.age()), LAST_DATE)
    return Object.freeze({ id, version, subject, status, fresh, expiresAt, claims: Object.freeze(claims) })
  }

  function end(id: string, reason: LogoutReason, origin: Origin, revoked?: number): void {
    const mine = held?.record.id === id ? held.record : undefined
    const version = mine?.version ?? Infinity
    remember(id, reason, version, revoked ?? (origin === 'this context' ? version : 0))
    if (!mine) return
    become(null)
    moot()
    emitter.emit({ type: 'loggedOut', reason, subject: mine.subject, origin })
  }

  const current = (): string | undefined => held?.record.id

  function remember(
    id: string,
    reason: LogoutReason,
    version: number,
    revoked = version,
    held?: boolean,
  ): void {
    const known = endings.get(id)
    if (reason === 'logout') signedOut = true
    const upTo = RAN_OUT.test(reason) ? version : Infinity
    // The first reason is the true one, as a logout is not made an expiry by what comes after it; but it is always one.
    const first = reason === 'logout' ? reason : (known?.reason ?? reason)
    endings.set(id, {
      reason: first,
      version: Math.max(known?.version ?? 0, upTo),
      revoked: Math.max(known?.revoked ?? 0, revoked),
      held,
      during: known ? known.during : current(),
    })
    if (endings.size > 100) endings.delete(endings.keys().next().value as string)
  }

  /** What the user ended is over. What ran out here may have been helped elsewhere: a newer version is not over. */
  const isOver = ({ id, version }: LiveRecord): boolean => (endings.get(id)?.version ?? 0) >= version

  const endReason = (id: string): LogoutReason | undefined => endings.get(id)?.reason

  // One that was replaced may be back: a login is written again where the store did not confirm it.
  const isSignedOut = (id: string): boolean => endReason(id) === 'logout'

  // What a later login superseded before it stood is none.
  const isReplaced = (id: string): boolean => endings.get(id)?.held === true

  /** Within a minute: who does not agree says so at once, while a store may fall back now and then for ever. */
  function timesOver(id: string): number {
    const { times = 0, since } = overwritten.get(id) ?? {}
    return since && since() < 60_000 ? times : 0
  }

  function isBehind(stands: StoreRecord | null, mine: LiveRecord): boolean {
    if (!stands || 'ended' in stands || !isReplaced(stands.id)) return false
    const { id, calledAt } = stands
    return calledAt < mine.calledAt && timesOver(id) < 5
  }

  /** Takes note of what stands in the store; `decided`: or shall stand there, as soon as it can be written. */
  function see(record: StoreRecord | null, origin: Origin, decided?: boolean): void {
    // Where nothing stands any more, a tombstone may have stood.
    if (!record) believe()
    const before = held?.record
    if (record && record.revision === before?.revision) return
    if (!record) {
      if (!before) become(null)
      // Lost data is written back; what is not saved yet is about to be written anyway.
      else if (store.empty !== 'ended') restore()
      else if (!cell.unsaved) end(before.id, 'storage_cleared', origin)
    } else if ('ended' in record) {
      hearOfEnd(record, origin)
      if (!before) become(null)
    } else if (
      record.id !== before?.id &&
      (isOver(record) || (origin === 'other context' && isClosed(record)))
    ) {
      if (!before) become(null)
      if (!isOver(record) && !setAside && !disposed) {
        setAside = true
        // By a comparison of times that may not be sure yet: looked at again when that logout counts no more.
        void sleep(on, storeTimeout, true).then(again)
      }
      // Written back by who had not heard of the logout, the data having been lost.
      if (isSignedOut(record.id) && !closing) restore()
      // Or of the login that replaced it; of two in the same millisecond nobody knows.
      else if (before && isReplaced(record.id) && record.calledAt !== before.calledAt) restore()
    } else if (record.id === before?.id) {
      // Versions only grow: what is older is a stale read, lost data, or ours is not saved yet.
      if (record.version > before.version) adopt(record, origin, 'tokenRefreshed')
      else if (record.version === before.version) adopt(record, origin)
      else restore()
    } else if (!before || !cell.unsaved || decided) {
      adopt(record, origin, held === undefined && origin === 'other context' ? undefined : 'loggedIn')
    }
    wake()
  }

  /** The end that was told of last is what stands, as far as can be known. */
  function believe(): void {
    // Late news, if somebody has signed in since.
    const late = told && held && told.id !== held.record.id && told.calledAt < held.record.calledAt
    if (told && !late && !isOutdated(told)) hearOfEnd(told, 'other context')
    told = undefined
  }

  /** Takes note of a tombstone. It is all that stands there, so that it ends what was there before it, too. */
  function hearOfEnd(
    { id, version, ended, calledAt }: Pick<Tombstone, 'id' | 'version' | 'ended' | 'calledAt'>,
    origin: Origin,
  ): void {
    remember(id, ended, version)
    if (ended === 'logout' && origin === 'other context') lastLogout = Math.max(lastLogout, calledAt ?? 0)
    const before = held?.record
    // What is not saved yet is newer than a stranger's tombstone.
    if (before && (id === before.id || !cell.unsaved)) end(before.id, ended, origin)
  }

  function isOutdated(record: StoreRecord): boolean {
    const mine = held?.record
    if (!mine || store.empty === 'ended' || !('ended' in record)) return false
    const { id, version, ended, calledAt } = record
    // Of who was known to be over before this one signed in: the store has fallen back.
    const known = endings.get(id)
    if (id !== mine.id) return !!known && known.during !== mine.id && !known.held && calledAt < mine.calledAt
    return RAN_OUT.test(ended) && version < mine.version
  }

  /** Whether a logout that is still to be written was called after this session's login. */
  function isClosed({ calledAt }: LiveRecord): boolean {
    if (!closed || !(cell.unsaved || closed.since() < storeTimeout)) return false
    // Once it is written, what was called in the same millisecond has been written over it.
    return calledAt <= closed.at() - (closing || cell.unsaved ? 0 : 1)
  }

  function adopt(record: LiveRecord, origin: Origin, event?: 'loggedIn' | 'tokenRefreshed'): void {
    const before = held?.record
    // Whoever was to be asked for the password here has given it elsewhere. What a refresh brings may not be enough for all.
    const helped = event === 'tokenRefreshed' && record.reason === 'reauthenticated'
    const now = cell.earliest()
    const since = stopwatch(on)
    const next: Held = {
      record,
      access: hand.hold(record.access),
      fresh: hand.hold(record.fresh),
      expired: !event && held?.expired === true && held.record.access?.token === record.access?.token,
      left: (until, most, surely) =>
        until === undefined ? 0 : Math.min(until - now, most) - (surely ? since.least() : since()),
    }
    if (origin === 'this context') closed = undefined
    endings.delete(record.id)
    signedOut = false
    // The new session is in place before anybody is told that the old one is gone: no call falls in between. A
    // listener may end it at once, and is then told nothing more of it.
    become(next)
    if (helped && origin === 'other context') moot()
    if (before && before.id !== record.id) {
      remember(before.id, 'replaced', before.version, before.version, true)
      if (origin === 'other context') moot()
      if (before.subject === undefined || before.subject !== record.subject) {
        const { subject } = before
        emitter.emit({ type: 'loggedOut', reason: 'replaced', subject, origin })
      }
    }
    if (event && held === next) emitter.emit({ type: event, reason: record.reason, session: picture, origin })
  }

  /** Writes the session back into a cell that has lost it, or its latest version; or that it has ended. */
  function restore(): void {
    if (cell.unsaved || !store.commit) return
    // Counted once, however often it takes to be written.
    let over: string | undefined
    void cell.change((standing) => {
      const mine = held?.record
      if (!standing) return store.empty === 'ended' ? undefined : mine
      if ('ended' in standing) return undefined
      const { id, version, calledAt } = standing
      if (id !== mine?.id) {
        if (mine && (over === id || isBehind(standing, mine))) {
          if (over !== id) overwritten.set(id, { times: timesOver(id) + 1, since: stopwatch(on) })
          over = id
          return mine
        }
        // Called later after all, or written again and again: it is taken on.
        if (mine && isReplaced(id) && calledAt !== mine.calledAt) endings.delete(id)
        if (!isSignedOut(id)) return undefined
        // Written back with newer tokens than the logout knew of, and revoked: by who had refreshed and not heard of it.
        const ending = endings.get(id)
        if (ending && version > ending.revoked) {
          ending.revoked = version
          revoke(standing)
        }
        return mine ?? { id, version, calledAt, ended: 'logout' }
      }
      if (standing.version >= mine.version) return undefined
      // Who is exchanging the refresh token that stays is still doing so.
      return standing.refreshToken === mine.refreshToken ? { ...mine, claim: standing.claim } : mine
    }, true)
  }

  // --- being told ----------------------------------------------------------------------------------------

  let first: Initial | undefined

  function answered(): void {
    missed = false
    first?.decided()
    first = undefined
  }

  /** Asks the store again; until it has answered, what is held counts as unread. */
  function reread(): Promise<void> {
    let answer: MaybePromise<unknown>
    try {
      answer = first ? cell.change(first.change, first.asked) : cell.read()
    } catch (error) {
      answer = Promise.reject(error)
    }
    if (!isPromise(answer)) {
      answered()
      return Promise.resolve()
    }
    const mine = answer
      .then(answered, () => {
        if (first?.asked) return reread()
        believe()
        return void find()
      })
      .then(() => {
        if (unread !== mine) return
        unread = undefined
        told = undefined
      })
    unread = mine
    return mine
  }

  /** A change is told once: what the store could not be asked for then is looked for until it answers. */
  async function find(): Promise<void> {
    if (missed) return
    missed = true
    for (let wait = 100; missed && !disposed; wait = Math.min(wait * 2, 30_000)) {
      await sleep(on, wait, true)
      if (missed && !disposed) await reread()
    }
  }

  function notice(what?: Notice): void {
    if (what && cell.isOwn(what.revision)) return
    const known = held?.record
    if (what && known && what.id === known.id && !what.ended) {
      // The token in hand stays good whatever came after it, so that nobody has to wait for the reading.
      if (what.revision !== known.revision) void cell.peek()
    } else {
      // From the notice on nothing goes out as somebody who is no longer signed in, or may not be.
      if (what?.ended && !isOutdated(what as Tombstone)) {
        told = what as Tombstone
        remember(told.id, told.ended, told.version)
        // The end of another may be told late, when somebody has signed in since: the store knows, if it can be read.
        if (what.id === known?.id) believe()
      }
      void reread()
    }
  }

  /** Looks for what was set aside. */
  function again(): void {
    if (setAside && held === null && !disposed) void cell.peek()
    setAside = false
  }

  let ready: Promise<void> = Promise.resolve()
  let unwatch: (() => void) | undefined

  return {
    ...hand,
    cell,
    start(initial) {
      first = initial
      ready = reread()
      // Where that fails it is reported, and the store is asked as one that can't be watched.
      callListener(() => {
        unwatch = store.watch?.(notice)
        return unwatch
      })
    },
    get held() {
      return held
    },
    get unread() {
      return unread
    },
    get switched() {
      return switched || (!held && last !== undefined)
    },
    get signedOut() {
      return signedOut
    },
    get lastLogout() {
      return lastLogout
    },
    get ready() {
      return ready
    },
    writable: store.commit !== undefined,
    get blind() {
      return typeof unwatch !== 'function'
    },
    lossy: store.empty !== 'ended',
    owns: (stamp, now) =>
      now != null &&
      (now.record.id === stamp.id || (stamp.subject !== undefined && stamp.subject === now.record.subject)),
    reread,
    changed: (ms) =>
      sleep(on, ms, false, (early) => {
        wake = early
      }),
    close(at) {
      const mine = { since: stopwatch(on), at }
      closed = mine
      signedOut = true
      // What was held has been ended by the logout; without having asked the store, nobody is signed in.
      become(null)
      closing++
      return (stands) => {
        closing--
        // From now on by the moment that was written, as others judge by it, too. Not while the tombstone is kept here alone,
        // by a clock that may be wrong; nor where it lies ahead, written before a clock was set back.
        const written = stands && 'ended' in stands && !cell.unsaved && stands.calledAt <= cell.latest()
        if (written) mine.at = () => stands.calledAt
        again()
      }
    },
    end,
    isEnded: (id) => endings.has(id),
    isBehind,
    endReason,
    ranOut(id) {
      const reason = endReason(id)
      return reason && RAN_OUT.test(reason) ? reason : undefined
    },
    snapshot() {
      // A fresh token that came to its end changes the picture without anybody having done anything.
      publish()
      return picture
    },
    onMoot(listener) {
      moot = listener
    },
    onEnded(listener) {
      revoke = listener
    },
    dispose() {
      disposed = true
      if (typeof unwatch === 'function') callListener(unwatch)
    },
  }
}
