/**
 * The ask: only a password helps, so the application is told once, however many requests wait. What it answers
 * is not looked at; when the dialog is closed, the session is.
 */
import type { Caller } from './call.ts'
import type { Emitter } from './events.ts'
import { report } from './events.ts'
import type { Platform } from './platform.ts'
import type { Held, SessionRoom } from './session.ts'
import type { Finding, LiveRecord, ReauthReason } from './types.ts'

export interface Asker {
  /** A number that grows: what began before an announcement is not announced again. */
  begin(): number
  /**
   * Asks, or joins the ask that is open; resolves when there is nothing more to wait for. The caller then looks
   * at the session. `about`: what was found wanting; if another session is held by now, or a newer version of it that
   * nobody has found wanting, there is nothing to ask. `found`: what the server asks for.
   */
  ask(reason: ReauthReason, about: LiveRecord, caller: Caller, found?: Finding): Promise<void>
  dispose(): void
}

/** An announcement. */
interface Told {
  readonly id: string
  readonly version: number
  readonly token: string | undefined
  readonly at: number
  dismissed: boolean
}

export function createAsker(
  session: SessionRoom,
  emitter: Emitter,
  on: Platform,
  reauthTimeout: number,
): Asker {
  let open: { id: string; over: Promise<void>; close(): void } | undefined
  let sequence = 0
  let disposed = false
  // The last announcement of each reason.
  const announced = new Map<ReauthReason, Told>()

  session.onMoot(() => open?.close())

  function ask(reason: ReauthReason, about: LiveRecord, caller: Caller, found?: Finding): Promise<void> {
    const { held } = session
    if (held?.record.id !== about.id) return Promise.resolve()
    const { id, version, access } = held.record
    if (version !== about.version && reason !== 'fresh_token_required') return Promise.resolve()
    // A dialog that is still open for who was signed in before is no answer to who is now.
    if (open && open.id !== id) open.close()
    else if (open) return open.over
    const last = announced.get(reason)
    // Worth asking again after a dismissal.
    const insistent = reason === 'session_expired' || caller.unsafe || caller.auth === 'fresh'
    const known = last?.id === id && last.version === version
    if (known && (caller.began <= last.at || (last.dismissed && !insistent))) return Promise.resolve()
    const told: Told = { id, version, token: access?.token, at: ++sequence, dismissed: false }
    announced.set(reason, told)
    return announce(reason, held, told, found)
  }

  function announce(reason: ReauthReason, held: Held, told: Told, found?: Finding): Promise<void> {
    const controller = new AbortController()
    const waits: Promise<unknown>[] = []
    let dispatching = true
    let closing = false
    let stop = (): void => {}
    let settle = (): void => {}
    const over = new Promise<void>((resolve) => {
      settle = resolve
    })
    /** Nothing to wait for any more: closed, moot, or out of time. */
    async function close(): Promise<void> {
      if (closing) return
      closing = true
      stop()
      controller.abort()
      const now = session.held?.record
      if (now?.id === told.id && now.version === told.version && !disposed) {
        told.dismissed = waits.length > 0
        if (reason !== 'fresh_token_required') await expire(told, reason)
      }
      if (open?.over === over) open = undefined
      settle()
    }

    open = { id: told.id, over, close }
    // Before the event takes the snapshot, which tells it.
    if (reason !== 'fresh_token_required') held.expired = true
    const event = {
      type: 'reauthRequired' as const,
      reason,
      session: session.snapshot(),
      acrValues: found?.acrValues,
      maxAge: found?.maxAge,
      origin: 'this context' as const,
      signal: controller.signal,
      waitUntil(promise: PromiseLike<unknown>): void {
        if (!dispatching) {
          throw new DOMException(
            'waitUntil() takes promises before the first await of the listener',
            'InvalidStateError',
          )
        }
        // A slip that would close the dialog as it opens.
        if (promise === undefined || typeof promise === 'function') {
          throw new TypeError(`waitUntil() takes promises, got ${typeof promise}`)
        }
        // One of our own: a promise may have a `then` or a `catch` of its own.
        waits.push(new Promise((resolve) => resolve(promise)))
      },
    }
    // A subscriber who was told of the snapshot may have signed out.
    if (closing) return over
    emitter.emit(event, () => {
      dispatching = false
      if (!waits.length) return close()
      for (const wait of waits) {
        wait
          .catch((error) => {
            if (Object(error).name !== 'AbortError') report(error)
          })
          // An error whose name can't be read.
          .catch(report)
      }
      if (!closing) stop = on.timer(close, reauthTimeout)
      return Promise.allSettled(waits).then(close)
    })
    return over
  }

  /** Ends a session that nobody helped; unless the store holds a newer version of it. */
  async function expire(
    { id, version, token }: Told,
    reason: 'session_expired' | 'token_revoked',
  ): Promise<void> {
    // What is not saved yet is not all there is: another may have been helped.
    if (session.cell.unsaved) await session.cell.peek()
    await session.cell.change((standing) => {
      // Cleared by the user meanwhile: that is what it is told as.
      if (!standing && !session.lossy) return undefined
      // What the store has lost is what we hold, which may be another by now; or was helped, and is not written yet.
      const mine = session.held?.record
      if (mine?.id === id && mine.version > version) return undefined
      const ends = standing ?? mine
      if (ends && (ends.id !== id || ends.version !== version || 'ended' in ends)) return undefined
      // The same version by another way, while ours could not be written: it is another's, and has not been found wanting.
      // Nor has a cookie that took the place of the one which was.
      if (ends && ends.access?.token !== token) return undefined
      return { id, version, calledAt: ends?.calledAt ?? 0, ended: reason }
    }, true)
  }

  return {
    begin: () => ++sequence,
    ask,
    dispose() {
      disposed = true
      open?.close()
    },
  }
}
