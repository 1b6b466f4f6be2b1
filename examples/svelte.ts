/**
 * Svelte: an `auth` is a store. A component reads `$auth` and unsubscribes by itself (`who.svelte`); what `svelte/store`
 * has for stores takes it as it is.
 */
import { createAuth, flaskJwt, type Session, type StandardClaims } from 'stayfresh'
import { derived, fromStore, get, type Readable } from 'svelte/store'

export const auth = createAuth({ baseUrl: 'https://example.com/api/', backend: flaskJwt() })

/** What follows from it: `$name` in a component. */
export const name: Readable<string> = derived(auth, (session) => session?.subject ?? 'nobody')

/** For the runes of Svelte 5: `session.current`, in a component, `$derived` or `$effect`. */
export const session: { readonly current: Session<StandardClaims> | null | undefined } = fromStore(auth)

/** Once, in the `load` of a SvelteKit page: who is signed in, when that is known. */
export async function whoIsIt(): Promise<string | undefined> {
  await auth.ready
  return get(auth)?.subject
}
