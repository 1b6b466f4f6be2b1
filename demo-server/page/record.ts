/**
 * What happened, in every tab: each tab records its own and tells the others over a channel. Nothing here holds a
 * token, a password or a body.
 */
import type { AuthEventType, ReauthReason } from 'stayfresh'
import { real } from './clock.ts'

/** A request on the wire. Times are ms since the epoch, right ones. */
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

/** See {@link openRecord}. */
export interface Log {
  /** This tab's letter. */
  readonly tab: string
  /** The tabs there are, by letter; those that were closed too, while something of theirs is kept. */
  tabs(): { name: string; open: boolean }[]
  items(): IterableIterator<Item>
  /** Writes something down, or that it has changed, and tells the other tabs. */
  put(item: Item): void
  /** Calls back for each item that is new or has changed, here or elsewhere. */
  onItem(listener: (item: Item) => void): void
  /** Calls back when a tab has come or gone. */
  onTabs(listener: () => void): void
  /** Calls back when something is forgotten. */
  onGone(listener: (id: string) => void): void
  /** Tells the other tabs that the server's settings have changed. */
  tellSettings(): void
  onSettings(listener: () => void): void
}

type Message =
  | { type: 'hello'; from: string }
  | { type: 'here'; from: string; items: Item[] }
  | { type: 'item'; from: string; item: Item }
  | { type: 'bye'; from: string }
  | { type: 'settings'; from: string }

// How long something is kept, in ms: longer than the widest timeline shows.
const KEPT = 120_000

/** The first letter that no other open tab has: held as a Web Lock, so that it is free again with the tab. */
async function takeLetter(): Promise<string> {
  for (let index = 0; ; index++) {
    const letter = index < 26 ? String.fromCharCode(65 + index) : String(index + 1)
    const taken = await new Promise<boolean>((resolve) => {
      void navigator.locks.request(`demo:tab:${letter}`, { ifAvailable: true }, (lock) => {
        resolve(lock !== null)
        return lock ? new Promise(() => {}) : undefined
      })
    })
    if (taken) return letter
  }
}

/** Opens this tab's record and hears what the others have. */
export async function openRecord(): Promise<Log> {
  const tab = await takeLetter()
  const channel = new BroadcastChannel('demo:record')
  const items = new Map<string, Item>()
  const open = new Map<string, boolean>([[tab, true]])
  const listeners = {
    item: [] as ((item: Item) => void)[],
    tabs: [] as (() => void)[],
    gone: [] as ((id: string) => void)[],
    settings: [] as (() => void)[],
  }
  const post = (message: Message): void => channel.postMessage(message)

  const see = (name: string, isOpen: boolean): void => {
    if (open.get(name) === isOpen) return
    open.set(name, isOpen)
    for (const listener of listeners.tabs) listener()
  }

  const keep = (given: Item): void => {
    const known = items.get(given.id)
    // A token's life is told by each tab that sees it: it began when the first did, and ended likewise.
    const item =
      known?.kind === 'token' && given.kind === 'token'
        ? { ...given, at: Math.min(known.at, given.at), end: known.end ?? given.end }
        : given
    items.set(item.id, item)
    for (const listener of listeners.item) listener(item)
  }

  const forget = (): void => {
    const before = real() - KEPT
    for (const [id, item] of items) {
      if ((item.end ?? (item.kind === 'mark' || item.kind === 'cause' ? item.at : Infinity)) > before)
        continue
      items.delete(id)
      for (const listener of listeners.gone) listener(id)
    }
    const left = new Set([...items.values()].map((item) => item.tab))
    for (const [name, isOpen] of open) {
      if (isOpen || left.has(name)) continue
      open.delete(name)
      for (const listener of listeners.tabs) listener()
    }
  }
  setInterval(forget, 5000)

  channel.onmessage = ({ data }: MessageEvent<Message>) => {
    const { type, from } = data
    if (type === 'settings') {
      for (const listener of listeners.settings) listener()
      return
    }
    see(from, type !== 'bye')
    if (type === 'hello') {
      // Its own too: it may be a page that was loaded anew.
      const told = [...items.values()].filter(
        (item) => [tab, from].includes(item.tab) || item.kind === 'token',
      )
      post({ type: 'here', from: tab, items: told })
    } else if (type === 'here') for (const item of data.items) keep(item)
    else if (type === 'item') keep(data.item)
    else {
      // What it had begun nobody will end.
      for (const item of items.values()) {
        if (item.tab === from && item.kind !== 'token') item.end ??= real()
      }
    }
  }
  addEventListener('pagehide', () => post({ type: 'bye', from: tab }))
  addEventListener('pageshow', ({ persisted }) => persisted && post({ type: 'hello', from: tab }))
  post({ type: 'hello', from: tab })

  return {
    tab,
    tabs: () =>
      [...open]
        .map(([name, isOpen]) => ({ name, open: isOpen }))
        .sort((a, b) => a.name.localeCompare(b.name)),
    items: () => items.values(),
    put(item) {
      keep(item)
      post({ type: 'item', from: tab, item })
    },
    onItem: (listener) => void listeners.item.push(listener),
    onTabs: (listener) => void listeners.tabs.push(listener),
    onGone: (listener) => void listeners.gone.push(listener),
    tellSettings: () => post({ type: 'settings', from: tab }),
    onSettings: (listener) => void listeners.settings.push(listener),
  }
}
