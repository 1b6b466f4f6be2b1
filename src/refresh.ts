/**
 * The refresh protocol, over any store: join → claim → exchange → commit.
 *
 * Who needs the next version claims it in the record, exchanges the refresh token, and commits what came. Who
 * loses waits for the record to change. A claim ends by itself, so that nothing hangs on a holder that died; a
 * holder that slept finds out before it sends. No listener and no caller's code runs inside a claim.
 */
import { safeCause } from './errors.ts'
import type { Emitter } from './events.ts'
import { type Claimed, type Exchanger, RETRY_AFTER_AT_MOST, type Result, subjectOf } from './exchange.ts'
import { type Platform, stopwatch } from './platform.ts'
import type { Held, SessionRoom } from './session.ts'
import { readToken } from './token.ts'
import type {
  Backend,
  ChangeReason,
  Draft,
  LiveRecord,
  RefreshFailure,
  StoredToken,
  StoreRecord,
} from './types.ts'

/** How an attempt to get the next version ended. */
export type Outcome =
  /** The record is another one now: refreshed, by us or another, or ended. */
  | { kind: 'moved' }
  /** There is no refresh token (any more). `response` makes a copy of the refusal, where it was ours. */
  | { kind: 'refused'; response?: (() => Response) | undefined }
  | { kind: 'unavailable'; reason: RefreshFailure; retryAt: number; status?: number; cause?: Error }

export interface Refresher {
  /** One exchange per version, whoever asks. Never rejects. */
  join(held: Held, reason: ChangeReason): Promise<Outcome>
  /** Whether it is time to refresh ahead. */
  due(held: Held): boolean
  /**
   * How far into its life a token is to be refreshed, in ms. The first that is not fresh gets a moment drawn over
   * its life, after the first tenth; later ones keep their distance: clients that signed in together don't refresh together.
   */
  draw(access: StoredToken | undefined, before?: number): number | undefined
  /** Resolves when what is under way is over; from the call on nothing begins. */
  idle(): Promise<void>
}

export interface RefreshOptions {
  refreshAhead: number | false
  refreshTimeout: number
  refreshLimit: { exchanges: number; interval: number }
}

const MOVED: Outcome = { kind: 'moved' }
// The same to callers, but known by its identity: what stands there by now has run out as well, and is refreshed next.
const BEHIND: Outcome = { kind: 'moved' }

// How long an answer that has come while all stood still may take to be read, and written, ms.
const CATCH_UP = 1_000
// What a store says of a claim is not believed beyond this.
const CLAIM_AT_MOST = 600_000

