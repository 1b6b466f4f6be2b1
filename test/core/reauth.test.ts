import assert from 'node:assert'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import {
  type AuthEvents,
  flaskJwt,
  type LiveRecord,
  memoryStore,
  type Store,
  type Tokens,
} from '../../src/index.ts'
import { fakeTokens } from '../../src/testing/index.ts'
import { handStore } from './by-hand.ts'
import {
  alice,
  bob,
  type Client,
  deferred,
  failure,
  isPending,
  minute,
  pass,
  type Room,
  reported,
  room,
  second,
  settle,
  statuses,
  summary,
  times,
  virtualTime,
} from './support.ts'

virtualTime()

type Ask = AuthEvents['reauthRequired']

/** A dialog in the test's hand: each ask waits until it is closed. */
function dialogs(auth: Client): { asks: Ask[]; close(error?: unknown): void } {
  const asks: Ask[] = []
  let gate = deferred()
  auth.on('reauthRequired', (event) => {
    asks.push(event)
    gate = deferred()
    event.waitUntil(gate.promise)
  })
  return { asks, close: (error) => (error === undefined ? gate.resolve() : gate.reject(error)) }
}

/** Signed in with nothing that works: the access token has run out, the refresh token is revoked. */
async function spent(given: Room = room()): Promise<Room> {
  await given.signIn()
  await pass(16 * minute)
  given.backend.revoke({ sub: 'alice' })
  return given
}

describe('an ask', () => {
  test('says why, for which session, and from where', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const { asks, close } = dialogs(auth)
    const waiting = auth.fetch('fresh')
    await settle()
    expect(asks).toMatchObject([
      {
        type: 'reauthRequired',
        reason: 'fresh_token_required',
        origin: 'this context',
        session: auth.session,
      },
    ])
    expect(asks[0]?.signal).toBeInstanceOf(AbortSignal)
    close()
    await waiting
  })

  test('says what the server asks for', async () => {
    const backend = {
      ...flaskJwt(),
      classify: () => ({ signal: 'step_up' as const, acrValues: 'gold', maxAge: 300 }),
    }
    const { auth, told, signInStale } = room({ client: { backend } })
    await signInStale()
    await auth.fetch('fresh')
    expect(told).toMatchObject([{ type: 'reauthRequired', acrValues: 'gold', maxAge: 300 }])
  })

  test('that is open is joined by whatever comes', async () => {
    const { auth, backend, signInStale } = room()
    await signInStale()
    const { asks, close } = dialogs(auth)
    const first = [auth.fetch('fresh'), auth.fetch('fresh', { method: 'POST', body: 'a' })]
    await pass(minute)
    const later = [auth.fetch('fresh'), auth.fetch('fresh', { auth: 'fresh' })]
    await settle()
    expect(asks).toHaveLength(1)
    await auth.reauthenticate(alice)
    // The dialog may stay open for a moment, to say that it went well.
    await settle()
    expect(await isPending(Promise.race([...first, ...later]))).toBe(true)
    close()
    expect(await statuses([...first, ...later])).toEqual([200, 200, 200, 200])
    expect(asks).toHaveLength(1)
    // Of the four the one with auth: 'fresh' was not sent in vain.
    expect(backend.count('fresh')).toBe(7)
  })

  test('holds up only what needs it', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const { close } = dialogs(auth)
    const waiting = auth.fetch('fresh')
    await settle()
    expect((await auth.fetch('protected')).status).toBe(200)
    close()
    await waiting
  })

  test('looks at the session, not at what the dialog resolves with', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    auth.on('reauthRequired', (event) => event.waitUntil(Promise.resolve('signed in, promised')))
    expect((await auth.fetch('fresh')).status).toBe(401)
  })

  test('looks at the session, though the dialog failed', async () => {
    const errors = reported()
    const { auth, signInStale } = room()
    await signInStale()
    auth.on('reauthRequired', (event) =>
      event.waitUntil(
        auth.reauthenticate(alice).then(() => {
          throw new Error('could not close the dialog')
        }),
      ),
    )
    expect((await auth.fetch('fresh')).status).toBe(200)
    expect(errors).toEqual([new Error('could not close the dialog')])
  })

  test('waits for all that was given to it', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const gates = [deferred(), deferred(), deferred()]
    auth.on('reauthRequired', (event) => {
      event.waitUntil(gates[0]?.promise as Promise<void>)
      event.waitUntil(gates[1]?.promise as Promise<void>)
    })
    auth.on('reauthRequired', (event) => event.waitUntil(gates[2]?.promise as Promise<void>))
    const waiting = auth.fetch('fresh')
    for (const gate of gates) {
      expect(await isPending(waiting)).toBe(true)
      gate.resolve()
    }
    expect((await waiting).status).toBe(401)
  })

  test('takes anything that has a then', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    auth.on('reauthRequired', (event) => {
      event.waitUntil({
        // biome-ignore lint/suspicious/noThenProperty: it is a thenable that is tested
        then(resolve) {
          return auth.reauthenticate(alice).then(resolve as () => never)
        },
      } as PromiseLike<unknown>)
    })
    expect((await auth.fetch('fresh')).status).toBe(200)
  })

  test.each([
    ['undefined', undefined],
    ['function', async () => {}],
  ])('says so where it is given no promise but %s, and goes on listening', async (kind, given) => {
    const errors = reported()
    const { auth, signInStale } = room()
    await signInStale()
    auth.on('reauthRequired', (event) => event.waitUntil(given as never))
    auth.on('reauthRequired', (event) => event.waitUntil(auth.reauthenticate(alice)))
    expect((await auth.fetch('fresh')).status).toBe(200)
    expect(errors).toEqual([new TypeError(`waitUntil() takes promises, got ${kind}`)])
  })

  test('takes no promise after it was dispatched', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const { asks, close } = dialogs(auth)
    const waiting = auth.fetch('fresh')
    await settle()
    let thrown: unknown
    try {
      asks[0]?.waitUntil(Promise.resolve())
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({
      name: 'InvalidStateError',
      message: 'waitUntil() takes promises before the first await of the listener',
    })
    expect(thrown).toBeInstanceOf(DOMException)
    close()
    await waiting
  })

  test('nobody waiting: the 401 goes back at once', async () => {
    const { auth, told, signInStale } = room()
    await signInStale()
    const asked = vi.fn()
    auth.on('reauthRequired', asked)
    const responses = await Promise.all(times(3, () => auth.fetch('fresh')))
    expect(responses.map(({ status, bodyUsed }) => [status, bodyUsed])).toEqual(times(3, () => [401, false]))
    expect(asked).toHaveBeenCalledTimes(1)
    expect(told).toHaveLength(1)
  })

  test('a listener that throws before it waits is as nobody', async () => {
    const errors = reported()
    const { auth, signInStale } = room()
    await signInStale()
    auth.on('reauthRequired', () => {
      throw new Error('no dialog')
    })
    expect((await auth.fetch('fresh')).status).toBe(401)
    expect(errors).toEqual([new Error('no dialog')])
  })

  test('an aborted caller is let go, and the dialog stays for the others', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const { asks, close } = dialogs(auth)
    const controller = new AbortController()
    const aborted = failure(auth.fetch('fresh', { signal: controller.signal }))
    const other = auth.fetch('fresh')
    await settle()
    controller.abort()
    expect(await aborted).toMatchObject({ name: 'AbortError' })
    expect(asks[0]?.signal.aborted).toBe(false)
    await auth.reauthenticate(alice)
    close()
    expect((await other).status).toBe(200)
  })
})

