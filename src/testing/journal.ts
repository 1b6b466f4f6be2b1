/** What came in: the log and the counters. */

import { presentedTokens } from './find.ts'
import type { Ledger } from './ledger.ts'
import { type Line, type Note, writeTimeline } from './timeline.ts'
import type { BackendSettings, Fault, LogEntry, PresentedToken, RouteName, TimelineOptions } from './types.ts'

/** A log entry while its request is served. */
export type Draft = { -readonly [K in keyof LogEntry]: LogEntry[K] }

/** See {@link createJournal}. */
export interface Journal {
  readonly entries: Draft[]
  arrive(request: Request, url: URL, route: RouteName, api: string | undefined, time: number): Draft
  /** Enters a token that was only found in the body. */
  addToken(entry: Draft, where: PresentedToken['where'], token: string): void
  strike(entry: Draft, fault: Fault): void
  /** Enters what the test does to the server, for the timeline alone. */
  note(time: number, tell: Note['tell'] | string): void
  timeline(options?: TimelineOptions): string
  count(route?: string): number
  uses(jti: string): number
  faultsFired(route?: string): number
  clear(): void
}

/** An empty journal. */
export function createJournal(settings: BackendSettings, ledger: Ledger): Journal {
  const entries: Draft[] = []
  // Entries and what came between them.
  const lines: Line[] = []
  const counts = new Map<string, number>()
  const uses = new Map<string, number>()
  const faults = new Map<string, number>()
  let lastId = 0

  const addToken = (entry: Draft, { where, token }: PresentedToken): void => {
    const issued = ledger.find(token)
    if (!issued) {
      entry.tokens = [...entry.tokens, { where, token }]
    } else {
      const { kind, jti, sub, family, generation } = issued
      // Sent twice in one request, it is still one use.
      if (!entry.tokens.some((other) => other.jti === jti)) increment(uses, jti)
      entry.tokens = [...entry.tokens, { where, token, kind, jti, sub, family, generation }]
    }
    entry.token = entry.tokens[0]
  }

  return {
    entries,
    arrive(request, url, route, api, time) {
      const entry: Draft = {
        id: ++lastId,
        time,
        method: request.method,
        url: request.url,
        path: url.pathname,
        route,
        api,
        headers: Object.fromEntries(request.headers),
        body: undefined,
        tokens: [],
        token: undefined,
        processed: false,
        status: undefined,
        delivered: false,
        error: undefined,
        detail: undefined,
        fault: undefined,
        issued: [],
      }
      for (const token of presentedTokens(request, url, route, settings)) addToken(entry, token)
      entries.push(entry)
      lines.push(entry)
      countUnder(counts, entry)
      return entry
    },
    addToken: (entry, where, token) => addToken(entry, { where, token }),
    strike(entry, fault) {
      entry.fault = fault
      countUnder(faults, entry)
    },
    note: (time, tell) => void lines.push({ time, tell: typeof tell === 'string' ? () => tell : tell }),
    timeline: (options) => writeTimeline(lines, options),
    count: (route) => total(counts, route),
    uses: (jti) => uses.get(jti) ?? 0,
    faultsFired: (route) => total(faults, route),
    clear() {
      entries.length = 0
      lines.length = 0
      counts.clear()
      uses.clear()
      faults.clear()
    },
  }
}

function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

/** Under its route, and if that is one of the test's own under its name, too. */
function countUnder(counts: Map<string, number>, { route, api }: LogEntry): void {
  increment(counts, route)
  if (api !== undefined) increment(counts, `api ${api}`)
}

function total(counts: Map<string, number>, route: string | undefined): number {
  if (route !== undefined) return counts.get(`api ${route}`) ?? counts.get(route) ?? 0
  let sum = 0
  for (const [name, count] of counts) if (!name.startsWith('api ')) sum += count
  return sum
}
