/**
 * Tells listeners what happened. One that throws, rejects or hangs holds nothing up, and one that calls back
 * into `auth` can't reorder what the others are told: events leave in the order in which they came.
 */

import { AuthError } from './errors.ts'

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

export interface Emitter {
  on(type: string, listener: Listener): () => void
  /** `then` runs when every listener has been called. */
  emit(type: string, value: unknown, then?: () => void): void
  /** Tells one listener alone. */
  one(listener: Listener, value: unknown): void
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
export function createEmitter(note: (type: string, value: unknown) => void): Emitter {
  const listeners = new Map<string, Set<{ listener: Listener }>>()
  const queue: (() => void)[] = []
  let draining = false

  return {
    on(type, listener) {
      // Else it would be told of nothing, and its author of that least of all.
      if (typeof listener !== 'function' || (type !== 'session' && !EVENTS.includes(type)))
        throw new AuthError('invalid_input', `listener takes a function for ${EVENTS.join(', ')}`, {})
      // Wrapped, so that the same function may be registered twice and each registration ends alone.
      const entry = { listener }
      const set = listeners.get(type) ?? new Set()
      listeners.set(type, set.add(entry))
      return () => {
        set.delete(entry)
      }
    },
    emit(type, value, then) {
      // The next listener is told the same.
      note(type, Object.freeze(value))
      queue.push(() => {
        const set = listeners.get(type) ?? new Set()
        // An ask may be moot before it is told, or by who was told of it first.
        const moot = (): boolean => (value as { signal?: AbortSignal } | null)?.signal?.aborted === true
        for (const entry of [...set]) if (set.has(entry) && !moot()) call(entry.listener, value)
        then?.()
      })
      if (draining) return
      draining = true
      for (let next = queue.shift(); next; next = queue.shift()) next()
      draining = false
    },
    one: call,
    clear() {
      for (const set of listeners.values()) set.clear()
    },
  }
}

function call(listener: Listener, value: unknown): void {
  try {
    const result = listener(value as never) as PromiseLike<unknown> | undefined
    if (typeof result?.then === 'function') result.then(undefined, report)
  } catch (error) {
    report(error)
  }
}