/** A store that tells nobody of changes. */
function silentStore(): Store {
  const { read, commit } = memoryStore()
  return { name: 'silent', read, commit }
}

describe('an ask about a session that has changed, which nobody has told us', () => {
  const silent = (): Room => room({ client: { store: silentStore() } })

  test('6: is not put to who is signed in now', async () => {
    const { auth, told, signInStale, another } = silent()
    await signInStale()
    await another().auth.login(bob)
    expect((await auth.fetch('fresh')).status).toBe(401)
    expect(summary(told)).toEqual(['loggedOut: replaced (elsewhere)', 'loggedIn: login (elsewhere)'])
  })

  test('is not put where a newer version has come meanwhile, about whose token nothing is known', async () => {
    const { auth, backend, told, signIn, another, hold } = silent()
    await signIn()
    backend.expireAccessTokens()
    let held = { release: (): void => {} }
    const off = auth.on('tokenRefreshed', () => {
      off()
      backend.fault('protected', { status: 401, body: { msg: 'Token has been revoked' } })
      held = hold('protected')
    })
    const waiting = auth.fetch('protected')
    await settle()
    expect(backend.count('protected')).toBe(2)
    await another().auth.refresh()
    held.release()
    expect((await waiting).status).toBe(401)
    expect(summary(told)).toEqual(['tokenRefreshed: rejected', 'tokenRefreshed: requested (elsewhere)'])
    expect((await auth.fetch('protected')).status).toBe(200)
  })

  test('for a password is put all the same, where a refresh has come meanwhile', async () => {
    const { auth, told, signInStale, another } = silent()
    await signInStale()
    await another().auth.refresh()
    auth.on('reauthRequired', (event) => event.waitUntil(auth.reauthenticate(alice)))
    expect((await auth.fetch('fresh')).status).toBe(200)
    expect(summary(told)).toEqual([
      'tokenRefreshed: requested (elsewhere)',
      'reauthRequired: fresh_token_required',
      'tokenRefreshed: reauthenticated',
    ])
  })

  test('and is dismissed, ends no other session, with no access token on either side', async () => {
    const { auth, backend, another, store } = silent()
    const [mine, next] = [await backend.signIn('alice'), await backend.signIn('bob')]
    await auth.setTokens({ refreshToken: mine.refreshToken })
    backend.revoke(mine.refreshToken)
    const { asks, close } = dialogs(auth)
    const waiting = auth.fetch('protected')
    await settle()
    expect(asks).toMatchObject([{ reason: 'session_expired' }])
    await another().auth.setTokens({ refreshToken: next.refreshToken })
    const stands = store.read()
    close()
    expect((await waiting).status).toBe(401)
    expect(store.read()).toEqual(stands)
  })

  test('and is dismissed, ends nothing that another context has made good', async () => {
    const given = await spent(silent())
    const { auth, another, store } = given
    const { close } = dialogs(auth)
    const waiting = auth.fetch('protected')
    await settle()
    await another().auth.reauthenticate(alice)
    close()
    expect((await waiting).status).toBe(200)
    expect(auth.session).toMatchObject({ status: 'active', version: 2 })
    expect(store.read()).toMatchObject({ record: { version: 2 } })
  })

  test('and is dismissed, ends no other session', async () => {
    const given = await spent(silent())
    const { auth, another } = given
    const { close } = dialogs(auth)
    const waiting = auth.fetch('protected')
    await settle()
    const { id } = await another().auth.login(bob)
    close()
    expect((await waiting).status).toBe(401)
    expect(auth.session).toMatchObject({ id, subject: 'bob', status: 'active' })
  })

  test('and is dismissed, does not make an expiry of a logout', async () => {
    const given = await spent(silent())
    const { auth, another, store } = given
    const { close } = dialogs(auth)
    const waiting = auth.fetch('protected')
    await settle()
    await another().auth.logout()
    close()
    expect((await waiting).status).toBe(401)
    expect(auth.session).toBeNull()
    expect(store.read()).toMatchObject({ record: { ended: 'logout' } })
  })
})

test('a password that is asked for of a token which has run out on its way is asked for at once', async () => {
  const { auth, backend, signInStale, hold, routes } = room({ client: { refreshAhead: false } })
  await signInStale()
  const held = hold('fresh')
  const waiting = auth.fetch('fresh')
  await pass(16 * minute)
  auth.on('reauthRequired', (event) => event.waitUntil(auth.reauthenticate(alice)))
  held.release()
  expect((await waiting).status).toBe(200)
  expect(routes()).toEqual(['fresh', 'login', 'fresh'])
  expect(backend.count('refresh')).toBe(0)
})

