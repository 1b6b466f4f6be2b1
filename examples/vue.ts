/**
 * A composable for Vue 3: `const session = useSession(auth)`, in the template `session?.subject`. It is `undefined` until
 * the store was read, and on a server; `null` with nobody signed in.
 */
import type { Auth, Session } from 'stayfresh'
import { onScopeDispose, type ShallowRef, shallowRef } from 'vue'

export function useSession<Claims>(
  auth: Pick<Auth<Claims>, 'subscribe'>,
): Readonly<ShallowRef<Session<Claims> | null | undefined>> {
  const session = shallowRef<Session<Claims> | null>()
  // A server never disposes of the scope of a component.
  if (typeof window === 'undefined') return session
  // Told at once of what is, then of each change, until the component is gone.
  const stop = auth.subscribe((now) => {
    session.value = now
  })
  onScopeDispose(stop)
  return session
}
