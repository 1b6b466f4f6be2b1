/** The timeline in a console: a group for each event, with the requests since the one before. */
import type { AuthEvents, AuthEventType, Session } from '../types.ts'
import { real } from './items.ts'
import type { Seen } from './requests.ts'
import type { Watched } from './story.ts'
import { duration, historyWords } from './words.ts'

/** What is needed of a console. */
export type Printing = Pick<Console, 'groupCollapsed' | 'log' | 'groupEnd'>

const EVENTS: Record<AuthEventType, true> = {
  loggedIn: true,
  tokenRefreshed: true,
  refreshFailed: true,
  reauthRequired: true,
  loggedOut: true,
  clockSkew: true,
  storeUnavailable: true,
}

// The platform tells of a request a moment after its answer was read, in ms.
const SOON = 60
// More than that is a storm, and no use to anybody.
const MOST = 20
// So many are kept for the next event, which may be hours away.
const KEPT = 300

/** Prints what was before, then each event soon after it came. */
export function printTo(
  out: Printing,
  auth: Watched,
  flush: () => void,
): { request(seen: Seen): void; end(): void } {
  let seen: Seen[] = []
  const waiting = new Set<() => void>()

  function group(title: string, lines: readonly string[]): void {
    out.groupCollapsed(title)
    for (const line of lines) out.log(line)
    out.groupEnd()
  }

  function tell(
    type: AuthEventType,
    event: AuthEvents[AuthEventType],
    session: Session | null | undefined,
  ): void {
    const { reason, origin } = event
    const status = 'status' in event ? event.status : undefined
    const at = Date.now()
    const { title, lines } = historyWords({ at, type, reason, origin, status, version: session?.version })
    const when = real()
    const print = (): void => {
      waiting.delete(print)
      clearTimeout(timer)
      flush()
      // No event of its own: the session may outlive it.
      const news = auth.history.slice(told ? auth.history.lastIndexOf(told) + 1 : 0)
      told = auth.history.at(-1)
      const refusals = news
        .filter((entry) => entry.type === 'refreshRefused')
        .map((entry) => historyWords(entry))
      const before = seen.filter((one) => one.at < when)
      seen = seen.filter((one) => one.at >= when)
      group(`stayfresh · ${title}`, [
        ...lines,
        ...refusals.map((refusal) => `${refusal.title}: ${refusal.lines[0]}`),
        sessionLine(session, at),
        ...before.slice(-MOST).map(requestLine),
      ])
    }
    const timer = setTimeout(print, SOON)
    // Node's: nobody waits for this.
    ;(timer as { unref?: () => void }).unref?.()
    waiting.add(print)
  }

  const { history } = auth
  let told = history.at(-1)
  if (history.length > 0) {
    const line = (entry: (typeof history)[number]): string => {
      const { title, lines } = historyWords(entry)
      return `${new Date(entry.at).toLocaleTimeString()}  ${title}  ${lines.at(-1)}`
    }
    group(`stayfresh · ${history.length} before`, history.map(line))
  }

  const ends = (Object.keys(EVENTS) as AuthEventType[]).map((type) =>
    auth.on(type, (event) => tell(type, event, auth.session)),
  )
  return {
    request(one) {
      if (seen.push(one) > KEPT) seen.shift()
    },
    end() {
      for (const print of [...waiting]) print()
      for (const end of ends) end()
    },
  }
}

function sessionLine(session: Session | null | undefined, now: number): string {
  if (!session) return 'Nobody is signed in'
  const { subject = 'somebody', version, fresh, status, expiresAt } = session
  const left =
    expiresAt === undefined
      ? ''
      : `, ${expiresAt > now ? 'for another' : 'over since'} ${duration(Math.abs(expiresAt - now))}`
  return `${subject}, version ${version}${fresh ? ', fresh' : ''}, ${status}${left}`
}

function requestLine({ path, at, end, status, kind, replays }: Seen): string {
  const what = replays ? 'replay' : kind
  return `${what.padEnd(7)}  ${path || '/'} → ${status ?? 'no status'} after ${duration(end - at)}`
}
