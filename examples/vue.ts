/**
 * A composable for Vue 3: `const session = useSession(auth)`, in the template `session?.subject`. It is `undefined` until
 * the store was read, on a server, and in the first render of a page; `null` with nobody signed in.
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
  // A page that is hydrated has to begin with what the server drew, which knows nobody: so does whatever is mounted with the
  // app, and a part that is hydrated late, whose element is there before it is.
  const instance = getCurrentInstance()
  const drawn = instance && !instance.isMounted && (instance.vnode.el || !instance.root.isMounted)
  if (drawn) onMounted(start)
  // A server never disposes of a scope.
  else if (typeof window !== 'undefined') start()
  onScopeDispose(() => stop())
  return session
}
