/**
 * What a timeline is made of. No code but the time, so that what draws, what watches and the demo's page share it.
 * Nothing here has room for a token, a password or a body.
 */
import type { AuthEventType, ReauthReason } from '../types.ts'

/** The time, in ms since the epoch: the same in all tabs, whatever `Date` is set to. */
export function real(): number {
  return performance.timeOrigin + performance.now()
}

/** The events with a mark of their own: refreshes and dialogs have bars. */
export const MARKED: readonly Exclude<AuthEventType, 'tokenRefreshed' | 'reauthRequired'>[] = [
  'loggedIn',
  'loggedOut',
  'refreshFailed',
  'clockSkew',
  'storeUnavailable',
]

/** A request on the wire. Times are those of {@link real}. */
export interface Send {
  readonly at: number
  end?: number
  /** Missing: no answer came. */
  status?: number
  /** The server's own words, where it did not do what was asked. */
  said?: string
  /** It never left: this tab is offline. */
  offline?: boolean
}

interface Base {
  readonly id: string
  readonly tab: string
  readonly at: number
  end?: number
}

/** A call of the application's, or (`own`) one that the client makes for itself: a login, a logout. */
export interface CallItem extends Base {
  readonly kind: 'call'
  readonly method: string
  readonly path: string
  readonly own: boolean
  sends: Send[]
  /** A status, or the code of an error. */
  result?: string
}

/** The exchange of a refresh token, its retries included. */
export interface RefreshItem extends Base {
  readonly kind: 'refresh'
  sends: Send[]
  outcome?: 'done' | 'failed' | 'refused'
  reason?: string
  version?: number
}

/** A dialog that asks for the password. */
export interface AskItem extends Base {
  readonly kind: 'ask'
  readonly reason: ReauthReason
  outcome?: 'done' | 'dismissed'
}

/** Something that a tab was told. */
export interface MarkItem extends Base {
  readonly kind: 'mark'
  readonly type: AuthEventType
  readonly reason: string
  readonly origin: string
  readonly subject?: string | undefined
}

/** An access token's life, as the session tells it. */
export interface TokenItem extends Base {
  readonly kind: 'token'
  readonly version: number
  readonly fresh: boolean
  readonly subject: string | undefined
  readonly expires: number | undefined
}

/** What somebody did to the tokens behind the client's back. */
export interface CauseItem extends Base {
  readonly kind: 'cause'
  readonly what: 'expired' | 'revoked'
  /** How the ids begin of the token items that it is about. */
  readonly token: string
}

export type Item = CallItem | RefreshItem | AskItem | MarkItem | TokenItem | CauseItem

/** What {@link createTimeline} draws. */
export interface Story {
  /** The lane of this tab; empty where there is no other. */
  readonly tab: string
  /** The lanes there are; those of closed tabs too, while something of theirs is kept. */
  tabs(): { name: string; open: boolean }[]
  items(): IterableIterator<Item>
  /** Calls back for each item that is new or has changed, until what it gives back is called. */
  onItem(listener: (item: Item) => void): () => void
  /** The same when a tab has come or gone. */
  onTabs(listener: () => void): () => void
  /** The same when something is forgotten. */
  onGone(listener: (id: string) => void): () => void
}

/** Adds a listener; gives back what takes it out again. */
export function listen<Listener>(listeners: Set<Listener>, listener: Listener): () => void {
  listeners.add(listener)
  return () => void listeners.delete(listener)
}
