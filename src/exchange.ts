/**
 * What goes to the server for the next tokens, and what takes tokens back to it. It knows the answers, and writes nothing:
 * what they come to is for `refresh.ts` and `sign-in.ts`.
 */
import { consult } from './consult.ts'
import { isAuthError, safeCause } from './errors.ts'
import { type Platform, sleep, stopwatch, within } from './platform.ts'
import type { SessionRoom } from './session.ts'
import { checkTokens, readToken } from './token.ts'
import type { Backend, LiveRecord, RefreshFailure, StoredToken, Tokens } from './types.ts'
import { REDIRECTED, readAnswer, type Wire } from './wire.ts'

/** A record that is claimed by us, and what is spent for its next version. */
export type Claimed = LiveRecord & { [Member in 'claim' | 'refreshToken']-?: NonNullable<LiveRecord[Member]> }

/** An exchange that failed: nobody knows what the server made of it. */
interface Failure {
  kind?: undefined
  reason: RefreshFailure
  status?: number
  cause?: Error | undefined
  retryAfter?: number | undefined
}

/** What the exchange itself came to. `sentAt`: when the request that brought the tokens began, by our clock. */
export type Result =
  | { kind: 'tokens'; tokens: Tokens; access: StoredToken; sentAt: number }
  | { kind: 'refused'; status: number; response: (() => Response) | undefined }
  | Failure

export interface Exchanger {
  /**
   * One answer, or again where the server has plainly not processed it. `still`: whether it is wanted. `undefined`: the
   * claim was lost.
   */
  exchange(claimed: Claimed, still: () => Promise<boolean>): Promise<Result | undefined>
  /** Takes tokens that must not live on back to the server. `ended`: the user signed out. Never rejects. */
  revoke(tokens: Tokens, ended?: boolean): Promise<void>
}

/** The most that a server, or what a store says of one, makes us wait, ms. */
export const RETRY_AFTER_AT_MOST = 3_600_000

// What is given back may wait for a login's cookies, and nobody waits for it, ms.
const A_TURN = 10_000

