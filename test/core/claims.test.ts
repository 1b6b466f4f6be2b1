/** Claims and turns at a refresh: who waits for whom, and for how long. */
import { describe, expect, test, vi } from 'vitest'
import { createAuth, flaskJwtCookies, type LiveRecord } from '../../src/index.ts'
import { handStore, ok, serve, stubPage } from './by-hand.ts'
import {
  alice,
  baseUrl,
  deferred,
  failure,
  hour,
  minute,
  outcome,
  pass,
  room,
  second,
  settle,
  start,
  summary,
  virtualTime,
} from './support.ts'

virtualTime()

test('1: tabs get their turns at the refresh again once nobody is in the way, however often they waited in vain', async () => {
  const page = stubPage()
  let busy = true
  let turns = 0
  // As in a browser: granted by another process, some milliseconds later.
  const request = async (
    _: string,
    { signal }: { signal: AbortSignal },
    run: () => unknown,
  ): Promise<unknown> => {
    await new Promise<void>((yes, no) => {
      signal.addEventListener('abort', () => no(signal.reason))
      if (!busy) setTimeout(yes, 3)
    })
    turns++
    return run()
  }
  vi.stubGlobal('navigator', { locks: { request } })
  let given = 0
  const server = serve(({ path }) => {
    if (path !== '/logout') page.cookie = `csrf_access_token=a${++given}; csrf_refresh_token=r${given}`
    return ok({ sub: 'alice' })
  })
  const auth = createAuth({ baseUrl, backend: flaskJwtCookies(), fetch: server.fetch })
  await auth.login(alice)
  const refresh = async (): Promise<void> => {
    const done = auth.refresh()
    await pass(5 * second)
    await done
    await pass(10 * minute)
  }
  for (let count = 0; count < 15; count++) await refresh()
  expect(turns).toBe(0)
  busy = false
  await refresh()
  expect(turns).toBe(1)
})

test('1: of a claim that ran out while all stood still the answer is read first', async () => {
  const store = handStore()
  const { auth, another, hold, backend, told } = room({
    client: { store },
    server: { refresh: 'rotating-reuse-detection' },
  })
  await auth.login(alice)
  const { auth: beside } = another()
  await beside.ready
  await pass(20 * minute)
  const { release } = hold('refresh')
  const calls = [auth.fetch('protected')]
  await settle()
  calls.push(beside.fetch('protected'))
  await pass(second)
  // Longer than the claim: as all wake, timers go first, and the answer is read by who asked.
  vi.setSystemTime(Date.now() + minute)
  vi.spyOn(performance, 'now').mockImplementation(() => Date.now() - start)
  await pass(300)
  release()
  await pass(10 * second)
  expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([200, 200])
  expect(backend.count('refresh')).toBe(1)
  expect(summary(told).join()).not.toContain('loggedOut')
})

describe('a context that was frozen or busy when its timer was due', () => {
  const frozen = async () => {
    const { auth, signIn, hold, told } = room({ server: { refresh: 'rotating-reuse-detection' } })
    await signIn()
    await pass(16 * minute)
    const { release } = hold('refresh')
    const call = auth.fetch('protected')
    await settle()
    // Its timers go off late, and before what has come meanwhile is read.
    vi.setSystemTime(start + 20 * minute)
    await pass(8 * second)
    return { call, release, told }
  }

  test('1: reads the answer to its refresh that has come meanwhile', async () => {
    const { call, release, told } = await frozen()
    release()
    await settle()
    expect((await call).status).toBe(200)
    expect(summary(told)).not.toContain('refreshFailed: timeout')
  })

  test('10: and waits no longer than it takes to read', async () => {
    const { call, release, told } = await frozen()
    const failed = failure(call)
    await pass(250)
    expect(await failed).toMatchObject({ code: 'refresh_unavailable' })
    expect(summary(told)).toEqual(['refreshFailed: timeout'])
    release()
  })
})

test('what can be asked for again is not waited for beyond a late timer: of before it may be old news', async () => {
  const store = handStore()
  const gate = store.gate('read')
  const { auth, told } = room({ client: { store } })
  vi.setSystemTime(start + 20 * minute)
  await pass(8 * second)
  expect(summary(told)).toEqual(['storeUnavailable: read'])
  expect(auth.session).toBeUndefined()
  gate.open()
})

