/** What went over the wire, as the server saw it: it believes nothing that the client says of itself. */
import type { Backend, IssuedToken, LogEntry } from 'stayfresh/testing'
import type { Exchange } from './server.ts'

/** Exchanges that look the same, as one row. */
export interface Row {
  count: number
  readonly method: string
  readonly path: string
  readonly token: string
  readonly status: string
  /** Milliseconds from the beginning of the step to the arrival of the first. */
  readonly at: number
  /** How many milliseconds the shortest and the longest took. */
  fastest: number
  slowest: number
}

/** An exchange that is over. */
export interface Sent {
  readonly entry: LogEntry
  readonly arrivedAt: number
  readonly overAt: number
}

/** See {@link createRecorder}. */
export interface Recorder {
  /** Takes an exchange down; to be given to the server. */
  take(exchange: Exchange): void
  /** Forgets what was taken down so far. */
  clear(): void
  /** Resolves when a request has arrived at this route since the last `clear`. */
  arrival(route: LogEntry['route']): Promise<void>
  /** All that has come since the last `clear`, in order of arrival, once all of it is over. */
  settled(): Promise<Sent[]>
  /** The same without waiting: what is not over counts as if it were so now. */
  soFar(): Sent[]
}

/** A recorder with nothing in it. */
export function createRecorder(): Recorder {
  let exchanges: (Exchange & { overAt?: number })[] = []
  let waiting: { route: LogEntry['route']; resolve: () => void }[] = []
  const soFar = (): Sent[] =>
    exchanges.map(({ entry, arrivedAt, overAt = performance.now() }) => ({ entry, arrivedAt, overAt }))
  return {
    take(exchange) {
      const taken: (typeof exchanges)[number] = { ...exchange }
      exchanges.push(taken)
      void exchange.over.then((at) => {
        taken.overAt = at
      })
      const { route } = exchange.entry
      for (const waiter of waiting) if (waiter.route === route) waiter.resolve()
      waiting = waiting.filter((waiter) => waiter.route !== route)
    },
    clear() {
      exchanges = []
      waiting = []
    },
    arrival: (route) =>
      new Promise((resolve) => {
        if (exchanges.some(({ entry }) => entry.route === route)) resolve()
        else waiting.push({ route, resolve })
      }),
    async settled() {
      // An array that grows is iterated to its end: what arrives meanwhile is waited for too.
      for (const { over } of exchanges) await over
      return soFar()
    },
    soFar,
  }
}

/** A short name for a token that the backend gave out: `access#3/fresh`. Never the token. */
export function tokenName({ issued }: Backend, token: IssuedToken | undefined): string {
  if (!token) return '–'
  const { kind, fresh, jti } = token
  const place = issued.filter((other) => other.kind === kind).findIndex((other) => other.jti === jti) + 1
  return `${kind}#${place}${fresh ? '/fresh' : ''}`
}

/** The token a request came with. */
export function sentToken({ issued }: Backend, { token }: LogEntry): IssuedToken | undefined {
  return token && issued.find(({ jti }) => jti === token.jti)
}

/** Rows for a table: equal exchanges in one, in the order in which the first of each arrived. */
export function toRows(backend: Backend, sent: readonly Sent[], began: number): Row[] {
  const rows = new Map<string, Row>()
  for (const { entry, arrivedAt, overAt } of sent) {
    const { method, path, delivered } = entry
    const token = entry.token ? tokenName(backend, sentToken(backend, entry)) : '–'
    const status = delivered && entry.status !== undefined ? String(entry.status) : 'none'
    const took = overAt - arrivedAt
    const key = [method, path, token, status].join(' ')
    const row = rows.get(key)
    if (row) {
      row.count += 1
      row.fastest = Math.min(row.fastest, took)
      row.slowest = Math.max(row.slowest, took)
    } else {
      const at = Math.max(arrivedAt - began, 0)
      rows.set(key, { count: 1, method, path, token, status, at, fastest: took, slowest: took })
    }
  }
  return [...rows.values()]
}
