/**
 * The one owner of the session in this context: what is held, what the store says, who is told. Everything that
 * changes the session goes through `change`, everything learned from the store through `see`. It sends nothing.
 */
import { safeCause } from './errors.ts'
import type { Emitter } from './events.ts'
import { type Platform, type Stopwatch, stopwatch, within } from './platform.ts'
import { isToken, type ReadToken, readToken } from './token.ts'
import type {
  Cell,
  Draft,
  LiveRecord,
  LogoutReason,
  MaybePromise,
  Notice,
  Origin,
  Session,
  Store,
  StoredToken,
  StoreRecord,
} from './types.ts'

/** An access token in this context's hand, ageing by this context's clocks since it came. */
export interface HeldToken extends ReadToken {
  readonly age: () => number
  /** Whether it has run out beyond doubt: not by a clock that may have jumped, nor by what others' clocks said. */
  readonly over: () => boolean
  /** A server has turned it down; whatever our clock says. */
  rejected: boolean
}

/** The session as this context holds it. */
export interface Held {
  readonly record: LiveRecord
  readonly access: HeldToken | undefined
  readonly fresh: HeldToken | undefined
  /** A person is being asked for the password; no token works. */
  expired: boolean
  /**
   * How much is left until a moment in the store's time, in ms; at most `most`. Counted from when this record was
   * first seen here, so that a clock that is set back doesn't make a claim or a cool-down last for hours.
   */
  left(until: number | undefined, most: number): number
}

/** Who made a call. */
export interface Stamp {
  readonly id: string
  readonly subject?: string | undefined
}

/** What stands in the cell, to what shall stand there; `undefined` leaves it. */
export type Change = (standing: StoreRecord | null) => Draft | undefined

/** An answer of the store's. */
interface Heard {
  readonly record: StoreRecord | null
  readonly overtaken: boolean
}

export interface SessionRoom {
  /** Reads the store for the first time, with the change that makes a session where there is none. */
  start(initial: Change | undefined): void
  /** `undefined` until the store was read. */
  readonly held: Held | null | undefined
  /** Set while what is held may be out of date: settles once the store was asked, within bounds. */
  readonly unread: Promise<void> | undefined
  readonly ready: Promise<void>
  /** What stood in the store when it was last heard of. */
  readonly standing: StoreRecord | null | undefined
  /** Whether the subject changed while this context lived: private answers of the last user may be cached. */
  readonly switched: boolean
  readonly writable: boolean
  /** Whether the store tells nobody of changes. */
  readonly blind: boolean
  /** Whether an empty cell means that data was lost. */
  readonly lossy: boolean
  /** The access token to send: the fresh one to its own end, then the refreshed one. */
  token(held: Held): HeldToken | undefined
  usable(token: HeldToken | undefined): boolean
  /** Whether it is usable and fresh; `undefined`: it says nothing of freshness. */
  isFresh(token: HeldToken | undefined): boolean | undefined
  /** Whether `held` still is who made the call: the same session, or another of the same user, both known. */
  owns(stamp: Stamp, held: Held | null | undefined): boolean
  /** The store's own time: the latest and the earliest it can be by what we know. */
  latest(): number
  earliest(): number
  /** A moment, now, in the store's time as it is known when it is asked for: the store may not have been read yet. */
  moment(): () => number
  read(): MaybePromise<void>
  /** Asks the store, within bounds, and makes nobody wait for it who does not want to. Never rejects. */
  peek(): Promise<void>
  /** Asks the store, within bounds; `unread` until then. Never rejects. */
  reread(): Promise<void>
  /**
   * Compare-and-set until it is done or `fn` leaves what stands. Gives back what stands then. Throws if the
   * store fails; with `keep` it never does: the change is made here at once, and in the store when it is back.
   */
  change(fn: Change, keep?: boolean): MaybePromise<StoreRecord | null>
  /** Resolves at the next change of the record, or after `ms`. */
  changed(ms: number): Promise<void>
  /** Every session whose login was called before `at()` has been ended. */
  close(at: () => number): void
  /** The user ended it: from now on nothing of it is held, whatever the store says. */
  end(id: string, reason: LogoutReason, origin: Origin): void
  isEnded(id: string): boolean
  /** Why a session ended, as far as this context knows. */
  endReason(id: string): LogoutReason | undefined
  setExpired(held: Held, expired: boolean): void
  snapshot(): Session | null | undefined
  /** Calls back when asking for this session's password makes no sense any more. */
  onMoot(listener: () => void): void
  learnSkew(token: ReadToken, sentAt: number): void
  dispose(): void
}