test('a password that was given elsewhere helps, though its session has been refreshed since', async () => {
  const { auth, told, signInStale, another, hold } = room()
  await signInStale()
  const held = hold('fresh')
  const waiting = auth.fetch('fresh')
  await settle()
  const other = another().auth
  await other.reauthenticate(alice)
  await other.refresh()
  held.release()
  expect((await waiting).status).toBe(200)
  expect(summary(told)).toEqual([
    'tokenRefreshed: reauthenticated (elsewhere)',
    'tokenRefreshed: requested (elsewhere)',
  ])
})

describe('a dialog that is given up', () => {
  test('with an AbortError is silent', async () => {
    const errors = reported()
    const { auth, signInStale } = room()
    await signInStale()
    const { close } = dialogs(auth)
    const waiting = auth.fetch('fresh')
    await settle()
    close(new DOMException('cancelled', 'AbortError'))
    expect((await waiting).status).toBe(401)
    await settle()
    expect(errors).toEqual([])
  })

  test('with another error is reported', async () => {
    const errors = reported()
    const { auth, signInStale } = room()
    await signInStale()
    const { close } = dialogs(auth)
    const waiting = auth.fetch('fresh')
    await settle()
    close(new Error('the dialog crashed'))
    expect((await waiting).status).toBe(401)
    await settle()
    expect(errors).toEqual([new Error('the dialog crashed')])
  })

  test.each<[string, () => unknown]>([
    ['throws', () => Object.defineProperty({}, 'name', { get: () => assert.fail('no name') })],
    [
      'is behind a revoked proxy',
      () => {
        const { proxy, revoke } = Proxy.revocable({}, {})
        revoke()
        return proxy
      },
    ],
  ])('with what has a name that %s is reported, and nothing is left unhandled', async (_, make) => {
    const errors = reported()
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    onTestFinished(() => void process.off('unhandledRejection', unhandled))
    const { auth, signInStale } = room()
    await signInStale()
    const { close } = dialogs(auth)
    const waiting = auth.fetch('fresh')
    await settle()
    close(make())
    expect((await waiting).status).toBe(401)
    await settle()
    // Node looks for what is unhandled once the microtasks are over.
    await new Promise((resolve) => setImmediate(resolve))
    expect([errors.length, unhandled.mock.calls.length]).toEqual([1, 0])
  })

  test('gives each caller its own 401', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const { close } = dialogs(auth)
    const waiting = Promise.all(times(3, () => auth.fetch('fresh')))
    await settle()
    close()
    const responses = await waiting
    expect(new Set(responses).size).toBe(3)
    for (const response of responses) {
      expect(await response.json()).toEqual({ msg: 'Fresh token required' })
    }
  })

  test('is not opened again for reading, but for an unsafe method and for auth: "fresh"', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const { asks, close } = dialogs(auth)
    const first = auth.fetch('fresh')
    await settle()
    close()
    await first
    for (const init of [{}, { method: 'GET' }]) {
      expect((await auth.fetch('fresh', init)).status).toBe(401)
    }
    expect(asks).toHaveLength(1)
    expect(auth.session).toMatchObject({ version: 2 })
    const unsafe = auth.fetch('fresh', { method: 'DELETE' })
    await settle()
    expect(asks).toHaveLength(2)
    close()
    expect((await unsafe).status).toBe(401)
    const fresh = auth.fetch('fresh', { auth: 'fresh' })
    await settle()
    expect(asks).toHaveLength(3)
    await auth.reauthenticate(alice)
    close()
    expect((await fresh).status).toBe(200)
  })

  test('is not opened again for what began before: not even for an unsafe method', async () => {
    const { auth, signInStale, hold } = room()
    await signInStale()
    const { asks, close } = dialogs(auth)
    const held = hold('fresh')
    const slow = auth.fetch('fresh', { method: 'POST' })
    await settle()
    expect(held.held()).toBe(true)
    const quick = auth.fetch('fresh')
    await settle()
    close()
    await quick
    held.release()
    expect((await slow).status).toBe(401)
    expect(asks).toHaveLength(1)
  })

  test('is not opened again for a HEAD, whose 401 tells nothing: that is worth a refresh', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const { asks, close } = dialogs(auth)
    const first = auth.fetch('fresh')
    await settle()
    close()
    await first
    expect((await auth.fetch('fresh', { method: 'HEAD' })).status).toBe(401)
    expect([asks.length, auth.session?.version]).toEqual([1, 3])
  })

  test('is opened again for auth: "fresh" where only the server knows that the token is not', async () => {
    const { auth, backend } = room()
    await auth.setTokens({ accessToken: 'opaque' })
    const { asks, close } = dialogs(auth)
    const refused = { status: 401, body: { msg: 'Fresh token required' } }
    backend.fault('fresh', refused, { times: Number.POSITIVE_INFINITY })
    for (const [init, count] of [
      [{}, 1],
      [{}, 1],
      [{ auth: 'fresh' }, 2],
      [{}, 2],
    ] as const) {
      const waiting = auth.fetch('fresh', init)
      await settle()
      expect(asks).toHaveLength(count)
      close()
      expect((await waiting).status).toBe(401)
    }
  })

  test('is opened again after another version came and was not enough', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const { asks, close } = dialogs(auth)
    const first = auth.fetch('fresh')
    await settle()
    close()
    await first
    await auth.refresh()
    const again = auth.fetch('fresh')
    await settle()
    expect(asks).toHaveLength(2)
    close()
    expect((await again).status).toBe(401)
  })
})

describe('with nobody listening', () => {
  test('a reason is announced once for all requests that began before, and anew for a later one', async () => {
    const { auth, told, signInStale, hold } = room()
    await signInStale()
    const held = hold('fresh')
    const slow = auth.fetch('fresh')
    await settle()
    await auth.fetch('fresh')
    expect(told).toHaveLength(1)
    held.release()
    await slow
    expect(told).toHaveLength(1)
    await auth.fetch('fresh')
    expect(summary(told)).toEqual(times(2, () => 'reauthRequired: fresh_token_required'))
  })
})

