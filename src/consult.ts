/**
 * Asking a backend, which may be a user's own: what it throws, or gives in place of an answer, is reported by the
 * backend's name, and no token is quoted. It decides nothing.
 */
import { badOption, safeCause } from './errors.ts'
import { report } from './events.ts'
import { describe } from './token.ts'
import type { Backend } from './types.ts'

type Member = {
  [M in Exclude<keyof Backend, 'room'>]-?: NonNullable<Backend[M]> extends (...given: never) => unknown
    ? M
    : never
}[Exclude<keyof Backend, 'room'>]
type Asked<M extends Member> = NonNullable<Backend<never, never>[M]>

const isRequest = (member: string): boolean => /log|resh|auth/.test(member)

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
    const { path, signal = answer, headers, then, catch: settle } = Object(answer)
    // What no request can carry throws here, where no token is quoted.
    if (member === 'attach') new Headers(headers ?? undefined)
    // A promise is no answer: nothing waits for a backend. A word that is no signal asks for nothing.
    const sound = isRequest(member)
      ? typeof path === 'string' || (member === 'logout' && answer === undefined)
      : !then && (member !== 'classify' || typeof signal === 'string')
    if (sound) return answer
    did = `gave ${then ? 'a promise' : describe(answer)}`
    // Nobody else would catch it.
    settle?.call(answer, () => {})
  } catch (error) {
    // It may quote what it was given: whatever is long enough for a token goes.
    cause = safeCause(error, /[\w\-.~+/]{16,}/g)
  }
  const error = badOption('backend', `${backend.name}: ${member}() ${did}`, cause)
  report(error)
  if (isRequest(member)) throw error
  return undefined as never
}
