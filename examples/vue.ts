/** A composable for Vue 3: `const session = useSession(auth)`, and in the template `session?.subject`. */
import type { Auth, Session } from 'stayfresh'
import { onScopeDispose, type ShallowRef, shallowRef } from 'vue'

type Snapshot<Claims> = Session<Claims> | null | undefined

export function useSession<Claims>(
  auth: Pick<Auth<Claims>, 'subscribe'>,
): Readonly<ShallowRef<Snapshot<Claims>>> {
  const session = shallowRef<Snapshot<Claims>>()
  // Told at once of what is, then of each change, until the component is gone.
  onScopeDispose(
    auth.subscribe((now) => {
      session.value = now
    }),
  )
  return session
}
