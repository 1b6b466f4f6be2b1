/**
 * The room for tokens in cookies, which comes with the backends that need it: who is signed in by them when the store
 * knows nobody, and what is there after the server has replaced one by itself. It sends what the backend asks for, and
 * writes only what the store still agrees to.
 */
import { consult } from './consult.ts'
import { safeCause } from './errors.ts'
import { storedToken, subjectOf } from './exchange.ts'
import { type Platform, sleep, within } from './platform.ts'
import type { Held, SessionRoom } from './session.ts'
import type { SignIn } from './sign-in.ts'
import { checkTokens } from './token.ts'
import type { Backend, LiveRecord, StoredToken, StoreRecord, Tokens } from './types.ts'
import { readAnswer, type Wire } from './wire.ts'

export interface CookieRoom {
  /** With an empty store the cookies are asked who it is, so that nobody is shown a login for nothing. */
  readonly ready: Promise<void>
  /**
   * Finds out, once, who is signed in by cookies, and makes that a session if the store is empty. Gives what went
   * wrong, if that can't be found out: then the next call tries again. Never rejects.
   */
  restore(): Promise<unknown>
  /**
   * Looks whether the server has replaced the cookies by itself, and takes them up for the session that the store still
   * has. Never rejects.
   */
  reread(held: Held): Promise<void>
}

// A value that was replaced may be so again, by the answers that are still to come of calls made at once: how long it has to
// stand until something is sent with it, ms.
const TO_STAND = 50
export function createCookieRoom(
  session: SessionRoom,
  signIn: SignIn,
  backend: Backend<never, never>,
  wire: Wire,
  on: Platform,
  timeout: number,
): CookieRoom {
  let ready: Promise<void> | undefined
  let restoring: Promise<unknown> | undefined
  let reading: { of: StoredToken | undefined; done: Promise<void> } | undefined

  /** Who is signed in; `access`: what is held. Rejects where that can't be found out. */
  async function look(access?: StoredToken): Promise<Tokens | undefined> {
    const asked = consult(backend, 'restore', wire.base(), access)
    let tokens = asked as Tokens | undefined
    if (asked && 'path' in asked) {
      const controller = new AbortController()
      const { signal } = controller
      const asking = wire.call(asked, { signal }).then((response) => readAnswer(response, signal, true))
      const late = (): Error => new Error(`no answer within ${timeout} ms`)
      const answer = await within(on, asking, timeout, late).finally(() => controller.abort())
      const { status, body, empty } = answer
      if (status > 299 && status !== 401 && status !== 422) throw new Error(`It was answered with ${status}`)
      tokens = consult(backend, 'tokens', answer, access)
      // A page in place of an answer doesn't say that it is nobody.
      if (!tokens && status < 300 && body === undefined && !empty)
        throw new Error('It was answered with no JSON')
    }
    return tokens && checkTokens(tokens, 'what is known of the cookies')
  }

  /** Makes a session of who is found, if the store is empty. Whether there was anything to find out. */
  async function find(): Promise<boolean> {
    await session.ready
    // To find out may spend the refresh token, and a read-only store would not keep what comes.
    if (backend.cookies === 'refresh' && !session.writable) return false
    const { attempts, enter, record, takeBack } = signIn
    // A tombstone is final, though the store has lost it, and a login that is under way says who it is.
    if (session.held !== null || session.cell.standing || session.signedOut || attempts.size) return false
    // Called before all else, so that no login is ever taken for an earlier one.
    const attempt = enter(() => 0)
    try {
      const tokens = await look()
      if (!tokens) return true
      const first = record('initial', { tokens, at: undefined }, attempt)
      await session.cell.change((standing) => (standing || attempt.dropped ? undefined : first))
      // What a refresh has brought, signed out meanwhile.
      const late = backend.cookies === 'refresh' && tokens.accessToken && !session.held
      if (late && session.endReason(attempt.id) === 'logout') takeBack(tokens, attempt)
      return true
    } finally {
      attempts.delete(attempt)
    }
  }

  /** Takes up what is there until that has stood for a moment, where it can be seen. */
  async function settle(id: string): Promise<void> {
    const replaced = (): unknown => consult(backend, 'restore', wire.base(), session.held?.record.access)
    for (let tries = 5; tries; tries--) {
      const before = session.held?.record.access
      const seen = await adopt(id, before)
      const now = session.held?.record
      if (now?.id !== id || now.access === before || !seen) return
      // Another by now, while it was being written.
      if (replaced()) continue
      await sleep(on, TO_STAND)
      if (!replaced()) return
    }
  }

  /** Whether the value that is there by now can be seen from here. */
  async function adopt(id: string, before: StoredToken | undefined): Promise<boolean> {
    await session.cell.peek()
    const same = (record: StoreRecord | null | undefined): record is LiveRecord =>
      record?.id === id && !('ended' in record) && record.access?.token === before?.token
    if (!same(session.held?.record)) return false
    const tokens = await look(before)
    const access = tokens && storedToken(tokens)
    if (!access) return false
    const seen = !consult(backend, 'restore', wire.base(), access)
    const subject = subjectOf(backend, access)
    // The same version: whoever is refreshing it is still doing so.
    await session.cell.change((standing) =>
      same(standing) && (subject ?? standing.subject) === (standing.subject ?? subject)
        ? {
            ...standing,
            access,
            refreshToken: successor(standing.refreshToken, tokens.refreshToken),
            subject: standing.subject ?? subject,
          }
        : undefined,
    )
    return seen
  }

  /** What is to stand for the refresh cookie; one that was refused is not taken up again. */
  function successor(had: string | undefined, seen: string | null | undefined): string | undefined {
    // The same, perhaps with a backend's mark before it: whoever is exchanging it counts on what stands there.
    return had && (!seen || seen.endsWith(had) ? had : seen)
  }

  function restore(): Promise<unknown> {
    restoring ??= find().then(
      (found) => {
        if (!found) restoring = undefined
      },
      (error) => {
        restoring = undefined
        return safeCause(error)
      },
    )
    return restoring
  }

  return {
    get ready() {
      ready ??= restore().then(() => {})
      return ready
    },
    restore,
    async reread({ record: { id, access } }) {
      if (reading?.of !== access) reading = { of: access, done: settle(id).catch(() => {}) }
      const mine = reading
      await mine?.done
      if (reading === mine) reading = undefined
    },
  }
}

/**
 * What a backend of your own takes as its `room`, if the server keeps tokens in cookies. It is not called by you.
 *
 * @example
 * ```ts
 * const backend: Backend = { ...mine, cookies: 'both', room: cookieRoom }
 * ```
 */
export const cookieRoom: NonNullable<Backend['room']> = createCookieRoom
