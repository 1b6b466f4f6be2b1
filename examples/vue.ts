/**
 * A composable for Vue 3: `const session = useSession(auth)`, in the template `session?.subject`. It is `undefined` until
 * the store was read, on a server, and in the first render of a component; `null` with nobody signed in.
 */
import type { Auth, Session } from 'stayfresh'
import { getCurrentInstance, onMounted, onScopeDispose, type ShallowRef, shallowRef } from 'vue'

export function useSession<Claims>(
  auth: Pick<Auth<Claims>, 'subscribe'>,
): Readonly<ShallowRef<Session<Claims> | null | undefined>> {
  const session = shallowRef<Session<Claims> | null>()
  let stop = (): void => {}
  // Told at once of what is, then of each change, until the component is gone.
  const start = (): void => {
    stop = auth.subscribe((now) => {
      session.value = now
    })
  }
  // Not in the setup: a page that is hydrated has to begin with what the server drew, and a server knows nobody.
  if (getCurrentInstance()) onMounted(start)
  // A server never disposes of a scope.
  else if (typeof window !== 'undefined') start()
  onScopeDispose(() => stop())
  return session
}
