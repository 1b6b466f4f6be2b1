/**
 * What the application calls to change who is signed in: login, reauthenticate, setTokens, logout. Of logins and
 * logouts the last called wins, here and among contexts.
 */
import { disposed } from './call.ts'
import { AuthError } from './errors.ts'
import { type Exchanger, storedToken, subjectOf } from './exchange.ts'
import { type Attempt, type Bring, type Brought, createObtain } from './obtain.ts'
import { type Platform, within } from './platform.ts'
import type { Refresher } from './refresh.ts'
import type { SessionRoom } from './session.ts'
import { checkTokens, readToken } from './token.ts'
import type {
  Backend,
  ChangeReason,
  LiveRecord,
  LogoutReason,
  StoreRecord,
  Tokens,
  Tombstone,
} from './types.ts'
import type { Wire } from './wire.ts'

export interface SignIn {
  login(credentials: unknown): Promise<void>
  reauthenticate(credentials: unknown): Promise<void>
  setTokens(tokens: Tokens): Promise<void>
  logout(revoke: boolean): Promise<void>
  /** Starts with tokens that become a session if the store is empty. */
  initial(tokens: Tokens): void
  dispose(): void

  // For the room of cookies, which makes a session of whom it finds.

  /** What is under way. Who enters leaves by taking his own out. */
  readonly attempts: Set<Attempt>
  enter(calledAt: () => number): Attempt
  record(reason: ChangeReason, brought: Brought, attempt: Attempt): Omit<LiveRecord, 'revision'>
  /** Revokes what nobody wants any more. */
  takeBack(tokens: Tokens, attempt: Attempt): void
}

// How long a password waits for a login before it to be in the store, ms.
const A_TURN = 5_000