describe('the signal of an ask', () => {
  test('aborts on a logout', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const { asks } = dialogs(auth)
    const waiting = auth.fetch('fresh')
    await settle()
    await auth.logout()
    expect(asks[0]?.signal.aborted).toBe(true)
    expect((await waiting).status).toBe(401)
  })

  test('aborts on a logout elsewhere', async () => {
    const { auth, signInStale, another } = room()
    await signInStale()
    const { auth: other } = another()
    const { asks } = dialogs(auth)
    const waiting = auth.fetch('fresh')
    await settle()
    await other.logout()
    await settle()
    expect(asks[0]?.signal.aborted).toBe(true)
    expect((await waiting).status).toBe(401)
  })

  test.each([
    ['another user', bob, 401],
    ['the same user', alice, 200],
  ] as const)('aborts on a login elsewhere, as %s', async (_, user, status) => {
    const { auth, signInStale, another } = room()
    await signInStale()
    const { auth: other } = another()
    const { asks } = dialogs(auth)
    const waiting = auth.fetch('fresh')
    await settle()
    await other.login(user)
    await settle()
    expect(asks[0]?.signal.aborted).toBe(true)
    expect((await waiting).status).toBe(status)
  })

  test('aborts after reauthTimeout, and the callers have their 401', async () => {
    const { auth, signInStale } = room({ client: { reauthTimeout: minute } })
    await signInStale()
    const { asks } = dialogs(auth)
    const waiting = auth.fetch('fresh')
    await settle()
    await pass(59 * second)
    expect([asks[0]?.signal.aborted, await isPending(waiting)]).toEqual([false, true])
    await pass(2 * second)
    expect(asks[0]?.signal.aborted).toBe(true)
    expect((await waiting).status).toBe(401)
  })

  test('aborts when the client is disposed of', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const { asks } = dialogs(auth)
    const waiting = failure(auth.fetch('fresh'))
    await settle()
    auth.dispose()
    expect(await waiting).toMatchObject({ code: 'disposed' })
    expect(asks[0]?.signal.aborted).toBe(true)
  })

  test('aborts though the listener itself has signed out, and no timer is left', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    let signal: AbortSignal | undefined
    auth.on('reauthRequired', (event) => {
      signal = event.signal
      event.waitUntil(new Promise(() => {}))
      void auth.logout()
    })
    expect((await auth.fetch('fresh')).status).toBe(401)
    expect(signal?.aborted).toBe(true)
    await settle()
    expect(vi.getTimerCount()).toBe(0)
  })

  test('an ask whose session is being ended late takes no other’s place: there is one dialog for that', async () => {
    const store = handStore()
    const given = await spent(room({ client: { store } }))
    const { auth, backend } = given
    const { asks, close } = dialogs(auth)
    const first = auth.fetch('protected')
    await settle()
    const ending = store.gate('commit')
    close()
    await settle()
    expect(ending.reached()).toBe(true)
    await auth.login(bob)
    backend.fault('protected', { status: 401, body: { msg: 'Fresh token required' } }, { times: 2 })
    const second = auth.fetch('protected')
    await settle()
    ending.open()
    expect((await first).status).toBe(401)
    const third = auth.fetch('protected')
    await settle()
    expect(asks.map(({ reason }) => reason)).toEqual(['session_expired', 'fresh_token_required'])
    close()
    expect(await statuses([second, third])).toEqual([401, 401])
    expect(auth.session).toMatchObject({ subject: 'bob' })
  })

  test('an ask that is moot does not hold up the next one', async () => {
    const { auth, signInStale } = room()
    await signInStale()
    const { asks, close } = dialogs(auth)
    const first = auth.fetch('fresh')
    await settle()
    await auth.logout()
    await first
    await signInStale()
    const next = auth.fetch('fresh')
    await settle()
    expect(asks).toHaveLength(2)
    expect(asks[1]?.signal.aborted).toBe(false)
    await auth.reauthenticate(alice)
    close()
    expect((await next).status).toBe(200)
  })
})

