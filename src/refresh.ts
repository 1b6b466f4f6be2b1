/**
 * The refresh protocol, over any store: join → claim → exchange → commit.
 *
 * Who needs the next version claims it in the record, exchanges the refresh token, and commits what came. Who
 * loses waits for the record to change. A claim ends by itself, so that nothing hangs on a holder that died; a
 * holder that slept finds out before it sends. No listener and no caller's code runs inside a claim.
 */
import { consult } from './consult.ts'
import { safeCause } from './errors.ts'
import type { Emitter } from './events.ts'
import { type Platform, sleep, stopwatch, within } from './platform.ts'
import type { Held, SessionRoom } from './session.ts'
import { checkTokens, readToken } from './token.ts'
import type {
  Answer,
  Backend,
  ChangeReason,
  Draft,
  LiveRecord,
  RefreshFailure,
  StoredToken,
  StoreRecord,
  Tokens,
} from './types.ts'
import { readAnswer, type Wire } from './wire.ts'

/** How an attempt to get the next version ended. */
export type Outcome =
  /** The record is another one now: refreshed, by us or another, or ended. */
  | { kind: 'moved' }
  /** There is no refresh token (any more). `response` makes a copy of the refusal, where it was ours. */
  | { kind: 'refused'; response?: () => Response }
  | { kind: 'unavailable'; reason: RefreshFailure; retryAt: number; status?: number; cause?: Error }

export interface Refresher {
  /** One exchange per version, whoever asks. Never rejects. */
  join(held: Held, reason: ChangeReason): Promise<Outcome>
  /** Whether it is time to refresh ahead. */
  due(held: Held): boolean
  /**
   * How far into its life a token is to be refreshed, in ms. The first that is not fresh gets a moment drawn over
   * its life, later ones keep their distance: clients that signed in together don't refresh together.
   */
  draw(access: StoredToken | undefined, before?: number): number | undefined
  /** Takes tokens that must not live on back to the server. `ended`: the user signed out. Never rejects. */
  revoke(tokens: Tokens, ended?: boolean): Promise<void>
}

export interface RefreshOptions {
  refreshAhead: number | false
  refreshTimeout: number
  refreshLimit: { exchanges: number; interval: number }
}

/** What the exchange itself came to. */
type Result =
  | { kind: 'tokens'; tokens: Tokens }
  | { kind: 'refused'; status: number; response: () => Response }
  | { kind: 'failed'; reason: RefreshFailure; status?: number; cause?: Error; retryAfter?: number }
  | { kind: 'ended' }

const RETRY_AFTER_AT_MOST = 3_600_000
// What a store says of a claim is not believed beyond this.
const CLAIM_AT_MOST = 600_000

