/** What tests of every kind use, over the fake server, a real one, or many processes. */
import type { Auth, AuthEvents, AuthEventType, StandardClaims } from '../src/index.ts'

export const pause = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms))

/** Resolves once `check` holds, looking each 5 ms for 10 s: for what nobody here is told of. */
export async function until(check: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await check()); tries++) {
    if (tries > 2_000) throw new Error(`It never came to this: ${check}`)
    await pause(5)
  }
}

export const times = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index))

export type Told = { [Type in AuthEventType]: { type: Type } & AuthEvents[Type] }[AuthEventType]

// By their names, so that none is left out.
const EVENTS: { readonly [Type in AuthEventType]: 0 } = {
  loggedIn: 0,
  tokenRefreshed: 0,
  refreshFailed: 0,
  reauthRequired: 0,
  loggedOut: 0,
  clockSkew: 0,
  storeUnavailable: 0,
}

/** Every event from now on, as it is told. */
export function record<Credentials>(auth: Auth<StandardClaims, Credentials>): Told[] {
  const told: Told[] = []
  for (const type of Object.keys(EVENTS) as AuthEventType[]) {
    auth.on(type, (event) => void told.push(event as Told))
  }
  return told
}
