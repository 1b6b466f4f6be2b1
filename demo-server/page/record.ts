/**
 * What happened, in every tab: each tab records its own and tells the others over a channel. Nothing here holds a
 * token, a password or a body.
 */
import { type Item, listen, real, type Story } from '../../src/devtools/items.ts'

/** See {@link openRecord}. */
export interface Log extends Story {
  /** Writes something down, or that it has changed, and tells the other tabs. */
  put(item: Item): void
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
    item: new Set<(item: Item) => void>(),
    tabs: new Set<() => void>(),
    gone: new Set<(id: string) => void>(),
    settings: new Set<() => void>(),
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
    onItem: (listener) => listen(listeners.item, listener),
    onTabs: (listener) => listen(listeners.tabs, listener),
    onGone: (listener) => listen(listeners.gone, listener),
    tellSettings: () => post({ type: 'settings', from: tab }),
    onSettings: (listener) => void listeners.settings.add(listener),
  }
}
