/** The lives of access tokens, as a session tells them. */
import type { Auth, Session } from '../types.ts'
import { type Item, real } from './items.ts'

/**
 * Has a timeline show which token is in use. Gives back what looks anew: a fresh token that ends gives way to another
 * without a word.
 *
 * @param clockOffset How far `Date` is ahead of {@link real}, in ms.
 */
export function noteTokens(
  auth: Pick<Auth, 'session' | 'subscribe'>,
  log: { readonly tab: string; items(): IterableIterator<Item>; put(item: Item): void },
  clockOffset: () => number = () => Date.now() - real(),
): (() => void) & { end(): void } {
  let seen: { id: string; session: Session } | undefined

  function note(): void {
    const session = auth.session ?? undefined
    if (session === seen?.session) return
    const before = seen
    // A fresh token that ends gives way to one that a refresh brought before: the same version, but it lives longer.
    const longer = (session?.expiresAt ?? 0) > (before?.session.expiresAt ?? 0)
    const id = session && `${session.id}:${session.version}${session.fresh ? ':fresh' : ''}`
    const same = before?.session.id === session?.id && before?.session.version === session?.version
    if (session && same && (id === before?.id || !longer)) return
    const now = real()
    for (const item of log.items()) {
      if (item.kind === 'token' && item.end === undefined && item.id !== id) log.put({ ...item, end: now })
    }
    seen = session && id ? { id, session } : undefined
    if (!session || !id) return
    const { version, fresh, subject, expiresAt } = session
    const expires = expiresAt === undefined ? undefined : expiresAt - clockOffset()
    log.put({ kind: 'token', id, tab: log.tab, at: now, version, fresh, subject, expires })
  }

  return Object.assign(note, { end: auth.subscribe(note) })
}