export function createSignIn(
  session: SessionRoom,
  { draw }: Refresher,
  exchanger: Exchanger,
  backend: Backend<never, never>,
  wire: Wire,
  on: Platform,
): SignIn {
  // In the order of their calls.
  const attempts = new Set<Attempt>()
  // The sessions begun here, by the order of their calls: inside one context no clock is asked who came last.
  const begun = new Map<string, number>()
  let calls = 0
  // What the store was told of the last logout: another context may have written it for us.
  let said: number | undefined
  const obtain = createObtain(session, backend, wire, on, takeBack, earlierLogins)

  function enter(calledAt: () => number): Attempt {
    const attempt: Attempt = {
      id: on.id(),
      calledAt,
      seen: session.cell.standing,
      heard: session.lastLogout,
      controller: new AbortController(),
    }
    attempts.add(attempt)
    return attempt
  }

  function begin(): Attempt {
    if (!session.writable) {
      throw new AuthError(
        'store_read_only',
        'The store is read-only: it has no commit(), as browserStore() outside of a browser',
      )
    }
    const attempt = enter(session.cell.moment())
    if (begun.set(attempt.id, ++calls).size > 100) begun.delete(begun.keys().next().value as string)
    return attempt
  }

  /** Waits for the first reading of the store. */
  async function opened(attempt: Attempt): Promise<void> {
    if (session.held !== undefined) return
    await session.ready
    attempt.seen = session.cell.standing
    attempt.heard = session.lastLogout
  }

  /** A logout or a later login: what an earlier login makes is over before it has begun. */
  function supersede(attempt: Attempt, reason: LogoutReason, by?: Tokens): void {
    attempt.by = by
    attempt.overwritten = by && attempt.brought && !attempt.flow
    session.end(attempt.id, reason, 'this context')
    abandon(attempt, superseded())
  }

  function abandon(attempt: Attempt, why: AuthError): void {
    attempt.dropped ??= why
    attempt.leave?.()
    attempt.controller.abort(why)
  }

  function record(
    reason: ChangeReason,
    { tokens, at }: Brought,
    { id, calledAt }: Attempt,
  ): Omit<LiveRecord, 'revision'> {
    const access = storedToken(tokens, at)
    const { refreshToken } = tokens
    // Of who comes with a refresh token alone it tells who it is.
    const named = access ?? (backend.refreshClaims && refreshToken ? { token: refreshToken } : undefined)
    return {
      id,
      version: 1,
      calledAt: calledAt(),
      reason,
      subject: subjectOf(backend, named),
      access,
      refreshToken: refreshToken ?? undefined,
      due: draw(access),
    }
  }

  /**
   * Over once the logins that were called before have made their sessions, or none; in a flow a person may be slow. What has
   * brought its cookies is bounded by its store.
   */
  async function earlierLogins(attempt: Attempt): Promise<void> {
    const earlier = (late?: boolean): (Promise<void> | undefined)[] => {
      const all: (Promise<void> | undefined)[] = []
      for (const { id, flow, brought, making } of attempts) {
        if (id === attempt.id) break
        if (brought || !(flow || late)) all.push(making)
      }
      return all
    }
    await within(on, Promise.allSettled(earlier()), A_TURN, () => undefined).catch(() => {})
    await Promise.allSettled(earlier(true))
  }

  async function start(reason: ChangeReason, prepare: (attempt: Attempt) => Bring): Promise<void> {
    const attempt = begin()
    attempt.making = make(attempt, reason, prepare)
    return attempt.making
  }

  async function make(
    attempt: Attempt,
    reason: ChangeReason,
    prepare: (attempt: Attempt) => Bring,
  ): Promise<void> {
    try {
      const bring = prepare(attempt)
      await opened(attempt)
      const { id, seen, heard } = attempt
      const brought = await untilDropped(attempt, bring)
      attempt.brought = true
      const next = record(reason, brought, attempt)
      for (const earlier of attempts) {
        if (earlier === attempt) break
        supersede(earlier, 'replaced', brought.tokens)
      }
      let given = false
      // What stood there when this was given to the store last.
      let over: string | null | undefined
      await session.cell.change((standing, refused) => {
        if (attempt.dropped) return undefined
        const stands = standing?.revision ?? null
        // Something else by now: ours may have been written, though the store has not said so, and replaced since.
        const replaced = refused === false && over !== undefined && stands !== over
        if (refused !== undefined) over = stands
        // In the store's time as it is known now: when it was called the store may have been away. What has run out since
        // is over, and so is what stood there before it.
        const calledAt = attempt.calledAt()
        const ran = session.ranOut(id)
        const made = ran ? { id, version: 1, calledAt, ended: ran } : { ...next, calledAt }
        // Somebody may have signed in or out elsewhere, and been called later; in one and the same millisecond the
        // logout wins. What was known when we were called can't have been called later, whatever the clocks say.
        const { lastLogout } = session
        const give = (): typeof made => {
          given = true
          return made
        }
        if (!standing) return lastLogout > heard && lastLogout + 1 > calledAt ? unwanted(attempt) : give()
        const ended = isEnded(standing)
        // What was begun elsewhere has no number, and a comparison with `undefined` is false.
        const earlier = !ended && (begun.get(standing.id) as number) < (begun.get(id) as number)
        // A tombstone gives way if it stood there when we were called, or is one of ours: a logout elsewhere may have been
        // called later.
        const ours =
          standing.revision === seen?.revision ||
          session.cell.isOwn(standing.revision) ||
          standing.calledAt === said
        const stood = ended ? ours : standing.id === seen?.id
        const later = standing.calledAt + (ended || replaced ? 1 : 0) > made.calledAt
        if (standing.id === id) return undefined
        return later && !earlier && !stood ? unwanted(attempt) : give()
      }, true)
      if (session.held?.record.id !== id) {
        // What the store was never given can't stand there, whatever it answers now.
        if (given) await undo(attempt, brought.tokens)
        else takeBack(brought.tokens, attempt)
        throw attempt.dropped ?? superseded()
      }
      attempt.kept = brought.tokens
      if (next.access && brought.sentAt) session.learnSkew(readToken(next.access), brought.sentAt)
    } finally {
      attempts.delete(attempt)
    }
  }

  /** What was kept here, the store being away, and turns out not to be wanted there, must not live on. */
  const unwanted = ({ kept = {} }: Attempt): undefined => void exchanger.revoke(kept)

  /** A session that was superseded while it was being written stays ended, and its tokens don't live on. */
  async function undo(attempt: Attempt, tokens: Tokens, given?: boolean): Promise<void> {
    const { id } = attempt
    const ended = session.endReason(id)
    // Disposed of, and ended by nobody: what the store holds, or may hold, stays good for who is still there.
    if (!ended) {
      try {
        const stands = await session.cell.change(() => undefined)
        if (stands?.id === id && !isEnded(stands)) return
      } catch {
        return
      }
    }
    takeBack(tokens, attempt)
    if (!ended) return
    await session.cell.change((standing) => {
      // What the store was given may land there yet: not over this.
      if (!standing && given) return { id, version: 1, calledAt: 0, ended }
      if (standing?.id !== id || isEnded(standing)) return undefined
      return { id, version: standing.version, calledAt: standing.calledAt, ended }
    }, true)
  }

  async function reauthenticate(credentials: unknown): Promise<void> {
    const attempt = begin()
    try {
      let id: string | undefined
      const bring = obtain(attempt, credentials, () => id)
      await opened(attempt)
      const user = session.held?.record
      if (!user) throw new AuthError('not_signed_in', 'Nobody is signed in')
      id = user.id
      const { tokens, at } = await untilDropped(attempt, bring, id)
      attempt.brought = true
      const access = storedToken(tokens, at)
      const subject = subjectOf(backend, access)
      let mismatch = false
      // What was given to the store last, and the first of what it may have taken.
      let made = Infinity
      let tried = made
      const stands = await session.cell.change((stood, refused) => {
        if (!refused) tried = Math.min(tried, made)
        made = Infinity
        // An empty cell has lost its data, unless that means that the user cleared it; so has one with an older version.
        const mine = session.lossy ? session.held?.record : undefined
        const older = stood && !isEnded(stood) && stood.id === mine?.id && stood.version < mine.version
        // Who is exchanging the refresh token that stays is still doing so.
        const same = older && stood.refreshToken === mine.refreshToken
        const behind = older || (mine && session.isBehind(stood, mine))
        const standing = same ? { ...mine, claim: stood.claim } : behind ? mine : (stood ?? mine)
        if (attempt.dropped || !standing || isEnded(standing) || standing.id !== user.id)
          return unwanted(attempt)
        // Judged by what stands there now: who it is may have come out since.
        mismatch = subject !== undefined && (standing.subject ?? subject) !== subject
        // Written, though the store has not said so; what has come since may have been made of it.
        const done =
          standing.version > tried || (standing.version === tried && standing.access?.token === access?.token)
        if (mismatch) return unwanted(attempt)
        if (done) return undefined
        made = standing.version + 1
        // The same, perhaps with a backend's mark before it: whoever is exchanging it is still doing so.
        const { refreshToken: had } = standing
        const came = tokens.refreshToken ?? undefined
        const stays = !came || (had !== undefined && came.endsWith(had))
        return {
          ...standing,
          version: made,
          reason: 'reauthenticated',
          subject: standing.subject ?? subject,
          access,
          fresh: undefined,
          refreshToken: stays ? had : came,
          former: replaced(standing, tokens),
          due: draw(access, standing.due),
          claim: stays ? standing.claim : undefined,
          failures: undefined,
          retryAt: undefined,
        }
      }, true)
      // What stands in the store stays good, whoever has gone meanwhile.
      const stood = stands?.id === user.id && !isEnded(stands) && stands.access?.token === access?.token
      if (stood) attempt.kept = tokens
      else takeBack(tokens, attempt, attempt.dropped && user.id)
      if (attempt.dropped) throw attempt.dropped
      if (stood) return
      if (!mismatch) throw superseded()
      const message = 'The password was that of another user; nothing was changed'
      throw new AuthError('subject_mismatch', message)
    } finally {
      attempts.delete(attempt)
    }
  }

  // Cookies are those of whoever has signed in last.
  session.onEnded((record) => {
    if (!backend.cookies) for (const tokens of pairs(record)) takeBack(tokens)
  })

  /** The refresh tokens that are replaced by what a password brings, the last few. A cookie is overwritten. */
  function replaced({ former, refreshToken: old }: LiveRecord, { refreshToken }: Tokens) {
    const same = backend.cookies || !old || !refreshToken || refreshToken === old
    return same ? former : [...(former ?? []), old].slice(-5)
  }

  function logout(revoke: boolean): Promise<void> {
    const calledAt = session.cell.moment()
    // A login that is told of while it is still being seen to is ended below, but it is what was held.
    const held = session.held?.record
    for (const attempt of attempts) supersede(attempt, 'logout')
    const mine = session.held?.record
    const before = calls
    const revoked = new Set<string>()
    const revoking: Promise<void>[] = []
    const give = (record: Partial<LiveRecord>, late?: boolean): void => {
      for (const tokens of pairs(record)) {
        const left = Object.fromEntries(
          // Of one that is both the server may take the one kind alone.
          Object.entries(tokens).filter((one) => !revoked.has(one.join()) && revoked.add(one.join())),
        )
        // What cookies there are may be those of a login that was called since, and are if it has brought some.
        const own = !backend.cookies || calls === before
        const theirs = session.held || [...attempts].some(({ brought, dropped }) => brought && !dropped)
        const { accessToken } = left
        if (revoke) revoking.push(exchanger.revoke(own || !theirs ? left : { accessToken }, own && !late))
      }
    }
    if (mine) session.end(mine.id, 'logout', 'this context', revoke ? undefined : Infinity)
    // Whoever the cookies are of is signed out, though nobody knows of him.
    give(mine ?? (backend.cookies ? { refreshToken: '~' } : {}))
    const both = backend.cookies === 'both'
    const closed = session.close(calledAt)
    said = calledAt()
    // Newer tokens than we held may have stood there.
    const newer = session.cell.end(mine?.id ?? held?.id, said, revoke ? (mine?.version ?? 0) : Infinity)
    if (newer && !both) give(newer)
    const stored = session.cell.change((standing) => {
      // A login that was called later stays.
      if (standing && standing.id !== mine?.id) {
        const order = begun.get(standing.id)
        // What lies ahead was written before the clock was set back.
        const later = standing.calledAt > calledAt() && standing.calledAt <= session.cell.latest()
        if (order === undefined ? later : order > before) return undefined
      }
      const ends = standing ?? held
      // With nobody there a login in the same millisecond comes first.
      const at = calledAt() - (held ? 0 : 1)
      if (!ends) return { id: on.id(), version: 1, calledAt: at, ended: 'logout' }
      // Over already, but a login that was called since then is over with this; and what ran out may be helped elsewhere.
      if (isEnded(ends)) {
        return ends.ended === 'logout' && ends.calledAt >= at
          ? undefined
          : { ...ends, calledAt: at, ended: 'logout' }
      }
      // Newer tokens than we held, and those of a session that we had not heard of; but not what a login has brought since.
      const since = session.held?.record.access?.token
      // Of cookies those that came after ours were cleared, while the end could not be written; but for what a login has brought
      // since, or is about to.
      const late = both && mine && calls === before
      if ((!since || ends.access?.token !== since) && (!both || late)) give(ends, both)
      return { id: ends.id, version: ends.version, calledAt: calledAt(), ended: 'logout' }
    }, true)
    return Promise.resolve(stored)
      .then(closed)
      .then(() => Promise.all(revoking))
      .then(
        () => {},
        () => {},
      )
  }

  /**
   * What comes after all is nobody's, but for what the session goes on with: its refresh token, sent back as it was, or
   * the cookies that have taken the place of its own. `id`: the session that was to be made fresh.
   */
  function takeBack(
    { accessToken, refreshToken }: Tokens,
    { by, overwritten, flow }: Partial<Attempt> = {},
    id?: string,
  ): void {
    const mine = session.held?.record
    // Nor is a token that it came without one of its own: what is taken back ends all that came of the login. But a later login's
    // cookies had taken the place of its own before.
    const kin = backend.cookies ? !by || flow : backend.revokes === 'grant' && !refreshToken
    if (kin && id && id === mine?.id) return
    const live = [mine?.refreshToken, mine?.access?.token, by?.refreshToken, by?.accessToken]
    const dead = <T>(token: T): T | undefined => (live.includes(token as string) ? undefined : token)
    // Of two logins here the cookies of the later are there by now.
    const gone = overwritten && backend.cookies
    if (gone === 'both') return
    void exchanger.revoke({
      accessToken: dead(accessToken),
      refreshToken: gone ? undefined : dead(refreshToken),
    })
  }

  /** What `brought` comes to, unless a logout or a later login is faster: then its tokens are revoked. */
  async function untilDropped(attempt: Attempt, bring: Bring, id?: string): Promise<Brought> {
    if (attempt.dropped) throw attempt.dropped
    return new Promise((resolve, reject) => {
      attempt.leave = () => reject(attempt.dropped)
      bring().then((value) => {
        if (attempt.dropped) takeBack(value.tokens, attempt, id)
        resolve(value)
      }, reject)
    })
  }

  return {
    login: (credentials) => start('login', (attempt) => obtain(attempt, credentials)),
    reauthenticate,
    setTokens: (given) =>
      start('set_tokens', () => {
        const tokens = checkTokens(given, 'setTokens')
        const access = storedToken(tokens)
        // What counts from now counts for whoever reads it later, too.
        const counts = access?.life !== undefined && readToken(access).claims.iat === undefined
        return async () => ({ tokens, at: counts ? session.cell.latest() : undefined })
      }),
    logout,
    attempts,
    enter,
    record,
    takeBack,
    initial(tokens) {
      const attempt = enter(session.cell.moment())
      const { id } = attempt
      // Before all that is called.
      begun.set(id, calls)
      const made = record('initial', { tokens, at: undefined }, attempt)
      let given = false
      const first = {
        asked: false,
        change(standing: StoreRecord | null) {
          first.asked = true
          if (standing || attempt.dropped || session.isEnded(id)) return undefined
          given = true
          return { ...made, calledAt: attempt.calledAt() }
        },
        // From then on it is a session as any other, or none.
        decided() {
          if (attempts.delete(attempt) && session.endReason(id)) void undo(attempt, tokens, given)
        },
      }
      // A store that can't be asked keeps no token alive.
      attempt.leave = () => void session.ready.then(first.decided)
      session.start(first)
    },
    dispose() {
      for (const attempt of attempts) abandon(attempt, disposed())
    },
  }
}

/** The tokens of a session as they are revoked: a pair, and what there is beside it. */
const pairs = ({ access, fresh, refreshToken, former = [] }: Partial<LiveRecord>): Tokens[] => [
  { refreshToken, accessToken: access?.token },
  { accessToken: fresh?.token },
  ...former.map((refreshToken) => ({ refreshToken })),
]

const isEnded = (record: StoreRecord): record is Tombstone => 'ended' in record

function superseded(): AuthError {
  return new AuthError('session_changed', 'A logout or another login was called meanwhile')
}