export function createRefresher(
  session: SessionRoom,
  { exchange, revoke }: Exchanger,
  backend: Backend<never, never>,
  emitter: Emitter,
  on: Platform,
  { refreshAhead, refreshTimeout, refreshLimit }: RefreshOptions,
): Refresher {
  // By session and version: a call of the session before takes no other's place.
  const flights = new Map<string, Promise<Outcome>>()
  // No ahead-of-time attempt before this: one that failed is not repeated with every request.
  let quietUntil = 0
  // Until then the limit is told by no further event.
  let toldUntil = 0
  let over = false

  function join(held: Held, reason: ChangeReason): Promise<Outcome> {
    const { id, version } = held.record
    const key = [id, version].join()
    const running = flights.get(key)
    if (running) {
      // It rejects only where it is lost: on Cloudflare with the request that began it, if that is over.
      return running.catch(() => {
        if (flights.get(key) === running) flights.delete(key)
        const now = wanted(id, version)
        return now ? join(now, reason) : MOVED
      })
    }
    const outcome = run(id, version, reason)
      .finally(() => flights.delete(key))
      .then((came) => (came === BEHIND && session.held?.record.id === id ? join(session.held, reason) : came))
    flights.set(key, outcome)
    return outcome
  }

  async function run(id: string, version: number, reason: ChangeReason): Promise<Outcome> {
    let outcome: Outcome
    try {
      outcome = await attempt(id, version, reason)
    } catch (error) {
      outcome = unavailable('store', 0, { cause: safeCause(error) })
    }
    if (outcome.kind === 'unavailable') {
      const limited = outcome.reason === 'refresh_limit'
      const told = limited && on.monotonic() < toldUntil
      quietUntil = on.monotonic() + Math.max(outcome.retryAt - on.now(), 1000)
      if (limited) toldUntil = quietUntil
      // Of a limit and a cool-down each call is told by its error.
      if (outcome.reason !== 'cool_down' && !told) {
        const { reason, status, retryAt } = outcome
        emitter.emit({ type: 'refreshFailed', reason, status, retryAt, origin: 'this context' })
      }
    }
    return outcome
  }

  const unavailable = (reason: RefreshFailure, pause: number, more?: object): Outcome => ({
    kind: 'unavailable',
    reason,
    retryAt: Math.ceil(on.now() + pause),
    ...more,
  })

  /** What is held, if it is still that whose next version is wanted. */
  const wanted = (id: string, version: number): Held | undefined => {
    const { held } = session
    return held?.record.id === id && held.record.version === version ? held : undefined
  }

  async function attempt(id: string, version: number, reason: ChangeReason): Promise<Outcome> {
    const me = on.id()
    const waited = stopwatch(on)
    let tries = 0
    // Whose claim we wait out; and since we looked last.
    let awaited: string | undefined
    let looked = stopwatch(on)
    for (;;) {
      const before = looked
      looked = stopwatch(on)
      await session.cell.read()
      const held = wanted(id, version)
      const now = session.held
      // What has moved on unheard of, and not while we waited for it, may have run out as well.
      const unheard = !tries && !awaited && now?.record.id === id && now.record.version > version
      if (unheard && session.token(now)?.over()) return BEHIND
      // Nobody waits for it any more.
      if (!held || over) return MOVED
      const { record } = held
      // While only a password helps nothing is refreshed: that would bring back what was revoked.
      if (!session.writable || !record.refreshToken || held.expired) return { kind: 'refused' }
      const pause = held.left(record.retryAt, RETRY_AFTER_AT_MOST)
      if (pause > 0) return unavailable('cool_down', pause)
      const limited = limitedFor(held)
      if (limited > 0) return unavailable('refresh_limit', limited)

      const { claim } = record
      const claimed =
        claim && claim.by !== me ? held.left(claim.until, Math.min(claim.span, CLAIM_AT_MOST), true) : 0
      if (claimed > 0) {
        const bound = refreshTimeout - waited()
        if (bound <= 0) return unavailable('busy', claimed)
        awaited = claim?.by
        // A store that watches wakes us; the bound serves those that don't, and a notice that got lost.
        await session.changed(Math.min(claimed, bound, 250))
        continue
      }

      // Who stood still, and others with him, finds it run out though its answer has come, and is about to be read.
      if (claim && claim.by === awaited && before() > CATCH_UP) {
        awaited = undefined
        await session.changed(CATCH_UP)
        continue
      }

      // A store that takes every commit and keeps none.
      if (tries++ > 100) return unavailable('store', 0)
      await session.cell.change((standing) => {
        // Only over the very record that was judged: one that has changed since is judged anew.
        if (standing?.revision !== record.revision || session.isEnded(id)) return undefined
        const begun = recent(record)
        // Cut, as wall clocks are: by a part of a millisecond it would seem to lie ahead.
        const now = Math.floor(session.cell.earliest())
        // More than the exchange may take: time to hear that the claim is ours, and more for a store that is slow.
        const span = refreshTimeout * (1 + Math.min(0.25 * tries, 2))
        return {
          ...record,
          claim: { by: me, until: session.cell.latest() + span, span },
          begun: isEarly(held) ? [...begun, now] : begun,
        }
      })
      // As it is held by now: a password may have replaced what was to be spent while the claim was being written.
      const mine = wanted(id, version)?.record
      if (mine?.claim?.by !== me || !mine.refreshToken) continue
      // Frozen meanwhile? A claim that can't outlast the exchange is no claim: start over.
      if (mine.claim.until - session.cell.latest() < refreshTimeout) continue
      const outcome = await settle(mine as Claimed, reason)
      if (outcome) return outcome
    }
  }

  /** What is to stand after an exchange, given what stands; `undefined`: what stands stays. */
  function successor(
    stood: StoreRecord | null,
    claimed: Claimed,
    reason: ChangeReason,
    result: Result,
  ): Draft | undefined {
    const { id, version, claim, refreshToken: spent } = claimed
    // Ended or replaced, though that may be still to be written: what came is revoked.
    if (session.isEnded(id)) return undefined
    // A cell that fell back has lost its data meanwhile, and so has an empty one, unless that means that the user cleared it.
    const standing = session.isBehind(stood, claimed) ? claimed : (stood ?? (session.lossy ? claimed : null))
    if (!standing || 'ended' in standing || standing.id !== id) return undefined
    const same = standing.refreshToken === spent
    const released = standing.claim?.by === claim.by ? undefined : standing.claim
    if (result.kind === 'tokens') {
      const { access } = result
      const rotated = result.tokens.refreshToken
      if (isAnother(standing, access)) return undefined
      // Moved on: another version stands there, which may be this one, written already. Only if that one still counts on
      // the refresh token that was spent here (a re-authentication that brought none) is the successor its own.
      if (standing.version !== version && !(same && rotated && rotated !== spent)) return undefined
      return {
        ...standing,
        version: standing.version + 1,
        reason,
        access,
        fresh: stillFresh(standing, version),
        refreshToken: rotated ?? (backend.singleUse ? undefined : standing.refreshToken),
        subject: standing.subject ?? subjectOf(backend, access),
        // After an outage all come at once: their next times are drawn anew, or they would for ever.
        due: draw(access, standing.failures ? undefined : standing.due),
        // Written late, our own claim having run out: who is exchanging the refresh token that stays is still doing so.
        claim: rotated ? undefined : released,
        failures: undefined,
        retryAt: undefined,
      }
    }
    if (result.kind === 'refused') {
      // The token that was refused may have been replaced meanwhile: then this is no news.
      return same ? { ...standing, refreshToken: undefined, claim: released } : undefined
    }
    if (standing.version !== version) return undefined
    const failures = (standing.failures ?? 0) + 1
    const pause =
      result.retryAfter ?? (failures > 1 ? Math.min(1000 * 2 ** (failures - 2), 30_000) : undefined)
    const retryAt = pause === undefined ? undefined : session.cell.latest() + pause
    return { ...standing, claim: released, failures, retryAt }
  }

  /** Another user's token is no token of this session. */
  function checkSubject(result: Result, claimed: LiveRecord): Result {
    if (result.kind !== 'tokens' || !isAnother(claimed, result.access)) return result
    // In place of this session's refresh cookie there is that of who signed in elsewhere: only a password helps, once the access
    // token is over. At the second time in a row: the first may be a login that is in the store in a moment, or a wrong password.
    const { held } = session
    const usable = held && session.usable(session.token(held))
    if (backend.cookies === 'refresh' && claimed.failures && !usable) {
      return { kind: 'refused', status: 200, response: undefined }
    }
    // Another user's cookies are those of who signed in elsewhere.
    if (!backend.cookies) void revoke(result.tokens)
    return { reason: 'bad_answer', cause: new Error('The refresh brought another subject') }
  }

  /** Exchanges, and writes down what came of it. `undefined`: it came to nothing, for the claim was lost. */
  async function settle(claimed: Claimed, reason: ChangeReason): Promise<Outcome | undefined> {
    const { id, version } = claimed
    const came = await exchange(claimed, () =>
      session.cell.peek().then(() => wanted(id, version) !== undefined),
    )
    if (!came) return undefined
    const result = checkSubject(came, claimed)

    let returned = false
    // Whether the store was given something at the last try, and whether it may have taken what it was given before.
    let made = false
    let tried = false
    /** What came too late for the record must not live on at the server, unless the record holds it. */
    const giveBack = (stands: StoreRecord | null): void => {
      if (result.kind !== 'tokens' || returned) return
      const live = stands && !('ended' in stands) ? stands : undefined
      const { accessToken, refreshToken } = result.tokens
      const user = { id, subject: claimed.subject ?? subjectOf(backend, result.access) }
      // What came in a cookie has taken the place of what was there, another login's of the same user, too. What was
      // written, though the store has not said so, may be what others have gone on from: theirs would die with it.
      // So had a login's, where the page heard of its own too late: then what was read are that login's values.
      const theirs = live?.access?.token === accessToken
      const stays = backend.cookies
        ? live && (theirs || session.owns(user, { record: live }))
        : theirs || (tried && live?.id === id && live.version > version + 1)
      // One of a family that the session goes on with: that would end with it. But for a password that brought one of its own.
      const own = live?.reason === 'reauthenticated' && live.refreshToken !== claimed.refreshToken
      const kin = backend.revokes === 'grant' && live?.id === id && !own
      if (stays || (kin && !session.isEnded(id))) return
      returned = true
      const kept = refreshToken === live?.refreshToken
      void revoke({ accessToken, refreshToken: kept ? undefined : refreshToken })
    }
    await session.cell.change((stood, refused) => {
      // What was given back stays so.
      const next = returned ? undefined : successor(stood, claimed, reason, result)
      if (!refused) tried ||= made
      made = next !== undefined
      // Not wanted; or no longer, where it was kept here while the store was away, and may have taken it after all.
      if (!made && (refused !== undefined || !tried || session.isEnded(id))) giveBack(stood)
      return next
    }, true)

    if (result.kind === 'tokens') {
      session.learnSkew(readToken(result.access), result.sentAt)
      return MOVED
    }
    const held = wanted(id, version)
    if (!held) return MOVED
    if (result.kind === 'refused') {
      const { response, status } = result
      emitter.emit({ type: 'refreshRefused', reason, status, origin: 'this context' })
      return { kind: 'refused', response }
    }
    const { reason: why, status, cause } = result
    return unavailable(why, held.left(held.record.retryAt, RETRY_AFTER_AT_MOST), { status, cause })
  }

  function isAnother({ subject }: LiveRecord, access: StoredToken): boolean {
    return subject !== undefined && (subjectOf(backend, access) ?? subject) !== subject
  }

  // --- when ----------------------------------------------------------------------------------------------

  function due(held: Held): boolean {
    const { access, record } = held
    if (refreshAhead === false || backend.singleUse || !record.refreshToken || !access) return false
    // A cookie is replaced: a fresh one is kept to its end.
    if (backend.cookies === 'both' && session.isFresh(access)) return false
    if (
      access.lasts === undefined ||
      !session.writable ||
      access.age() < (record.due ?? dueAt(access.lasts))
    ) {
      return false
    }
    return on.monotonic() >= quietUntil
  }

  const dueAt = (lasts: number): number => lasts - Math.min(refreshAhead || 0, lasts / 2)

  function draw(access: StoredToken | undefined, before?: number): number | undefined {
    if (!access) return undefined
    const { lasts, freshFor } = readToken(access)
    if (lasts === undefined || freshFor) return undefined
    // Not at once: a token that has only come is no use spent, and who counts requests would be surprised.
    return before === undefined ? dueAt(lasts) * (0.1 + 0.9 * on.random()) : dueAt(lasts)
  }

  /** A fresh token stays in use to its own end. */
  function stillFresh(standing: LiveRecord, version: number): StoredToken | undefined {
    // A cookie is replaced.
    if (backend.cookies === 'both') return undefined
    const current = session.held && session.token(session.held)
    // By a password elsewhere, which has not been heard of here.
    const unheard = standing.version > version && session.held?.record.version === version
    const { access } = standing
    if (unheard && access && readToken(access).freshFor) return access
    if (!current || !session.isFresh(current)) return undefined
    return [standing.fresh, standing.access].find((stored) => stored?.token === current.token)
  }

  // --- how often -----------------------------------------------------------------------------------------

  /** Whether less than half of its life has passed, or nobody can tell. */
  function isEarly({ access }: Held): boolean {
    return access !== undefined && (access.lasts === undefined || access.age() < access.lasts / 2)
  }

  /** When the latest early exchanges began. What lies ahead was written before the clock was set back. */
  function recent({ begun }: LiveRecord): number[] {
    const now = session.cell.latest()
    // Flat, whatever it is: a store can be written to by others.
    return ([begun].flat() as number[]).filter((at) => at <= now && at > now - refreshLimit.interval)
  }

  /** For how long no early exchange may begin, in ms. */
  function limitedFor(held: Held): number {
    const oldest = recent(held.record).at(-refreshLimit.exchanges) ?? -Infinity
    return isEarly(held) ? oldest + refreshLimit.interval - session.cell.earliest() : 0
  }

  function idle(): Promise<void> {
    over = true
    return Promise.all(flights.values()).then(() => {})
  }

  return { join, due, draw, idle }
}