describe('a session that has expired', () => {
  test('stays, as expired, while the password is asked for, and lives on with it', async () => {
    const { auth, told } = await spent()
    const seen = new Set<unknown>()
    auth.subscribe((session) => void seen.add(session?.status ?? session))
    const { asks, close } = dialogs(auth)
    const waiting = times(3, () => auth.fetch('protected'))
    await settle()
    expect(auth.session).toMatchObject({ status: 'expired', subject: 'alice', version: 1 })
    expect(asks[0]).toMatchObject({ reason: 'session_expired', session: { status: 'expired' } })
    await auth.reauthenticate(alice)
    expect(auth.session).toMatchObject({ status: 'active', version: 2 })
    close()
    expect(await statuses(waiting)).toEqual([200, 200, 200])
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'tokenRefreshed: reauthenticated'])
    // At no time was it gone.
    expect([...seen]).toEqual(['active', 'expired'])
  })

  test('stays expired though another context writes something beside it', async () => {
    const { auth, store } = await spent()
    const { asks, close } = dialogs(auth)
    const waiting = auth.fetch('protected')
    await settle()
    const { record } = store.read() as { record: LiveRecord }
    await store.commit?.({ ...record, failures: 1, revision: 'theirs' }, record.revision)
    await settle()
    expect(auth.session).toMatchObject({ status: 'expired', version: 1 })
    close()
    expect((await waiting).status).toBe(401)
    expect(asks).toHaveLength(1)
  })

  test('that is a refresh token alone stays so, whatever another context writes of it', async () => {
    const store = handStore()
    const { auth, backend } = room({ client: { store } })
    const { refreshToken = '' } = await backend.signIn('alice')
    await auth.setTokens({ refreshToken })
    const record = store.record as LiveRecord
    backend.revoke(refreshToken)
    auth.on('reauthRequired', (event) => event.waitUntil(new Promise(() => {})))
    const waiting = auth.fetch('protected')
    await settle()
    const reads = vi.spyOn(store, 'read')
    store.record = { ...record, revision: 'theirs' }
    store.notify()
    await pass(minute)
    expect(reads).toHaveBeenCalledTimes(1)
    expect(auth.session).toMatchObject({ id: record.id, status: 'expired' })
    auth.dispose()
    await failure(waiting)
  })

  test('is gone once the dialog is dismissed', async () => {
    const { auth, told, store } = await spent()
    const { calledAt } = (store.read() as { record: LiveRecord }).record
    const { close } = dialogs(auth)
    const waiting = times(3, () => auth.fetch('protected'))
    await settle()
    expect(auth.session).not.toBeNull()
    close()
    expect(await statuses(waiting)).toEqual([401, 401, 401])
    expect(auth.session).toBeNull()
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
    expect(store.read()).toMatchObject({ record: { ended: 'session_expired', calledAt } })
  })

  test('is not taken up again as it was, by whoever wrote it back, but as a newer version', async () => {
    const store = handStore()
    const { auth } = await spent(room({ client: { store } }))
    const live = store.record as LiveRecord
    await auth.fetch('protected')
    expect([auth.session, store.record]).toMatchObject([null, { ended: 'session_expired', version: 1 }])
    for (const [version, expected] of [
      [1, null],
      [2, { id: live.id, version: 2 }],
    ] as const) {
      const { id } = live
      store.record = { ...live, version, revision: `theirs-${version}` }
      store.notify({ id, version, revision: `theirs-${version}` })
      await settle()
      if (expected) expect(auth.session).toMatchObject(expected)
      else expect(auth.session).toBeNull()
    }
  })

  test('makes no new dialog and sends nothing while it is asked for', async () => {
    const { auth, backend } = await spent()
    const { asks, close } = dialogs(auth)
    const first = auth.fetch('protected')
    await settle()
    const sent = backend.count()
    const later = times(5, () => auth.fetch('protected'))
    await pass(minute)
    expect([asks.length, backend.count()]).toEqual([1, sent])
    await auth.reauthenticate(alice)
    close()
    expect(await statuses([first, ...later])).toEqual(times(6, () => 200))
    expect(backend.count('refresh')).toBe(1)
  })

  test('is left to the person: a login from the dialog is as good as a re-authentication', async () => {
    const { auth, told } = await spent()
    let aborted: boolean | undefined
    auth.on('reauthRequired', ({ signal, waitUntil }) => {
      const signedIn = auth.login(alice).then(() => {
        aborted = signal.aborted
      })
      waitUntil(signedIn)
    })
    expect(await statuses(times(3, () => auth.fetch('protected')))).toEqual([200, 200, 200])
    // It was not taken away from the person who was just done with it.
    expect(aborted).toBe(false)
    expect(told.filter(({ type }) => type === 'reauthRequired')).toHaveLength(1)
    expect(auth.session).toMatchObject({ status: 'active', version: 1 })
  })

  test('6: a login as somebody else from the dialog sends nothing of the first user’s', async () => {
    const { auth, backend, tokens, told } = await spent()
    auth.on('reauthRequired', (event) => event.waitUntil(auth.login(bob)))
    const outcome = await auth
      .fetch('protected', { method: 'POST', body: 'of alice' })
      .catch((error) => error)
    expect(outcome instanceof Response ? outcome.status : outcome.code).toBeOneOf([401, 'session_changed'])
    const ofBob = backend.issued.filter(({ sub }) => sub === 'bob').map(({ token }) => token)
    expect(tokens('protected').some((token) => ofBob.includes(token ?? ''))).toBe(false)
    expect(auth.session).toMatchObject({ subject: 'bob' })
    expect(summary(told)).toEqual([
      'reauthRequired: session_expired',
      'loggedOut: replaced',
      'loggedIn: login',
    ])
  })

  test('of which many requests learn at once gives each its own 401, where nobody can help', async () => {
    const { auth, backend, told, signIn } = room()
    await signIn()
    backend.expireAccessTokens()
    backend.fault('refresh', { status: 401, body: { msg: 'Token has been revoked' } })
    expect(await statuses(times(3, () => auth.fetch('protected')))).toEqual([401, 401, 401])
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
  })

  test('stays for the others when the client that asks is disposed of', async () => {
    const { auth, store } = await spent()
    dialogs(auth)
    const waiting = failure(auth.fetch('protected'))
    await settle()
    auth.dispose()
    expect(await waiting).toMatchObject({ code: 'disposed' })
    await settle()
    expect(store.read()).not.toHaveProperty('record.ended')
  })

  test('is announced once, and with nobody signed in nothing is', async () => {
    const { auth, told } = await spent()
    await auth.fetch('protected')
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
    await auth.fetch('protected')
    await auth.fetch('fresh', { auth: 'fresh', method: 'POST' })
    expect(told).toHaveLength(2)
  })

  test('auth: "fresh" joins the ask for the expired session', async () => {
    const { auth } = await spent()
    const { asks, close } = dialogs(auth)
    const waiting = [auth.fetch('protected'), auth.fetch('fresh', { auth: 'fresh', method: 'POST' })]
    await settle()
    expect(asks).toHaveLength(1)
    await auth.reauthenticate(alice)
    close()
    expect(await statuses(waiting)).toEqual([200, 200])
  })

  test('a token that was revoked asks in its own words', async () => {
    const { auth, told, signIn, backend } = room()
    await signIn()
    backend.revoke({ sub: 'alice' })
    const { asks, close } = dialogs(auth)
    const waiting = auth.fetch('protected')
    await settle()
    expect(asks[0]).toMatchObject({ reason: 'token_revoked' })
    expect(auth.session).toMatchObject({ status: 'expired' })
    await auth.reauthenticate(alice)
    close()
    expect((await waiting).status).toBe(200)
    expect(summary(told)).toEqual(['reauthRequired: token_revoked', 'tokenRefreshed: reauthenticated'])
    expect(backend.count('refresh')).toBe(0)
  })

  test('where a revoked access token means no more than an expired one it is refreshed', async () => {
    const { auth, told, signIn, backend, inHand } = room({ preset: { revoked: 'refresh' } })
    await signIn()
    backend.revoke(inHand().access)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(summary(told)).toEqual(['tokenRefreshed: rejected'])
  })

  test('another context that was helped first helps this one too', async () => {
    const given = await spent()
    const { auth } = given
    const { auth: other } = given.another()
    const { asks } = dialogs(auth)
    const waiting = auth.fetch('protected')
    await settle()
    expect(asks).toHaveLength(1)
    await other.reauthenticate(alice)
    await settle()
    // The dialog here is still open; the session is not expired any more.
    expect(auth.session).toMatchObject({ status: 'active', version: 2 })
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(await isPending(waiting)).toBe(!asks[0]?.signal.aborted)
  })
})

