/** What happened, and why, in words for a person. */
import type { HistoryEntry } from '../types.ts'
import type { CallItem, Item, RefreshItem, Send } from './items.ts'

/** A few words for a thing, and a line or two for what and why. */
export interface Words {
  readonly title: string
  readonly lines: readonly string[]
}

const REFRESHED: Record<string, string> = {
  ahead: 'It was due soon, and was refreshed beside a call that went out at once.',
  expired: 'The access token had run out; the calls that needed it waited for this.',
  rejected: 'The server turned the access token down, and the calls that saw a 401 are replayed.',
  requested: 'The application asked for it.',
}

const FAILED: Record<string, string> = {
  network: 'The network failed',
  timeout: 'No answer came in time',
  status: 'The server could not do it',
  bad_answer: 'The answer made no sense',
  busy: 'Another tab has been at it for too long',
  cool_down: 'An earlier failure is too recent',
  refresh_limit: 'There were too many refreshes in a short time',
  store: 'The store failed',
  superseded: 'A login or a logout came first',
}

const ASKED: Record<string, string> = {
  fresh_token_required: 'This needs a password that was typed just now; a refreshed token will not do.',
  session_expired: 'The refresh token is of no use any more; only a password helps.',
  token_revoked: 'The server has revoked the session; only a password helps.',
}

const ENDED: Record<string, string> = {
  logout: 'by a logout',
  session_expired: 'because the session expired',
  token_revoked: 'because the server revoked it',
  replaced: 'because another login took its place',
  storage_cleared: 'because the site’s data was cleared',
}

const RESULTS: Record<string, string> = {
  refresh_unavailable: 'The refresh could not be completed: an error, and nobody is signed out.',
  session_changed: 'Whoever made the call is no longer signed in: it was not sent as somebody else.',
  'network error': 'The network failed, and that is no business of the session.',
}

/** A lane by name; where there is one alone, it has none. */
export function tabName(tab: string): string {
  return tab ? `Tab ${tab}` : 'This tab'
}

