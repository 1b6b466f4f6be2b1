/**
 * THE FLOW: attach → send → classify → refresh or ask → replay. What follows from a signal is decided here and
 * nowhere else.
 */
import { abortable, type Call, type Caller } from './call.ts'
import { consult } from './consult.ts'
import type { CookieRoom } from './cookies.ts'
import { AuthError } from './errors.ts'
import type { HeldToken } from './hand.ts'
import { type Platform, stopwatch, within } from './platform.ts'
import type { Asker } from './reauth.ts'
import type { Outcome, Refresher } from './refresh.ts'
import type { Held, SessionRoom, Stamp } from './session.ts'
import type { Backend, ChangeReason, Finding, ReauthReason } from './types.ts'
import { readAnswer, unread } from './wire.ts'

/** What a call has already cost: at most one replay with another token, and one after a login. */
interface Spent {
  renewed: boolean
  asked: boolean
  /** The session's version when it last went out. */
  version: number
  /** What got a 401 that tells nothing: turned down, if another token gets another answer. */
  suspect?: HeldToken
}

export interface Flow {
  run(call: Call): Promise<Response>
  /** The access token made good, for whoever sends it himself; `null` with nobody signed in. */
  token(call: Caller, minValidity: number, rejected?: string): Promise<string | null>
  /** Refreshes now; resolves when there is nothing more to try. */
  refresh(call: Caller): Promise<void>
}

