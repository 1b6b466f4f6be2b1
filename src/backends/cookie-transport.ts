/**
 * How requests go out where the tokens are in cookies: in an order that leaves the cookies of whoever was called last
 * (docs/decisions/0026-cookies-that-come-last.md), each stamped with the value that proves its session.
 */

import { abortable } from '../call.ts'
import { cached } from '../platform.ts'
import type { Backend, RequestSpec } from '../types.ts'
import type { CookieOwner } from './cookie-owner.ts'
import type { Arrival, CookieValues, Kind, Send, Values } from './cookie-values.ts'

/** What something that goes out is for; rides along to the transport, unseen by `fetch`. */
export const PURPOSE: unique symbol = Symbol('purpose')

export interface Purpose {
  kind: Kind
  /** Whether the value that is in the cookies counts, whatever the session was stamped with. */
  anew?: boolean | undefined
  /** Whether it is still wanted: by who called, and by the store. */
  still?: (() => Promise<boolean>) | undefined
  /** Whether to ask who it is, where the answer doesn't tell. */
  who?: boolean
  /** Whether it has to be the same user as before. */
  same?: boolean
  /** Whether an answer about cookies that it replaced itself won’t do. */
  sure?: boolean | undefined
  /** Whether the refresh cookie may be another’s. */
  unproven?: boolean
  /** Of the user's logout: whether nobody has signed in since, as far as the store knows. */
  nobody?: (() => Promise<boolean>) | undefined
}

export interface Marked {
  [PURPOSE]?: Purpose
}

type Init = RequestInit & Marked

export interface CookieTransport {
  readonly transport: NonNullable<Backend['transport']>
  /** A session's call goes out: no logout before it is still to be made good. */
  calling(): void
}

// A login waits for what would overwrite its cookies, but not for ever, ms.
const PATIENCE = 10_000
// How long a refresh waits for those of other tabs, ms, at the most and at the least.
const A_TURN = 3_000
const A_MOMENT = 100
const MOVED = 'Who is signed in is another by now'
const WHOSE = 'Nobody knows whose cookies came'
const NOT_KEPT =
  'The cookies of the answer were not sent back: blocked, as those of another site are, or of another path or host'

/**
 * @param names of the headers that have the CSRF values
 * @param owner finds out whose the cookies are, where anybody can
 * @param signOut ends the session of whatever access cookie is there
 * @param whoami the path by which it is asked whose that is
 */
