/**
 * Tells listeners what happened. One that throws, rejects or hangs holds nothing up, and one that calls back
 * into `auth` can't reorder what the others are told: events leave in the order in which they came.
 */

import { AuthError } from './errors.ts'
import { describe } from './token.ts'
import type { HistoryEntry, Session } from './types.ts'

// What `auth.on` takes.
const EVENTS = [
  'loggedIn',
  'loggedOut',
  'tokenRefreshed',
  'refreshFailed',
  'reauthRequired',
  'clockSkew',
  'storeUnavailable',
]

type Listener = (value: never) => unknown

/** What every event has, and what some have. */
export interface Emitted extends Pick<HistoryEntry, 'type' | 'reason' | 'origin'> {
  readonly status?: number | undefined
  readonly session?: Session | null | undefined
  /** Aborts when it is moot. */
  readonly signal?: AbortSignal
}

export interface Emitter {
  on(type: string, listener: Listener): () => void
  /** Tells of an event. `then` runs when every listener has been called. */
  emit<Event extends Emitted>(event: Event, then?: () => void): void
  /** Tells of the session: no event, and of none of their history. */
  publish(snapshot: Session | null | undefined): void
  clear(): void
}

/** Where an error goes that nobody can catch. */
export function report(error: unknown): void {
  try {
    if (typeof reportError === 'function') reportError(error)
    else console.error(error)
  } catch {
    // There is nobody left to tell.
  }
}

/** `note` is told of every event before any listener is. */
export function createEmitter(note: (event: Emitted) => void): Emitter {
  const listeners = new Map<string, Set<{ listener: Listener }>>()
  // The first is the one that is under way.
  const queue: (() => void)[] = []

  function tell(type: string, value: unknown, then?: () => void): void {
    const job = (): void => {
      const set = listeners.get(type) ?? new Set()
      for (const entry of [...set]) {
        // An ask may be moot before it is told, or by who was told of it first.
        if (set.has(entry) && !(value as Emitted | null)?.signal?.aborted) callListener(entry.listener, value)
      }
      then?.()
    }
    if (queue.push(job) > 1) return
    for (; queue[0]; queue.shift()) queue[0]()
  }

  return {
    on(type, listener) {
      // Else it would be told of nothing, and its author of that least of all.
      if (typeof listener !== 'function' || (type !== 'session' && !EVENTS.includes(type))) {
        const given = `${String(type)} and ${describe(listener)}`
        throw new AuthError('invalid_input', `on takes ${EVENTS.join(', ')} and a function, got ${given}`)
      }
      // Wrapped, so that the same function may be registered twice and each registration ends alone.
      const entry = { listener }
      const set = listeners.get(type) ?? new Set()
      listeners.set(type, set.add(entry))
      return () => {
        set.delete(entry)
      }
    },
    emit(event, then) {
      note(event)
      tell(event.type, event, then)
    },
    publish: (snapshot) => tell('session', snapshot),
    clear() {
      for (const set of listeners.values()) set.clear()
    },
  }
}

/** Calls one listener. Where it throws or rejects, that is reported. */
export function callListener(listener: Listener, value?: unknown): void {
  try {
    const result = listener(value as never) as PromiseLike<unknown> | undefined
    if (typeof result?.then === 'function') result.then(undefined, report)
  } catch (error) {
    report(error)
  }
}