/** Milliseconds as one reads them. */
export function duration(ms: number): string {
  return ms < 995 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

/** What a bar or a mark of the timeline stands for. */
export function describe(item: Item, now: number): Words {
  const took = duration((item.end ?? now) - item.at)
  const tab = tabName(item.tab)
  switch (item.kind) {
    case 'call':
      return {
        title: callTitle(item),
        lines: [`${tab}, ${took}`, ...item.sends.map(sendLine), ...callWhy(item)],
      }
    case 'refresh':
      return {
        title: refreshTitle(item),
        lines: [
          `One exchange for all tabs, ${took}${item.tab && `, made by tab ${item.tab}`}`,
          ...item.sends.map(sendLine),
          ...refreshWhy(item),
        ],
      }
    case 'ask': {
      const ends = { done: 'It was given, and what had waited went out.', dismissed: 'It was not given.' }
      return {
        title: 'Step-up: the password, please',
        lines: [
          `${tab}, open for ${took}`,
          ASKED[item.reason] ?? item.reason,
          ...(item.outcome ? [ends[item.outcome]] : []),
        ],
      }
    }
    case 'token': {
      const left = item.expires === undefined ? undefined : item.expires - now
      const fresh = item.fresh ? 'Fresh: got with a password.' : 'Not fresh: got by a refresh.'
      const when =
        item.end !== undefined
          ? `In use for ${took}`
          : left === undefined
            ? 'It does not say when it expires'
            : left > 0
              ? `Expires in ${duration(left)}`
              : `Expired ${duration(-left)} ago; the next call refreshes it`
      return { title: `Access token, version ${item.version}`, lines: [when, fresh] }
    }
    case 'cause':
      return item.what === 'expired'
        ? {
            title: 'Expired early',
            lines: [
              'The server no longer takes this token, whatever its exp says. The client can’t know yet.',
            ],
          }
        : {
            title: 'Revoked',
            lines: ['The server takes no token of this session any more. The client can’t know yet.'],
          }
    case 'mark': {
      const where = item.origin === 'this context' ? `${tab} did it` : `${tab} heard of it from another tab`
      if (item.type === 'loggedOut') {
        return { title: 'Signed out', lines: [`Ended ${ENDED[item.reason] ?? item.reason}`, where] }
      }
      if (item.type === 'loggedIn') return { title: `Signed in as ${item.subject ?? '?'}`, lines: [where] }
      if (item.type === 'refreshFailed') {
        return {
          title: 'The refresh failed',
          lines: [`${FAILED[item.reason] ?? item.reason}. The session lives.`, tab],
        }
      }
      if (item.type === 'clockSkew') {
        return {
          title: 'This clock is off',
          lines: ['Noticed from the last token, and allowed for. Nothing breaks.', tab],
        }
      }
      return { title: item.type, lines: [item.reason, tab] }
    }
  }
}

/** `DELETE fresh → 200`. */
export function callTitle({ method, path, result }: CallItem): string {
  const what = `${method} ${path}`.trim()
  return result === undefined ? `${what}, under way` : `${what} → ${result}`
}

/** Why a call went as it did. */
export function callWhy({ sends, result, own, path, at }: CallItem): string[] {
  const [first] = sends
  if (own) return path === 'logout' ? ['Revokes a token at the server.'] : ['Brings a fresh pair of tokens.']
  const lines: string[] = []
  const waited = first ? first.at - at : 0
  if (waited > 50) {
    const instead = first?.status === 401 ? '' : ', instead of meeting a 401'
    lines.push(`Waited ${duration(waited)} for the refresh${instead}.`)
  }
  if (sends.length > 1 && result?.startsWith('2')) lines.push('Replayed once, with the token that works.')
  const why = result === undefined ? undefined : RESULTS[result]
  if (why) lines.push(why)
  if (result === '401') lines.push('The server’s own 401: nobody is signed in, or nobody gave the password.')
  return lines
}

function refreshTitle({ outcome, version }: RefreshItem): string {
  if (outcome === 'done') return `Refresh: v${(version ?? 1) - 1} → v${version}`
  if (outcome === 'failed') return 'Refresh, failed'
  if (outcome === 'refused') return 'Refresh, refused'
  return 'Refresh, under way'
}

function refreshWhy({ outcome, reason = '' }: RefreshItem): string[] {
  if (outcome === 'done') return [REFRESHED[reason] ?? reason]
  if (outcome === 'failed')
    return [`${FAILED[reason] ?? reason}. The session lives, and it will be tried again.`]
  if (outcome === 'refused') return ['The server refused the refresh token.']
  return []
}

function sendLine({ at, end, status, said, offline }: Send, index: number): string {
  const nth = index === 0 ? 'Sent' : 'Sent again'
  if (end === undefined) return `${nth}, no answer yet`
  const took = duration(end - at)
  if (offline) return `${nth}: offline`
  if (status === undefined) return `${nth}: no answer, given up after ${took}`
  return `${nth}: ${status}${said ? ` “${said}”` : ''} after ${took}`
}

/** A line of `auth.history` in words. */
export function historyWords({ type, reason, origin, status, version }: HistoryEntry): Words {
  const where = origin === 'other context' ? ['in another tab'] : []
  const detail = [`${type}: ${reason}`, ...(status ? [`status ${status}`] : []), ...where]
  const lines = (why: string): string[] => [why, detail.join(' · ')]
  switch (type) {
    case 'loggedIn':
      return { title: 'Signed in', lines: lines(`The session is at version ${version}.`) }
    case 'tokenRefreshed':
      return reason === 'reauthenticated'
        ? {
            title: `Fresh again, v${version}`,
            lines: lines('The password was right; the session is the same.'),
          }
        : { title: `Refreshed to v${version}`, lines: lines(REFRESHED[reason] ?? reason) }
    case 'refreshFailed':
      return { title: 'Refresh failed', lines: lines(`${FAILED[reason] ?? reason}. The session lives.`) }
    case 'refreshRefused':
      return { title: 'Refresh refused', lines: lines('The server will not take this refresh token.') }
    case 'reauthRequired':
      return { title: 'Password needed', lines: lines(ASKED[reason] ?? reason) }
    case 'loggedOut':
      return { title: 'Signed out', lines: lines(`Ended ${ENDED[reason] ?? reason}.`) }
    case 'clockSkew':
      return { title: 'This clock is off', lines: lines('Seen from a new token, and allowed for.') }
    case 'storeUnavailable':
      return { title: 'The store failed', lines: lines('The session goes on in memory.') }
  }
}
