/**
 * The access tokens in this context's hand: how old each is, whether it works, and by how much the clock here is wrong.
 * No clock of a store or of a server is taken for ours, nor ours for theirs.
 */
import type { CellRoom } from './cell.ts'
import type { Emitter } from './events.ts'
import { type Platform, stopwatch } from './platform.ts'
import { isNumber, type ReadToken, readToken } from './token.ts'
import type { StoredToken } from './types.ts'

/** An access token in this context's hand, ageing by this context's clocks since it came. */
export interface HeldToken extends ReadToken {
  readonly age: () => number
  /** Whether it has run out beyond doubt: not by a clock that may have jumped, nor by what others' clocks said. */
  readonly over: () => boolean
  /** A server has turned it down; whatever our clock says. */
  rejected: boolean
  /** The route that turned it down with a 401 that tells nothing, if it has been taken nowhere since. */
  doubted?: string
}

/** Those of a session: the one that refreshes bring, and a fresh one beside it while that lasts. */
interface Pair {
  readonly access: HeldToken | undefined
  readonly fresh: HeldToken | undefined
}

export interface Hand {
  /** Takes in hand what stands in a record: the same token keeps its age, and that a server turned it down. */
  hold(stored: StoredToken | undefined): HeldToken | undefined
  /** The access token to send: the fresh one to its own end, then the refreshed one. */
  token(held: Pair): HeldToken | undefined
  usable(token: HeldToken | undefined): boolean
  /** Whether it is usable and fresh; `undefined`: it says nothing of freshness. */
  isFresh(token: HeldToken | undefined): boolean | undefined
  /** Finds how far the server's clock is ahead of ours, from a token that a request begun at `sentAt` brought. */
  learnSkew(token: ReadToken, sentAt: number): void
  /** Nobody is signed in any more. */
  forget(): void
}

export function createHand(cell: CellRoom, emitter: Emitter, on: Platform): Hand {
  let skew = 0
  let announcedSkew = 0
  // The last ones, newest first: a record that is heard of late may name one that has gone already.
  const known: HeldToken[] = []

  function hold(stored: StoredToken | undefined): HeldToken | undefined {
    if (!stored) return undefined
    // The same token keeps its age, for the store's clock may have jumped since, and that a server turned it down. One
    // that a server gives once more is a new one all the same.
    const same = known.find(({ token, at }) => token === stored.token && at === stored.at)
    if (same) return same
    const read = readToken(stored)
    const { iat, exp } = read.claims
    const serverNow = on.now() + skew
    let { lasts } = read
    let age = 0
    if (stored.at !== undefined) age = cell.latest() - stored.at
    else if (isNumber(iat)) age = serverNow - iat * 1000
    const initial = Math.max(age, 0)
    if (lasts === undefined && iat === undefined && isNumber(exp)) {
      lasts = exp * 1000 - serverNow + initial
      // Over before it came: our clock is ahead, and believing it would refresh for each call.
      if (lasts <= 0 && stored.at !== undefined) lasts = undefined
    }
    const since = stopwatch(on)
    // Beyond doubt: no clock that was set ahead while the store was asked counts, and the second that a life was cut by is
    // given back.
    const least = cell.earliest() - (stored.at ?? Infinity)
    const over = (): boolean => least + since.least() >= (lasts ?? Infinity) + 1_000
    const made: HeldToken = { ...read, lasts, age: () => initial + since(), over, rejected: false }
    if (known.unshift(made) > 6) known.pop()
    return made
  }

  function usable(token: HeldToken | undefined): boolean {
    return token !== undefined && !token.rejected && (token.lasts === undefined || token.age() < token.lasts)
  }

  function isFresh(token: HeldToken | undefined): boolean | undefined {
    return token?.freshFor === undefined ? undefined : usable(token) && token.age() < token.freshFor
  }

  function token(of: Pair): HeldToken | undefined {
    return isFresh(of.fresh) ? of.fresh : of.access
  }

  function learnSkew({ claims: { iat, exp }, life }: ReadToken, sentAt: number): void {
    // What was under way while the machine slept, or a clock was set: half of that would be taken for skew.
    if (Math.abs(on.now() - sentAt) > 30_000) return
    // Not the moment of its issue, if the token lasts shorter than from there.
    if (!isNumber(iat) || ((exp ?? 0) - iat) * 1000 > (life ?? Infinity) + 5000) return
    // The stamp was cut to whole seconds, and was made between the sending and now.
    const found = Math.round(iat * 1000 + 500 - (sentAt + on.now()) / 2)
    if (!isNumber(found)) return
    skew = found
    if (Math.abs(skew - announcedSkew) < 30_000) return
    announcedSkew = skew
    emitter.emit({ type: 'clockSkew', reason: 'token', skew, origin: 'this context' })
  }

  return {
    hold,
    token,
    usable,
    isFresh,
    learnSkew,
    forget() {
      known.length = 0
    },
  }
}
