/** What holds in each state, and in those where everything has come to its end. Seen from outside, like a server. */
import type { World } from './world.ts'

/** Invariants 1, 3 and 5 of `design.md`; those of a send or a commit were judged as it was made. */
export function* judge(world: World): Iterable<string> {
  const { broken, contexts, cell, loggedOut } = world
  yield* broken
  for (const { name, auth, ended } of contexts) {
    if (ended && auth.session) yield `5: ${name} holds a session that it knows to be ended`
  }
  if (loggedOut?.auth.session !== null && loggedOut)
    yield `5: ${loggedOut.name} is signed in after its logout`
  if (cell && !('ended' in cell) && cell.version > world.bounds.versions) {
    yield `1: there is a version ${cell.version}`
  }
}

export function* judgeEnd(world: World): Iterable<string> {
  yield* judge(world)
  const { backend, contexts, cell, losses, passes, loggedOut, sends, records } = world
  for (const { name, open } of contexts) if (open) yield `10: ${name} waits for ever`
  if (loggedOut) {
    if (!cell || !('ended' in cell)) yield '5: the session that was logged out stands in the store'
    for (const { name, auth } of contexts) if (auth.session) yield `5: ${name} is signed in after a logout`
    const last = records.at(-1)?.access?.token
    // An access token that was replaced runs out by itself.
    const replaced = records.slice(0, -1).map(({ access }) => access?.token)
    const alive = backend.issued.filter(
      ({ token }) => backend.isHonoured(token) && (!replaced.includes(token) || token === last),
    )
    // What got lost on the way back nobody can revoke.
    if (alive.length && !sends.some(({ unknown }) => unknown)) {
      yield `5: the server still honours ${alive.map(({ kind, generation }) => `${kind} ${generation}`)}`
    }
  } else if (!losses && !passes) {
    const live = cell && !('ended' in cell) && cell.refreshToken && backend.isHonoured(cell.refreshToken)
    if (!live) yield '4: the session is lost, and nothing was in the way'
    if (backend.reuseDetected) yield '3: the server saw a refresh token twice'
  }
}
