import { describe, expect, test, vi } from 'vitest'
import { type Cell, type LiveRecord, memoryStore } from '../../src/index.ts'
import { handStore, mint, ok, serve } from './by-hand.ts'
import {
  alice,
  baseUrl,
  bob,
  type Client,
  failure,
  minute,
  pass,
  reported,
  room,
  second,
  settle,
  times,
  virtualTime,
} from './support.ts'

virtualTime()

test('whoever waits gets `disposed`', async () => {
  const { auth, signIn, hold } = room()
  await signIn()
  await pass(16 * minute)
  hold('refresh')
  const waiting = [...times(3, () => auth.fetch('protected')), auth.getAccessToken(), auth.refresh()]
  const errors = Promise.all(waiting.map(failure))
  await settle()
  auth.dispose()
  expect(await errors).toMatchObject(times(5, () => ({ code: 'disposed' })))
})

test('of a store that tells nobody of changes there is nothing to end, and nothing is reported', async () => {
  const errors = reported()
  const { auth } = room({ client: { store: { ...memoryStore(), watch: undefined } as never } })
  await auth.login(alice)
  await auth.dispose()
  expect(errors).toEqual([])
})

test('whoever comes afterwards gets `disposed`, and nothing is sent', async () => {
  const { auth, backend, signIn } = room()
  await signIn()
  auth.dispose()
  const calls: (() => Promise<unknown>)[] = [
    () => auth.fetch('protected'),
    () => auth.login(alice),
    () => auth.reauthenticate(alice),
    () => auth.setTokens({ accessToken: 'a' }),
    () => auth.refresh(),
    () => auth.getAccessToken(),
  ]
  for (const call of calls) expect(await failure(call())).toMatchObject({ code: 'disposed' })
  expect(backend.count()).toBe(0)
})

test('a running exchange is finished and stored, nobody is told of it, and nobody is signed out', async () => {
  const { auth, backend, told, signIn, hold, another, inHand } = room({
    server: { refresh: 'rotating-reuse-detection' },
  })
  await signIn()
  const before = inHand()
  await pass(16 * minute)
  const held = hold('refresh')
  const waiting = failure(auth.fetch('protected'))
  await settle()
  auth.dispose()
  await waiting
  held.release()
  await settle()
  expect(inHand().refresh).not.toBe(before.refresh)
  expect(backend.isHonoured(inHand().refresh)).toBe(true)
  expect(told).toEqual([])
  const { auth: next } = another()
  expect(next.session).toMatchObject({ subject: 'alice', version: 2 })
  expect((await next.fetch('protected')).status).toBe(200)
  expect(backend.count('refresh')).toBe(1)
  expect(backend.count('logout')).toBe(0)
})

test('its promise covers the exchange that runs beside a call which has been answered, and what that brings is stored', async () => {
  const { auth, signIn, hold, store } = room()
  await signIn()
  const held = hold('refresh')
  void auth.refresh().catch(() => {})
  await settle()
  const gone = vi.fn()
  void auth[Symbol.asyncDispose]().then(gone)
  await settle()
  expect(gone).not.toHaveBeenCalled()
  held.release()
  await settle()
  expect(gone).toHaveBeenCalledOnce()
  expect(store.read()).toMatchObject({ record: { version: 2 } })
  await auth.dispose()
})

test('a refresh that waits for that of another context is not begun any more, though that one fails', async () => {
  const { auth, backend, signIn, hold, another } = room()
  const { auth: there } = another()
  await signIn()
  const held = hold('refresh')
  const first = failure(there.refresh())
  await settle()
  const second = failure(auth.refresh())
  await settle()
  const gone = auth.dispose()
  expect(await second).toMatchObject({ code: 'disposed' })
  await pass(8_000)
  expect(await first).toMatchObject({ code: 'refresh_unavailable' })
  await pass(60_000)
  await gone
  expect(backend.count('refresh')).toBe(1)
  held.release()
})

