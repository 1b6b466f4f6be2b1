/** Refreshes of several tabs of one browser, by turns: what is looked at when the turn has come, and who gets none. */
import { expect, test, vi } from 'vitest'
import { later } from '../support.ts'
import { bob, cookieBench } from './cookies-support.ts'

/** Web Locks of a browser, of which another tab has the one that is asked for, until `free` is called. */
function takenElsewhere() {
  let free = (): void => {}
  let asked = (): void => {}
  const freed = new Promise<void>((resolve) => {
    free = resolve
  })
  const waiting = new Promise<void>((resolve) => {
    asked = resolve
  })
  const request = async (_: string, { signal }: LockOptions, act: () => unknown): Promise<unknown> => {
    asked()
    await new Promise<void>((resolve, reject) => {
      void freed.then(resolve)
      signal?.addEventListener('abort', () => reject(signal.reason))
    })
    return act()
  }
  vi.stubGlobal('document', {})
  vi.stubGlobal('navigator', { locks: { request } })
  return { free, waiting }
}

const outcome = (call: Promise<Response>): Promise<number | string> =>
  call.then(
    ({ status }) => status,
    ({ code }) => code,
  )

test('5: a refresh that waits for its turn is not sent after a logout', async () => {
  const { auth, backend } = await cookieBench()
  const { free, waiting } = takenElsewhere()
  later()
  const call = outcome(auth.fetch('protected'))
  await waiting
  const out = auth.logout()
  free()
  await Promise.all([call, out])
  expect(backend.log.map(({ route }) => route)).not.toContain('refresh')
})

test.each([
  ['with CSRF values', {}, true],
  ['with none', { csrf: false }, false],
] as const)(
  '6: nor does it spend the cookies of who has signed in meanwhile, %s',
  async (_, preset, csrfProtect) => {
    const { auth, page, store, backend, who } = await cookieBench({
      preset,
      server: { refresh: 'rotating', csrfProtect },
    })
    const other = page({ store })
    await other.ready
    const { free, waiting } = takenElsewhere()
    later()
    const call = outcome(auth.fetch('protected'))
    await waiting
    await other.login(bob)
    backend.clearLog()
    free()
    await call
    expect([await who(), backend.log.map(({ route }) => route)]).toEqual([
      'bob',
      expect.not.arrayContaining(['refresh']),
    ])
  },
)

test('the CSRF value is read when the turn has come', async () => {
  const { page, auth, backend, came } = await cookieBench({ server: { refresh: 'rotating' } })
  const other = page()
  await other.ready
  later()
  const { free, waiting } = takenElsewhere()
  const mine = outcome(auth.fetch('protected'))
  await waiting
  vi.unstubAllGlobals()
  expect(await outcome(other.fetch('protected'))).toBe(200)
  backend.clearLog()
  free()
  expect(await mine).toBe(200)
  expect(came()).not.toContain('POST refresh 401')
})

test('10: who never gets a turn, behind a tab that is frozen, goes without', async () => {
  const { page } = await cookieBench()
  const auth = page({ refreshTimeout: 1_800 })
  await auth.ready
  takenElsewhere()
  later()
  // It waits less each time, so that a bound that is shorter than the wait is met but once.
  expect(await outcome(auth.fetch('protected'))).toBe('refresh_unavailable')
  expect(await outcome(auth.fetch('protected'))).toBe(200)
})