export function createCookieTransport(
  values: CookieValues,
  { header, refreshHeader }: { header: string; refreshHeader: string },
  owner: CookieOwner | undefined,
  signOut: (nobody: Purpose['nobody']) => RequestSpec,
  whoami: string | undefined,
): CookieTransport {
  // Each until it is answered, or patience with it has ended: one that never is must not hold up all that come after.
  const running = new Set<Promise<void>>()
  let signingIn: Promise<void> | undefined
  // The last login that has brought cookies.
  let landed: Purpose | undefined
  // What was there before each flow, and what its steps have brought.
  const flows = new WeakMap<object, { readonly start: Values; readonly brought: Partial<Values> }>()
  // How long a refresh waits for its turn, ms: less each time that it was in vain, for the exchange itself may have less.
  let patience = A_TURN
  // The user's logout, while nobody has signed in after it.
  let ending: { at: number; sent: Promise<unknown>; nobody: Purpose['nobody'] } | undefined

  async function transport(
    send: Send,
    input: string | URL | Request,
    init: Init | undefined,
    base: string,
  ): Promise<Response> {
    const purpose = init?.[PURPOSE]
    if (!purpose) return send(input, init)
    const { kind } = purpose
    if (kind === 'flow' || kind === 'login') ending = undefined
    if (kind === 'call') {
      const response = await values.exchange(send, input, init, kind)
      if (ending) void takeBack(ending, send, base)
      return response
    }
    const { still, anew, nobody } = purpose
    // The cookies that come last are those that stay, whoever was called last: a login waits for all that was called
    // before it, and what is called after it for the login; but for a logout, often the last thing that a page does. Nobody
    // waits for a flow, in which a person may be slow.
    const unhurried = kind !== 'logout' || !anew
    const signsIn = kind === 'login' || kind === 'flow'
    const earlier = signsIn ? [...running] : signingIn && unhurried ? [signingIn] : []
    const before = landed
    const inTurn = async (): Promise<Response> => {
      if (earlier.length || purpose.same) {
        // A Request has its signal with it.
        const { signal } = init.signal ? init : Object(input)
        await abortable({ signal }, Promise.all(earlier))
        // Nothing of what has ended meanwhile goes out, though it was asked for before; nor a password that a login before
        // it makes void, whose cookies have come.
        if (still && !(await still())) throw new Error(MOVED)
      }
      if (kind === 'flow') return step(send, input, init, still, base)
      const url = String(input)
      // A token in a header is no cookie's, and is taken back without touching any.
      if (init.credentials === 'omit') return send(url, init)
      if (kind === 'logout' && !anew) {
        const headers = new Headers(init.headers)
        // Given back, and overwritten by a login since: not every server's logout looks at the value. Where no value is
        // to be seen, only a login that is wanted counts: of two that are not, nobody knows whose cookies came last.
        const another = isAnothers(values.at(url), headers.get(header))
        if (another ?? (landed !== before && (await landed?.still?.()) !== false)) {
          if (headers.has('authorization')) return send(url, { ...init, credentials: 'omit' })
          throw new Error(MOVED)
        }
      }
      if (kind === 'whoami' && owner) return owner.look(send, url, init, purpose.sure)
      const go = (): Promise<Response> => stamped(send, url, init, purpose, base)
      return kind === 'refresh' ? alone(url, go, init, still) : go()
    }
    const sent = inTurn()
    // One step of several has a 2xx, too, and brings none.
    const land = ({ ok, headers }: Response): void => {
      const { before: were, now } = values.arrival(headers) as Arrival
      const unseen = now.access === undefined && now.refresh === undefined
      if (ok && (unseen || now.access !== were.access || now.refresh !== were.refresh)) landed = purpose
    }
    if (signsIn) sent.then(land, () => {})
    if (kind === 'flow') return sent
    const over = bounded(sent).then(() => {
      running.delete(over)
      if (signingIn === over) signingIn = undefined
    })
    running.add(over)
    if (kind === 'login') signingIn = over
    if (kind === 'logout' && anew) ending = { at: Date.now(), sent, nobody }
    return sent
  }

  /** One step of a flow. What came with a step before came with the flow. */
  async function step(
    send: Send,
    input: string | URL | Request,
    init: Init,
    still: Purpose['still'],
    base: string,
  ): Promise<Response> {
    const response = await values.exchange(send, input, init, 'flow')
    const arrival = values.arrival(response.headers) as Arrival
    const { before, now } = arrival
    const { pathname } = new URL((input as Request).url ?? input)
    arrival.asked = whoami !== undefined && pathname === new URL(whoami, base).pathname
    const { start = before, brought = {} } = (still && flows.get(still)) ?? {}
    const had = { ...before }
    const all: Record<string, string | undefined> = { ...brought }
    for (const which of ['access', 'refresh'] as const) {
      if (now[which] !== before[which]) all[which] = now[which]
      // Or between the steps, where nobody was there: a popup's.
      else if (now[which] === all[which] || start[which] === undefined) had[which] = undefined
    }
    arrival.before = had
    if (still) flows.set(still, { start, brought: all })
    return response
  }

  /**
   * A call that was answered after the logout may have brought a cookie, which the server had replaced by itself. What is
   * there much later is of a login elsewhere.
   */
  async function takeBack(mine: NonNullable<typeof ending>, send: Send, base: string): Promise<void> {
    await mine.sent.catch(() => {})
    if (mine.nobody && !(await mine.nobody())) return
    if (ending !== mine || Date.now() - mine.at > PATIENCE || !values.at(base).access) return
    const { path, ...spec } = signOut(mine.nobody)
    ending = undefined
    const last = { redirect: 'manual', ...cached('no-store'), keepalive: true } as const
    await transport(send, new URL(path, base).href, { ...spec, ...last }, base).catch(() => {})
  }

  /** Sends with the value that proves the session, read anew where that is what counts. */
  async function stamped(
    send: Send,
    url: string,
    init: Init,
    { kind, anew, who, same, still, nobody, unproven }: Purpose,
    base: string,
  ): Promise<Response> {
    const which = kind === 'refresh' ? 'refresh' : 'access'
    let told: string | undefined
    for (let tries = 0; ; tries++) {
      const headers = new Headers(init.headers)
      const stamp = headers.get(header)
      // Either value proves a logout.
      const read = (): string | null => {
        const there = values.at(url)
        return (anew && (told ?? there[which] ?? (kind === 'logout' && there.refresh))) || stamp
      }
      let value = read()
      // Another value may be that of who has signed in since. A login, here or in another tab, is in the store a moment
      // after its answer: until then its cookies are nobody's to spend.
      for (let left = 10; still && (left < 10 || value !== stamp); left--) {
        if (!(await still())) throw new Error(MOVED)
        if (!left || value === stamp) break
        await new Promise((resolve) => setTimeout(resolve, 100))
        value = read()
      }
      init.signal?.throwIfAborted()
      if (value) headers.set(header, value)
      const proof = headers.get(header)
      // Of a logout nobody knows which of the two its server looks at.
      if (proof && refreshHeader !== header && /refresh|logout/.test(kind)) {
        // First, for the names may differ in case alone.
        if (kind === 'refresh') headers.delete(header)
        headers.set(refreshHeader, proof)
      }
      // A page that is closed before the answer has come leaves its cookies to the browser, which would be left with spent ones.
      const kept = kind === 'refresh' ? { keepalive: true } : undefined
      const response = await values.exchange(send, url, { ...init, headers, ...kept }, kind)
      const arrival = values.arrival(response.headers) as Arrival
      const now = arrival.now[which]
      // Not under the value of who has signed in elsewhere since.
      const again = async (): Promise<boolean> => !nobody || (await nobody())
      // Replaced between the reading and the sending: a mismatch that one more try cures.
      if (
        anew &&
        response.status === 401 &&
        !tries &&
        now !== undefined &&
        now !== value &&
        (await again())
      ) {
        void response.body?.cancel().catch(() => {})
        continue
      }
      // The same, of a value that no page can read.
      if (anew && response.status === 401 && !tries && now === undefined && owner) {
        told = (kind === 'logout' && (await owner.value(send, init, base))) || owner.lastTold(which)
        if (told !== undefined && told !== value && (await again())) {
          void response.body?.cancel().catch(() => {})
          continue
        }
      }
      // Under another value than the stamp's it may be another user by now; and where both cookies were replaced, it may
      // have been a login elsewhere that did.
      const doubtful =
        kind === 'refresh' && (unproven || value !== stamp || arrival.now.refresh !== arrival.before.refresh)
      if (owner && response.ok && (who || doubtful)) {
        const whose = await owner.of(send, init, response, base)
        if (whose === false && kind === 'login') throw new Error(NOT_KEPT)
        arrival.who = whose || (whose === undefined ? undefined : null)
        // Both cookies are there anew, and not all of them may be of this answer.
        const both = arrival.now.refresh !== arrival.before.refresh
        arrival.unproven = arrival.who !== undefined && (kind === 'refresh' ? both : same === true)
        // A session is not given cookies that may be another user's. If it has ended they are taken back.
        if (arrival.who === null && (doubtful || same) && (await still?.())) throw new Error(WHOSE)
      }
      return response
    }
  }

  /**
   * One after another in all tabs of a browser, whose cookies are the same: of two refreshes at once the second would send what
   * the first has spent. Who gets no turn, behind a tab that is frozen perhaps, goes all the same.
   */
  async function alone(
    url: string,
    go: () => Promise<Response>,
    { signal }: Init,
    still: Purpose['still'],
  ): Promise<Response> {
    const locks = globalThis.document && (globalThis.navigator?.locks as LockManager | undefined)
    if (!locks) return go()
    const waiting = new AbortController()
    const leave = (): void => waiting.abort()
    const timer = setTimeout(leave, patience)
    signal?.addEventListener('abort', leave)
    let had = false
    const turn = async (): Promise<Response> => {
      signal?.throwIfAborted()
      // Who is signed in may be another since, or nobody.
      if (still && !(await still())) throw new Error(MOVED)
      return go()
    }
    const mine = (): Promise<Response> => {
      had = true
      patience = A_TURN
      return turn()
    }
    try {
      return await locks.request(`stayfresh:refresh:${url}`, { signal: waiting.signal }, mine)
    } catch (error) {
      if (had) throw error
      patience = Math.max(patience / 2, A_MOMENT)
      return await turn()
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', leave)
    }
  }

  return {
    transport,
    calling() {
      ending = undefined
    },
  }
}

/** Whether what is there has another value than that, where a page can see it. */
function isAnothers({ access, refresh }: Values, stamp: string | null): boolean | undefined {
  if (stamp === null || (access ?? refresh) === undefined) return undefined
  return access !== stamp && refresh !== stamp
}

/** Waits for `what`, but not for ever. */
function bounded(what: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, PATIENCE)
    void what
      .catch(() => {})
      .then(() => {
        clearTimeout(timer)
        resolve()
      })
  })
}