export function createRefresher(
  session: SessionRoom,
  backend: Backend<never, never>,
  wire: Wire,
  emitter: Emitter,
  on: Platform,
  { refreshAhead, refreshTimeout, refreshLimit }: RefreshOptions,
): Refresher {
  let flight: { id: string; version: number; outcome: Promise<Outcome> } | undefined
  // No ahead-of-time attempt before this: one that failed is not repeated with every request.
  let quietUntil = 0

  function join(held: Held, reason: ChangeReason): Promise<Outcome> {
    const { id, version } = held.record
    if (flight?.id === id && flight.version === version) return flight.outcome
    const mine = { id, version, outcome: run(id, version, reason) }
    flight = mine
    return mine.outcome.finally(() => {
      if (flight === mine) flight = undefined
    })
  }

  async function run(id: string, version: number, reason: ChangeReason): Promise<Outcome> {
    let outcome: Outcome
    try {
      outcome = await attempt(id, version, reason)
    } catch (error) {
      outcome = unavailable('store', 0, { cause: safeCause(error) })
    }
    if (outcome.kind === 'unavailable') {
      quietUntil = on.monotonic() + Math.max(outcome.retryAt - on.now(), 1000)
      if (outcome.reason !== 'cool_down') {
        const { reason, status, retryAt } = outcome
        emitter.emit('refreshFailed', {
          type: 'refreshFailed',
          reason,
          status,
          retryAt,
          origin: 'this context',
        })
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

  /** The record in hand, if it is still the one whose next version is wanted. */
  const wanted = (
    record: StoreRecord | null | undefined,
    id: string,
    version: number,
  ): LiveRecord | undefined =>
    record && !('ended' in record) && record.id === id && record.version === version ? record : undefined

  async function attempt(id: string, version: number, reason: ChangeReason): Promise<Outcome> {
    const me = on.id()
    const waited = stopwatch(on)
    let late = 1
    if (!session.writable) return { kind: 'refused' }
    for (let tries = 0; ; tries++) {
      // A store that takes every commit and keeps none.
      if (tries > 100) return unavailable('store', 0)
      await session.cell.read()
      const { held } = session
      const record = wanted(held?.record, id, version)
      if (!held || !record) return { kind: 'moved' }
      // While only a password helps nothing is refreshed: that would bring back what was revoked.
      if (!record.refreshToken || held.expired) return { kind: 'refused' }
      const pause = held.left(record.retryAt, RETRY_AFTER_AT_MOST)
      if (pause > 0) return unavailable('cool_down', pause)
      const limited = limitedFor(record)
      if (limited > 0) return unavailable('refresh_limit', limited)

      const { claim } = record
      const claimed =
        claim && claim.by !== me ? held.left(claim.until, Math.min(claim.span, CLAIM_AT_MOST), true) : 0
      if (claimed > 0) {
        const bound = refreshTimeout - waited()
        if (bound <= 0) return unavailable('busy', claimed)
        // A store that watches wakes us; the bound serves those that don't, and a notice that got lost.
        await session.changed(Math.min(claimed + 1, bound, 250))
        continue
      }

      const stands = await session.cell.change((standing) => {
        // Only over the very record that was judged: one that has changed since is judged anew.
        if (standing?.revision !== record.revision || session.isEnded(id)) return undefined
        const begun = recent(record)
        // More than the exchange may take: time to hear that the claim is ours, and more for a store that is slow.
        const span = refreshTimeout * (1 + Math.min(0.25 * late++, 2))
        return {
          ...record,
          claim: { by: me, until: session.cell.latest() + span, span },
          begun: isEarly(record) ? [...begun, session.cell.earliest()] : begun,
        }
      })
      const mine = wanted(stands, id, version)
      if (mine?.claim?.by !== me || !mine.refreshToken) continue
      // What was heard while the claim was being written: a password may have replaced what was to be spent.
      if (!wanted(session.held?.record, id, version)) continue
      // Frozen meanwhile? A claim that can't outlast the exchange is no claim: start over.
      if (mine.claim.until - session.cell.latest() < refreshTimeout) continue
      const outcome = await settle(mine, mine.refreshToken, reason)
      if (outcome) return outcome
    }
  }

  /** What is to stand after an exchange, given what stands; `undefined`: what stands stays. */
  function successor(
    stood: StoreRecord | null,
    claimed: LiveRecord,
    spent: string,
    reason: ChangeReason,
    result: Result,
    access: StoredToken | undefined,
  ): Draft | undefined {
    const { id, version } = claimed
    // A logout that is still to be written: what came is revoked.
    if (session.isEnded(id)) return undefined
    // An empty cell has lost its data meanwhile, unless that means that the user cleared it.
    const standing = stood ?? (session.lossy && session.held?.record.id === id ? claimed : null)
    if (!standing || 'ended' in standing || standing.id !== id) return undefined
    const same = standing.refreshToken === spent
    const released = standing.claim?.by === claimed.claim?.by ? undefined : standing.claim
    if (result.kind === 'tokens') {
      const rotated = result.tokens.refreshToken
      // Written already, should this be tried again.
      const kept = standing.access?.token === access?.token && (!rotated || standing.refreshToken === rotated)
      if (!access || (kept && standing.version > version) || isAnother(standing, access)) return undefined
      // Moved on: another version stands there. Only if that one still counts on the refresh token that was spent
      // here (a re-authentication that brought none) is the successor its own.
      if (standing.version !== version && !(same && rotated && rotated !== spent)) return undefined
      return {
        ...standing,
        version: standing.version + 1,
        reason,
        access,
        fresh: stillFresh(standing),
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
    if (result.kind === 'ended') return { ...standing, claim: released }
    const failures = (standing.failures ?? 0) + 1
    const pause =
      result.retryAfter ?? (failures > 1 ? Math.min(1000 * 2 ** (failures - 2), 30_000) : undefined)
    const retryAt = pause === undefined ? undefined : session.cell.latest() + pause
    return { ...standing, claim: released, failures, retryAt }
  }

  /** Another user's token is no token of this session. */
  function checkSubject(result: Result, claimed: LiveRecord): Result {
    if (result.kind !== 'tokens' || !isAnother(claimed, storedToken(result.tokens))) return result
    // Another user's cookies are those of who signed in elsewhere.
    if (!backend.cookies) void revoke(result.tokens)
    return { kind: 'failed', reason: 'bad_answer', cause: new Error('The refresh brought another subject') }
  }

  /** Exchanges, and writes down what came of it. `undefined`: it came to nothing, for the claim was lost. */
  async function settle(
    claimed: LiveRecord,
    spent: string,
    reason: ChangeReason,
  ): Promise<Outcome | undefined> {
    const { id, version } = claimed
    const at = session.cell.latest()
    const sentAt = on.now()
    const result = checkSubject(await exchange(claimed, spent), claimed)
    const access = result.kind === 'tokens' ? storedToken(result.tokens, at) : undefined

    let returned = false
    /** What came too late for the record must not live on at the server, unless the record holds it. */
    const giveBack = (stands: StoreRecord | null): void => {
      if (result.kind !== 'tokens' || returned) return
      const live = stands && !('ended' in stands) ? stands : undefined
      const record = live?.id === id ? live : undefined
      const { accessToken, refreshToken } = result.tokens
      const user = { id, subject: claimed.subject ?? subjectOf(backend, access) }
      // What came in a cookie has taken the place of what was there, another login's of the same user, too.
      const stays = backend.cookies
        ? live && session.owns(user, { record: live })
        : record?.access?.token === accessToken
      if (stays) return
      returned = true
      const kept = refreshToken === spent || refreshToken === record?.refreshToken
      void revoke({ accessToken, refreshToken: kept ? undefined : refreshToken })
    }
    let told = false
    const stands = await session.cell.change((stood) => {
      const wanted = successor(stood, claimed, spent, reason, result, access)
      // It was kept here, the store being away, and is no longer wanted there.
      if (told && !wanted) giveBack(stood)
      return wanted
    }, true)
    told = true
    giveBack(stands)

    if (result.kind === 'tokens') {
      if (access) session.learnSkew(readToken(access), sentAt)
      return { kind: 'moved' }
    }
    const record = stands && !('ended' in stands) && stands.id === id ? stands : undefined
    if (result.kind === 'ended') return undefined
    if (!record || record.version > version) return { kind: 'moved' }
    if (result.kind === 'refused') {
      const { response, status } = result
      emitter.emit('refreshRefused', { reason, status, origin: 'this context' })
      return { kind: 'refused', response }
    }
    const { reason: why, status, cause } = result as Extract<Result, { kind: 'failed' }>
    const pause = session.held?.left(record.retryAt, RETRY_AFTER_AT_MOST) ?? 0
    return unavailable(why, pause, { status, cause })
  }

  function isAnother({ subject }: LiveRecord, access: StoredToken | undefined): boolean {
    return subject !== undefined && (subjectOf(backend, access) ?? subject) !== subject
  }

  /** The exchange itself: one answer, or again where the server has plainly not processed it. */
  async function exchange({ id, version, claim, access }: LiveRecord, refreshToken: string): Promise<Result> {
    const still = (): Promise<boolean> =>
      session.cell.peek().then(() => wanted(session.held?.record, id, version) !== undefined)
    const elapsed = stopwatch(on)
    const controller = new AbortController()
    const stop = on.timer(() => controller.abort(), refreshTimeout)
    const late: Result = { kind: 'failed', reason: 'timeout' }
    try {
      for (let tries = 0; ; tries++) {
        // A page that was left gives its claim away, and may come back before the next try; so does a store that
        // loses its data.
        if (tries) await session.cell.peek()
        const lost = tries ? session.held?.record.claim?.by !== claim?.by : session.isEnded(id)
        if (lost) return { kind: 'ended' }
        if (elapsed() >= refreshTimeout) return late
        const { signal } = controller
        // Raced, for a fetch that doesn't heed its signal.
        const result = await within(
          on,
          once(refreshToken, access, still, signal),
          refreshTimeout - elapsed(),
          () => undefined,
        ).catch(
          (error): Result =>
            signal.aborted || !error
              ? late
              : {
                  kind: 'failed',
                  // A backend that fails is no network that does.
                  reason: error.code === 'invalid_option' ? 'bad_answer' : 'network',
                  cause: safeCause(error, refreshToken),
                },
        )
        if (result.kind !== 'failed' || (result.status !== 429 && result.status !== 503)) return result
        const wait = Math.max(result.retryAfter ?? 0, 250 * 2 ** tries * (0.5 + on.random() / 2))
        if (elapsed() + wait >= refreshTimeout) return result
        await sleep(on, wait, signal)
      }
    } finally {
      stop()
      controller.abort()
    }
  }

  async function once(
    refreshToken: string,
    access: StoredToken | undefined,
    still: () => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<Result> {
    const response = await wire.call(consult(backend, 'refresh', refreshToken, access, still), { signal })
    const answer = await readAnswer(response, signal, true)
    signal.throwIfAborted()
    const { status } = answer
    if (response.ok) {
      try {
        const tokens = checkTokens(consult(backend, 'tokens', answer, access), 'the refresh answer')
        if (tokens.accessToken) return { kind: 'tokens', tokens }
      } catch (error) {
        return { kind: 'failed', reason: 'bad_answer', status, cause: safeCause(error, refreshToken) }
      }
      return { kind: 'failed', reason: 'bad_answer', status }
    }
    if (consult(backend, 'refused', answer)) {
      // Copied as often as there are callers: clones of clones would not bear that.
      const body = await response.clone().arrayBuffer()
      const { statusText, headers } = response
      return { kind: 'refused', status, response: () => new Response(body, { status, statusText, headers }) }
    }
    void response.body?.cancel?.().catch(() => {})
    return { kind: 'failed', reason: 'status', status, retryAfter: retryAfter(answer) }
  }

  /** `Retry-After` (RFC 9110 section 10.2.3) in ms: seconds, or a date by the server's own clock. */
  function retryAfter({ headers }: Answer): number | undefined {
    const value = headers.get('retry-after') ?? ''
    const here = Date.parse(headers.get('date') ?? '') || on.now()
    const wait = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - here
    return wait >= 0 ? Math.min(wait, RETRY_AFTER_AT_MOST) : undefined
  }

  async function revoke({ refreshToken, accessToken }: Tokens, ended?: boolean): Promise<void> {
    const one = async (token: string, kind: 'access' | 'refresh'): Promise<void> => {
      const spec = backend.logout && consult(backend, 'logout', token, kind, ended)
      if (!spec) return
      const controller = new AbortController()
      const stop = on.timer(() => controller.abort(), refreshTimeout)
      // keepalive: a logout is often the last thing a page does.
      const sent = wire.call(spec, { keepalive: true, signal: controller.signal })
      await within(on, sent, refreshTimeout, () => undefined)
        .then((response) => response?.body?.cancel?.())
        .finally(stop)
    }
    await Promise.allSettled([
      // One request takes both cookies back.
      refreshToken && !(backend.cookies && accessToken) && one(refreshToken, 'refresh'),
      accessToken && one(accessToken, 'access'),
    ])
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
    const { lasts, freshFor } = readToken(access ?? { token: '' })
    if (lasts === undefined || freshFor) return undefined
    return before === undefined ? dueAt(lasts) * on.random() : dueAt(lasts)
  }

  /** A fresh token stays in use to its own end. */
  function stillFresh(standing: LiveRecord): StoredToken | undefined {
    const { held } = session
    const current = held?.record.id === standing.id ? session.token(held) : undefined
    if (backend.cookies === 'both' || !current || !session.isFresh(current)) return undefined
    return [standing.fresh, standing.access].find((stored) => stored?.token === current.token)
  }

  // --- how often -----------------------------------------------------------------------------------------

  /** Whether less than half of its life has passed, or nobody can tell. */
  function isEarly(record: LiveRecord): boolean {
    const access = session.held?.record.id === record.id ? session.held.access : undefined
    return access !== undefined && (access.lasts === undefined || access.age() < access.lasts / 2)
  }

  /** When the latest early exchanges began. What lies ahead was written before the clock was set back. */
  function recent({ begun }: LiveRecord): number[] {
    const now = session.cell.latest()
    return (Array.isArray(begun) ? begun : []).filter((at) => at <= now && at > now - refreshLimit.interval)
  }

  /** For how long no early exchange may begin, in ms. */
  function limitedFor(record: LiveRecord): number {
    const oldest = recent(record).at(-refreshLimit.exchanges)
    return oldest !== undefined && isEarly(record)
      ? oldest + refreshLimit.interval - session.cell.earliest()
      : 0
  }

  return { join, due, draw, revoke }
}

/** What came, as a store keeps it. `at`: the store's time when the request that brought it began. */
export function storedToken(
  { accessToken, expiresIn, claims }: Tokens,
  at?: number,
): StoredToken | undefined {
  return accessToken ? { token: accessToken, at, life: expiresIn && expiresIn * 1000, claims } : undefined
}

/** Whose token it is. */
export function subjectOf(
  backend: Backend<never, never>,
  stored: StoredToken | undefined,
): string | undefined {
  if (!stored) return undefined
  const { claims } = readToken(stored)
  const subject = backend.subject ? consult(backend, 'subject', claims as never) : claims.sub
  // A number beyond 2⁵³ was rounded when it was parsed: two users could look like one.
  return (typeof subject === 'string' && subject) || Number.isSafeInteger(subject)
    ? String(subject)
    : undefined
}