test('a running exchange that is refused does not end the session for the others without asking them', async () => {
  const { auth, backend, signIn, hold, another } = room()
  await signIn()
  await pass(16 * minute)
  backend.revoke({ sub: 'alice' })
  const held = hold('refresh')
  const waiting = failure(auth.fetch('protected'))
  await settle()
  auth.dispose()
  await waiting
  held.release()
  await settle()
  const { auth: next } = another()
  next.on('reauthRequired', (event) => event.waitUntil(next.reauthenticate(alice)))
  expect((await next.fetch('protected')).status).toBe(200)
})

test.each<[string, (auth: Client) => Promise<Response>]>([
  ['as it is', (auth) => auth.fetch('protected')],
  ['with a signal', (auth) => auth.fetch('protected', { signal: new AbortController().signal })],
  ['as a Request', (auth) => auth.fetch(new Request(`${baseUrl}protected`))],
  ['without a token', (auth) => auth.fetch(new Request(`${baseUrl}optional`), { auth: false })],
])('a request that is out there comes home, %s', async (_, send) => {
  const { auth, signIn, hold } = room()
  await signIn()
  const held = [hold('protected'), hold('optional')]
  const outcome = send(auth).then(
    ({ status }) => status,
    (error) => error.code,
  )
  await settle()
  auth.dispose()
  for (const { release } of held) release()
  // It does not wait for us, but for the server.
  expect(await outcome).toBe(200)
})

test.each([401, 403, 500])('an answer of %s that comes after it is handed back as it is', async (status) => {
  const { auth, backend, signIn, hold } = room()
  await signIn()
  const body = { msg: 'Token has expired' }
  backend.fault('protected', { status, body })
  const held = hold('protected', 'answer')
  const call = auth.fetch('protected')
  await settle()
  auth.dispose()
  held.release()
  const response = await call
  expect([response.status, await response.json()]).toEqual([status, body])
  expect([backend.count('refresh'), backend.count('protected')]).toEqual([0, 1])
})

test('listeners and subscribers hear nothing more', async () => {
  const { auth, told, signIn, another } = room()
  await signIn()
  const seen = vi.fn()
  auth.subscribe(seen)
  const { auth: other } = another()
  auth.dispose()
  await other.logout()
  await settle()
  expect(seen).toHaveBeenCalledTimes(1)
  expect(told).toEqual([])
})

test('a login under way is over: the promise fails, and a flow is aborted', async () => {
  const { auth } = room()
  let aborted: AbortSignal | undefined
  const login = failure(
    auth.login(({ signal }) => {
      aborted = signal
      return new Promise(() => {})
    }),
  )
  await settle()
  auth.dispose()
  expect(aborted?.aborted).toBe(true)
  expect(await login).toMatchObject({ code: 'disposed' })
})

test('twice is once', () => {
  const { auth } = room()
  auth.dispose()
  expect(() => auth.dispose()).not.toThrow()
})

test('is what `using` calls', async () => {
  const { auth, signIn } = room()
  await signIn()
  {
    using scoped = auth
    expect((await scoped.fetch('protected')).status).toBe(200)
  }
  expect(await failure(auth.fetch('protected'))).toMatchObject({ code: 'disposed' })
})

test('leaves no timer behind', async () => {
  const { auth, signInStale } = room()
  await signInStale()
  auth.on('reauthRequired', (event) => event.waitUntil(new Promise(() => {})))
  const waiting = failure(auth.fetch('fresh'))
  await settle()
  auth.dispose()
  await waiting
  await settle()
  expect(vi.getTimerCount()).toBe(0)
})

test('lets go of the store', () => {
  const store = memoryStore()
  const unwatch = vi.fn()
  const { auth } = room({ client: { store: { ...store, watch: () => unwatch } } })
  expect(unwatch).not.toHaveBeenCalled()
  auth.dispose()
  expect(unwatch).toHaveBeenCalledTimes(1)
})

test('takes a store that has nothing to let go of', () => {
  const { read, commit } = memoryStore()
  const { auth } = room({ client: { store: { name: 'silent', read, commit } } })
  expect(() => auth.dispose()).not.toThrow()
})

