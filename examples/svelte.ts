/**
 * Svelte: an `auth` is a store, so that in a component `$auth` is the session, and it unsubscribes by itself:
 *
 *     {#if $auth === undefined} … {:else if $auth} Hello {$auth.subject} {:else} <Login /> {/if}
 *
 * Elsewhere `get(auth)` reads it once, and what follows makes a rune of it.
 */
import type { Auth, Session } from 'stayfresh'
import { fromStore } from 'svelte/store'

/** For Svelte 5: `const session = useSession(auth)`, and `session.current` is what a component, `$derived` or `$effect` follows. */
export function useSession<Claims>(auth: Pick<Auth<Claims>, 'subscribe'>): {
  readonly current: Session<Claims> | null | undefined
} {
  return fromStore({ subscribe: (listener) => auth.subscribe(listener) })
}