export function createExchanger(
  session: SessionRoom,
  backend: Backend<never, never>,
  wire: Wire,
  on: Platform,
  refreshTimeout: number,
): Exchanger {
  async function exchange(
    { id, claim, access, refreshToken }: Claimed,
    still: () => Promise<boolean>,
  ): Promise<Result | undefined> {
    const elapsed = stopwatch(on)
    const controller = new AbortController()
    const { signal } = controller
    const late: Failure = { reason: 'timeout' }
    // Cookies may come though the page has gone by then: not those of who has signed out, for nobody would take them back.
    const leave = (): void => {
      if (session.held?.record.id !== id) controller.abort()
    }
    if (backend.cookies) globalThis.addEventListener?.('pagehide', leave)
    try {
      for (let tries = 0; ; tries++) {
        if (tries) {
          // A page that was left gives its claim away, and may come back before the next try; so does a store that
          // loses its data.
          await session.cell.peek()
          if (session.held?.record.claim?.by !== claim.by) return undefined
        }
        if (elapsed() >= refreshTimeout) return late
        const begun = elapsed()
        // Raced, for a fetch that doesn't heed its signal.
        const result = await within(
          on,
          once(refreshToken, access, still, signal),
          refreshTimeout - elapsed(),
          // In the same turn: what comes from then on is nobody's.
          () => controller.abort(),
          true,
        ).catch((error): Failure => {
          if (!error) return late
          const cause = safeCause(error, refreshToken)
          // A backend that fails is no network that does.
          return { reason: isAuthError(cause, 'invalid_option') ? 'bad_answer' : 'network', cause }
        })
        if (result.kind || (result.status !== 429 && result.status !== 503)) return result
        const wait = Math.max(result.retryAfter ?? 0, 250 * 2 ** tries * (0.5 + on.random() / 2))
        // What is sent with no time left to answer is of unknown outcome, and what was not processed is not.
        const room = Math.max(refreshTimeout / 4, elapsed() - begun)
        if (elapsed() + wait + room > refreshTimeout) return result
        await sleep(on, wait)
      }
    } finally {
      globalThis.removeEventListener?.('pagehide', leave)
      controller.abort()
    }
  }

  async function once(
    refreshToken: string,
    before: StoredToken | undefined,
    still: () => Promise<boolean>,
    signal: AbortSignal,
  ): Promise<Result> {
    const at = session.cell.latest()
    const sentAt = on.now()
    const spec = consult(backend, 'refresh', refreshToken, before, still)
    const response = await wire.call(spec, { signal })
    const answer = await readAnswer(response, signal, true)
    const { status } = answer
    const { ok, headers } = response
    let failure: Failure = {
      reason: 'status',
      status,
      cause: wire.astray(status, spec),
      retryAfter: retryAfter(headers),
    }
    if (ok) {
      let cause: Error | undefined
      try {
        const tokens = checkTokens(consult(backend, 'tokens', answer, before), 'the refresh answer')
        const access = storedToken(tokens, at)
        if (access) return { kind: 'tokens', tokens, access, sentAt }
      } catch (error) {
        cause = safeCause(error, refreshToken)
      }
      failure = { reason: 'bad_answer', status, cause }
    }
    // GraphQL says so with a 200; a page says nothing. What is too large to be read is too large to be kept.
    if (!answer.cut && (!ok || answer.body || answer.empty) && consult(backend, 'refused', answer)) {
      // Copied as often as there are callers: clones of clones would not bear that.
      const blob = await response.clone().blob()
      // Of another fetch's own kind: to the Response here it would be an object like any other.
      const body = blob instanceof Blob ? blob : await response.clone().arrayBuffer()
      // To whoever made the call it is a 401, whatever the status in which a token endpoint refuses.
      const copy = (): Response => new Response(body, { status: 401, headers })
      // What came with a 200 was written as an answer, not as the refusal of a call.
      return { kind: 'refused', status, response: ok ? undefined : copy }
    }
    void response.body?.cancel?.().catch(() => {})
    return failure
  }

  /** `Retry-After` (RFC 9110 section 10.2.3) in ms: seconds, or a date by the server's own clock. */
  function retryAfter(headers: Headers): number | undefined {
    const value = String(headers.get('retry-after'))
    const here = Date.parse(String(headers.get('date'))) || on.now()
    // A date begins with its day or its year: of anything else Date.parse makes some year.
    const wait = /^([a-z]|\d{4}-)/i.test(value)
      ? Date.parse(value) - here
      : Number(value || Number.NaN) * 1000
    return wait >= 0 ? Math.min(wait, RETRY_AFTER_AT_MOST) : undefined
  }

  async function revoke({ refreshToken, accessToken }: Tokens, ended?: boolean): Promise<void> {
    const nobody = (): Promise<boolean> => session.cell.peek().then(() => !session.held)
    const one = async (token: string, kind: 'access' | 'refresh'): Promise<void> => {
      const spec = backend.logout && consult(backend, 'logout', token, kind, ended, nobody, refreshToken)
      if (!spec) return
      const controller = new AbortController()
      const { signal } = controller
      const tell = async (): Promise<void> => {
        let after = 0
        // Of cookies once: by the next time they may be those of a login.
        for (let tries = 0; tries < (backend.cookies ? 1 : 3) && !signal.aborted; tries++) {
          if (tries) {
            if (after >= refreshTimeout) return
            await sleep(on, Math.max(after, 250 * 2 ** tries * (0.5 + on.random() / 2)))
            // Of a server that has one for each user it may be that of a login since.
            const { access, refreshToken: live } = session.held?.record ?? {}
            if (token === access?.token || token === live) return
          }
          // keepalive: a logout is often the last thing a page does.
          const answer = await wire.call(spec, { keepalive: true, signal }).catch((error) => {
            // No connection is no answer, by whatever error it is told; a redirect is one.
            if (isAuthError(error) || error?.message === REDIRECTED) throw error
          })
          // What it says nobody reads; but of two at once a small server may be too busy for one.
          if (answer && answer.status < 500 && answer.status !== 429) return
          after = (answer && retryAfter(answer.headers)) ?? 0
        }
      }
      const patience = refreshTimeout + (backend.cookies && !ended ? A_TURN : 0)
      // Late, or nobody is there.
      await within(on, tell(), patience, () => undefined).finally(() => controller.abort())
    }
    await Promise.allSettled([
      // One request takes both cookies back.
      refreshToken && !(backend.cookies && accessToken) && one(refreshToken, 'refresh'),
      accessToken && one(accessToken, 'access'),
    ])
  }

  return { exchange, revoke }
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