export function createSession(
  store: Store,
  emitter: Emitter,
  on: Platform,
  storeTimeout: number,
): SessionRoom {
  let held: Held | null | undefined
  let unread: Promise<void> | undefined
  let switched = false
  let lastSubject: string | undefined
  let picture: Session | null | undefined
  let skew = 0
  let announcedSkew = 0
  // The store's time when last heard of: known to lie between the asking and the answer.
  let heard: { now: number; asked: Stopwatch; answered: Stopwatch } | undefined
  // Sessions that were ended here, should the store still show them.
  const endings = new Map<string, LogoutReason>()
  let standing: StoreRecord | null | undefined
  // Changes that the store has not taken yet, oldest first.
  const unsaved: Change[] = []
  const waiting = new Set<() => void>()
  let moot = (): void => {}
  let available = true
  let answers = 0
  let closed: { since: Stopwatch; at(): number } | undefined
  // Revisions of this context's own: what it hears of them is no news.
  const own = new Set<string>()

  // --- tokens in hand ------------------------------------------------------------------------------------

  function hold(stored: StoredToken | undefined, before: Held | null | undefined): HeldToken | undefined {
    if (!stored) return undefined
    // The same token keeps its age: the store's clock may have jumped since.
    for (const known of [before?.access, before?.fresh]) {
      // A server may give the very same token again: then it is a new one all the same.
      if (known?.token === stored.token && known.at === stored.at) return known
    }
    const read = readToken(stored)
    const { iat, exp } = read.claims
    const serverNow = on.now() + skew
    let { lasts } = read
    let age = 0
    if (stored.at !== undefined) age = latest() - stored.at
    else if (lasts !== undefined && typeof iat === 'number') age = serverNow - iat * 1000
    if (lasts === undefined && iat === undefined && typeof exp === 'number') {
      lasts = exp * 1000 - serverNow
    }
    const since = stopwatch(on)
    const initial = Math.max(age, 0)
    // The second that a life was cut by is given back here.
    const end = stored.at === undefined || lasts === undefined ? Infinity : lasts + 1_000
    const over = (): boolean => initial + since.least() >= end
    return { ...read, lasts, age: () => initial + since(), over, rejected: false }
  }

  function usable(token: HeldToken | undefined): boolean {
    return token !== undefined && !token.rejected && (token.lasts === undefined || token.age() < token.lasts)
  }

  function isFresh(token: HeldToken | undefined): boolean | undefined {
    return token?.freshFor === undefined ? undefined : usable(token) && token.age() < token.freshFor
  }

  function token(of: Held): HeldToken | undefined {
    return isFresh(of.fresh) ? of.fresh : of.access
  }

  function learnSkew(read: ReadToken, sentAt: number): void {
    const { iat } = read.claims
    if (typeof iat !== 'number' || !Number.isFinite(iat)) return
    // The stamp was cut to whole seconds, and was made between the sending and now.
    skew = Math.round(iat * 1000 + 500 - (sentAt + on.now()) / 2)
    if (Math.abs(skew - announcedSkew) < 30_000) return
    announcedSkew = skew
    emitter.emit('clockSkew', { type: 'clockSkew', reason: 'token', skew, origin: 'this context' })
  }

  // --- who is signed in ----------------------------------------------------------------------------------

  function become(next: Held | null): void {
    held = next
    if (next) {
      const { subject } = next.record
      if (lastSubject !== undefined && subject !== lastSubject) switched = true
      lastSubject = subject ?? lastSubject
    }
    publish()
  }

  function publish(): void {
    const next = draw()
    if (next === picture) return
    picture = next
    emitter.emit('session', next)
  }

  function draw(): Session | null | undefined {
    if (!held) return held
    const { id, version, subject } = held.record
    const current = token(held)
    const status = held.expired ? 'expired' : 'active'
    const fresh = isFresh(current) === true
    if (
      picture?.id === id &&
      picture.version === version &&
      picture.status === status &&
      picture.fresh === fresh
    ) {
      return picture
    }
    const { csrf: _, ...claims } = current?.claims ?? {}
    const expiresAt =
      current?.lasts === undefined ? undefined : Math.round(on.now() + current.lasts - current.age())
    return Object.freeze({ id, version, subject, status, fresh, expiresAt, claims: freeze(claims) })
  }

  function end(id: string, reason: LogoutReason, origin: Origin): void {
    remember(id, reason)
    if (held?.record.id !== id) return
    const { subject } = held.record
    become(null)
    moot()
    emitter.emit('loggedOut', { type: 'loggedOut', reason, subject, origin })
  }

  function remember(id: string, reason: LogoutReason): void {
    // The first reason is the true one: a logout is not made an expiry by what comes after it.
    if (!endings.has(id)) endings.set(id, reason)
    if (endings.size > 100) endings.delete(endings.keys().next().value as string)
  }

  /** Takes note of what stands in the store; `decided`: or shall stand there, as soon as it can be written. */
  function see(record: StoreRecord | null, from: Origin, decided?: boolean): void {
    const before = held?.record
    standing = record
    const origin = record && own.has(record.revision) ? 'this context' : from
    if (record && record.revision === before?.revision) return
    if (!record) {
      if (!before) become(null)
      // Lost data is written back; what is not saved yet is about to be written anyway.
      else if (unsaved.length) return
      else if (store.empty === 'ended') end(before.id, 'storage_cleared', origin)
      else void keep(restore(before.id))
    } else if (
      'ended' in record ||
      endings.has(record.id) ||
      (origin === 'other context' && isClosed(record))
    ) {
      if (!before) become(null)
      // What is not saved yet is newer than a stranger's tombstone.
      else if ('ended' in record && (record.id === before.id || !unsaved.length)) {
        end(before.id, record.ended, origin)
      }
      if ('ended' in record) remember(record.id, record.ended)
    } else if (record.id === before?.id) {
      // Versions only grow: what is older is a stale read, lost data, or ours is not saved yet.
      if (record.version > before.version) adopt(record, origin, 'tokenRefreshed')
      else if (record.version === before.version) adopt(record, origin)
      else if (!unsaved.length) void keep(restore(before.id))
    } else if (!before || !unsaved.length || decided) {
      adopt(record, origin, held === undefined && origin === 'other context' ? undefined : 'loggedIn')
    }
    for (const wake of [...waiting]) wake()
  }

  /** Whether a logout that is still to be written was called after this session's login. */
  function isClosed({ calledAt }: LiveRecord): boolean {
    return (
      closed !== undefined && (unsaved.length > 0 || closed.since() < storeTimeout) && calledAt <= closed.at()
    )
  }

  function adopt(record: LiveRecord, origin: Origin, event?: 'loggedIn' | 'tokenRefreshed'): void {
    const before = held?.record
    const now = earliest()
    const since = stopwatch(on)
    const next: Held = {
      record,
      access: hold(record.access, held),
      fresh: hold(record.fresh, held),
      expired: !event && held?.expired === true,
      left: (until, most) => (until === undefined ? 0 : Math.min(until - now, most) - since()),
    }
    if (origin === 'this context') closed = undefined
    // The new session is in place before anybody is told that the old one is gone: no call falls in between. A
    // listener may end it at once, and is then told nothing more of it.
    become(next)
    if (before && before.id !== record.id) {
      remember(before.id, 'replaced')
      if (origin === 'other context') moot()
      if (before.subject === undefined || before.subject !== record.subject) {
        const { subject } = before
        emitter.emit('loggedOut', { type: 'loggedOut', reason: 'replaced', subject, origin })
      }
    }
    if (event && held === next)
      emitter.emit(event, { type: event, reason: record.reason, session: picture, origin })
  }

  // --- the cell ------------------------------------------------------------------------------------------

  const latest = (): number => (heard ? heard.now + heard.asked() : on.now())
  const earliest = (): number => (heard ? heard.now + heard.answered() : on.now())

  /** Asks the store, within bounds. `overtaken`: others were answered meanwhile, so that this may be older news. */
  function ask(what: 'read' | 'commit', call: () => MaybePromise<Cell>): MaybePromise<Heard> {
    const asked = stopwatch(on)
    const before = answers
    const answered = ({ record, now }: Cell): Heard => {
      available = true
      const overtaken = answers++ !== before
      heard = { now, asked, answered: stopwatch(on) }
      return { record, overtaken }
    }
    const failed = (error: unknown): never => {
      // Said once for each time that it goes away.
      if (available) {
        available = false
        emitter.emit('storeUnavailable', {
          type: 'storeUnavailable',
          reason: what,
          error: safeCause(error),
          origin: 'this context',
        })
      }
      throw error
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
  function look(tries = 3): MaybePromise<StoreRecord | null> {
    return chain(
      ask('read', () => store.read()),
      ({ record, overtaken }) =>
        overtaken && tries && record?.revision !== standing?.revision ? look(tries - 1) : record,
    )
  }

  const read = (): MaybePromise<void> => chain(look(), (record) => see(sound(record), 'other context'))

  function write(fn: Change): MaybePromise<StoreRecord | null> {
    let tries = 0
    const attempt = (stands: StoreRecord | null): MaybePromise<StoreRecord | null> => {
      const found = sound(stands)
      const wanted = fn(found)
      if (!wanted || !store.commit) {
        see(found, 'other context')
        return found
      }
      if (tries++ > 100) throw new Error(`${store.name}: commits are neither done nor refused`)
      const next = stamp(wanted)
      return chain(
        ask('commit', () => store.commit?.(next, stands?.revision ?? null) as MaybePromise<Cell>),
        ({ record, overtaken }): MaybePromise<StoreRecord | null> => {
          if (record?.revision !== next.revision) return chain(overtaken ? look() : record, attempt)
          if (overtaken) return chain(read(), () => record)
          see(record, 'this context')
          return record
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
      const standing = held?.record ?? null
      const wanted = fn(standing)
      const next = wanted && stamp(wanted)
      const id = next && !('ended' in next) ? next.id : undefined
      // What was made here counts only while it is what this context holds.
      unsaved.push((stands) => (id === undefined || held?.record.id === id ? fn(stands) : undefined))
      void saveLater()
      if (!next) return standing
      see(next, 'this context', true)
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
    // What stood there instead of ours was not looked at until now.
    await read()
  }

  async function saveLater(): Promise<void> {
    if (unsaved.length > 1) return
    for (let wait = 100; unsaved.length; wait = Math.min(wait * 2, 30_000)) {
      // The first tries hold a process up that is about to end: what it got last would be lost with it.
      await new Promise<void>((resolve) => void on.timer(resolve, wait, wait > 2_000))
      await save().catch(() => {})
    }
  }

  /** Writes the session back into a cell that has lost it, or its latest version. */
  const restore =
    (id: string): Change =>
    (standing) => {
      const mine = held?.record
      if (mine?.id !== id) return undefined
      const lost = standing ? standing.id === id && standing.version < mine.version : store.empty !== 'ended'
      return lost && !(standing && 'ended' in standing) ? mine : undefined
    }

  // --- being told ----------------------------------------------------------------------------------------

  const peek = (): Promise<void> =>
    Promise.resolve()
      .then(read)
      .catch(() => {})

  /** Asks the store again; until it has answered, what is held counts as unread. */
  function reread(initial?: Change): Promise<void> {
    let answer: MaybePromise<unknown>
    try {
      answer = initial ? write(initial) : read()
    } catch {
      return Promise.resolve()
    }
    if (!isPromise(answer)) return Promise.resolve()
    const mine = answer
      .catch(() => {})
      .then(() => {
        if (unread === mine) unread = undefined
      })
    unread = mine
    return mine
  }

  function notice(what?: Notice): void {
    if (what && own.has(what.revision)) return
    const known = held?.record
    if (what && known && what.id === known.id && !what.ended) {
      // The token in hand stays good whatever came after it, so that nobody has to wait for the reading.
      if (what.revision !== known.revision) void peek()
    } else {
      // From the notice on nothing goes out as somebody who is no longer signed in, or may not be.
      // A tombstone is all that stands there, so that it ends what was there before it, too.
      if (what?.ended) {
        remember(what.id, what.ended)
        if (known && !unsaved.length) end(known.id, what.ended, 'other context')
      }
      void reread()
    }
  }

  let ready: Promise<void> = Promise.resolve()
  let unwatch: (() => void) | undefined

  return {
    start(initial) {
      ready = reread(initial)
      unwatch = store.watch?.(notice)
    },
    get held() {
      return held
    },
    get unread() {
      return unread
    },
    get switched() {
      return switched
    },
    get ready() {
      return ready
    },
    get standing() {
      return standing
    },
    writable: store.commit !== undefined,
    blind: store.watch === undefined,
    lossy: store.empty !== 'ended',
    token,
    usable,
    isFresh,
    owns: (stamp, now) =>
      now != null &&
      (now.record.id === stamp.id || (stamp.subject !== undefined && stamp.subject === now.record.subject)),
    latest,
    earliest,
    moment() {
      const since = stopwatch(on)
      return () => (latest() + earliest()) / 2 - since()
    },
    read,
    peek,
    change: (fn, keeping) =>
      keeping ? keep(fn) : unsaved.length ? chain(save(), () => write(fn)) : write(fn),
    reread,
    changed: (ms) =>
      new Promise((resolve) => {
        const wake = (): void => {
          waiting.delete(wake)
          stop()
          resolve()
        }
        const stop = on.timer(wake, ms)
        waiting.add(wake)
      }),
    close(at) {
      closed = { since: stopwatch(on), at }
      if (held === undefined) become(null)
    },
    end,
    isEnded: (id) => endings.has(id),
    endReason: (id) => endings.get(id),
    setExpired(of, expired) {
      of.expired = expired
      publish()
    },
    snapshot() {
      // A fresh token that came to its end changes the picture without anybody having done anything.
      publish()
      return picture
    },
    onMoot(listener) {
      moot = listener
    },
    learnSkew,
    dispose: () => unwatch?.(),
  }
}

/** Frozen all the way down; it came from JSON. */
function freeze<T>(value: T): T {
  if (typeof value === 'object') for (const member of Object.values(value ?? {})) freeze(member)
  return Object.freeze(value)
}

/** What a store gave, if it is a record of ours: a store can be written to by others. */
function sound(record: StoreRecord | null): StoreRecord | null {
  if (typeof record?.id !== 'string' || !Number.isInteger(record.version)) return null
  if ('ended' in record) return record
  const { access, fresh, refreshToken } = record
  const tokens = [access, fresh].filter((stored) => stored !== undefined).map((stored) => stored?.token)
  if (refreshToken !== undefined) tokens.push(refreshToken)
  return (access || refreshToken) && tokens.every(isToken) ? record : null
}

function isPromise<T>(value: MaybePromise<T>): value is Promise<T> {
  return typeof (value as PromiseLike<T> | null)?.then === 'function'
}

/** `fn(value)`, now if the value is there: what a memory store answers is used in the same tick. */
export function chain<T, R>(value: MaybePromise<T>, fn: (value: T) => MaybePromise<R>): MaybePromise<R> {
  return isPromise(value) ? value.then(fn) : fn(value)
}