export function createFlow(
  session: SessionRoom,
  refresher: Refresher,
  asker: Asker,
  backend: Backend<never, never>,
  on: Platform,
  bodyTimeout: number,
  cookies: CookieRoom | undefined,
): Flow {
  // Where a 401 that tells nothing came back after a refresh: method and path, until another answer comes.
  const vain = new Set<string>()

  async function run(call: Call): Promise<Response> {
    let held = session.held
    if (held === undefined || (held ? session.unread : cookies)) held = await present(call)
    // A call that was made with nobody signed in does not go out as who has signed in since.
    if (call.user === null ? held : call.user && !session.owns(call.user, held)) throw changed()
    if (!held) {
      const response = await call.send()
      // Without watching it is learned only by asking that somebody has signed in elsewhere.
      if (session.blind && response.status === 401) void session.cell.peek()
      return response
    }

    const user: Stamp = held.record
    const spent: Spent = { renewed: false, asked: false, version: 0 }
    let token: HeldToken | Response | null | undefined =
      attachable(call, held) ?? (await attach(call, user, spent))
    let refused: Response | undefined
    for (;;) {
      if (token instanceof Response) return token
      if (session.unread) await heard(call)
      // Whatever was waited for, the last look is in the tick of the send.
      if (token && !still(user) && !ranOut(user)) {
        if (refused) return refused
        throw changed()
      }
      void refused?.body?.cancel?.().catch(() => {})
      spent.version = session.held?.record.version ?? 0
      const response = await call.send(token?.token)
      const found = token && (await classify(call, response, token))
      if (spent.suspect && found?.signal !== 'unknown') spent.suspect.rejected = true
      if (!found || call.disposal.aborted) return response
      const next = await remedy(call, user, token as HeldToken, found, spent, response)
      if (next === undefined) return response
      refused = response
      token = next
    }
  }

  // --- attach --------------------------------------------------------------------------------------------

  /** The token to send at once, if nothing has to happen before. */
  function attachable(call: Call, held: Held): HeldToken | undefined {
    const token = session.token(held)
    if (held.expired || !session.usable(token) || (call.auth === 'fresh' && session.isFresh(token) === false))
      return undefined
    if (refresher.due(held)) {
      // A stream can't be sent again, so that it goes with the best token there is.
      if (call.stream) return undefined
      void refresher.join(held, 'ahead')
    }
    return token
  }

  /** Makes the token good. `null`: it goes without one; a `Response`: the refusal, where nothing can be sent. */
  async function attach(call: Call, user: Stamp, spent: Spent): Promise<HeldToken | Response | null> {
    let held = owned(user)
    let token = session.token(held)
    const stale = call.auth === 'fresh' && session.isFresh(token) === false
    // For an optional call nobody is asked, and it does not wait for the dialog that is open for others.
    if (held.expired && call.auth === 'optional') return null
    if (!spent.asked && (held.expired || stale)) {
      spent.asked = true
      await abortable(
        call,
        asker.ask(held.expired ? 'session_expired' : 'fresh_token_required', held.record, call),
      )
      if (ranOut(user) && token) return token
      held = owned(user)
      token = session.token(held)
    }
    if (token && session.usable(token) && !(call.stream && refresher.due(held))) return token

    const outcome = await abortable(call, refresher.join(held, session.usable(token) ? 'ahead' : 'expired'))
    if (ranOut(user)) return call.auth === 'optional' ? null : (token ?? refusal(outcome))
    token = session.token(owned(user))
    // A refresh brings a token that is not fresh: the password is asked for after all.
    if (call.auth === 'fresh' && !spent.asked && session.isFresh(token) === false)
      return attach(call, user, spent)
    // Moved on to a session that has no access token yet: that is refreshed first, for the call never goes out as nobody.
    if (outcome.kind === 'moved' && !token) return attach(call, user, spent)
    if (outcome.kind === 'moved' || session.usable(token)) return token ?? null
    if (call.auth === 'optional') return null
    if (outcome.kind === 'unavailable') throw unavailable(outcome)
    // Refused: sent once all the same, so that the answer is the server's own.
    if (token) return token
    spent.asked = true
    await abortable(call, asker.ask('session_expired', held.record, call))
    const now = still(user)
    return (now && session.token(now)) || refusal(outcome)
  }

  /** Waits for the reading of what has changed elsewhere, and of what changes meanwhile; but not for a storm of notices. */
  async function heard(call: Caller): Promise<void> {
    const elapsed = stopwatch(on)
    for (let tries = 10; tries && session.unread && elapsed() < bodyTimeout; tries--)
      await abortable(call, session.unread)
  }

  /** Who makes the call, once the store has been asked. */
  async function present(call: Caller): Promise<Held | null> {
    const before = session.held
    if (before && !session.unread) return before
    if (before !== null) {
      if (!session.unread) await abortable(call, session.reread())
      await heard(call)
    }
    if (before) return owned(before.record)
    const unknown = cookies && (await abortable(call, cookies.restore()))
    const { held } = session
    if (held || (held === null && !unknown) || call.auth === 'optional') return held ?? null
    const message = 'The store can not be read'
    throw new AuthError('refresh_unavailable', message, { retryAt: on.now() }, unknown as Error)
  }

  // --- classify ------------------------------------------------------------------------------------------

  /** What the answer says of the token, or `undefined` if it is to be handed back as it is. */
  async function classify(call: Call, response: Response, token: HeldToken): Promise<Finding | undefined> {
    let found: Finding | undefined
    // After a redirect to another origin the answer is a stranger's. XMLHttpRequest tells only where it was led.
    const { redirected = true, url } = response
    const away = redirected && url && new URL(url, call.origin).origin !== call.origin
    if (!away && (backend.inspect ? consult(backend, 'inspect', response) : response.status >= 400)) {
      // Given up, or whoever has the other copy could not cancel it.
      const late = new AbortController()
      const reading = within(on, readAnswer(response, late.signal), bodyTimeout, () => late.abort())
      // A body that never comes tells as little as none.
      // What came is handed back after a disposal, too.
      const answer = await abortable(
        { signal: call.signal },
        reading.catch(() => unread(response, true)),
      )
      const given = consult(backend, 'classify', answer)
      found = typeof given === 'string' ? { signal: given } : given
      // A 401 that says nothing of the token, to one that has run out by now, is about the token. Our clock is believed if a
      // refresh can prove it wrong, or the server said something else (`other`); else it has to be over beyond doubt.
      const mute = backend.cookies === 'both' ? /other|unknown/ : /other|unknown|missing/
      const believed = found?.signal === 'other' || session.held?.record.refreshToken
      const ended = believed ? !session.usable(token) : token.rejected || token.over()
      if (response.status === 401 && ended && mute.test(`${found?.signal}`)) found = { signal: 'expired' }
    }
    if (vain.size && found?.signal !== 'unknown') vain.delete(call.route)
    if (response.ok) token.doubted = undefined
    return found
  }

  // --- refresh or ask ------------------------------------------------------------------------------------

  /** The token to replay with; `null`: without one; `undefined`: the answer is handed back. */
  async function remedy(
    call: Call,
    user: Stamp,
    token: HeldToken,
    found: Finding,
    spent: Spent,
    response: Response,
  ): Promise<HeldToken | null | undefined> {
    const now = still(user)
    if (!now) return undefined
    const held: Held = now
    const { signal } = found
    // Late: the token in hand is another one than was sent. A step-up is not helped by that, unless by a login.
    const late = signal !== 'step_up' && session.token(held)?.token !== token.token
    const reason =
      signal === 'step_up'
        ? 'fresh_token_required'
        : signal === 'revoked' && backend.revoked !== 'refresh'
          ? 'token_revoked'
          : undefined
    // A cookie that has gone, or was replaced under the request that was on its way.
    const cookie = backend.cookies === 'both' && (signal === 'csrf' || signal === 'missing')
    const curable = reason || cookie || signal === 'expired' || signal === 'invalid' || signal === 'revoked'
    if (!curable && signal !== 'unknown') return undefined
    const hopeless = signal === 'unknown' && (spent.renewed || vain.has(call.route))
    if (hopeless) {
      if (vain.size > 100) vain.clear()
      vain.add(call.route)
    }
    const again = reason && !late ? spent.asked : spent.renewed
    // With no refresh token left a token that is turned down is the end, whichever send it was.
    const asks = !spent.asked && call.auth !== 'optional'
    const over = again && !reason && !cookie && !late && asks && !held.record.refreshToken
    if (hopeless || (again && !over)) return undefined
    // An unsafe method that was redirected has been carried out.
    const replay = call.replay && !(response.redirected && call.unsafe)

    if (reason && !late) return prove(reason)
    return over ? giveUp() : renew()

    /** Only a password helps. */
    async function prove(why: ReauthReason): Promise<HeldToken | null | undefined> {
      // Another context may have been helped already.
      await abortable(call, session.cell.peek())
      // Two sends at the most, and one more after a login: a refresh elsewhere is none.
      const login = signal === 'step_up' || spent.renewed
      const helped = better(user, token, login)
      if (helped) {
        if (spent.renewed) spent.asked = true
        else spent.renewed = true
        return replay ? helped : undefined
      }
      // By the exchange that is under way, perhaps, or by one whose answer was lost: some servers end the token that they
      // replace.
      const { claim, failures, refreshToken } = still(user)?.record ?? {}
      if (signal === 'revoked' && (claim || failures) && refreshToken && !spent.renewed) return renew()
      spent.asked = true
      const asking = asker.ask(why, held.record, call, found)
      if (!replay) return undefined
      await abortable(call, asking)
      const next = better(user, token, login)
      // Cured by a refresh that was under way: that was the one replay without a login.
      if (next && !proved(session.held as Held, user)) spent.renewed = true
      return next
    }

    /** The refresh token is dead, and so is what was sent. */
    async function signIn(why: ReauthReason = 'session_expired'): Promise<HeldToken | undefined> {
      if (spent.asked) return undefined
      spent.asked = true
      await abortable(call, asker.ask(why, held.record, call))
      return better(user, token, over)
    }

    /** There is nothing left to refresh it with. */
    async function giveUp(): Promise<HeldToken | undefined> {
      token.rejected = true
      // The next call goes with the refreshed one that a fresh one left beside it.
      if (session.usable(another(held, token))) return undefined
      const next = await signIn()
      return replay ? next : undefined
    }

    /** Another token may be good: one that is there already, or one that a refresh brings. */
    async function renew(): Promise<HeldToken | null | undefined> {
      spent.renewed = true
      // Or one that has run out, with nothing to refresh it: another answer may have brought a new one meanwhile.
      const last = backend.cookies === 'both' && !held.record.refreshToken && !late
      // One that is late may be so for the value that is in hand, too.
      if (cookies && (cookie || last)) {
        await abortable(call, cookies.reread(held))
        const now = still(user)
        const read = now && another(now, token)
        // The token in hand, which one that is late finds there, may have run out.
        const done = late ? !now || session.usable(read) : read || signal === 'csrf'
        if (done) return replay ? read : undefined
      }
      if (signal === 'unknown') spent.suspect = token
      else token.rejected = true
      // A fresh token leaves the refreshed one beside it; but a server that ended the one early may have ended both.
      const beside = another(held, token)
      const overHere = token.age() >= (token.lasts ?? Infinity)
      const renewed = held.record.id !== user.id || held.record.version > spent.version
      if (session.usable(beside) && (renewed || overHere || !held.record.refreshToken)) {
        return replay ? beside : undefined
      }
      // Nothing to find out with, and it may be about the route: a token within its life is given up where another turns it
      // down, too.
      if (
        signal === 'unknown' &&
        !late &&
        !held.record.refreshToken &&
        (token.lasts !== undefined || call.route.startsWith('HEAD ')) &&
        !overHere
      ) {
        token.doubted ??= call.route
        if (token.doubted === call.route) {
          if (call.auth !== 'optional' || !replay) return undefined
          // Good enough for other routes.
          delete spent.suspect
          return null
        }
      }
      const exchange = refresher.join(held, late ? 'expired' : 'rejected')
      if (!replay) return undefined
      const outcome = await abortable(call, exchange)

      const now = still(user)
      const left = now && another(now, token)
      if (outcome.kind === 'moved') return left
      // While there is a doubt whether the one left has run out a server is to turn it down, not our clock.
      const doubtful = outcome.kind === 'refused' && left?.rejected === false && !left.over()
      if (session.usable(left) || doubtful) return left
      if (call.auth === 'optional') {
        // Good enough for other routes.
        delete spent.suspect
        return null
      }
      if (outcome.kind === 'unavailable') {
        // Revoked, and a plain no at the refresh: a server that ends both may say so with a 403 there.
        if (reason && !late && isNo(outcome.status)) {
          token.rejected = false
          return signIn(reason)
        }
        if (outcome.reason !== 'refresh_limit') throw unavailable(outcome)
        // A server that turns down every token it gives is its own answer; the next call is not made to pay.
        token.rejected = false
        return undefined
      }
      return signIn()
    }
  }

  /** The token to send, and the refreshed one beside it. */
  function inHand(held: Held): HeldToken[] {
    return [session.token(held), held.access].filter((token) => token !== undefined)
  }

  /** The token to send instead of `than`. */
  function another(held: Held, than: HeldToken): HeldToken | undefined {
    return inHand(held).find((token) => token.token !== than.token)
  }

  /**
   * The token in hand after an ask, if it is another one. Where only a login will do, what a refresh has brought
   * meanwhile is none.
   */
  function better(user: Stamp, than: HeldToken, login: boolean): HeldToken | undefined {
    const held = still(user)
    if (!held) return undefined
    const token = session.token(held)
    if (token?.token === than.token || !session.usable(token)) return undefined
    return login && !proved(held, user) && session.isFresh(token) !== true ? undefined : token
  }

  /** Whether what is held came of a login since the call was made. */
  function proved({ record }: Held, user: Stamp): boolean {
    return record.id !== user.id || record.reason === 'reauthenticated'
  }

  // --- for those who send the token themselves ----------------------------------------------------------------

  async function token(call: Caller, minValidity: number, rejected?: string): Promise<string | null> {
    const was = await present(call)
    if (!was || !session.held) return null
    const user: Stamp = was.record
    let held = owned(user)
    for (const token of inHand(held)) if (token.token === rejected) token.rejected = true
    // While a dialog is open what is in hand was turned down, whatever is left of its life.
    if (held.expired) {
      await abortable(call, asker.ask('session_expired', held.record, call))
      if (!session.held) return null
      held = owned(user)
    }
    const lasting = (now: Held): HeldToken | undefined =>
      inHand(now).find((one) => session.usable(one) && (one.lasts ?? Infinity) - one.age() >= minValidity)
    const ready = lasting(held)
    if (ready) return shown(ready)
    const moved = await renewed(call, held, minValidity > 0 ? 'requested' : rejected ? 'rejected' : 'expired')
    if (!session.held) return null
    const now = owned(user)
    const next = lasting(now) ?? session.token(now)
    // Moved on to a session that has no access token yet.
    return !next && moved ? token(call, minValidity, rejected) : shown(next)
  }

  /** A handle in place of a token is of use to nobody. */
  function shown(token: HeldToken | undefined): string | null {
    return backend.cookies === 'both' ? null : (token?.token ?? null)
  }

  async function refresh(call: Caller): Promise<void> {
    const held = await present(call)
    if (!held) throw new AuthError('not_signed_in', 'Nobody is signed in')
    await renewed(call, held, 'requested', true)
  }

  async function renewed(call: Caller, held: Held, reason: ChangeReason, must?: boolean): Promise<boolean> {
    const outcome = await abortable(call, refresher.join(held, reason))
    const now = session.held
    if (!now) return false
    const token = session.token(now)
    const works = session.usable(token)
    if (outcome.kind === 'unavailable') {
      // Not all servers may agree: calls are not made to pay for it.
      if (outcome.reason === 'refresh_limit' && token) token.rejected = false
      if (must || !works) throw unavailable(outcome)
    }
    // While there is a doubt whether the token has run out it stays, for a server to turn down.
    if (outcome.kind === 'refused' && (!token || token.rejected || token.over())) {
      const { record } = now.record.id === held.record.id ? now : held
      await abortable(call, asker.ask('session_expired', record, call))
    }
    return outcome.kind === 'moved'
  }

  // --- who made the call -----------------------------------------------------------------------------------

  /** The session, if it still is that of who made the call. */
  function still(user: Stamp): Held | undefined {
    const { held } = session
    return held && session.owns(user, held) ? held : undefined
  }

  function owned(user: Stamp): Held {
    const held = still(user)
    if (held) return held
    throw changed()
  }

  /** Whether the caller's session came to its end by itself: then its token is good enough to be refused with. */
  function ranOut({ id }: Stamp): boolean {
    return !session.held && session.ranOut(id) !== undefined
  }

  return { run, token, refresh }
}

function refusal(outcome: Outcome): Response {
  if (outcome.kind === 'refused' && outcome.response) return outcome.response()
  throw changed()
}

function changed(): AuthError {
  return new AuthError(
    'session_changed',
    'The user who made this call is no longer signed in; it was not sent',
  )
}

/** Whether a status is the server's own no, that stays one. */
const isNo = (status = 0): boolean => status >= 400 && status < 429 && ![408, 421, 425].includes(status)

function unavailable(outcome: Extract<Outcome, { kind: 'unavailable' }>): AuthError {
  const { reason, status = 0, retryAt, cause } = outcome
  // One that stays is a word that the backend's options want.
  const no = isNo(status) ? ', not known as a refusal' : ''
  const why = status ? `${reason} ${status}${no}` : reason
  const message = `The access token could not be refreshed (${why}); the session lives`
  return new AuthError('refresh_unavailable', message, { retryAt }, cause)
}