describe('10: who waits for the claim of one who is gone', () => {
  const claimed = async (span: number, refreshTimeout = 8 * second) => {
    const made = room({ client: { store: handStore(), refreshTimeout } })
    await made.signIn()
    await pass(20 * minute)
    const store = made.store as ReturnType<typeof handStore>
    const claim = { by: 'gone', until: Date.now() + span, span }
    store.record = { ...(store.record as LiveRecord), claim, revision: 'claimed' }
    store.notify()
    await settle()
    return made
  }

  test('waits no longer than twice what a refresh may take', async () => {
    const { auth } = await claimed(150, 200)
    const call = outcome(auth.fetch('protected'))
    await pass(400)
    expect(await call).toBe(200)
  })

  test('is not overtaken, and then turned away', async () => {
    const { auth, another, hold } = await claimed(7_200)
    const { auth: beside } = another()
    await beside.ready
    const first = outcome(auth.fetch('protected'))
    await pass(7_500)
    const { release } = hold('refresh')
    const next = outcome(beside.fetch('protected'))
    await pass(second)
    release()
    await pass(10 * second)
    expect([await first, await next]).toEqual([200, 200])
  })
})

test('1: a later version that is written back leaves the claim to its refresh token standing', async () => {
  const store = handStore()
  const { auth, tokens } = room({ client: { store } })
  await auth.login(alice)
  const first = store.record as LiveRecord
  await auth.refresh()
  expect(tokens('refresh')).toHaveLength(1)
  // The store has fallen back, and somebody else has claimed what stands there: the same refresh token.
  const claim = { by: 'them', until: Date.now() + 7_000, span: 7_000 }
  store.record = { ...first, revision: 'theirs', claim }
  store.notify({ revision: 'theirs', id: first.id, version: 1 })
  await settle()
  expect(store.record).toMatchObject({ version: 2, claim })
  const refreshed = auth.refresh()
  await pass(5_000)
  expect(tokens('refresh')).toHaveLength(1)
  await pass(2_001)
  await refreshed
  expect(tokens('refresh')).toHaveLength(2)
})

test('1: what a refresh brought, written late, leaves the claim that another has laid meanwhile to the same token standing', async () => {
  const store = handStore()
  const { auth } = room({ client: { store } })
  await auth.login(alice)
  const { commit } = store
  store.commit = (next, expected) => {
    if (next.version === 2) return Promise.reject(new Error('out of order'))
    return commit?.(next, expected) ?? store.read()
  }
  await auth.refresh()
  const claim = { by: 'them', until: Date.now() + 60_000, span: 10_000 }
  store.record = { ...(store.record as LiveRecord), revision: 'theirs', claim }
  store.commit = commit
  await pass(second)
  expect(store.record).toMatchObject({ version: 2, claim })
})

test('3: a password that replaced the refresh token while a claim to it was being written: the old one is not sent', async () => {
  const store = handStore()
  const { auth, backend, tokens } = room({ client: { store } })
  await auth.login(alice)
  const old = backend.issued.find(({ kind }) => kind === 'refresh')
  // The claim stands, and its answer is long on its way back.
  const answer = deferred()
  const { commit } = store
  store.commit = async (next, expected) => {
    store.commit = commit
    const cell = await (commit?.(next, expected) ?? store.read())
    await answer.promise
    return cell
  }
  const refreshed = auth.refresh()
  await settle()
  expect(store.record).toMatchObject({ version: 1, claim: expect.anything() })
  await auth.reauthenticate(alice)
  expect(store.record).toMatchObject({ version: 2 })
  answer.resolve()
  await refreshed
  expect(tokens('refresh')).not.toContain(old?.token)
  expect(auth.session).toMatchObject({ version: 2, fresh: true })
})

test.each([
  ['protected', {}],
  ['optional', { auth: 'optional' }],
] as const)(
  '10: what has run out since its claim was lost to a faster one is for the server to judge: %s',
  async (route, init) => {
    const store = handStore()
    const { auth, another, routes } = room({
      server: { accessLifetime: 5 * second, refreshLifetime: hour },
      client: { store },
    })
    await auth.login(alice)
    const { auth: other } = another()
    await other.ready
    await pass(6 * second)
    const late = store.gate('commit')
    const call = auth.fetch(route, init)
    await settle()
    expect(late.reached()).toBe(true)
    await other.refresh()
    await pass(6 * second)
    late.open()
    expect(await (await call).json()).toMatchObject({ sub: 'alice' })
    // Not refreshed once more before it is sent: who is always slower would run behind for ever.
    expect(routes()).toEqual(['login', 'refresh', route, 'refresh', route])
  },
)
