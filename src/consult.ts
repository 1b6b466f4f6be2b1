/**
 * Asking a backend, which may be a user's own: what it throws, or gives in place of an answer, is reported by the
 * backend's name, and no token is quoted. It decides nothing.
 */
import { AuthError, safeCause } from './errors.ts'
import { report } from './events.ts'
import { describe } from './token.ts'
import type { Backend } from './types.ts'

type Member = {
  [M in keyof Backend]-?: NonNullable<Backend[M]> extends (...given: never) => unknown ? M : never
}[keyof Backend]
type Asked<M extends Member> = NonNullable<Backend<never, never>[M]>

const REQUESTS = /^(login|reauth|refresh|logout)$/

/** Whether it is an answer at all. A promise never is one: nothing waits for a backend. */
function isAnswer(
  member: Member,
  given: { path?: unknown; signal?: unknown; then?: unknown } | undefined,
): boolean {
  if (member === 'logout' && given === undefined) return true
  if (REQUESTS.test(member)) return typeof given?.path === 'string'
  // A word that is no signal asks for nothing.
  return member === 'classify' ? typeof (given?.signal ?? given) === 'string' : given?.then === undefined
}

/** What `backend[member]` answers, or `undefined` where it fails; a request that can't be made throws. */
export function consult<M extends Member>(
  backend: Backend<never, never>,
  member: M,
  ...given: Parameters<Asked<M>>
): ReturnType<Asked<M>> {
  let did = 'threw'
  let cause: unknown
  try {
    const answer = (backend[member] as (...all: unknown[]) => never)(...given)
    if (isAnswer(member, answer)) return answer
    did = `gave ${describe(answer)}`
    // Nobody else would catch it.
    ;(answer as Promise<unknown> | null)?.catch?.(() => {})
  } catch (error) {
    // It may quote what it was given: whatever is long enough for a token goes.
    cause = safeCause(error, /[\w\-.~+/]{16,}/g)
  }
  const error = new AuthError(
    'invalid_option',
    `${backend.name}: ${member}() ${did}`,
    { option: 'backend' },
    cause,
  )
  report(error)
  if (REQUESTS.test(member)) throw error
  return undefined as never
}