describe('tokens that say nothing of freshness', () => {
  const silent = (): Tokens => fakeTokens({ claims: { fresh: undefined as never } })

  test.each<[string, (auth: Client) => Promise<unknown>, number]>([
    ['a re-authentication', (auth) => auth.reauthenticate(async () => silent()), 2],
    ['a login as the same user', (auth) => auth.login(async () => silent()), 2],
    ['a refresh, which proves no password,', (auth) => auth.refresh(), 1],
    ['nothing', async () => {}, 1],
  ])(
    'after an ask that %s has settled: it is sent again only after a password',
    async (_, settled, sends) => {
      const { auth, backend } = room()
      await auth.setTokens(silent())
      backend.fault('fresh', { status: 401, body: { msg: 'Fresh token required' } })
      backend.fault('refresh', { status: 200, body: { access_token: silent().accessToken } })
      auth.on('reauthRequired', (event) => event.waitUntil(settled(auth)))
      await auth.fetch('fresh')
      expect(backend.count('fresh')).toBe(sends)
    },
  )

  test('whose step-up comes when they have been refreshed: a password is asked for, as a refreshed one is no fresher', async () => {
    const { auth, backend, hold, tokens } = room()
    const [first, refreshed, proved] = [silent(), silent(), silent()]
    await auth.setTokens(first)
    backend.fault('fresh', { status: 401, body: { msg: 'Fresh token required' } })
    backend.fault('refresh', { status: 200, body: { access_token: refreshed.accessToken } })
    auth.on('reauthRequired', (event) => event.waitUntil(auth.reauthenticate(async () => proved)))
    const held = hold('fresh')
    const waiting = auth.fetch('fresh')
    await settle()
    await auth.refresh()
    held.release()
    await waiting
    expect(tokens('fresh')).toEqual([first.accessToken, proved.accessToken])
  })

  test('7: that are refreshed for a request, and whose step-up comes after a login: it goes out with what that brought', async () => {
    const { auth, backend, hold, tokens } = room()
    const [first, refreshed, proved] = [silent(), silent(), silent()]
    await auth.setTokens(first)
    backend.fault('fresh', { status: 401, body: { msg: 'Token has expired' } })
    backend.fault('refresh', { status: 200, body: { access_token: refreshed.accessToken } })
    const asked = vi.fn()
    auth.on('reauthRequired', asked)
    const renewing = hold('refresh')
    const waiting = auth.fetch('fresh')
    await settle()
    backend.fault('fresh', { status: 401, body: { msg: 'Fresh token required' } })
    const held = hold('fresh')
    renewing.release()
    await settle()
    await auth.reauthenticate(async () => proved)
    held.release()
    await waiting
    expect(tokens('fresh')).toEqual([first, refreshed, proved].map(({ accessToken }) => accessToken))
    expect(asked).not.toHaveBeenCalled()
  })
})

test('14: a stream that a password is asked for comes back at once, and is not sent again with it', async () => {
  const { auth, backend, signInStale } = room()
  await signInStale()
  const { asks, close } = dialogs(auth)
  const init = { method: 'POST', body: new Response('once').body, duplex: 'half' } as RequestInit
  expect((await auth.fetch('fresh', init)).status).toBe(401)
  expect(asks).toHaveLength(1)
  await auth.reauthenticate(alice)
  close()
  await settle()
  expect(backend.count('fresh')).toBe(1)
})

test('14: a stream that waited for a password goes with what that brought: nothing is refreshed', async () => {
  const { auth, backend, signInStale } = room()
  await signInStale()
  auth.on('reauthRequired', (event) => event.waitUntil(auth.reauthenticate(alice)))
  const init = {
    method: 'POST',
    body: new Response('once').body,
    duplex: 'half',
    auth: 'fresh',
  } as RequestInit
  expect((await auth.fetch('fresh', init)).status).toBe(200)
  expect([backend.count('fresh'), backend.count('refresh')]).toEqual([1, 0])
})

describe('7: a replay with', () => {
  const expired = { status: 401, body: { msg: 'Token has expired' } }

  test('what a password brought, that is turned down, is refreshed and sent once more', async () => {
    const { auth, backend, signInStale } = room()
    await signInStale()
    auth.on('reauthRequired', (event) => event.waitUntil(auth.reauthenticate(alice)))
    backend.fault('protected', { status: 401, body: { msg: 'Fresh token required' } })
    backend.fault('protected', expired)
    expect((await auth.fetch('protected')).status).toBe(200)
    expect([backend.count('protected'), backend.count('refresh')]).toEqual([3, 1])
  })

  test('what a refresh brought while a password was asked for, that is turned down, is the last', async () => {
    const { auth, backend, signInStale, hold } = room()
    await signInStale()
    const held = hold('refresh')
    const refresh = auth.refresh()
    await settle()
    const { close } = dialogs(auth)
    backend.fault('protected', { status: 401, body: { msg: 'Token has been revoked' } })
    backend.fault('protected', expired)
    const waiting = auth.fetch('protected')
    await settle()
    held.release()
    await refresh
    close()
    expect((await waiting).status).toBe(401)
    expect([backend.count('protected'), backend.count('refresh')]).toEqual([2, 1])
  })

  test('what another context has refreshed while a password was asked for, that is turned down, is the last, too', async () => {
    const { auth, backend, signInStale, another } = room()
    await signInStale()
    const there = another().auth
    const { close } = dialogs(auth)
    backend.fault('protected', { status: 401, body: { msg: 'Token has been revoked' } })
    backend.fault('protected', expired)
    const waiting = auth.fetch('protected')
    await settle()
    await there.refresh()
    close()
    expect((await waiting).status).toBe(401)
    expect([backend.count('protected'), backend.count('refresh')]).toEqual([2, 1])
  })

  test('what another context has refreshed meanwhile helps where a token was revoked: nobody is asked', async () => {
    const { auth, backend, told, signInStale, another, tokens, inHand } = room({
      client: { store: silentStore() },
    })
    await signInStale()
    await another().auth.refresh()
    backend.fault('protected', { status: 401, body: { msg: 'Token has been revoked' } })
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(tokens('protected').at(-1)).toBe(inHand().access)
    expect(summary(told)).toEqual(['tokenRefreshed: requested (elsewhere)'])
  })

  test('the last token there is asks nobody where it may go without', async () => {
    const { auth, backend, told, signIn } = room({ preset: { refreshToken: 'single-use' } })
    await signIn()
    backend.fault('optional', expired, { times: 2 })
    expect((await auth.fetch('optional', { auth: 'optional' })).status).toBe(401)
    expect(summary(told)).toEqual(['tokenRefreshed: rejected'])
    expect(auth.session).toMatchObject({ subject: 'alice', status: 'active' })
  })

  test('another token, that tells as little as the first 401, costs no freshness', async () => {
    const { auth, backend, signIn } = room()
    await signIn()
    backend.fault('protected', { status: 401 }, { times: 2 })
    expect((await auth.fetch('protected')).status).toBe(401)
    expect([backend.count('protected'), backend.count('refresh')]).toEqual([2, 1])
    expect(auth.session).toMatchObject({ fresh: true })
    expect((await auth.fetch('fresh')).status).toBe(200)
  })
})

