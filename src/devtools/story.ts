/** A client's events and requests, put together to what a timeline draws. It changes nothing of the client. */
import type { Auth, AuthEventType, HistoryEntry, StandardClaims } from '../types.ts'
import { type CallItem, type Item, listen, MARKED, type RefreshItem, real, type Story } from './items.ts'
import type { Seen } from './requests.ts'
import { noteTokens } from './tokens.ts'

/** What of a client is watched. */
export type Watched<Claims = StandardClaims> = Pick<
  Auth<Claims>,
  'on' | 'subscribe' | 'session' | 'history' | 'baseUrl'
>

// How long something is kept, in ms: longer than the widest timeline shows.
const KEPT = 120_000
// Longer than this no exchange goes on without a word, in ms: `refreshTimeout`'s default, and some.
const LONG = 10_000

/** A story that grows. */
export interface Told extends Story {
  /** Takes in a request that is over. */
  request(seen: Seen): void
  end(): void
}

/** Begins with what `auth.history` has. */
export function tellStory(auth: Watched): Told {
  const tab = ''
  const items = new Map<string, Item>()
  const onItem = new Set<(item: Item) => void>()
  const onGone = new Set<(id: string) => void>()
  const calls = new Map<Seen, CallItem>()
  let count = 0
  let exchange: RefreshItem | undefined
  // When its event came. Which of the two is told first, its event or its last request, is a matter of luck.
  let over: number | undefined

  const id = (): string => String(++count)
  // Here, not at each request: there may be none to be seen, and events all the same.
  function put(item: Item): void {
    forget()
    items.set(item.id, item)
    for (const listener of onItem) listener(item)
  }

  let forgot = 0
  function forget(): void {
    const now = real()
    if (now - forgot < 1000) return
    forgot = now
    const before = now - KEPT
    for (const [key, { end = Infinity }] of items) {
      if (end > before) continue
      items.delete(key)
      for (const listener of onGone) listener(key)
    }
    for (const seen of calls.keys()) if (seen.end < before) calls.delete(seen)
  }

  function request(seen: Seen): void {
    const { path, at, end, status, kind, replays } = seen
    const send = { at, end, status }
    if (kind === 'refresh') {
      const goesOn = exchange && (over === undefined ? at - (exchange.end ?? at) < LONG : at <= over)
      if (!goesOn) over = undefined
      const known = goesOn ? exchange : undefined
      exchange = {
        ...(known ?? { kind: 'refresh', id: id(), tab }),
        at: known?.sends.length ? known.at : at,
        end,
        sends: [...(known?.sends ?? []), send],
      }
      put(exchange)
      lookForRefusal()
      return
    }
    const result = status === undefined ? 'no status' : String(status)
    const first = replays && calls.get(replays)
    const item: CallItem = first
      ? { ...first, end, result, sends: [...first.sends, send] }
      : {
          kind: 'call',
          id: id(),
          tab,
          at,
          end,
          method: '',
          path,
          own: kind === 'sign-in',
          sends: [send],
          result,
        }
    if (kind === 'call' && !first) calls.set(seen, item)
    put(item)
  }

  function endExchange(
    outcome: NonNullable<RefreshItem['outcome']>,
    reason: string,
    at: number,
    version?: number,
  ): void {
    const known = exchange && over === undefined && at - (exchange.end ?? at) < LONG ? exchange : undefined
    exchange = {
      ...(known ?? { kind: 'refresh', id: id(), tab, at, end: at, sends: [] }),
      outcome,
      reason,
      version,
    }
    over = at
    put(exchange)
  }

  // A refusal is no event of its own; it stands in the history.
  let last: HistoryEntry | undefined
  function lookForRefusal(): void {
    const { history } = auth
    // If that one is forgotten by now, all that is there came later.
    for (const entry of history.slice(last ? history.lastIndexOf(last) + 1 : 0)) {
      if (entry.type === 'refreshRefused') endExchange('refused', entry.reason, real())
    }
    last = history.at(-1)
  }

  function mark(type: AuthEventType, reason: string, origin: string, at: number, subject?: string): void {
    put({ kind: 'mark', id: id(), tab, at, end: at, type, reason, origin, subject })
  }

  const offset = Date.now() - real()
  for (const { at, type, reason, origin, version } of auth.history) {
    const when = at - offset
    if (type === 'tokenRefreshed') endExchange('done', reason, when, version)
    else if (type === 'refreshRefused') endExchange('refused', reason, when)
    else mark(type, reason, origin, when)
    exchange = undefined
    over = undefined
  }
  last = auth.history.at(-1)

  const ends = [
    auth.on('tokenRefreshed', ({ origin, reason, session }) => {
      if (reason !== 'reauthenticated' && origin === 'this context') {
        endExchange('done', reason, real(), session.version)
      }
    }),
    auth.on('refreshFailed', ({ origin, reason }) => {
      if (origin === 'this context') endExchange('failed', reason, real())
    }),
    auth.on('reauthRequired', ({ reason, session, signal }) => {
      const item = { kind: 'ask', id: id(), tab, at: real(), reason } as const
      put(item)
      const close = (): void => {
        const now = auth.session
        const better = now?.id === session.id && now.version > session.version
        put({ ...item, end: real(), outcome: better ? 'done' : 'dismissed' })
      }
      if (signal.aborted) close()
      else signal.addEventListener('abort', close, { once: true })
    }),
    ...MARKED.map((type) =>
      auth.on(type, ({ reason, origin, ...event }) => {
        lookForRefusal()
        // The session has changed in another way: what the exchange brings is of no use.
        if (type !== 'refreshFailed' && exchange && over === undefined)
          endExchange('failed', 'superseded', real())
        mark(type, reason, origin, real(), 'session' in event ? event.session.subject : undefined)
      }),
    ),
    noteTokens(auth, { tab, items: () => items.values(), put }).end,
  ]

  return {
    tab,
    tabs: () => [{ name: tab, open: true }],
    items: () => items.values(),
    onItem: (listener) => listen(onItem, listener),
    onTabs: () => () => {},
    onGone: (listener) => listen(onGone, listener),
    request,
    end() {
      for (const end of ends) end()
    },
  }
}