describe('dispose() in the tick of', () => {
  const calls = {
    'reauthenticate()': (auth: Client) => auth.reauthenticate(alice),
    'login()': (auth: Client) => auth.login(bob),
  }

  test('reauthenticate() ends it as disposed, and nothing is changed', async () => {
    const { auth, store, signIn } = room()
    await signIn()
    const { record } = store.read() as { record: LiveRecord }
    const outcome = failure(auth.reauthenticate(alice))
    auth.dispose()
    expect(await outcome).toMatchObject({ code: 'disposed' })
    await pass(minute)
    expect((store.read() as { record: LiveRecord }).record).toEqual(record)
  })

  test.each(Object.entries(calls))('%s sends no password', async (_, call) => {
    const { auth, backend, signIn } = room()
    await signIn()
    const outcome = failure(call(auth))
    auth.dispose()
    await outcome
    await settle()
    expect(backend.count('login')).toBe(0)
  })
})

// --- 4

for (const what of ['refresh', 'getAccessToken'] as const)
  test(`what ${what}() begins after dispose() in its tick is covered by the promise of that, or does not begin`, async () => {
    const { auth, signIn, hold, backend } = room({ server: { refresh: 'rotating-reuse-detection' } })
    await signIn()
    await pass(16 * minute)
    const held = hold('refresh')
    const call = failure(auth[what]())
    let over = false
    const done = auth.dispose().then(() => {
      over = true
    })
    await settle()
    expect(await call).toMatchObject({ code: 'disposed' })
    const begun = held.held() || backend.count('refresh') > 0
    expect(begun && over).toBe(false)
    held.release()
    await done
  })

test('what dispose() promises covers a commit that has to be tried again', async () => {
  const store = handStore()
  const { auth, hold } = room({ client: { store }, server: { refresh: 'rotating-reuse-detection' } })
  await auth.login(alice)
  const held = hold('refresh')
  const refresh = failure(auth.refresh())
  await settle()
  expect(held.held()).toBe(true)
  const { commit } = store
  let failures = 1
  store.commit = async (next, expected) => {
    if (failures-- > 0) throw new Error('connection reset')
    return (await commit?.(next, expected)) as Cell
  }
  const done = auth.dispose() as unknown as Promise<void>
  await refresh
  held.release()
  let over = false
  void Promise.resolve(done).then(() => {
    over = true
    // The connection is closed.
    store.commit = () => Promise.reject(new Error('closed'))
    store.read = () => Promise.reject(new Error('closed'))
  })
  await pass(minute)
  expect(over).toBe(true)
  expect(store.record).toMatchObject({ version: 2 })
})

test('5: nobody looks any more after dispose()', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  const reading = vi.fn(() => Promise.reject(new Error('out of order')))
  store.read = reading
  store.notify({ id: 'another', version: 1, revision: 'theirs' })
  await settle()
  auth.dispose()
  await pass(second)
  expect(vi.getTimerCount()).toBe(0)
  expect(reading).toHaveBeenCalledTimes(1)
})

test.each(['another login, elsewhere, was faster', 'the store has lost its data'])(
  '5: what a login brought is taken back if its client was disposed of and %s',
  async (why) => {
    const store = handStore()
    const server = serve(({ path, username }) =>
      path === '/login' ? ok({ access_token: mint(username), refresh_token: `of-${username}` }) : ok(),
    )
    const { auth, another } = room({ client: { fetch: server.fetch, store } })
    const { auth: there } = another()
    await there.login(bob)
    await auth.ready
    const gate = store.gate('commit')
    const login = failure(auth.login(alice))
    await settle()
    if (why.startsWith('another')) await there.login(bob)
    else store.record = null
    expect(gate.reached()).toBe(true)
    server.sent.length = 0
    const done = auth.dispose()
    gate.open()
    expect(await login).toMatchObject({ code: 'disposed' })
    await done
    await pass(second)
    expect(server.tokens('/logout')).toEqual(['of-alice', expect.any(String)])
  },
)