describe('a session of a refresh token alone, which is refused', () => {
  const alone = async (): Promise<Room> => {
    const given = room()
    const { refreshToken } = await given.backend.signIn('alice')
    await given.auth.setTokens({ refreshToken })
    given.backend.revoke(refreshToken)
    given.told.length = 0
    return given
  }

  test('has nothing to send: the refusal is what the caller gets', async () => {
    const { auth, told, routes } = await alone()
    const responses = await Promise.all(times(2, () => auth.fetch('protected')))
    for (const response of responses) {
      expect([response.status, await response.json()]).toEqual([401, { msg: 'Token has been revoked' }])
    }
    expect(routes()).toEqual(['refresh'])
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'loggedOut: session_expired'])
  })

  test('stays expired though another context writes something beside it', async () => {
    const { auth, store } = await alone()
    const { close } = dialogs(auth)
    const waiting = auth.fetch('protected')
    await settle()
    const { record } = store.read() as { record: LiveRecord }
    await store.commit?.({ ...record, failures: 1, revision: 'theirs' }, record.revision)
    await settle()
    expect(auth.session).toMatchObject({ status: 'expired', version: 1 })
    close()
    expect((await waiting).status).toBe(401)
  })

  test('goes out with what a re-authentication brings', async () => {
    const { auth, backend, told, routes } = await alone()
    auth.on('reauthRequired', (event) => event.waitUntil(auth.reauthenticate(alice)))
    expect((await auth.fetch('protected')).status).toBe(200)
    expect(routes()).toEqual(['refresh', 'login', 'protected'])
    expect(summary(told)).toEqual(['reauthRequired: session_expired', 'tokenRefreshed: reauthenticated'])
    expect(backend.count('refresh')).toBe(1)
  })

  test('7: is not asked for again by the call that it was asked for', async () => {
    const { auth, backend } = await alone()
    const asks = willing(auth)
    backend.fault('protected', revoked, always)
    expect((await auth.fetch('protected')).status).toBe(401)
    expect([asks(), backend.count('protected')]).toEqual([1, 1])
  })

  test('6: sends nothing with what a login as somebody else brings', async () => {
    const { auth, routes } = await alone()
    auth.on('reauthRequired', (event) => event.waitUntil(auth.login(bob)))
    expect((await auth.fetch('protected')).status).toBe(401)
    expect(routes()).toEqual(['refresh', 'login'])
  })
})

test('a call that finds the session over, when the refresh that it shared is refused, is sent once all the same', async () => {
  const { auth, backend, signIn, hold, routes } = room()
  await signIn()
  backend.expireAccessTokens()
  backend.fault('refresh', { status: 401, body: { msg: 'Token has been revoked' } })
  const held = hold('refresh', 'request')
  const first = auth.fetch('protected')
  await settle()
  // The token that was turned down waits for another one.
  const second = auth.fetch('protected')
  const optional = auth.fetch('optional', { auth: 'optional' })
  await settle()
  expect(routes()).toEqual(['protected', 'refresh'])
  held.release()
  expect(await statuses([first, second, optional])).toEqual([401, 401, 200])
  expect(auth.session).toBeNull()
  expect(routes().sort()).toEqual(['optional', 'protected', 'protected', 'refresh'])
})

test('auth: "optional", whose session has run out elsewhere by the time that it is refreshed, goes without', async () => {
  const { auth, signIn, hold, store, tokens } = room()
  await signIn()
  await pass(16 * minute)
  const held = hold('refresh')
  const waiting = auth.fetch('optional', { auth: 'optional' })
  await settle()
  const { record } = store.read() as { record: LiveRecord }
  const { id, version, calledAt, revision } = record
  await store.commit?.({ id, version, calledAt, revision: 'elsewhere', ended: 'session_expired' }, revision)
  held.release()
  expect((await waiting).status).toBe(200)
  expect(tokens('optional')).toEqual([undefined])
})

