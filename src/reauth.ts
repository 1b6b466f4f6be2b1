/**
 * The ask: only a password helps, so the application is told once, however many requests wait. What it answers
 * is not looked at; when the dialog is closed, the session is.
 */
import type { Emitter } from './events.ts'
import { report } from './events.ts'
import type { Platform } from './platform.ts'
import type { SessionRoom } from './session.ts'
import type { ReauthReason } from './types.ts'

export interface Asker {
  /** A number that grows: what began before an announcement is not announced again. */
  begin(): number
  /**
   * Asks, or joins the ask that is open; resolves when there is nothing more to wait for. The caller then looks
   * at the session. `insistent`: worth asking again after a dismissal.
   */
  ask(reason: ReauthReason, began: number, insistent: boolean): Promise<void>
}

export function createAsker(
  session: SessionRoom,
  emitter: Emitter,
  on: Platform,
  reauthTimeout: number,
): Asker {
  let open: { over: Promise<void>; close(): void } | undefined
  let sequence = 0
  // The last announcement of each reason.
  const announced = new Map<ReauthReason, { id: string; version: number; at: number; dismissed: boolean }>()

  session.onMoot(() => open?.close())

  function ask(reason: ReauthReason, began: number, insistent: boolean): Promise<void> {
    const held = session.held
    if (open) return open.over
    if (!held) return Promise.resolve()
    const { id, version } = held.record
    const last = announced.get(reason)
    if (last?.id === id && last.version === version && (began <= last.at || (last.dismissed && !insistent))) {
      return Promise.resolve()
    }
    const final = reason !== 'fresh_token_required'
    if (final) session.setExpired(held, true)
    const told = { id, version, at: ++sequence, dismissed: false }
    announced.set(reason, told)

    const controller = new AbortController()
    const waits: Promise<unknown>[] = []
    let dispatching = true
    let settle = (): void => {}
    const over = new Promise<void>((resolve) => {
      settle = resolve
    })
    let stop = (): void => {}
    const mine = {
      over,
      /** Nothing to wait for any more: closed, moot, or out of time. */
      close(): void {
        if (open !== mine) return
        open = undefined
        stop()
        controller.abort()
        const now = session.held
        const same = now?.record.id === id
        if (same && now.record.version === version) {
          told.dismissed = waits.length > 0
          if (final) {
            const ended = reason === 'token_revoked' ? reason : 'session_expired'
            session.end(id, ended, 'this context')
            void session.change((standing) => {
              if (!standing || 'ended' in standing || standing.id !== id || standing.version !== version)
                return
              const { version: at, calledAt } = standing
              return { id, version: at, calledAt, ended }
            }, true)
          }
        }
        settle()
      },
    }
    open = mine
    const event = {
      type: 'reauthRequired',
      reason,
      session: session.snapshot(),
      origin: 'this context',
      signal: controller.signal,
      waitUntil(promise: PromiseLike<unknown>): void {
        if (!dispatching) {
          throw new DOMException(
            'waitUntil() takes promises while the event is dispatched',
            'InvalidStateError',
          )
        }
        waits.push(Promise.resolve(promise))
      },
    }
    emitter.emit('reauthRequired', event, () => {
      dispatching = false
      for (const wait of waits) {
        wait.catch((error) => {
          if ((error as Error | undefined)?.name !== 'AbortError') report(error)
        })
      }
      if (waits.length) stop = on.timer(mine.close, reauthTimeout)
      void Promise.allSettled(waits).then(mine.close)
      if (!waits.length) mine.close()
    })
    return over
  }

  return { begin: () => ++sequence, ask }
}