describe('auth: "fresh"', () => {
  test('asks before it sends what a refresh has brought, which is not fresh', async () => {
    const { auth, backend, routes } = room()
    const { refreshToken } = await backend.signIn('alice')
    await auth.setTokens({ refreshToken })
    auth.on('reauthRequired', (event) => event.waitUntil(auth.reauthenticate(alice)))
    expect((await auth.fetch('fresh', { auth: 'fresh' })).status).toBe(200)
    expect(routes()).toEqual(['refresh', 'login', 'fresh'])
  })

  test('goes out at once with a fresh token', async () => {
    const { auth, told, signIn, backend } = room()
    await signIn()
    const response = auth.fetch('fresh', { auth: 'fresh' })
    expect(backend.count('fresh')).toBe(1)
    expect((await response).status).toBe(200)
    expect(told).toEqual([])
  })

  test('asks once a token that is fresh until a time no longer is', async () => {
    const { auth, told, signIn, backend } = room({ server: { fresh: 5 * minute } })
    await signIn()
    await pass(4 * minute)
    expect((await auth.fetch('fresh', { auth: 'fresh' })).status).toBe(200)
    expect(told).toEqual([])
    await pass(2 * minute)
    backend.clearLog()
    auth.on('reauthRequired', (event) => event.waitUntil(auth.reauthenticate(alice)))
    expect((await auth.fetch('fresh', { auth: 'fresh' })).status).toBe(200)
    expect(backend.log.map(({ route }) => route)).toEqual(['login', 'fresh'])
    expect(summary(told)[0]).toBe('reauthRequired: fresh_token_required')
  })

  test('dismissed: sent once all the same, so that the answer is the server’s own', async () => {
    const { auth, signInStale, backend } = room()
    await signInStale()
    const { asks, close } = dialogs(auth)
    const waiting = auth.fetch('fresh', { auth: 'fresh', method: 'POST' })
    await settle()
    close()
    const response = await waiting
    expect([response.status, await response.json()]).toEqual([401, { msg: 'Fresh token required' }])
    expect([asks.length, backend.count('fresh')]).toEqual([1, 1])
  })

  test('with a token that says nothing of freshness is sent, and the server decides', async () => {
    const { auth, backend, told } = room()
    await auth.setTokens({ accessToken: 'opaque' })
    backend.fault('protected', { status: 200, body: {} })
    expect((await auth.fetch('protected', { auth: 'fresh' })).status).toBe(200)
    expect(summary(told)).toEqual(['loggedIn: set_tokens'])
  })

  test('with one that has run out and can not be refreshed is not sent, and says so', async () => {
    const { auth, backend } = room()
    const { refreshToken } = await backend.signIn('alice')
    await auth.setTokens({ accessToken: 'opaque', refreshToken, expiresIn: 60 })
    await pass(2 * minute)
    backend.fault('refresh', { status: 500 })
    expect(await failure(auth.fetch('protected', { auth: 'fresh' }))).toMatchObject({
      code: 'refresh_unavailable',
    })
    expect(backend.count('refresh')).toBe(1)
  })

  test('is read from a Request too, where a client put it there', async () => {
    const { auth, signInStale, backend } = room()
    await signInStale()
    auth.on('reauthRequired', (event) => event.waitUntil(auth.reauthenticate(alice)))
    const request = Object.assign(new Request('https://api.test/fresh'), { auth: 'fresh' })
    expect((await auth.fetch(request)).status).toBe(200)
    expect(backend.log.map(({ route }) => route)).toEqual(['login', 'fresh'])
  })

  test('takes nothing but what it takes', async () => {
    const { auth } = room()
    expect(await failure(auth.fetch('x', { auth: 'never' as never }))).toMatchObject({
      code: 'invalid_input',
    })
  })
})

/** Each ask is answered with the password; counted. */
function willing(auth: Client): () => number {
  let asks = 0
  auth.on('reauthRequired', (event) => {
    asks++
    event.waitUntil(auth.reauthenticate(alice))
  })
  return () => asks
}

const always = { times: Number.POSITIVE_INFINITY }
const revoked = { status: 401, body: { msg: 'Token has been revoked' } }

test('7: a password that was asked for ahead is not asked for again, whatever the server answers', async () => {
  const { auth, backend, signInStale } = room()
  await signInStale()
  backend.fault('fresh', { status: 401, body: { msg: 'Fresh token required' } }, always)
  const asks = willing(auth)
  expect((await auth.fetch('fresh', { auth: 'fresh' })).status).toBe(401)
  expect([asks(), backend.count('fresh')]).toEqual([1, 1])
})

test('7: a password that was asked for ahead is not asked for again when the refresh is refused after it', async () => {
  const { auth, backend, signInStale } = room()
  await signInStale()
  backend.fault('fresh', { status: 401, body: { msg: 'Token has expired' } }, always)
  backend.fault('refresh', revoked, always)
  const asks = willing(auth)
  expect((await auth.fetch('fresh', { auth: 'fresh' })).status).toBe(401)
  expect([asks(), backend.count('fresh'), backend.count('refresh')]).toEqual([1, 1, 1])
})

test('7: a password that was asked for in place of a refresh is not asked for again by the same call', async () => {
  const { auth, backend, signIn } = room()
  await signIn()
  backend.expireAccessTokens()
  backend.fault('refresh', revoked)
  const asks = willing(auth)
  auth.on('tokenRefreshed', () => backend.fault('protected', revoked, always))
  expect((await auth.fetch('protected')).status).toBe(401)
  expect([asks(), backend.count('protected')]).toEqual([1, 2])
})

test('7: after a password, a replay and its refusal there is no third dialog', async () => {
  const { auth, backend, signInStale } = room()
  await signInStale()
  backend.fault(
    'fresh',
    { status: 401, body: { msg: 'Fresh token required' } },
    { times: Number.POSITIVE_INFINITY },
  )
  let asks = 0
  auth.on('reauthRequired', (event) => {
    asks++
    event.waitUntil(auth.reauthenticate(alice))
  })
  const response = await auth.fetch('fresh', { method: 'POST' })
  expect(response.status).toBe(401)
  expect([asks, backend.count('fresh')]).toEqual([1, 2])
})

test('a dialog is moot once the password was given in another context, and what waited for it goes out', async () => {
  const given = await spent()
  const { auth, another } = given
  const there = another().auth
  const { asks } = dialogs(auth)
  const { asks: theirs, close } = dialogs(there)
  const waiting = auth.fetch('protected')
  const waitingThere = there.fetch('protected')
  await settle()
  expect([asks, theirs]).toMatchObject([[{ reason: 'session_expired' }], [{ reason: 'session_expired' }]])
  await there.reauthenticate(alice)
  await settle()
  expect(asks[0]?.signal.aborted).toBe(true)
  expect((await waiting).status).toBe(200)
  expect(theirs[0]?.signal.aborted).toBe(false)
  close()
  expect((await waitingThere).status).toBe(200)
})

test('a dialog for a fresh token is not moot by a refresh in another context', async () => {
  const given = room()
  const { auth, another, signInStale } = given
  await signInStale()
  const there = another().auth
  const { asks, close } = dialogs(auth)
  const waiting = auth.fetch('fresh')
  await settle()
  await there.refresh()
  await settle()
  expect(auth.session).toMatchObject({ version: 3 })
  expect(asks[0]?.signal.aborted).toBe(false)
  await there.reauthenticate(alice)
  await settle()
  expect(asks[0]?.signal.aborted).toBe(true)
  expect((await waiting).status).toBe(200)
  close()
})
